//! Files below directories, whatever links and dots lead to them: judged by the open file, never by its name.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Something that was found below one of the directories, not open for reading yet.
#[derive(Debug)]
pub struct Found {
    handle: File,
    /// Where it really is.
    pub path: PathBuf,
    /// What it is.
    pub metadata: Metadata,
}

/// Finds what a path leads to; `None`: nothing, or nothing that lies in one of `roots` or is one of them. No device or
/// FIFO is touched.
#[must_use]
pub fn find<'a>(path: &Path, mut roots: impl Iterator<Item = &'a Path>) -> Option<Found> {
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let handle = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let real = std::fs::read_link(number(&handle)).ok()?;
    let is_inside = roots.any(|root| root.canonicalize().is_ok_and(|root| real.starts_with(root)));
    let metadata = handle.metadata().ok().filter(|_| is_inside)?;
    Some(Found { handle, path: real, metadata })
}

impl Found {
    /// Opens the very same file for reading.
    ///
    /// # Errors
    /// `open`.
    pub fn open(&self) -> io::Result<File> {
        super::file::open_untrusted(&number(&self.handle))
    }
}

/// The name that leads to an open file itself.
fn number(handle: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", handle.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_outside_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for directory in ["in", "inside", "safe", "in/sub"] {
            std::fs::create_dir(at(directory)).unwrap();
        }
        for file in ["in/a", "inside/b", "safe/c", "in/sub/d", "out"] {
            std::fs::write(at(file), file).unwrap();
        }
        symlink(at("out"), at("in/to-out")).unwrap();
        symlink(at("safe"), at("in/to-safe")).unwrap();
        symlink("a", at("in/to-a")).unwrap();
        symlink(at("in"), at("current")).unwrap();
        symlink("loop", at("in/loop")).unwrap();
        nix::unistd::mkfifo(&at("in/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for (path, root, expected) in [
            ("in/a", "in", Some("in/a")),
            ("in/sub/../a", "in", Some("in/a")),
            ("in/to-a", "in", Some("in/a")),
            ("current/a", "current", Some("in/a")),
            ("in/a", "in/a", Some("in/a")),
            ("in/to-safe/c", "in", Some("safe/c")),
            ("in/to-out", "in", None),
            ("in/../out", "in", None),
            ("in/../inside/b", "in", None),
            ("inside/b", "in", None),
            ("in/none", "in", None),
            ("in/a/b", "in", None),
            ("in/loop", "in", None),
            ("in/a", "none", None),
        ] {
            let roots = [at(root), at("safe")];
            let found = find(&at(path), roots.iter().map(PathBuf::as_path));
            let read = found.map(|found| {
                let mut text = String::new();
                found.open().unwrap().read_to_string(&mut text).unwrap();
                text
            });
            assert_eq!(read.as_deref(), expected, "{path} in {root}");
        }
        let fifo = find(&at("in/fifo"), [at("in")].iter().map(PathBuf::as_path)).unwrap();
        assert!(!fifo.metadata.is_file());
    }
}
