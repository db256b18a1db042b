//! What the tests share: hosts and servers that are started and ended, clients, load, and waits with deadlines.

pub(crate) mod apps;
#[path = "../../support/far.rs"]
pub(crate) mod far;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod load;
#[path = "../../support/port.rs"]
mod port;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod terminal;
#[path = "../../support/tls.rs"]
pub(crate) mod tls;
pub(crate) mod uwsgi;
pub(crate) mod wait;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use port::free_port;

/// The binary under test.
pub(crate) const LIEGE: &str = env!("CARGO_BIN_EXE_liege");

/// The extension that the binary under test will find: beside it, else in `deps`.
///
/// `cargo test` renews the one in `deps` only, so the one beside the binary can be older than the code.
pub(crate) fn extension() -> PathBuf {
    let folder = Path::new(LIEGE).parent().unwrap();
    let beside = folder.join("libliege.so");
    if !beside.exists() {
        return folder.join("deps/libliege.so");
    }
    let built = beside.metadata().unwrap().modified().unwrap();
    assert!(built >= newest(&root().join("src")), "{} is older than the code: cargo build", beside.display());
    beside
}

/// When a file below this folder was last changed.
fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let times = entries.map(|entry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => newest(&entry.path()),
        metadata => metadata.modified().unwrap(),
    });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// The root of the clone.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One of the virtualenvs of `tests/make-environments`; without it the test says that it is skipped.
pub(crate) fn environment(name: &str) -> Option<PathBuf> {
    let path = root().join("tests/.venv").join(name);
    if path.join("complete").exists() {
        return Some(path);
    }
    eprintln!("skipped: the virtualenv {} is not there (tests/make-environments makes it)", path.display());
    None
}

/// A program of the machine; without it the test says that it is skipped.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} is not installed");
    }
    found
}
