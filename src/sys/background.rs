//! Going on in the background: the one place where a process of ours forks without an exec.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::signals;

/// Proof that this process had one thread when it was made: a fork may go on running Rust code.
#[derive(Debug)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Counts the tasks of this process.
    ///
    /// # Errors
    /// There is more than one, or procfs cannot be read.
    pub fn prove() -> io::Result<Self> {
        match task_count()? {
            1 => Ok(Self(())),
            n => Err(io::Error::other(format!("cannot fork: this process has {n} threads"))),
        }
    }
}

/// How many threads this process has.
///
/// # Errors
/// Reading `/proc/self/task`.
pub fn task_count() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Leaves the caller's terminal, session and process for the background; returns in the new process only. The
/// caller's process exits with status 0. A child sub-reaper stays one.
///
/// # Errors
/// `fork`, `setsid` or `prctl`.
pub fn go_to_background(_proof: SingleThreaded) -> io::Result<()> {
    let reaper = nix::sys::prctl::get_child_subreaper()?;
    fork_and_leave_parent()?;
    settle_there(reaper)
}

/// The caller's process, which stays in the foreground until it is told how to end: with status 1 when this is dropped
/// before.
#[derive(Debug)]
pub struct Foreground(OwnedFd);

impl Foreground {
    /// The one at this end, which an image of this process before had.
    #[must_use]
    pub const fn at(end: OwnedFd) -> Self {
        Self(end)
    }

    /// What becomes readable when it is gone.
    #[must_use]
    pub const fn end_of_it(&self) -> &OwnedFd {
        &self.0
    }

    /// Ends it with this status; one that is gone already needs none.
    pub fn end(self, status: u8) {
        let _ = UnixStream::from(self.0).write_all(&[status]);
    }
}

/// The same, but the caller's process stays, and ends when it is told to. Signals end it as they would any program.
///
/// # Errors
/// `socketpair`, `fork`, `setsid` or `prctl`.
pub fn go_to_background_later(_proof: SingleThreaded) -> io::Result<Foreground> {
    let reaper = nix::sys::prctl::get_child_subreaper()?;
    let (ours, mut theirs) = UnixStream::pair()?;
    if is_parent_of_fork()? {
        drop(ours);
        let mut status = [1];
        if signals::unblock_all().is_ok() {
            // The end of the other one without a word leaves the status of a failure.
            let _ = theirs.read_exact(&mut status);
        }
        leave(status[0].into())
    }
    drop(theirs);
    settle_there(reaper)?;
    Ok(Foreground(ours.into()))
}

/// The new process gets a session of its own, and cannot get a terminal.
fn settle_there(reaper: bool) -> io::Result<()> {
    nix::unistd::setsid()?;
    // A session leader could get a terminal again by opening one; its child cannot.
    fork_and_leave_parent()?;
    // A fork does not pass this on.
    Ok(nix::sys::prctl::set_child_subreaper(reaper)?)
}

fn fork_and_leave_parent() -> io::Result<()> {
    if is_parent_of_fork()? {
        leave(0)
    }
    Ok(())
}

fn is_parent_of_fork() -> io::Result<bool> {
    // SAFETY: the process has one thread (proved by the caller's argument; the child of the first fork has one by
    // nature), so no lock is held and no state is torn in the child.
    #[expect(unsafe_code, reason = "fork")]
    let fork = unsafe { nix::unistd::fork()? };
    Ok(fork.is_parent())
}

fn leave(status: i32) -> ! {
    // SAFETY: _exit runs no exit handlers: what is buffered belongs to the child now.
    #[expect(unsafe_code, reason = "_exit")]
    unsafe {
        libc::_exit(status)
    }
}
