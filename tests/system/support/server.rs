//! One instance without an emperor, started by a command line.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::Family;
use super::{LIEGE, extension};

/// A folder for one test, with files written into it.
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("liege-test-").tempdir().unwrap())
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders on its way, by an atomic rename.
    pub(crate) fn write(&self, name: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let fresh = self.path().join(".fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, path).unwrap();
    }
}

/// Starts `liege` with these arguments in the folder.
pub(crate) fn liege<A: AsRef<OsStr>>(folder: &Folder, arguments: &[A]) -> Family {
    extension();
    Family::start(
        Command::new(LIEGE).args(arguments).current_dir(folder.path()),
        &folder.path().join("liege.log"),
    )
}
