//! Watched directories, by the `notify` crate. Reading a file causes no event here, so a look of ours never wakes us up.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind, RenameMode};
use notify::{Config, ErrorKind, EventKindMask, INotifyWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use super::signals;
use crate::damper::Damper;

/// How many changes wait to be taken; what is beyond is lost, and the directories are listed instead.
const WAITING: usize = 4096;

/// So many changes are read in 10 ms, and more if that takes less than [`BUSY`]: who changes files without end has
/// nobody busy with nothing else, nor waiting for a CPU that long.
const PORTION: u32 = 10;
const BUSY: Duration = Duration::from_micros(200);

/// Who took changes takes more of them no sooner: what happens meanwhile wakes up nobody. Twice as long each time that
/// there are more by then, up to the longest.
const TOGETHER: Duration = Duration::from_millis(5);
const LONGEST_TOGETHER: Duration = Duration::from_millis(40);

/// The watched directories, each known by its path without symbolic links.
#[derive(Debug)]
pub struct Directories {
    watcher: INotifyWatcher,
    /// Which directory (device, inode) is watched by each path.
    watched: BTreeMap<PathBuf, (u64, u64)>,
    inbox: Arc<Inbox>,
    /// When changes were taken last, and for how long none are taken then.
    taken: Cell<Option<(Instant, Duration)>>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Something happened to the file or directory of this path.
    Path(PathBuf, Kind),
    /// Changes were lost.
    Lost,
}

/// What happened to a path.
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
    /// `inotify_init1`, mostly because the limit `fs.inotify.max_user_instances` is reached, or there can be no thread;
    /// as a sentence.
    pub fn new() -> Result<Self, String> {
        let inbox = Arc::new(Inbox::default());
        let ear = Arc::clone(&inbox);
        let mut damper = Damper::new(PORTION, BUSY);
        // Closes tell when a file is written; opens and reads are nobody's concern.
        let kinds = EventKindMask::CORE | EventKindMask::ACCESS_CLOSE;
        let config = Config::default().with_event_kinds(kinds);
        let hear = move |event| {
            ear.put(event);
            if let Some(rest) = damper.hear(Instant::now()) {
                // What is the same again the kernel tells once meanwhile.
                thread::sleep(rest);
            }
        };
        let make = || INotifyWatcher::new(hear, config);
        let watcher = signals::with_all_blocked(make)
            .map_err(|error| format!("inotify: {error}"))?
            .map_err(|error| format!("inotify: {error} (see fs.inotify.max_user_instances)"))?;
        if let Err(error) = watcher.watched_paths() {
            // Nobody listens, and its destructor would insist on that.
            std::mem::forget(watcher);
            return Err(format!("inotify: its thread did not start: {error}"));
        }
        Ok(Self { watcher, watched: BTreeMap::new(), inbox, taken: Cell::default() })
    }

    /// Watches a directory, that which is at this path now; answers its path without symbolic links, by which changes
    /// in it are told.
    ///
    /// # Errors
    /// It is not there or no directory, may not be read, or `fs.inotify.max_user_watches` is reached; as a sentence.
    pub fn add(&mut self, directory: &Path) -> Result<PathBuf, String> {
        let real = directory.canonicalize().map_err(|error| error.to_string())?;
        let metadata = fs::metadata(&real).map_err(|error| error.to_string())?;
        if !metadata.is_dir() {
            return Err("not a directory".to_owned());
        }
        let identity = (metadata.dev(), metadata.ino());
        match self.watched.get(&real) {
            Some(known) if *known == identity => return Ok(real),
            // Another is at its path now.
            Some(_) => self.remove(&real),
            None => {}
        }
        self.watcher.watch(&real, RecursiveMode::NonRecursive).map_err(|error| match error.kind {
            ErrorKind::MaxFilesWatch => "fs.inotify.max_user_watches is reached".to_owned(),
            ErrorKind::Io(error) => error.to_string(),
            other => format!("{other:?}"),
        })?;
        self.watched.insert(real.clone(), identity);
        Ok(real)
    }

    /// Ends a watch. One that is over already is no error.
    pub fn remove(&mut self, real: &Path) {
        if self.watched.remove(real).is_some() {
            let _ = self.watcher.unwatch(real);
        }
    }

    /// The next changes, at least one. Cancel-safe.
    pub async fn next(&self) -> VecDeque<io::Result<Change>> {
        while self.inbox.lock().is_empty() {
            self.inbox.filled.notified().await;
        }
        let unrest = self.taken.get().filter(|(taken, pause)| taken.elapsed() < *pause);
        if let Some((taken, pause)) = unrest {
            sleep_until((taken + pause).into()).await;
        }
        let pause = unrest.map_or(TOGETHER, |(_, pause)| (pause * 2).min(LONGEST_TOGETHER));
        self.taken.set(Some((Instant::now(), pause)));
        std::mem::take(&mut *self.inbox.lock())
    }
}

