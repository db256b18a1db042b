//! A lock on a file between processes. The system gives it back when its holder dies.

use std::io;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::region;

/// The lock, held until this is dropped. It is the whole process's: threads need another one between them, and so does
/// who closes any other descriptor of the file meanwhile, which gives it back.
#[derive(Debug)]
pub struct RecordLock<F: AsFd>(F);

impl<F: AsFd> RecordLock<F> {
    /// The lock, if nobody has it.
    ///
    /// # Errors
    /// `fcntl`.
    pub fn try_take(file: F) -> io::Result<Option<Self>> {
        let is_ours = region::is_locked(fcntl(&file, FcntlArg::F_SETLK(&whole(libc::F_WRLCK))))?;
        // Made only if it is: dropping one frees it.
        Ok(is_ours.then(|| Self(file)))
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// `fcntl`.
    pub fn take(file: F) -> io::Result<Self> {
        loop {
            match fcntl(&file, FcntlArg::F_SETLKW(&whole(libc::F_WRLCK))) {
                Err(Errno::EINTR) => {}
                done => return done.map(|_| Self(file)).map_err(io::Error::from),
            }
        }
    }
}

impl<F: AsFd> Drop for RecordLock<F> {
    fn drop(&mut self) {
        let _ = fcntl(&self.0, FcntlArg::F_SETLK(&whole(libc::F_UNLCK)));
    }
}

fn whole(kind: libc::c_int) -> libc::flock {
    region::of(kind, 0, 0)
}
