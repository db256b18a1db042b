//! What the emperor sees of files: listings, looks at single names, and when to take them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::attributes::Attributes;
use super::audit;
use super::event::Event;
use super::fleet::{FileIdentity, NotStarted, Vassal};
use super::parked::Work;
use super::scan::{self, Found, Look};
use super::servers::Need;
use super::settle::Note;
use super::sources::Listing;
use super::turns::Emperor;
use super::watch::{Notes, Watcher};
use crate::sys::clock;

/// While a directory or a file cannot be looked at it is tried again after this time.
const RETRY: Duration = Duration::from_secs(2);
/// While of some directory nothing is told it is listed this often, as uWSGI does with all.
const BLIND: Duration = Duration::from_secs(3);
/// Rescans that events ask for are this far apart.
const RESCANS_APART: Duration = Duration::from_secs(1);

impl Emperor {
    pub(super) fn note(&mut self, notes: io::Result<Notes>) {
        let now = clock::now();
        let notes = match notes {
            Ok(notes) => notes,
            Err(error) => {
                tracing::error!("cannot read what inotify tells: {error}; rescanning instead");
                self.watcher = Watcher::new(self.sources.clone());
                self.follow_links();
                Notes { rescan: true, ..Notes::default() }
            }
        };
        for (id, note) in notes.names {
            self.settle.note(&id, note, now);
        }
        if notes.rescan || notes.refused {
            self.rescan_soon();
            // The server that something waits for may be gone.
            self.go_on_with_parked();
        }
    }

    fn rescan_soon(&mut self) {
        self.rescan_at = self.rescan_at.min(clock::now().max(self.rescanned + RESCANS_APART));
    }

    pub(super) fn look(&mut self, id: &str) {
        let need = self.servers.need();
        self.look_for(id, need);
    }

    /// The same, or puts it off.
    pub(super) fn look_for(&mut self, id: &str, need: Need) {
        self.servers.begin(need);
        let known = self.handle.fleet().vassals.get(id).map(|vassal| vassal.path.clone());
        let (mut look, not_started) = self.sources.look(id, known.as_deref());
        self.get_to_know(&mut look);
        if self.servers.is_lacking() {
            return self.parked.put(need, Work::Look(id.to_owned()));
        }
        if !self.name_socket(&mut look) {
            return;
        }
        self.claim_sockets(id, &mut look);
        match look {
            // The kernel does not tell of a deleted directory while processes stand in it.
            Look::Unlisted => self.rescan_soon(),
            Look::Missing if self.follow_dangling(&not_started) => {}
            Look::Missing if known.is_none() => self.watcher.forget(id),
            // Nothing will tell when it can be.
            Look::Unknown(_) => self.rescan_at = self.rescan_at.min(clock::now() + RETRY),
            _ => {}
        }
        self.decide(Event::Looked { id: id.to_owned(), look, not_started });
        self.mend_doors(vec![id.to_owned()]);
    }

    /// What a file that is new or changed says to the emperor, and where its links lead.
    fn get_to_know(&mut self, look: &mut Look) {
        if let Look::Refused(refused) | Look::Disowned(refused, _) = look
            && let Some(id) = &refused.id
        {
            // What it leads to may be mended.
            self.follow(id, &refused.directory.join(&refused.name));
        }
        let Look::Found(found) = look else { return };
        let path = found.directory.join(&found.id);
        self.follow(&found.id, &path);
        // What is said of it is said of one open file, which may be another than the one that was looked at.
        let Ok(opened) = scan::open(&path, self.launcher.manner) else { return };
        (found.identity, found.tenant, found.owner) = (opened.identity, opened.tenant, Some(opened.owner));
        found.attributes = Attributes::read(&path, &opened.file, &self.attributes);
        found.program = self.launcher.programs_for(&found.attributes).into_iter().next();
        found.was = self.names_before(found);
    }

