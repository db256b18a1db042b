//! Looks at files and directories of which the kernel tells nothing, in a thread of its own: a file system of another
//! machine may be slow, or not answer at all, and the master's loop waits for nobody.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::touch;
use crate::sys::signals;

/// How many entries of a directory are looked at.
const MOST: usize = 10_000;

/// What is asked: which of these is the first that is not as it was?
type Question = (Vec<PathBuf>, oneshot::Sender<Option<PathBuf>>);

/// Who has it looked at them, and waits for what is found.
#[derive(Debug, Default)]
pub(super) struct Looker {
    paths: Vec<PathBuf>,
    thread: Option<mpsc::Sender<Question>>,
    answer: Option<oneshot::Receiver<Option<PathBuf>>>,
    /// That no thread can be had was said.
    said: bool,
}

impl Looker {
    /// Looks at these from now on, and at once, to know how they are; the same are looked at when it is time.
    pub(super) fn look_at(&mut self, paths: Vec<PathBuf>) {
        if self.paths != paths {
            self.paths = paths;
            self.ask();
        }
    }

    /// The first that has changed at the next look. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Option<PathBuf> {
        if self.paths.is_empty() {
            return pending().await;
        }
        if self.answer.is_none() {
            sleep(touch::INTERVAL).await;
            self.ask();
        }
        let found = self.answer.as_mut()?.await;
        self.answer = None;
        found.ok()?
    }

    fn ask(&mut self) {
        if self.paths.is_empty() {
            return;
        }
        if self.thread.is_none() {
            let mut seen = Seen::default();
            match start(move |paths| seen.changed(paths)) {
                Ok(thread) => self.thread = Some(thread),
                // It is tried again when it is time.
                Err(error) if !self.said => {
                    tracing::warn!("fs-reload: there can be no thread to look at files: {error}");
                    self.said = true;
                }
                Err(_) => {}
            }
        }
        let (tell, answer) = oneshot::channel();
        let question = (self.paths.clone(), tell);
        self.thread = self.thread.take().filter(|thread| thread.send(question).is_ok());
        self.answer = self.thread.is_some().then_some(answer);
    }
}

/// Starts the thread, which ends with who asks.
fn start(
    mut look: impl FnMut(&[PathBuf]) -> Option<PathBuf> + Send + 'static,
) -> io::Result<mpsc::Sender<Question>> {
    let (ask, questions) = mpsc::channel::<Question>();
    let run = move || {
        for (paths, tell) in questions {
            // Nobody may wait for it any more.
            let _ = tell.send(look(&paths));
        }
    };
    signals::with_all_blocked(|| thread::Builder::new().spawn(run))??;
    Ok(ask)
}

/// Those of which nothing is told, as they were seen last: what is at their paths, and directly in a directory.
#[derive(Debug, Default)]
struct Seen(BTreeMap<PathBuf, State>);

/// Inode, size and time of change of what has this name; that of the path itself is empty.
type State = BTreeMap<OsString, (u64, u64, i64, i64)>;

impl Seen {
    /// Looks at them; answers the first that is not as it was.
    fn changed(&mut self, paths: &[PathBuf]) -> Option<PathBuf> {
        let mut first = None;
        for path in paths {
            let now = look(path);
            let before = self.0.insert(path.clone(), now.clone());
            if before.is_some_and(|before| before != now) {
                first = first.or_else(|| Some(path.clone()));
            }
        }
        first
    }
}

fn look(path: &Path) -> State {
    let state =
        |metadata: fs::Metadata| (metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec());
    let inside = fs::read_dir(path).into_iter().flatten().flatten().take(MOST);
    let named = inside.map(|entry| (entry.file_name(), fs::metadata(entry.path())));
    let all = named.chain([(OsString::new(), fs::metadata(path))]);
    all.filter_map(|(name, metadata)| Some((name, state(metadata.ok()?)))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn where_nothing_is_told_a_look_finds_what_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, folder) = (dir.path().join("f"), dir.path().join("d"));
        let watched = [file.clone(), folder.clone()];
        let mut seen = Seen::default();
        let mut expect = |what: &str, expected: Option<&PathBuf>| {
            assert_eq!(seen.changed(&watched).as_ref(), expected, "{what}");
            assert_eq!(seen.changed(&watched), None, "{what}: told once");
        };
        expect("there is nothing", None);
        fs::write(&file, "").unwrap();
        expect("a file that appears", Some(&file));
        fs::write(&file, "longer").unwrap();
        expect("its content", Some(&file));
        fs::create_dir(&folder).unwrap();
        expect("a directory that appears", Some(&folder));
        fs::write(folder.join("x"), "").unwrap();
        expect("something in it", Some(&folder));
        fs::write(folder.join("x"), "longer").unwrap();
        expect("its content", Some(&folder));
        fs::remove_file(&file).unwrap();
        expect("a file that goes", Some(&file));
    }

    #[tokio::test]
    async fn who_waits_for_a_slow_look_is_not_held_up() {
        let (go_on, held) = mpsc::channel();
        let look = move |paths: &[PathBuf]| held.recv().ok().and_then(|()| paths.first().cloned());
        let mut looker = Looker { thread: Some(start(look).unwrap()), ..Looker::default() };
        looker.look_at(vec!["a".into()]);
        for _ in 0..2 {
            assert!(timeout(Duration::from_millis(10), looker.changed()).await.is_err(), "it looks");
        }
        go_on.send(()).unwrap();
        assert_eq!(looker.changed().await, Some("a".into()));
        looker.look_at(vec!["a".into()]);
        assert!(looker.answer.is_none(), "they are looked at when it is time");
        looker.look_at(vec!["b".into()]);
        go_on.send(()).unwrap();
        assert_eq!(looker.changed().await, Some("b".into()));
        // The thread is gone, for whatever reason.
        drop(go_on);
        looker.look_at(Vec::new());
        assert!(timeout(Duration::from_millis(10), looker.changed()).await.is_err(), "nothing to look at");
    }
}
