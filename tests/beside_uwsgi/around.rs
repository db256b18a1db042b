//! A folder with files, and an environment that is the same for uWSGI and for us.

use std::io;
use std::path::{Path, PathBuf};

use liege::config::surroundings::{Facts, Kind, Surroundings, World};

use crate::cases::{Case, VARIABLES};

/// The real world but for the environment.
pub(crate) struct Around(World);

impl Around {
    pub(crate) fn at(folder: &Path) -> Self {
        Self(World::at(folder.to_owned()))
    }
}

impl Case {
    /// A folder with the files of the case.
    pub(crate) fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in self.files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }
}

impl Surroundings for Around {
    fn variables(&self) -> Vec<(String, String)> {
        VARIABLES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn directory(&self) -> PathBuf {
        self.0.directory()
    }

    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.0.read(path, limit)
    }

    fn read_inherited(&self, descriptor: u32, limit: usize) -> io::Result<Vec<u8>> {
        self.0.read_inherited(descriptor, limit)
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        self.0.kind(path)
    }

    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.locate(path)
    }

    fn inode(&self, path: &Path) -> Option<u64> {
        self.0.inode(path)
    }

    fn matches(&self, pattern: &str) -> Vec<String> {
        self.0.matches(pattern)
    }

    fn facts(&self) -> Facts {
        self.0.facts()
    }
}