    /// The vassals that had this file under names which are gone.
    fn names_before(&self, found: &Found) -> Vec<String> {
        let fleet = self.handle.fleet();
        if fleet.vassals.contains_key(&found.id) {
            return Vec::new();
        }
        let is_gone = |path: &Path| {
            self.servers.pass(path).is_ok()
                && fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let known = fleet.vassals.values().filter(|known| known.identity.is_same_file(&found.identity));
        known.filter(|known| is_gone(&known.path)).map(|known| known.id.clone()).collect()
    }

    /// A link that leads nowhere leads somewhere as soon as that is there. Whether there is such a link.
    fn follow_dangling(&mut self, not_started: &[NotStarted]) -> bool {
        let dangling = not_started.iter().find_map(|refused| {
            let path = refused.directory.join(&refused.name);
            let is_link = self.servers.pass(&path).is_ok()
                && fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
            Some((refused.id.as_ref()?, path)).filter(|_| is_link)
        });
        let Some((id, path)) = dangling else { return false };
        self.follow(id, &path);
        if path.exists() {
            // It came before it was watched for.
            self.settle.note(id, Note::Changed, clock::now());
        }
        true
    }

    fn follow(&mut self, id: &str, path: &Path) {
        if self.watcher.follow(id, path) {
            self.rescan_soon();
        }
    }

    fn first_scan(&mut self, listing: Listing) {
        let unlisted = self.unlisted(&listing);
        self.keep_unclaimed_for(&listing.looks);
        for (id, mut look) in listing.looks {
            let of_name = |refused: &&NotStarted| refused.id.as_ref() == Some(&id);
            let not_started = listing.not_started.iter().filter(of_name).cloned().collect();
            self.get_to_know(&mut look);
            if self.name_socket(&mut look) {
                self.claim_sockets(&id, &mut look);
                self.decide(Event::Looked { id, look, not_started });
            }
        }
        for (id, look) in unlisted {
            self.decide(Event::Looked { id, look, not_started: Vec::new() });
        }
        self.decide(Event::FirstScanDone);
    }

    /// Lists the directories, and has every name looked at again whose file is not as it was.
    pub(super) fn rescan(&mut self) {
        let need = self.servers.need();
        self.survey(need);
    }

    /// The same, or puts it off until the servers that sources lie on have answered, or have not.
    pub(super) fn survey(&mut self, need: Need) {
        self.servers.begin(need);
        self.servers.ask_as_last_time();
        let listing = (!self.servers.is_lacking()).then(|| self.list()).flatten();
        let Some(listing) = listing else {
            self.rescan_at = clock::now() + self.rescan_every;
            return self.parked.put(need, Work::Survey);
        };
        match std::mem::replace(&mut self.surveyed, true) {
            false => self.first_scan(listing),
            true => self.compare(&listing),
        }
    }

    fn compare(&mut self, listing: &Listing) {
        let now = clock::now();
        let mut notes = Vec::new();
        {
            let fleet = self.handle.fleet();
            for (id, look) in &listing.looks {
                let known = fleet.vassals.get(id);
                let note = match (look, known) {
                    (Look::Unanswered(reason), Some(known)) if is_news(known, reason) => Note::Changed,
                    (Look::Found(found), Some(known))
                        if known.unseen.is_none()
                            && found.identity == known.identity
                            && found.directory == known.directory
                            && found.tenant == known.tenant =>
                    {
                        continue;
                    }
                    (Look::Missing, Some(_)) => Note::Removed,
                    (Look::Found(_), _) => Note::Changed,
                    (Look::Disowned(_, owner), Some(known)) if known.tenant != Some(*owner) => Note::Changed,
                    (Look::Refused(_) | Look::Disowned(..), Some(known))
                        if known.identity != FileIdentity::default() =>
                    {
                        Note::Changed
                    }
                    _ => continue,
                };
                notes.push((id.clone(), note));
            }
        }
        notes.extend(self.unlisted(listing).into_iter().map(|(id, look)| match look {
            Look::Missing => (id, Note::Removed),
            _ => (id, Note::Changed),
        }));
        for (id, note) in notes {
            if !self.settle.is_unsettled(&id) {
                self.settle.note(&id, note, now);
            }
        }
        let all: Vec<String> = self.handle.fleet().vassals.keys().cloned().collect();
        self.mend_doors(all);
    }

    /// The vassals that were not listed, and whose files are not there, or lie on servers that do not answer.
    fn unlisted(&self, listing: &Listing) -> Vec<(String, Look)> {
        let fleet = self.handle.fleet();
        let unlisted = fleet.vassals.values().filter(|known| !listing.looks.contains_key(&known.id));
        let looks = unlisted.filter_map(|known| match self.sources.look(&known.id, Some(&known.path)).0 {
            Look::Unanswered(reason) if !is_news(known, &reason) => None,
            look @ (Look::Missing | Look::Unanswered(_)) => Some((known.id.clone(), look)),
            // What is in a directory that cannot be listed is not known to be gone.
            _ => None,
        });
        looks.collect()
    }

    /// `None`: a server must be asked first.
    fn list(&mut self) -> Option<Listing> {
        self.rescanned = clock::now();
        if self.watcher.revive() {
            self.follow_links();
        }
        // Watched first, listed then: nothing falls in between.
        let unwatched = self.watcher.refresh();
        let blind = unwatched.iter().any(Option::is_some);
        let listing = self.sources.scan();
        if self.servers.is_lacking() {
            return None;
        }
        let warnings = audit::warnings(&self.sources);
        for refused in &listing.not_started {
            if refused.id.as_ref().and_then(|id| listing.looks.get(id)) == Some(&Look::Missing) {
                self.follow_dangling(std::slice::from_ref(refused));
            }
        }
        {
            let mut fleet = self.handle.fleet();
            let told = unwatched.into_iter().zip(warnings).zip(self.sources.bases());
            for (directory, ((unwatched, warning), (_, base))) in fleet.directories.iter_mut().zip(told) {
                if self.servers.pass(base).is_err() {
                    // That it cannot be listed says enough.
                    continue;
                }
                if let Some(warning) = warning.as_ref().filter(|_| directory.warning != warning) {
                    tracing::warn!("whoever can write there runs code as the emperor's user: {warning}");
                }
                directory.warning = warning;
                let path = directory.path.display();
                match &unwatched {
                    Some(_) if directory.unwatched == unwatched => {}
                    Some(reason) => {
                        tracing::warn!("changes in {path} are noticed by the rescan only: {reason}");
                    }
                    None if directory.unwatched.is_some() => {
                        tracing::info!("changes in {path} are noticed at once again");
                    }
                    None => {}
                }
                directory.unwatched = unwatched;
            }
        }
        let retry = match (listing.is_complete(), blind) {
            (false, _) => RETRY.min(self.rescan_every),
            (true, true) => BLIND.min(self.rescan_every),
            (true, false) => self.rescan_every,
        };
        self.rescan_at = self.rescanned + retry;
        let not_started = listing.not_started.clone();
        self.decide(Event::Listed { not_started, problems: listing.problems.clone() });
        Some(listing)
    }

    pub(super) fn follow_links(&mut self) {
        let paths: Vec<(String, PathBuf)> = {
            let fleet = self.handle.fleet();
            fleet.vassals.iter().map(|(id, vassal)| (id.clone(), vassal.path.clone())).collect()
        };
        for (id, path) in paths {
            self.follow(&id, &path);
        }
    }
}

/// Whether a vassal is not known yet to wait for this.
fn is_news(vassal: &Vassal, reason: &str) -> bool {
    vassal.unseen.as_deref() != Some(reason)
}
