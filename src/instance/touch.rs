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

    /// Watches the files of a new configuration. A file that was watched before is compared with what it was then: one
    /// that is touched while a generation loads is not missed.
    pub(super) fn renew(before: Option<Self>, paths: &[PathBuf]) -> Option<Self> {
        let mut renewed = Self::watch(paths)?;
        for (path, seen) in before.into_iter().flat_map(|before| before.files) {
            if let Some((_, look)) = renewed.files.iter_mut().find(|(watched, _)| *watched == path) {
                *look = seen;
            }
        }
        Some(renewed)
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

    #[test]
    fn a_file_touched_before_a_new_configuration_is_in_force_is_reported() {
        let home = tempfile::tempdir().unwrap();
        let (kept, gone, new) = (home.path().join("kept"), home.path().join("gone"), home.path().join("new"));
        let before = Touched::watch(&[kept.clone(), gone.clone()]);
        for path in [&kept, &gone, &new] {
            fs::write(path, "").unwrap();
        }
        let mut touched = Touched::renew(before, &[new, kept.clone()]).unwrap();
        assert_eq!(touched.changed(), Some(kept));
        assert_eq!(touched.changed(), None);
    }
}
