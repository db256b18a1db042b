//! The emperor's pid file: opened with the rights of whoever starts it, written by the one emperor that may run.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::{host, output};
use crate::wire::failure::Failure;

/// A pid file.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Opens it, or makes it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = output::open_to_replace(path).map_err(|error| failure("open", path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes the pid of this process into it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&mut self) -> Result<(), Failure> {
        let pid = format!("{}\n", std::process::id());
        output::fill(&mut self.file, pid.as_bytes()).map_err(|error| failure("write", &self.path, &error))
    }

    /// Removes it.
    pub(super) fn remove(self) {
        let _ = std::fs::remove_file(self.path);
    }
}

/// Removes the one of the image before, which had another path, if it still holds our pid.
pub(super) fn remove_earlier(path: &Path) {
    if host::holds_pid(path, std::process::id())
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!("the pid file {} was not removed: {error}", path.display());
    }
}

fn failure(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot {what} the pid file {}: {error}", path.display()))
        .with_hint("make its directory, or say another path as emperor-pidfile")
}
