//! Files and directories whose change reloads the instance at once (`fs-reload`).

use std::future::pending;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::looker::Looker;
use super::master::{Master, Report};
use crate::config::instance::InstanceSpec;
use crate::sys::directories::{Change, Directories, Kind};
use crate::sys::filesystem;

/// What is written in several steps is one change: it is over when nothing more happens for so long …
const QUIET: Duration = Duration::from_millis(100);
/// … or after so long.
const LONGEST: Duration = Duration::from_secs(2);

/// The watch on them; ends when this is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    paths: Vec<PathBuf>,
    listening: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Watch {
    /// Watches what `spec` names, if anything; one that watches that already goes on.
    pub(super) fn renew(
        before: Option<Self>,
        spec: &InstanceSpec,
        reports: &mpsc::Sender<Report>,
    ) -> Option<Self> {
        let paths = &spec.fs_reload;
        if let Some(before) = before.filter(|before| before.paths == *paths) {
            return Some(before);
        }
        if paths.is_empty() {
            return None;
        }
        let listening = listen(Directories::new(), paths.clone(), reports.clone());
        Some(Self { paths: paths.clone(), listening: tokio::task::spawn_local(listening) })
    }
}

impl Master {
    pub(super) fn hear_change(&mut self, path: &Path) {
        self.reload_by_itself(format!("fs-reload of {}", path.display()), None);
    }
}

async fn listen(mut kernel: Result<Directories, String>, paths: Vec<PathBuf>, reports: mpsc::Sender<Report>) {
    let mut watched = watch_all(&mut kernel, &paths, true);
    let mut looker = Looker::default();
    looker.look_at(untold(&watched));
    loop {
        let Some(path) = next(&kernel, &watched, &mut looker).await else { continue };
        let over = Instant::now() + LONGEST;
        let mut quiet = Instant::now() + QUIET;
        while let Ok(more) = timeout_at(quiet.min(over), next(&kernel, &watched, &mut looker)).await {
            if more.is_some() {
                quiet = Instant::now() + QUIET;
            }
        }
        // What was replaced is watched anew.
        watched = watch_all(&mut kernel, &paths, false);
        looker.look_at(untold(&watched));
        if reports.send(Report::Changed(path)).await.is_err() {
            return;
        }
    }
}

/// What has changed, as the kernel tells it, or a look at those of which it tells nothing. Cancel-safe.
async fn next(
    kernel: &Result<Directories, String>,
    watched: &[Watched],
    looker: &mut Looker,
) -> Option<PathBuf> {
    let told = async {
        match kernel {
            Ok(kernel) => concerned(kernel.next().await.into_iter().flatten(), watched),
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        found = told => found,
        found = looker.changed() => found,
    }
}

/// Those that somebody has to look at.
fn untold(watched: &[Watched]) -> Vec<PathBuf> {
    watched.iter().filter(|watched| watched.untold).map(|watched| watched.path.clone()).collect()
}

/// One that is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Watched {
    /// As the configuration names it.
    path: PathBuf,
    /// By which changes of itself are told.
    itself: Option<PathBuf>,
    /// The directory that it is: what changes in it is told by its path.
    inside: Option<PathBuf>,
    /// Not everything is told: somebody has to look.
    untold: bool,
}

/// Watches the directory that each is in, where it may also appear or be replaced, and each that is a directory.
fn watch_all(kernel: &mut Result<Directories, String>, paths: &[PathBuf], tells: bool) -> Vec<Watched> {
    let mut all = Vec::new();
    for path in paths {
        let mut add = |path: &Path| kernel.as_mut().map_err(|reason| reason.clone())?.add(path);
        let above = path.parent().map_or(Err("it is in no directory".to_owned()), &mut add);
        let within = if path.is_dir() { add(path).map(Some) } else { Ok(None) };
        let remote = filesystem::tells_nothing(path).or_else(|| filesystem::tells_nothing(path.parent()?));
        let reason = above.as_ref().err().or(within.as_ref().err()).cloned().or(remote);
        if let (Some(reason), true) = (&reason, tells) {
            tracing::warn!("fs-reload: {} is looked at once a second: {reason}", path.display());
        }
        let itself = above.ok().zip(path.file_name()).map(|(above, name)| above.join(name));
        let inside = within.unwrap_or_default();
        all.push(Watched { path: path.clone(), itself, inside, untold: reason.is_some() });
    }
    all
}

/// The first of those that some change is about.
fn concerned(mut changes: impl Iterator<Item = Change>, watched: &[Watched]) -> Option<PathBuf> {
    changes.find_map(|change| {
        let found = match &change {
            // One of them may have changed.
            Change::Lost => watched.first(),
            // Of a file that was written its content was told.
            Change::Path(_, Kind::Closed) => None,
            Change::Path(path, _) => watched.iter().find(|watched| {
                let within = path.parent().filter(|_| watched.inside.is_some());
                watched.itself.as_ref() == Some(path)
                    || watched.inside.as_ref() == Some(path)
                    || within.is_some_and(|within| watched.inside.as_deref() == Some(within))
            }),
        };
        found.map(|watched| watched.path.clone())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_a_file_itself_and_a_directory_and_what_is_directly_in_it() {
        let watched = [
            Watched { path: "f".into(), itself: Some("/real/f".into()), inside: None, untold: false },
            Watched {
                path: "d".into(),
                itself: Some("/real/d".into()),
                inside: Some("/far/d".into()),
                untold: false,
            },
        ];
        for (path, kind, expected) in [
            ("/real/f", Kind::Modified, Some("f")),
            ("/real/f", Kind::Closed, None),
            ("/real/f", Kind::Removed, Some("f")),
            ("/real/f/x", Kind::Created, None),
            ("/real/other", Kind::Modified, None),
            ("/real/d", Kind::Complete, Some("d")),
            ("/far/d", Kind::Removed, Some("d")),
            ("/far/d/x", Kind::Modified, Some("d")),
            ("/far/d/x/y", Kind::Modified, None),
        ] {
            let found = concerned([Change::Path(path.into(), kind)].into_iter(), &watched);
            assert_eq!(found, expected.map(PathBuf::from), "{path}: {kind:?}");
        }
        assert_eq!(concerned([Change::Lost].into_iter(), &watched), Some("f".into()));
    }
}
