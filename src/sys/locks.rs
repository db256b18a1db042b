//! Locks between processes: each is a byte of an empty memory file, locked for a process by the kernel, which frees it
//! when that process ends, however it does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, fcntl};

use super::{memfd, region};

/// Locks between the processes that have this file. The threads of one process are one to them.
#[derive(Debug)]
pub struct Locks(OwnedFd);

impl Locks {
    /// New ones, all free.
    ///
    /// # Errors
    /// `memfd_create`, or sealing.
    pub fn create() -> io::Result<Self> {
        memfd::sealed("liege-locks", &[]).map(Self)
    }

    /// Those of a file that another process made. It must be the only descriptor of it here: closing another one frees
    /// what this process has.
    #[must_use]
    pub const fn of(file: OwnedFd) -> Self {
        Self(file)
    }

    /// The file, for another process.
    #[must_use]
    pub fn share(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits for a lock and takes it.
    ///
    /// # Errors
    /// `Interrupted`: a signal came. `Deadlock`: who has it waits for one of this process; as the kernel knows no threads,
    /// that may pass.
    pub fn wait(&self, number: u32) -> io::Result<()> {
        fcntl(&self.0, FcntlArg::F_SETLKW(&byte(number, libc::F_WRLCK)))?;
        Ok(())
    }

    /// Takes a lock if no other process has it.
    ///
    /// # Errors
    /// `fcntl`.
    pub fn take(&self, number: u32) -> io::Result<bool> {
        region::is_locked(fcntl(&self.0, FcntlArg::F_SETLK(&byte(number, libc::F_WRLCK))))
    }

    /// Frees a lock that this process has.
    ///
    /// # Errors
    /// `fcntl`.
    pub fn free(&self, number: u32) -> io::Result<()> {
        fcntl(&self.0, FcntlArg::F_SETLK(&byte(number, libc::F_UNLCK)))?;
        Ok(())
    }

    /// Which other process has a lock; 0 where that is not to be seen from here.
    #[must_use]
    pub fn holder(&self, number: u32) -> Option<u32> {
        let mut found = byte(number, libc::F_WRLCK);
        fcntl(&self.0, FcntlArg::F_GETLK(&mut found)).ok()?;
        let is_held = libc::c_int::from(found.l_type) != libc::F_UNLCK;
        is_held.then(|| u32::try_from(found.l_pid).unwrap_or(0))
    }
}

fn byte(number: u32, kind: libc::c_int) -> libc::flock {
    region::of(kind, number, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_no_obstacle_to_itself() {
        let locks = Locks::create().unwrap();
        assert!(locks.take(3).unwrap() && locks.take(3).unwrap());
        locks.wait(4).unwrap();
        assert_eq!((locks.holder(3), locks.holder(5)), (None, None));
        locks.free(3).unwrap();
        locks.free(5).unwrap();
    }
}
