//! Changes in directories, as the kernel tells them. Reading a file causes no event here, so a look of ours never
//! wakes us up again.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use super::reactor;

/// Watches directories inside a tokio runtime.
#[derive(Debug)]
pub struct Directories {
    inotify: Inotify,
    /// A duplicate of the same descriptor: the reactor wants to own what it waits for.
    readiness: AsyncFd<OwnedFd>,
}

/// Names a watched directory; the same directory twice has the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Watch(WatchDescriptor);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something happened to this name in the directory.
    Name(Watch, OsString, Kind),
    /// The directory itself was removed, renamed or unmounted: its watch is over.
    DirectoryGone(Watch),
    /// Events were lost.
    Overflow,
}

/// What happened to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was created; if it is a regular file, somebody may be writing it.
    Created,
    /// Its content is being changed.
    Modified,
    /// Somebody who had it open for writing closed it.
    Closed,
    /// It is there whole: renamed into place, or only its attributes (time stamps, link count) changed.
    Complete,
    /// It is gone.
    Removed,
}

impl Directories {
    /// Starts watching nothing yet.
    ///
    /// # Errors
    /// `inotify_init1`: the limit `fs.inotify.max_user_instances` is reached (`EMFILE`).
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let readiness = reactor::register_readable(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self { inotify, readiness })
    }

    /// Watches a directory; watching it again answers the same number.
    ///
    /// # Errors
    /// `inotify_add_watch`: it is not a directory, may not be read, or `fs.inotify.max_user_watches` is reached
    /// (`ENOSPC`).
    pub fn add(&self, directory: &Path) -> io::Result<Watch> {
        let mask = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        Ok(Watch(self.inotify.add_watch(directory, mask)?))
    }

    /// Ends a watch. One that is over already is no error.
    pub fn remove(&self, watch: Watch) {
        let _ = self.inotify.rm_watch(watch.0);
    }

    /// The next changes, at least one. Cancel-safe.
    ///
    /// # Errors
    /// Reading the descriptor.
    pub async fn next(&self) -> io::Result<Vec<Change>> {
        loop {
            let mut ready = self.readiness.readable().await?;
            match self.inotify.read_events() {
                Ok(events) => {
                    let changes: Vec<Change> = events
                        .into_iter()
                        .filter_map(|event| change(event.wd, event.mask, event.name))
                        .collect();
                    if !changes.is_empty() {
                        return Ok(changes);
                    }
                }
                Err(Errno::EAGAIN) => ready.clear_ready(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn change(watch: WatchDescriptor, mask: AddWatchFlags, name: Option<OsString>) -> Option<Change> {
    let watch = Watch(watch);
    if mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
        return Some(Change::Overflow);
    }
    if mask.intersects(
        AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_UNMOUNT,
    ) {
        return Some(Change::DirectoryGone(watch));
    }
    let kind = if mask.contains(AddWatchFlags::IN_CREATE) {
        Kind::Created
    } else if mask.contains(AddWatchFlags::IN_MODIFY) {
        Kind::Modified
    } else if mask.contains(AddWatchFlags::IN_CLOSE_WRITE) {
        Kind::Closed
    } else if mask.intersects(AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVED_FROM) {
        Kind::Removed
    } else {
        Kind::Complete
    };
    name.map(|name| Change::Name(watch, name, kind))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_write_a_rename_and_a_removal_are_told_and_a_read_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let directories = Directories::new().unwrap();
        let watch = directories.add(dir.path()).unwrap();
        assert_eq!(directories.add(dir.path()).unwrap(), watch);
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "x").unwrap();
        fs::read(&a).unwrap();
        fs::rename(&a, &b).unwrap();
        fs::remove_file(&b).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 6 {
            for change in directories.next().await.unwrap() {
                if let Change::Name(_, name, kind) = change {
                    seen.push((name.into_string().unwrap(), kind));
                }
            }
        }
        let expected = [
            ("a", Kind::Created),
            ("a", Kind::Modified),
            ("a", Kind::Closed),
            ("a", Kind::Removed),
            ("b", Kind::Complete),
            ("b", Kind::Removed),
        ];
        assert_eq!(seen, expected.map(|(name, kind)| (name.to_owned(), kind)));
        drop(dir);
        assert_eq!(directories.next().await.unwrap().first(), Some(&Change::DirectoryGone(watch)));
    }
}
