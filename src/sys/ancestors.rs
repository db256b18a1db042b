//! Directories above those that are watched. Of a move of one of them nothing below it is told; nor of the removal of one
//! that is watched, while somebody stands in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::reactor;
use crate::damper::PERIOD;

/// An ear for their moves, and for removals of certain directories in them. Nothing else that happens in or to them is
/// told, so it is quiet where others are busy.
#[derive(Debug)]
pub struct Ancestors {
    inotify: Inotify,
    ear: AsyncFd<OwnedFd>,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    /// In which of them which removals are of interest.
    removals: HashMap<WatchDescriptor, BTreeSet<OsString>>,
}

impl Ancestors {
    /// Listens to none yet.
    ///
    /// # Errors
    /// `inotify_init1`, mostly because the limit `fs.inotify.max_user_instances` is reached.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let ear = reactor::register_readable(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self { inotify, ear, watched: BTreeMap::new(), removals: HashMap::new() })
    }

    /// Listens to all directories above this one, whose path has no links in it. What cannot be listened to is passed
    /// over.
    pub fn add(&mut self, directory: &Path) {
        for above in above(directory) {
            if !self.watched.contains_key(above)
                && let Some(watch) = self.listen(above, false)
            {
                self.watched.insert(above.to_owned(), watch);
            }
        }
    }

    /// Listens to those above these directories, which are at their paths now, and to no others; for removals of the
    /// `watched`, too.
    pub fn renew<'a>(
        &mut self,
        watched: impl Iterator<Item = &'a Path>,
        others: impl Iterator<Item = &'a Path>,
    ) {
        let mut paths: BTreeMap<&Path, BTreeSet<&OsStr>> = BTreeMap::new();
        for directory in watched {
            if let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) {
                paths.entry(parent).or_default().insert(name);
            }
            for path in above(directory) {
                paths.entry(path).or_default();
            }
        }
        for path in others.flat_map(above) {
            paths.entry(path).or_default();
        }
        let before = std::mem::take(&mut self.watched);
        self.removals.clear();
        for (path, names) in paths {
            let Some(watch) = self.listen(path, !names.is_empty()) else { continue };
            self.watched.insert(path.to_owned(), watch);
            self.removals.entry(watch).or_default().extend(names.into_iter().map(OsStr::to_owned));
        }
        for watch in before.into_values().filter(|watch| !self.removals.contains_key(watch)) {
            // One that is gone is watched no more.
            let _ = self.inotify.rm_watch(watch);
        }
    }

    /// Waits until one was moved, or one that is watched removed. Cancel-safe.
    ///
    /// # Errors
    /// What the kernel tells cannot be read.
    pub async fn moved(&self) -> io::Result<()> {
        loop {
            let mut ready = self.ear.readable().await?;
            match self.inotify.read_events() {
                Ok(events) if events.iter().any(|event| self.matters(event)) => return Ok(()),
                // Others may remove files there without end.
                Ok(_) => sleep(PERIOD).await,
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Of others' removals, and of the end of a watch, it is told, too.
    fn matters(&self, event: &InotifyEvent) -> bool {
        let removed =
            |names: &BTreeSet<OsString>| event.name.as_ref().is_some_and(|name| names.contains(name));
        event.mask.intersects(AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_Q_OVERFLOW)
            || self.removals.get(&event.wd).is_some_and(removed)
    }

    fn listen(&self, directory: &Path, for_removals: bool) -> Option<WatchDescriptor> {
        let mut flags = AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
        flags.set(AddWatchFlags::IN_DELETE, for_removals);
        self.inotify.add_watch(directory, flags).ok()
    }
}

/// Nobody moves the root.
fn above(directory: &Path) -> impl Iterator<Item = &Path> {
    directory.ancestors().skip(1).filter(|above| above.parent().is_some())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn only_moves_of_those_above_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, low) = (dir.path().join("outer"), dir.path().join("outer/middle/low"));
        fs::create_dir_all(&low).unwrap();
        let mut ancestors = Ancestors::new().unwrap();
        ancestors.add(&low);
        fs::write(outer.join("file"), "").unwrap();
        fs::rename(&low, outer.join("middle/moved")).unwrap();
        assert_eq!(ancestors.inotify.read_events().err(), Some(Errno::EAGAIN));
        fs::rename(&outer, dir.path().join("old")).unwrap();
        ancestors.moved().await.unwrap();
        // What is at the path now counts.
        fs::create_dir_all(&low).unwrap();
        ancestors.renew([low.as_path()].into_iter(), std::iter::empty());
        fs::rename(dir.path().join("old"), dir.path().join("older")).unwrap();
        fs::create_dir(outer.join("middle/other")).unwrap();
        fs::remove_dir(outer.join("middle/other")).unwrap();
        let events = ancestors.inotify.read_events().unwrap();
        assert!(!events.iter().any(|event| ancestors.matters(event)), "{events:?}");
        fs::rename(outer.join("middle"), outer.join("elsewhere")).unwrap();
        ancestors.moved().await.unwrap();
        fs::remove_dir(outer.join("elsewhere/low")).unwrap();
        ancestors.moved().await.unwrap();
        ancestors.renew(std::iter::empty(), std::iter::empty());
        assert!(ancestors.watched.is_empty());
    }
}
