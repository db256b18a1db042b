//! What the kernel tells of the watched directories, and of where symbolic links in them lead, as notes on names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::scan::{Links, Name};
use super::settle::Note;
use super::sources::{Place, Sources};
use crate::sys::ancestors::Ancestors;
use crate::sys::directories::{Change, Directories, Kind};
use crate::sys::filesystem;
use crate::sys::mounts::Mounts;

/// How many symbolic links are followed from one file, as the kernel does.
const LINKS: usize = 40;
/// How often the sources are looked through for directories until nothing new appears.
const LOOKS: usize = 3;

/// The watches on the directories, and on those that symbolic links lead through.
#[derive(Debug)]
pub struct Watcher {
    kernel: Result<Directories, String>,
    /// What is mounted over a directory is told of by nobody else; `None`: neither by the kernel.
    mounts: Option<Mounts>,
    /// That something was mounted is told once; the next [refresh](Self::refresh) sees all of it.
    mounted: bool,
    /// The directories above all that are watched; `None`: what moves there is noticed by the rescan only.
    ancestors: Option<Ancestors>,
    /// That one of them was moved, or one that is watched removed, is told once, too.
    moved: bool,
    sources: Rc<Sources>,
    /// The directories as they are watched, without links, each with what it is watched for.
    watched: BTreeMap<PathBuf, Vec<Place>>,
    /// What the sources' own paths lead through: directory without links, and name.
    ways: BTreeSet<(PathBuf, OsString)>,
    /// Where the links of a vassal lead.
    links: BTreeMap<String, Way>,
    /// Some could not be followed, as they lead to a server.
    unfollowed: bool,
}

/// What a path leads through by symbolic links.
#[derive(Debug, Default)]
struct Way {
    /// Each as directory without links, and name.
    hops: BTreeSet<(PathBuf, OsString)>,
    /// Why not every change on it is told, for the source in whose directory it begins.
    blind: Option<(PathBuf, String)>,
}

/// What is to be done about some changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Changes of names that may be vassals'.
    pub names: Vec<(String, Note)>,
    /// The directories must be listed again: events were lost, a directory came or went, or something was mounted.
    pub rescan: bool,
    /// A name changed that no vassal can have: it is listed with its reason at the next rescan.
    pub refused: bool,
}

impl Watcher {
    /// Watches nothing yet. Where the kernel tells nothing, the rescan alone notices changes.
    #[must_use]
    pub fn new(sources: Rc<Sources>) -> Self {
        let (watched, ways, links) = Default::default();
        let (kernel, mounts, ancestors) = (Directories::new(), Mounts::watch().ok(), Ancestors::new().ok());
        // What was mounted before this is not told.
        let (mounted, moved, unfollowed) = (true, false, false);
        Self { kernel, mounts, mounted, ancestors, moved, sources, watched, ways, links, unfollowed }
    }

    /// Tries again where the kernel told nothing. Whether the links are to be followed anew: it does now, or they may
    /// lead elsewhere since a directory was moved.
    pub fn revive(&mut self) -> bool {
        if self.ancestors.is_none() {
            self.ancestors = Ancestors::new().ok();
        }
        let unfollowed = std::mem::take(&mut self.unfollowed);
        if self.kernel.is_ok() {
            return self.moved || unfollowed;
        }
        self.kernel = Directories::new();
        self.kernel.is_ok()
    }

    /// Watches the directories of all sources, those again that were gone; answers for each source why changes in it
    /// are noticed by the rescan only.
    pub fn refresh(&mut self) -> Vec<Option<String>> {
        if self.mounted {
            self.sources.servers().look_again();
        }
        (self.mounted, self.moved) = (false, false);
        let sources = Rc::clone(&self.sources);
        let servers = sources.servers();
        let mut problems = vec![None; self.sources.bases().count()];
        let kernel = match &mut self.kernel {
            Ok(kernel) => kernel,
            Err(reason) => return vec![Some(reason.clone()); problems.len()],
        };
        let before: Vec<PathBuf> = self.watched.keys().cloned().collect();
        let ways = std::mem::take(&mut self.ways);
        // What appeared before its directory was watched is not told of: look once more, and once more.
        let mut places = Vec::new();
        for _ in 0..LOOKS {
            let seen = std::mem::replace(&mut places, self.sources.places());
            if seen == places {
                break;
            }
            self.watched.clear();
            for place in &places {
                let reached = servers.pass(&place.directory).map_err(|error| error.to_string());
                let added = reached.and_then(|()| kernel.add(&place.directory)).map(|real| {
                    self.watched.entry(real).or_default().push(place.clone());
                });
                let reason = added.err().or_else(|| filesystem::tells_nothing(&place.directory));
                note_problem(&mut problems, place.source, reason);
            }
        }
        for (problem, (_, base)) in problems.iter_mut().zip(self.sources.bases()) {
            // Otherwise there is a problem already.
            let way = servers.pass(base).map(|()| watched_way(kernel, base)).unwrap_or_default();
            *problem = problem.take().or(way.blind.map(|(_, reason)| reason));
            self.ways.extend(way.hops);
        }
        for (id, (from, reason)) in self.links.iter().filter_map(|(id, way)| Some((id, way.blind.as_ref()?)))
        {
            let source = places.iter().find(|place| place.directory == *from).map(|place| place.source);
            note_problem(&mut problems, source.unwrap_or_default(), Some(format!("{id} leads on: {reason}")));
        }
        self.drop_unused(before.into_iter().chain(ways.into_iter().map(|(directory, _)| directory)));
        if let Some(ancestors) = &mut self.ancestors {
            let hops = self.ways.iter().chain(self.links.values().flat_map(|way| &way.hops));
            let led_through = hops.map(|(directory, _)| directory);
            let led_through = led_through.map(PathBuf::as_path).filter(|path| servers.pass(path).is_ok());
            ancestors.renew(self.watched.keys().map(PathBuf::as_path), led_through);
        }
        problems
    }

