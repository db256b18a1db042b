//! FIFOs by which others give orders: made at a path, for their maker alone.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::sys::stat::{Mode, fstat};

use super::fd;
use super::user::current_uid;

/// Makes a FIFO that only this user can write to, in place of one that is there; gives both its ends in one, so that
/// there is no end of file when a writer goes. Reading never waits.
///
/// # Errors
/// Something else is at the path, or the directory may not be written to.
pub fn make(path: &Path) -> io::Result<OwnedFd> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_fifo() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what is there is no FIFO")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    // Who may write to the directory may have put something else there meanwhile.
    let metadata = file.metadata()?;
    if !metadata.file_type().is_fifo() || metadata.uid() != current_uid() {
        return Err(io::Error::other("somebody else put another file there"));
    }
    fd::duplicate_high(file)
}

/// Whether a path still leads to this very FIFO.
pub fn is_at(fifo: impl AsFd, path: &Path) -> bool {
    let (Ok(open), Ok(found)) = (fstat(fifo), fs::symlink_metadata(path)) else { return false };
    (open.st_dev, open.st_ino) == (found.dev(), found.ino())
}

/// Removes a FIFO's file, if it is still this one.
///
/// # Errors
/// `unlink`.
pub fn remove(fifo: impl AsFd, path: &Path) -> io::Result<()> {
    if is_at(fifo, path) { fs::remove_file(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_a_fifo_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (path, target) = (home.path().join("fifo"), home.path().join("target"));
        let first = make(&path).unwrap();
        assert!(is_at(&first, &path));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let second = make(&path).unwrap();
        assert!(is_at(&second, &path) && !is_at(&first, &path));
        remove(&first, &path).unwrap();
        assert!(path.exists(), "it is another one's");
        remove(&second, &path).unwrap();
        assert!(!path.exists());
        fs::write(&target, "kept").unwrap();
        symlink(&target, &path).unwrap();
        for taken in [&path, &target, &home.path().to_owned()] {
            assert_eq!(make(taken).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{taken:?}");
        }
        assert_eq!(fs::read(&target).unwrap(), b"kept");
    }
}
