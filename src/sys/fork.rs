//! The double fork: a child whose parent is not us but the nearest child sub-reaper above us. And the end of copies that
//! others make of us.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2};

/// Which side of the fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process that called; the new one's pid.
    Parent(u32),
    /// The new process.
    Child,
}

/// Forks a process that forks the new one and exits, so that the new one is re-parented to the sub-reaper.
///
/// # Errors
/// `pipe2` or either `fork`; there is no new process then.
///
/// # Safety
/// The child continues running all code of the program, so the process must have a single thread, or what the
/// other threads may have held (locks, the allocator's excepted: libc takes care of its own) must have been put
/// in order by the caller, as `PyOS_BeforeFork` does for the interpreter.
#[expect(unsafe_code, reason = "fork")]
pub unsafe fn double() -> io::Result<Side> {
    let (mut reader, mut writer) = pipe2(OFlag::O_CLOEXEC).map(|(r, w)| (File::from(r), File::from(w)))?;
    // SAFETY: the caller's promise; the intermediate process only forks, writes four bytes and exits.
    match unsafe { fork() }? {
        ForkResult::Child => {
            // SAFETY: as above.
            let forked = unsafe { fork() };
            let report = match forked {
                Ok(ForkResult::Child) => {
                    IS_COPY.store(false, Ordering::Relaxed);
                    return Ok(Side::Child);
                }
                Ok(ForkResult::Parent { child }) => child.as_raw(),
                // A negative number travels as the errno.
                Err(errno) => -(errno as i32),
            };
            let _ = writer.write_all(&report.to_ne_bytes());
            // SAFETY: ends this process at once, without running anybody's exit handlers twice.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut report = [0_u8; 4];
            let read = reader.read_exact(&mut report);
            reap(child);
            read?;
            let report = i32::from_ne_bytes(report);
            u32::try_from(report)
                .map(Side::Parent)
                .map_err(|_| io::Error::from_raw_os_error(report.saturating_neg()))
        }
    }
}

/// Whether this process is a copy that somebody forked of one that called [`know_copies`].
static IS_COPY: AtomicBool = AtomicBool::new(false);

/// Has [`end_copy`] know the copies that code of others forks of this process, and of those that [`double`] makes, from
/// now on. To be called once.
///
/// # Errors
/// `pthread_atfork`: there is no memory.
pub fn know_copies() -> io::Result<()> {
    extern "C" fn in_copy() {
        IS_COPY.store(true, Ordering::Relaxed);
    }
    // SAFETY: the handler stores into an atomic, as it may in the copy of a process with threads, and lives as long
    // as the process does.
    #[expect(unsafe_code, reason = "pthread_atfork")]
    match unsafe { libc::pthread_atfork(None, None, Some(in_copy)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Ends this process if it is a copy: at once and quietly, for everything that it could tidy up is its original's.
pub fn end_copy() {
    if IS_COPY.load(Ordering::Relaxed) {
        // SAFETY: _exit runs no exit handlers, which are the original's.
        #[expect(unsafe_code, reason = "_exit")]
        unsafe {
            libc::_exit(0)
        }
    }
}

fn reap(child: Pid) {
    while waitpid(child, None) == Err(Errno::EINTR) {}
}
