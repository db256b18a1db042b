//! The file that an instance logs to: renamed when it is long enough or when somebody asks, opened anew when somebody
//! else renamed it.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::instance::{InstanceSpec, LogFileSpec};
use crate::sys::user::Identity;
use crate::sys::{clock, fd, output};
use crate::wire::failure::Failure;

/// The file behind descriptors 1 and 2 of this process.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    spec: LogFileSpec,
    /// It could not be renamed: not tried again at every line.
    is_stuck: bool,
}

impl LogFile {
    /// The one that a configuration names, if it does.
    pub(super) fn of(spec: &InstanceSpec) -> Option<Self> {
        let path = spec.log.logto2.as_ref().or(spec.log.logto.as_ref())?.clone();
        Some(Self { path, spec: spec.log.file.clone(), is_stuck: false })
    }

    /// Renames it if it is too long.
    pub(super) fn keep_short(&mut self) {
        let limit = self.spec.max_bytes;
        if limit == 0 || self.is_stuck {
            return;
        }
        let length = io::stderr().as_fd().try_clone_to_owned().map(fs::File::from);
        let length = length
            .and_then(|file| file.metadata())
            .map_or(0, |stat| if stat.is_file() { stat.len() } else { 0 });
        if length >= limit {
            self.rotate();
        }
    }

    /// Renames it, and begins a new one.
    pub(super) fn rotate(&mut self) {
        let backup = self.spec.backup.clone().unwrap_or_else(|| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{}", clock::epoch_seconds()));
            name.into()
        });
        match fs::rename(&self.path, &backup) {
            Ok(()) => self.reopen(),
            Err(error) => {
                self.is_stuck = true;
                tracing::warn!(
                    "the log {} cannot be renamed to {}: {error}",
                    self.path.display(),
                    backup.display()
                );
            }
        }
    }

    /// Opens it anew.
    pub(super) fn reopen(&mut self) {
        match log_to(&self.path, &self.spec) {
            Ok(()) => self.is_stuck = false,
            Err(failure) => {
                self.is_stuck = true;
                tracing::warn!("{failure}");
            }
        }
    }
}

/// Sends descriptors 1 and 2 to the end of a file.
///
/// # Errors
/// The file cannot be opened.
pub(super) fn log_to(path: &Path, spec: &LogFileSpec) -> Result<(), Failure> {
    let open = || {
        let file = output::append(path)?;
        if let Some(mode) = spec.chmod {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        fd::replace(&file, 1)?;
        fd::replace(&file, 2)
    };
    open().map_err(|error: io::Error| Failure::new(format!("cannot log to {}: {error}", path.display())))
}

/// Empties it, and gives it away, as the configuration says: at the start, before privileges drop.
///
/// # Errors
/// `ftruncate` or `fchown`.
pub(super) fn prepare(path: &Path, spec: &LogFileSpec, identity: &Identity) -> Result<(), Failure> {
    let prepare = || {
        let file = fs::File::from(io::stderr().as_fd().try_clone_to_owned()?);
        if !file.metadata()?.is_file() {
            return Ok(());
        }
        if spec.truncate {
            file.set_len(0)?;
        }
        if spec.chown {
            std::os::unix::fs::fchown(&file, Some(identity.uid()), Some(identity.gid()))?;
        }
        Ok(())
    };
    prepare().map_err(|error: io::Error| {
        Failure::new(format!("cannot prepare the log {}: {error}", path.display()))
    })
}
