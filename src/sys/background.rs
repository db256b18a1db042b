//! Going on in the background: the one place where a process of ours forks without an exec.

use std::io;

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
    nix::unistd::setsid()?;
    // A session leader could get a terminal again by opening one; its child cannot.
    fork_and_leave_parent()?;
    // A fork does not pass this on.
    Ok(nix::sys::prctl::set_child_subreaper(reaper)?)
}

fn fork_and_leave_parent() -> io::Result<()> {
    // SAFETY: the process has one thread (proved by the caller's argument; the child of the first fork has one by
    // nature), so no lock is held and no state is torn in the child.
    #[expect(unsafe_code, reason = "fork")]
    let fork = unsafe { nix::unistd::fork()? };
    if fork.is_parent() {
        // SAFETY: _exit runs no exit handlers: what is buffered belongs to the child now.
        #[expect(unsafe_code, reason = "_exit")]
        unsafe {
            libc::_exit(0)
        }
    }
    Ok(())
}
