//! An imagined world for tests.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::socket::PassedSocket;
use crate::config::surroundings::{Facts, Kind, Surroundings};

/// A world with nothing but these files, this environment and the directory `/srv`.
#[derive(Clone, Debug, Default)]
pub(in crate::config) struct Imagined {
    pub(in crate::config) files: BTreeMap<PathBuf, Vec<u8>>,
    pub(in crate::config) variables: BTreeMap<String, String>,
    pub(in crate::config) passed: Vec<PassedSocket>,
}

impl Imagined {
    pub(in crate::config) fn new(files: &[(&str, &str)]) -> Self {
        let files =
            files.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec())).collect();
        Self { files, ..Self::default() }
    }

    pub(in crate::config) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    fn path(&self, path: &Path) -> PathBuf {
        self.directory().join(path)
    }
}

impl Surroundings for Imagined {
    fn variables(&self) -> Vec<(String, String)> {
        self.variables.clone().into_iter().collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("/srv")
    }

    fn read(&self, path: &Path, _limit: usize) -> io::Result<Vec<u8>> {
        self.files.get(&self.path(path)).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_inherited(&self, _descriptor: u32, _limit: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn run(&self, command: &str, _limit: usize) -> io::Result<Vec<u8>> {
        match command.strip_prefix("echo ") {
            Some(words) => Ok(format!("{}\n", words.replace('|', "\n")).into_bytes()),
            None if command == "later" => Err(io::ErrorKind::Unsupported.into()),
            None => Err(io::Error::other("the command failed")),
        }
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        let path = self.path(path);
        if self.files.contains_key(&path) {
            return Some(Kind::File);
        }
        self.files.keys().any(|file| file.starts_with(&path)).then_some(Kind::Directory)
    }

    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.path(path))
    }

    fn inode(&self, _path: &Path) -> Option<u64> {
        Some(17)
    }

    fn matches(&self, pattern: &str) -> Vec<String> {
        let Ok(pattern) = glob::Pattern::new(pattern) else { return Vec::new() };
        let files = self.files.keys().map(|path| path.to_string_lossy().into_owned());
        files.filter(|path| pattern.matches(path)).collect()
    }

    fn passed(&self) -> Vec<PassedSocket> {
        self.passed.clone()
    }

    fn facts(&self) -> Facts {
        Facts { cpus: 2, hostname: "host".to_owned(), uid: 1000, user: "me".to_owned(), ..Facts::default() }
    }
}
