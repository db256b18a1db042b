//! Files whose change reloads the instance (`touch-reload`).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often they are looked at, as uWSGI does.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The watched files, as they were when they were last looked at.
#[derive(Debug)]
pub(super) struct Touched {
    files: Vec<(PathBuf, Option<Look>)>,
}

/// What of a file is compared: also a file that disappears or appears has changed.
type Look = (u64, i64, i64);

impl Touched {
    /// Begins to watch; `None` when there is nothing to watch.
    pub(super) fn watch(paths: &[PathBuf]) -> Option<Self> {
        let files: Vec<_> = paths.iter().map(|path| (path.clone(), look(path))).collect();
        (!files.is_empty()).then_some(Self { files })
    }

    /// The first file that changed since the last call.
    pub(super) fn changed(&mut self) -> Option<PathBuf> {
        let mut changed = None;
        for (path, before) in &mut self.files {
            let now = look(path);
            if now != *before {
                *before = now;
                changed.get_or_insert_with(|| path.clone());
            }
        }
        changed
    }
}

fn look(path: &Path) -> Option<Look> {
    fs::metadata(path).ok().map(|stat| (stat.ino(), stat.mtime(), stat.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_changes_or_goes_is_reported_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("reload");
        let mut touched = Touched::watch(std::slice::from_ref(&path)).unwrap();
        assert_eq!(touched.changed(), None);
        fs::write(&path, "").unwrap();
        assert_eq!(touched.changed(), Some(path.clone()));
        assert_eq!(touched.changed(), None);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(touched.changed(), Some(path.clone()));
        fs::remove_file(&path).unwrap();
        assert_eq!(touched.changed(), Some(path));
        assert!(Touched::watch(&[]).is_none());
    }
}