    /// Watches every directory that the path of this file leads through by symbolic links. Whether some change on it is
    /// noticed by the rescan only, of which the last [refresh](Self::refresh) did not know.
    pub fn follow(&mut self, id: &str, path: &Path) -> bool {
        if self.sources.links() == Links::Themselves {
            return false;
        }
        let Ok(kernel) = &mut self.kernel else { return false };
        if self.sources.servers().pass(path).is_err() {
            self.unfollowed = true;
            return false;
        }
        let way = watched_way(kernel, path);
        if let Some(ancestors) = &mut self.ancestors {
            way.hops.iter().for_each(|(directory, _)| ancestors.add(directory));
        }
        let known = self.links.get(id);
        let is_news = way.blind.is_some() && known.is_none_or(|known| known.blind != way.blind);
        if way.hops.is_empty() && way.blind.is_none() && known.is_none() {
            return false;
        }
        let before = if way.hops.is_empty() && way.blind.is_none() {
            self.links.remove(id)
        } else {
            self.links.insert(id.to_owned(), way)
        };
        self.drop_unused(before.into_iter().flat_map(|way| way.hops).map(|(directory, _)| directory));
        is_news
    }

    /// The vassal is gone: its links are watched no more.
    pub fn forget(&mut self, id: &str) {
        let before = self.links.remove(id);
        self.drop_unused(before.into_iter().flat_map(|way| way.hops).map(|(directory, _)| directory));
    }

    /// The next changes. Cancel-safe; never returns where the kernel tells nothing.
    ///
    /// # Errors
    /// What the kernel tells cannot be read.
    pub async fn next(&mut self) -> io::Result<Notes> {
        let changes = tokio::select! {
            changes = changes_of(&self.kernel) => changes,
            () = move_of(self.ancestors.as_ref().filter(|_| !self.moved)) => {
                self.moved = true;
                return Ok(Notes { rescan: true, ..Notes::default() });
            }
            () = change_of(self.mounts.as_ref().filter(|_| !self.mounted)) => {
                self.mounted = true;
                self.sources.servers().look_again();
                return Ok(Notes { rescan: true, ..Notes::default() });
            }
        };
        let mut notes = Notes::default();
        for change in changes {
            self.note(change?, &mut notes);
        }
        Ok(notes)
    }

    fn note(&mut self, change: Change, notes: &mut Notes) {
        let (path, kind) = match change {
            Change::Lost => {
                notes.rescan = true;
                return;
            }
            Change::Path(path, kind) => (path, kind),
        };
        if kind == Kind::Removed {
            self.note_gone_directory(&path, notes);
        }
        // Who may list it may be others now.
        notes.rescan |= kind == Kind::Complete && self.watched.contains_key(&path);
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
        for place in self.watched.get(directory).into_iter().flatten() {
            let path = place.directory.join(name);
            match self.sources.name_of(place.source, &path) {
                Name::Vassal(id) if place.has_files => notes.names.push((id, self.note_of(kind, &path))),
                Name::Refused(_) => notes.refused = true,
                Name::Vassal(_) | Name::Other => {}
            }
            let comes_or_goes = matches!(kind, Kind::Created | Kind::Complete | Kind::Removed);
            if comes_or_goes && self.sources.leads_on(place.source, &path) {
                // Only directories lead on; of what is gone nobody knows what it was.
                let is_near = self.sources.servers().is_near(&path);
                notes.rescan |= kind == Kind::Removed || !is_near || path.is_dir();
            }
        }
        notes.rescan |= self.ways.iter().any(|(of, part)| of == directory && part == name);
        for (id, way) in &self.links {
            if way.hops.iter().any(|(of, part)| of == directory && part == name) {
                // Whatever lies on the way: the file at its end decides.
                let note = if kind == Kind::Removed { Note::Removed } else { Note::Changed };
                notes.names.push((id.clone(), note));
            }
        }
    }

