//! Files whose change reloads the instance (`touch-reload`), or does something with its log or its companions.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::hook;
use crate::config::instance::InstanceSpec;

/// How often they are looked at, as uWSGI does.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// The watched files, as they were when they were last looked at.
#[derive(Debug)]
pub(super) struct Touched {
    files: Vec<(PathBuf, Purpose, Option<Look>)>,
}

/// What the change of a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `touch-reload`.
    Reload,
    /// `touch-logrotate`.
    RotateLog,
    /// `touch-logreopen`.
    ReopenLog,
    /// `hook-touch`.
    Hook,
    /// `touch-exec`, `touch` of a daemon.
    Companion,
}

/// What of a file is compared: also a file that disappears or appears has changed.
type Look = (u64, i64, i64);

impl Touched {
    /// Begins to watch; `None` when there is nothing to watch.
    pub(super) fn watch(spec: &InstanceSpec) -> Option<Self> {
        let log = &spec.log.file;
        let companions: BTreeSet<&PathBuf> = spec.companions.touches().collect();
        let files: Vec<_> = [
            (Purpose::Reload, &spec.touch_reload),
            (Purpose::RotateLog, &log.rotate_on),
            (Purpose::ReopenLog, &log.reopen_on),
        ]
        .into_iter()
        .flat_map(|(purpose, paths)| paths.iter().map(move |path| (purpose, path)))
        .chain(hook::touched(&spec.hooks).map(|path| (Purpose::Hook, path)))
        .chain(companions.into_iter().map(|path| (Purpose::Companion, path)))
        .map(|(purpose, path)| (path.clone(), purpose, look(path)))
        .collect();
        (!files.is_empty()).then_some(Self { files })
    }

    /// Watches the files of a new configuration. A file that was watched before is compared with what it was then: one
    /// that is touched while a generation loads is not missed.
    pub(super) fn renew(before: Option<Self>, spec: &InstanceSpec) -> Option<Self> {
        let mut renewed = Self::watch(spec)?;
        for (path, purpose, seen) in before.into_iter().flat_map(|before| before.files) {
            let is_same = |(known, what, _): &&mut (PathBuf, Purpose, _)| *known == path && *what == purpose;
            if let Some((_, _, look)) = renewed.files.iter_mut().find(is_same) {
                *look = seen;
            }
        }
        Some(renewed)
    }

    /// The files that changed since the last call.
    pub(super) fn changed(&mut self) -> Vec<(PathBuf, Purpose)> {
        let mut changed = Vec::new();
        for (path, purpose, before) in &mut self.files {
            let now = look(path);
            if now != *before {
                *before = now;
                changed.push((path.clone(), *purpose));
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

    fn reloading(paths: &[&PathBuf]) -> InstanceSpec {
        InstanceSpec {
            touch_reload: paths.iter().map(|path| (*path).clone()).collect(),
            ..InstanceSpec::default()
        }
    }

    #[test]
    fn a_file_that_appears_changes_or_goes_is_reported_once() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("reload");
        let mut spec = reloading(&[&path]);
        spec.log.file.rotate_on = vec![path.clone()];
        let told = vec![(path.clone(), Purpose::Reload), (path.clone(), Purpose::RotateLog)];
        let mut touched = Touched::watch(&spec).unwrap();
        assert_eq!(touched.changed(), vec![]);
        fs::write(&path, "").unwrap();
        assert_eq!(touched.changed(), told);
        assert_eq!(touched.changed(), vec![]);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(touched.changed(), told);
        fs::remove_file(&path).unwrap();
        assert_eq!(touched.changed(), told);
        assert!(Touched::watch(&InstanceSpec::default()).is_none());
    }

    #[test]
    fn a_file_touched_before_a_new_configuration_is_in_force_is_reported() {
        let home = tempfile::tempdir().unwrap();
        let (kept, gone, new) = (home.path().join("kept"), home.path().join("gone"), home.path().join("new"));
        let before = Touched::watch(&reloading(&[&kept, &gone]));
        for path in [&kept, &gone, &new] {
            fs::write(path, "").unwrap();
        }
        let mut touched = Touched::renew(before, &reloading(&[&new, &kept])).unwrap();
        assert_eq!(touched.changed(), vec![(kept, Purpose::Reload)]);
        assert_eq!(touched.changed(), vec![]);
    }
}
