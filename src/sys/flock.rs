//! Locks on files, which last as long as their descriptor is open somewhere: over a fork and an `execve`, too.
//!
//! They are those of open file descriptions (`F_OFD_SETLK`), and exclude those that a uWSGI takes with `fcntl`.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::region;

/// Opens a regular file to be locked: it must be there, and be one that this process may write. It is neither waited for
/// nor changed.
///
/// # Errors
/// `open`, or it is no regular file.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    // A device may do something when it is opened: what it is is seen first.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    Ok(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?.into())
}

/// Locks it, unless somebody else has it locked; whether it is locked now.
///
/// # Errors
/// `fcntl`.
pub fn take(file: &OwnedFd) -> io::Result<bool> {
    region::is_locked(fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole())))
}

/// Locks it as soon as nobody else has it locked.
///
/// # Errors
/// `fcntl`.
pub fn wait_for(file: &OwnedFd) -> io::Result<()> {
    loop {
        match fcntl(file.as_fd(), FcntlArg::F_OFD_SETLKW(&whole())) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// For writing, from the first byte to the last.
fn whole() -> libc::flock {
    region::of(libc::F_WRLCK, 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_one_descriptors_and_its_duplicates() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        assert_eq!(open(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(open(home.path()).is_err());
        std::fs::write(&path, "").unwrap();
        let (one, other) = (open(&path).unwrap(), open(&path).unwrap());
        assert!(take(&one).unwrap() && take(&one).unwrap());
        assert!(!take(&other).unwrap());
        let duplicate = one.try_clone().unwrap();
        drop(one);
        assert!(!take(&other).unwrap());
        std::thread::scope(|threads| {
            let waiting = threads.spawn(|| wait_for(&other));
            drop(duplicate);
            waiting.join().unwrap().unwrap();
        });
        assert!(!take(&open(&path).unwrap()).unwrap());
    }
}
