//! What the emperor sees of files: listings, looks at single names, and when to take them.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::audit;
use super::event::Event;
use super::fleet::{FileIdentity, NotStarted};
use super::scan::{self, Look};
use super::settle::Note;
use super::turns::Emperor;
use super::watch::{Notes, Watcher};
use crate::sys::clock;

/// While a directory cannot be listed it is tried again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// Rescans that events ask for are this far apart.
const RESCANS_APART: Duration = Duration::from_secs(1);

impl Emperor {
    pub(super) fn note(&mut self, notes: io::Result<Notes>) {
        let now = clock::now();
        let notes = match notes {
            Ok(notes) => notes,
            Err(error) => {
                tracing::error!("cannot read what inotify tells: {error}; rescanning instead");
                self.watcher = Watcher::new(self.directories.clone());
                self.follow_links();
                Notes { rescan: true, ..Notes::default() }
            }
        };
        for (id, note) in notes.names {
            self.settle.note(&id, note, now);
        }
        if notes.rescan || notes.refused {
            self.rescan_at = self.rescan_at.min(now.max(self.rescanned + RESCANS_APART));
        }
    }

    pub(super) fn look(&mut self, id: &str) {
        let (look, not_started) = scan::look(&self.directories, id);
        if let Look::Found(found) = &look {
            self.watcher.follow(id, &found.directory.join(id));
        }
        self.decide(Event::Looked { id: id.to_owned(), look, not_started });
    }

    pub(super) fn first_scan(&mut self) {
        let listing = self.list();
        for (id, look) in listing.looks {
            if let Look::Found(found) = &look {
                self.watcher.follow(&id, &found.directory.join(&id));
            }
            let of_name = |refused: &&NotStarted| refused.name == id;
            let not_started = listing.not_started.iter().filter(of_name).cloned().collect();
            self.decide(Event::Looked { id, look, not_started });
        }
        self.decide(Event::FirstScanDone);
    }

    /// Lists the directories, and has every name looked at again whose file is not as it was.
    pub(super) fn rescan(&mut self) {
        let now = clock::now();
        let listing = self.list();
        let mut notes = Vec::new();
        {
            let fleet = self.handle.fleet();
            for (id, look) in &listing.looks {
                let known = fleet.vassals.get(id);
                let note = match (look, known) {
                    (Look::Found(found), Some(known))
                        if found.identity == known.identity && found.directory == known.directory =>
                    {
                        continue;
                    }
                    (Look::Missing, Some(_)) => Note::Removed,
                    (Look::Found(_), _) => Note::Changed,
                    (Look::Refused(_), Some(known)) if known.identity != FileIdentity::default() => {
                        Note::Changed
                    }
                    _ => continue,
                };
                notes.push((id.clone(), note));
            }
            for (id, known) in &fleet.vassals {
                let place = self.directories.iter().position(|directory| *directory == known.directory);
                // What is in a directory that cannot be listed is not known to be gone.
                let listed = place.and_then(|place| listing.problems.get(place)).is_none_or(Option::is_none);
                if listed && !listing.looks.contains_key(id) {
                    notes.push((id.clone(), Note::Removed));
                }
            }
        }
        for (id, note) in notes {
            if !self.settle.is_unsettled(&id) {
                self.settle.note(&id, note, now);
            }
        }
    }

    pub(super) fn list(&mut self) -> scan::Listing {
        self.rescanned = clock::now();
        // Watched first, listed then: nothing falls in between.
        let unwatched = self.watcher.refresh();
        let listing = scan::scan(&self.directories);
        {
            let mut fleet = self.handle.fleet();
            for (directory, unwatched) in fleet.directories.iter_mut().zip(unwatched) {
                directory.warning = audit::warning(&directory.path);
                if directory.unwatched != unwatched
                    && let Some(reason) = &unwatched
                {
                    let path = directory.path.display();
                    tracing::warn!("changes in {path} are noticed by the rescan only: {reason}");
                }
                directory.unwatched = unwatched;
            }
        }
        let retry = if listing.is_complete() { self.rescan_every } else { RETRY.min(self.rescan_every) };
        self.rescan_at = self.rescanned + retry;
        let not_started = listing.not_started.clone();
        self.decide(Event::Listed { not_started, problems: listing.problems.clone() });
        listing
    }

    pub(super) fn follow_links(&mut self) {
        let paths: Vec<(String, PathBuf)> = {
            let fleet = self.handle.fleet();
            fleet.vassals.iter().map(|(id, vassal)| (id.clone(), vassal.path.clone())).collect()
        };
        for (id, path) in paths {
            self.watcher.follow(&id, &path);
        }
    }
}
