//! How child processes ended.

use std::fmt;
use std::io;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::process::{Child, pid_t};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It exited with this status.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// Whether it exited with status 0.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Status(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status {status}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {number} ({signal})"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// Makes this process the parent of descendants whose own parent died. The attribute stays over an `execve`.
///
/// # Errors
/// `prctl`.
pub fn set_child_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Undoes [`set_child_subreaper`], for a program that is not ours and may never reap what it does not know.
///
/// # Errors
/// `prctl`.
pub fn end_child_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(false)?)
}

/// Reaps one child that has ended, whichever it is: ours, or one that was re-parented to us. `None`: there is none.
/// Call it until it says so, for one `SIGCHLD` may stand for many.
///
/// # Errors
/// `waitpid`, other than that there are no children at all.
pub fn reap_any() -> io::Result<Option<(u32, Exit)>> {
    // nix's waitpid reaps a child that died of a real-time signal and then reports an error without its pid.
    let mut status = 0;
    // SAFETY: waitpid writes one int to a valid place.
    #[expect(unsafe_code, reason = "waitpid without losing any pid")]
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    match u32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) => Ok(Some((pid, exit_of(status)))),
        Err(_) => match Errno::last() {
            Errno::ECHILD | Errno::EINTR => Ok(None),
            error => Err(error.into()),
        },
    }
}

/// A child that was stopped by a signal (`true`) or goes on (`false`) since this was asked last. `None`: there is none.
/// Call it until it says so, for one `SIGCHLD` may stand for many.
#[must_use]
pub fn next_halt() -> Option<(u32, bool)> {
    // An event of a child that ended stays for who reaps it: waitid tells without WEXITED only of the others.
    // SAFETY: a structure of numbers and pointers that may all be zero.
    #[expect(unsafe_code, reason = "the structure has private padding")]
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG;
    // SAFETY: waitid writes to a valid place, and `si_pid` is what it wrote there, or the zero from before.
    #[expect(unsafe_code, reason = "nix's waitid fails for signals that it does not know")]
    let (failed, pid) = unsafe { (libc::waitid(libc::P_ALL, 0, &raw mut info, flags), info.si_pid()) };
    let pid = u32::try_from(pid).ok().filter(|pid| failed == 0 && *pid != 0)?;
    Some((pid, info.si_code == libc::CLD_STOPPED))
}

/// Waits for one child of ours to end, and reaps it.
///
/// # Errors
/// `waitpid`: it is not our child, or was reaped already.
pub fn wait(child: &Child) -> io::Result<Exit> {
    let pid = pid_t(child.pid())?;
    loop {
        let mut status = 0;
        // SAFETY: waitpid writes one int to a valid place.
        #[expect(unsafe_code, reason = "waitpid without losing real-time signals")]
        let done = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if done == pid {
            return Ok(exit_of(status));
        }
        let error = Errno::last();
        if error != Errno::EINTR {
            return Err(error.into());
        }
    }
}

fn exit_of(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Status(libc::WEXITSTATUS(status))
    }
}
