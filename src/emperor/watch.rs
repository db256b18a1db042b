//! What the kernel tells of the watched directories, and of where symbolic links in them lead, as notes on names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::scan::{self, Name};
use super::settle::Note;
use crate::sys::inotify::{Change, Directories, Kind, Watch};

/// How many symbolic links are followed from one file, as the kernel does.
const LINKS: usize = 40;

/// The watches on the directories, and on those that symbolic links lead through.
#[derive(Debug)]
pub struct Watcher {
    inotify: Result<Directories, String>,
    directories: Vec<PathBuf>,
    watched: BTreeMap<Watch, PathBuf>,
    links: BTreeMap<String, BTreeSet<(Watch, OsString)>>,
}

/// What is to be done about some changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Changes of names that may be vassals'.
    pub names: Vec<(String, Note)>,
    /// The directories must be listed again: events were lost, or a directory came or went.
    pub rescan: bool,
    /// A name changed that no vassal can have: it is listed with its reason at the next rescan.
    pub refused: bool,
}

impl Watcher {
    /// Watches nothing yet. Where inotify is not to be had, the rescan alone notices changes.
    #[must_use]
    pub fn new(directories: Vec<PathBuf>) -> Self {
        let inotify = Directories::new().map_err(|error| match error.raw_os_error() {
            Some(_) => format!("inotify: {error} (see fs.inotify.max_user_instances)"),
            None => format!("inotify: {error}"),
        });
        Self { inotify, directories, watched: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// Watches the directories, those again that were gone; answers for each why it is not watched.
    pub fn refresh(&mut self) -> Vec<Option<String>> {
        self.directories.clone().iter().map(|directory| self.watch_directory(directory).err()).collect()
    }

    /// Watches every directory that the path of this file leads through by symbolic links.
    pub fn follow(&mut self, id: &str, path: &Path) {
        let hops = hops(path);
        if hops.is_empty() && !self.links.contains_key(id) {
            return;
        }
        let Ok(inotify) = &self.inotify else { return };
        // The rescan notices what cannot be watched.
        let wanted: BTreeSet<(Watch, OsString)> = hops
            .into_iter()
            .filter_map(|(directory, name)| inotify.add(&directory).ok().map(|watch| (watch, name)))
            .collect();
        let before =
            if wanted.is_empty() { self.links.remove(id) } else { self.links.insert(id.to_owned(), wanted) };
        self.drop_unused(before.unwrap_or_default());
    }

    /// The vassal is gone: its links are watched no more.
    pub fn forget(&mut self, id: &str) {
        let before = self.links.remove(id);
        self.drop_unused(before.unwrap_or_default());
    }

    /// The next changes. Cancel-safe; never returns without inotify.
    ///
    /// # Errors
    /// Reading from inotify.
    pub async fn next(&mut self) -> io::Result<Notes> {
        let changes = match &self.inotify {
            Ok(inotify) => inotify.next().await?,
            Err(_) => return std::future::pending().await,
        };
        let mut notes = Notes::default();
        for change in changes {
            self.note(change, &mut notes);
        }
        Ok(notes)
    }

    fn watch_directory(&mut self, directory: &Path) -> Result<(), String> {
        let inotify = self.inotify.as_ref().map_err(Clone::clone)?;
        let watch = inotify.add(directory).map_err(|error| match error.kind() {
            io::ErrorKind::StorageFull => "fs.inotify.max_user_watches is reached".to_owned(),
            _ => error.to_string(),
        })?;
        self.watched.insert(watch, directory.to_owned());
        Ok(())
    }

    fn note(&mut self, change: Change, notes: &mut Notes) {
        let (watch, name, kind) = match change {
            Change::Overflow => {
                notes.rescan = true;
                return;
            }
            Change::DirectoryGone(watch) => {
                // A renamed directory would go on telling of names that are not in it any more.
                if let Ok(inotify) = &self.inotify {
                    inotify.remove(watch);
                }
                notes.rescan |= self.watched.remove(&watch).is_some();
                return;
            }
            Change::Name(watch, name, kind) => (watch, name, kind),
        };
        if let Some(directory) = self.watched.get(&watch) {
            match scan::judge(&name) {
                Name::Vassal(id) => {
                    let note = note_of(kind, &directory.join(&name));
                    notes.names.push((id, note));
                }
                Name::Refused(_) => notes.refused = true,
                Name::Other => {}
            }
        }
        for (id, links) in &self.links {
            if links.iter().any(|(of, part)| *of == watch && *part == name) {
                // Whatever lies on the way: the file at its end decides.
                let note = if kind == Kind::Removed { Note::Removed } else { Note::Changed };
                notes.names.push((id.clone(), note));
            }
        }
    }

    fn drop_unused(&mut self, before: BTreeSet<(Watch, OsString)>) {
        let Ok(inotify) = &self.inotify else { return };
        for (watch, _) in before {
            let used = self.watched.contains_key(&watch)
                || self.links.values().flatten().any(|(other, _)| *other == watch);
            if !used {
                inotify.remove(watch);
            }
        }
    }
}

fn note_of(kind: Kind, path: &Path) -> Note {
    match kind {
        Kind::Removed => Note::Removed,
        Kind::Closed => Note::Closed,
        Kind::Complete => Note::Changed,
        Kind::Modified => Note::Writing,
        Kind::Created => {
            // Links are made whole: nobody will close them.
            let being_written =
                fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1);
            if being_written { Note::Writing } else { Note::Changed }
        }
    }
}

/// The symbolic links on the way of this path, and the file at their end: each as directory and name. Empty when
/// there is no link.
fn hops(path: &Path) -> Vec<(PathBuf, OsString)> {
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
    let mut hops = Vec::new();
    let mut target = path.to_owned();
    if !is_link(path) {
        return hops;
    }
    for _ in 0..LINKS {
        let Some((link, rest)) = first_link(&target) else {
            let place = target.parent().zip(target.file_name());
            hops.extend(place.map(|(directory, name)| (directory.to_owned(), name.to_owned())));
            return hops;
        };
        let (Some(directory), Some(name), Ok(leads_to)) =
            (link.parent(), link.file_name(), fs::read_link(&link))
        else {
            return hops;
        };
        hops.push((directory.to_owned(), name.to_owned()));
        target = directory.join(leads_to).join(rest);
    }
    hops
}

/// The first symbolic link on a path, and what follows it there.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut walked = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        match component {
            Component::ParentDir => {
                walked.pop();
            }
            Component::CurDir => {}
            other => walked.push::<&OsStr>(other.as_os_str()),
        }
        if fs::symlink_metadata(&walked).is_ok_and(|metadata| metadata.is_symlink()) {
            return Some((walked, components.as_path().to_owned()));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    async fn names(watcher: &mut Watcher) -> Vec<(String, Note)> {
        let next = tokio::time::timeout(Duration::from_secs(5), watcher.next());
        next.await.expect("a change is told").unwrap().names
    }

    #[tokio::test]
    async fn files_and_what_links_lead_to_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        let (watched, release, next) = (base.join("watched"), base.join("release-1"), base.join("release-2"));
        for made in [&watched, &release, &next] {
            fs::create_dir(made).unwrap();
        }
        fs::write(release.join("app.ini"), "").unwrap();
        fs::write(next.join("app.ini"), "").unwrap();
        symlink("release-1", base.join("current")).unwrap();
        let mut watcher = Watcher::new(vec![watched.clone()]);
        assert_eq!(watcher.refresh(), [None]);
        let link = watched.join("a.ini");
        symlink("../current/app.ini", &link).unwrap();
        assert_eq!(names(&mut watcher).await, [("a.ini".to_owned(), Note::Changed)]);
        watcher.follow("a.ini", &link);
        fs::write(release.join("app.ini"), "1").unwrap();
        assert!(names(&mut watcher).await.iter().all(|(id, _)| id == "a.ini"));
        symlink("release-2", base.join("new")).unwrap();
        fs::rename(base.join("new"), base.join("current")).unwrap();
        let mut seen = names(&mut watcher).await;
        while !seen.contains(&("a.ini".to_owned(), Note::Changed)) {
            seen = names(&mut watcher).await;
        }
        watcher.forget("a.ini");
        fs::write(watched.join("other.txt"), "").unwrap();
        fs::write(watched.join("b.ini"), "").unwrap();
        let mut seen = names(&mut watcher).await;
        while seen.is_empty() {
            seen = names(&mut watcher).await;
        }
        assert_eq!(seen.first(), Some(&("b.ini".to_owned(), Note::Writing)));
    }

    #[test]
    fn a_loop_of_links_ends() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert_eq!(hops(&dir.path().join("a")).len(), LINKS);
        assert!(hops(dir.path()).is_empty());
    }

    #[tokio::test]
    async fn a_directory_that_goes_asks_for_a_rescan() {
        let dir = tempfile::tempdir().unwrap();
        let watched = dir.path().join("watched");
        let mut watcher = Watcher::new(vec![watched.clone()]);
        assert!(watcher.refresh()[0].is_some());
        fs::create_dir(&watched).unwrap();
        assert_eq!(watcher.refresh(), [None]);
        fs::rename(&watched, dir.path().join("elsewhere")).unwrap();
        assert!(watcher.next().await.unwrap().rescan);
        assert!(watcher.refresh()[0].is_some());
    }
}