/// Where the watcher's thread leaves what it reads. It never waits for the loop: a request to watch waits for that thread.
#[derive(Debug, Default)]
struct Inbox {
    changes: Mutex<VecDeque<io::Result<Change>>>,
    filled: Notify,
}

impl Inbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<io::Result<Change>>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, event: notify::Result<Event>) {
        let told = match event {
            Ok(event) => changes(event).map(Ok).collect(),
            Err(error) => vec![Err(io::Error::other(error))],
        };
        if told.is_empty() {
            return;
        }
        let mut changes = self.lock();
        let is_known = |one: &io::Result<Change>| matches!((changes.back(), one), (Some(Ok(last)), Ok(one)) if last == one);
        if told.iter().all(is_known) {
            // Once more what nobody has taken yet.
            return;
        }
        if changes.len() < WAITING {
            changes.extend(told);
        } else if !matches!(changes.back(), Some(Ok(Change::Lost))) {
            changes.push_back(Ok(Change::Lost));
        }
        drop(changes);
        self.filled.notify_one();
    }
}

fn changes(event: Event) -> impl Iterator<Item = Change> {
    let lost = event.need_rescan().then_some(Change::Lost);
    let kind = kind(event.kind);
    let paths = event.paths.into_iter();
    lost.into_iter().chain(paths.filter_map(move |path| kind.map(|kind| Change::Path(path, kind))))
}

fn kind(kind: EventKind) -> Option<Kind> {
    match kind {
        EventKind::Create(_) => Some(Kind::Created),
        EventKind::Modify(ModifyKind::Data(_)) => Some(Kind::Modified),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Kind::Closed),
        EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::To)) => Some(Kind::Complete),
        EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => Some(Kind::Removed),
        // A rename as a whole was told by its two halves.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_a_rename_and_a_removal_are_told_and_a_read_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut directories = Directories::new().unwrap();
        let real = directories.add(dir.path()).unwrap();
        assert_eq!(directories.add(&dir.path().join(".")).unwrap(), real);
        let (a, b) = (real.join("a"), real.join("b"));
        fs::write(&a, "x").unwrap();
        fs::read(&a).unwrap();
        fs::rename(&a, &b).unwrap();
        fs::remove_file(&b).unwrap();
        drop(dir);
        let expected = [
            (&a, Kind::Created),
            (&a, Kind::Modified),
            (&a, Kind::Closed),
            (&a, Kind::Removed),
            (&b, Kind::Complete),
            (&b, Kind::Removed),
            (&real, Kind::Removed),
        ];
        let mut seen = Vec::new();
        while seen.len() < expected.len() {
            seen.extend(directories.next().await.into_iter().map(Result::unwrap));
        }
        assert_eq!(seen, expected.map(|(path, kind)| Change::Path(path.clone(), kind)));
    }

    #[tokio::test]
    async fn a_path_means_the_directory_that_is_there_now() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        let mut directories = Directories::new().unwrap();
        let real = directories.add(&inner).unwrap();
        // Of a renamed directory above it nothing is told.
        fs::rename(&outer, dir.path().join("old")).unwrap();
        fs::create_dir_all(&inner).unwrap();
        assert_eq!(directories.add(&inner).unwrap(), real);
        fs::write(dir.path().join("old/inner/a"), "").unwrap();
        fs::write(inner.join("b"), "").unwrap();
        let seen = directories.next().await.into_iter().map(Result::unwrap).next();
        assert_eq!(seen, Some(Change::Path(real.join("b"), Kind::Created)));
        assert!(directories.add(&inner.join("b")).is_err());
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let inbox = Inbox::default();
        for n in 0..3 * WAITING {
            let event = Event::new(EventKind::Create(notify::event::CreateKind::File));
            for _ in 0..2 {
                inbox.put(Ok(event.clone().add_path(format!("/{n}").into())));
            }
            assert_eq!(inbox.lock().len(), (n + 1).min(WAITING + 1), "the same again is told once");
        }
        assert_eq!(inbox.lock().len(), WAITING + 1);
        assert_eq!(inbox.lock().back().unwrap().as_ref().unwrap(), &Change::Lost);
    }
}