    fn note_of(&self, kind: Kind, path: &Path) -> Note {
        match kind {
            Kind::Removed => Note::Removed,
            Kind::Closed => Note::Closed,
            Kind::Complete => Note::Changed,
            Kind::Modified => Note::Writing,
            Kind::Created => {
                // Links are made whole: nobody will close them. Of what lies on a server, nobody asks now.
                let being_written = !self.sources.servers().is_near(path)
                    || fs::symlink_metadata(path)
                        .is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1);
                if being_written { Note::Writing } else { Note::Changed }
            }
        }
    }

    /// A directory was removed or renamed: it would go on telling of names that are not at this path any more.
    fn note_gone_directory(&mut self, path: &Path, notes: &mut Notes) {
        if let Ok(kernel) = &mut self.kernel {
            kernel.remove(path);
        }
        notes.rescan |= self.watched.remove(path).is_some();
        let through = self.links.iter().filter(|(_, way)| way.hops.iter().any(|(of, _)| of == path));
        notes.names.extend(through.map(|(id, _)| (id.clone(), Note::Removed)));
    }

    fn drop_unused(&mut self, before: impl Iterator<Item = PathBuf>) {
        let Ok(kernel) = &mut self.kernel else { return };
        for directory in before {
            let used = self.watched.contains_key(&directory)
                || self
                    .ways
                    .iter()
                    .chain(self.links.values().flat_map(|way| &way.hops))
                    .any(|(other, _)| *other == directory);
            if !used {
                kernel.remove(&directory);
            }
        }
    }
}

async fn changes_of(kernel: &Result<Directories, String>) -> VecDeque<io::Result<Change>> {
    match kernel {
        Ok(kernel) => kernel.next().await,
        Err(_) => pending().await,
    }
}

async fn move_of(ancestors: Option<&Ancestors>) {
    let Some(ancestors) = ancestors else { return pending().await };
    if ancestors.moved().await.is_err() {
        pending().await
    }
}

async fn change_of(mounts: Option<&Mounts>) {
    let Some(mounts) = mounts else { return pending().await };
    if mounts.change().await.is_err() {
        pending().await
    }
}

/// Watches what this path leads through; the rescan notices what cannot be watched.
fn watched_way(kernel: &mut Directories, path: &Path) -> Way {
    let mut way = Way::default();
    for (directory, name) in hops(path).into_iter().map(nearest) {
        let reason = match kernel.add(&directory) {
            Ok(real) => {
                way.hops.insert((real, name));
                filesystem::tells_nothing(&directory)
            }
            // There may be one later: until then nothing changes there.
            Err(reason) => Some(reason).filter(|_| directory.is_dir()),
        };
        if let (Some(reason), None) = (reason, &way.blind) {
            way.blind = Some((path.parent().unwrap_or(path).to_owned(), reason));
        }
    }
    way
}

/// Where something appears first when this place, a directory and a name in it, comes to be.
fn nearest((mut directory, mut name): (PathBuf, OsString)) -> (PathBuf, OsString) {
    while !directory.is_dir() {
        let (Some(above), Some(own)) = (directory.parent(), directory.file_name()) else { break };
        (directory, name) = (above.to_owned(), own.to_owned());
    }
    (directory, name)
}

/// The first problem of a source counts.
fn note_problem(problems: &mut [Option<String>], source: usize, reason: Option<String>) {
    if let Some(problem @ None) = problems.get_mut(source) {
        *problem = reason;
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
    use crate::config::emperor::Source;

    fn directory(path: &Path) -> Rc<Sources> {
        let source = Source::Directory(path.to_owned());
        Rc::new(Sources::new(&[source], &[], Links::Followed.into()).unwrap())
    }

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
        let mut watcher = Watcher::new(directory(&watched));
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
        let mut watcher = Watcher::new(directory(&watched));
        assert!(watcher.refresh()[0].is_some());
        fs::create_dir(&watched).unwrap();
        assert_eq!(watcher.refresh(), [None]);
        fs::rename(&watched, dir.path().join("elsewhere")).unwrap();
        assert!(watcher.next().await.unwrap().rescan);
        assert!(watcher.refresh()[0].is_some());
    }
}
