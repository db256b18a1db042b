//! A configuration file: any bytes are read or refused in every format, within the limits, without a panic. What is
//! refused has an error, what is not has none.

use std::io;
use std::path::{Path, PathBuf};

use liege::config::load;
use liege::config::surroundings::{Facts, Kind, Surroundings};

pub(crate) fn check(input: &[u8]) {
    for path in ["/v/a.ini", "/v/a.json", "/v/a.yaml", "/v/a.xml"] {
        let loaded = load::vassal(path, input, &Nowhere);
        assert_eq!(loaded.spec.is_none(), loaded.errors().count() > 0, "{path}");
        assert!(loaded.diagnostics.len() < 1000, "{path}");
    }
}

/// A world with two variables and two files.
struct Nowhere;

impl Surroundings for Nowhere {
    fn variables(&self) -> Vec<(String, String)> {
        vec![("HOME".to_owned(), "/home".to_owned()), ("A".to_owned(), "%(x)$(A)".to_owned())]
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("/v")
    }

    fn read(&self, path: &Path, _limit: usize) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("b") => Ok(b"%(x) @(b)".to_vec()),
            Some("b.ini") => Ok(b"[uwsgi]\nini = :uwsgi\nx = %(y)\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn read_inherited(&self, _descriptor: u32, _limit: usize) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn kind(&self, path: &Path) -> Option<Kind> {
        path.starts_with("b").then_some(Kind::File)
    }

    fn locate(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(self.directory().join(path))
    }

    fn inode(&self, _path: &Path) -> Option<u64> {
        Some(1)
    }

    fn matches(&self, pattern: &str) -> Vec<String> {
        vec![pattern.to_owned(), "b".to_owned()]
    }

    fn facts(&self) -> Facts {
        Facts { cpus: 2, hostname: "host".to_owned(), ..Facts::default() }
    }
}
