//! A process whose parent died ends in time, also when it is busy with something that never ends.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::Signal;

static PARENT: AtomicI32 = AtomicI32::new(0);
static SECONDS: AtomicU32 = AtomicU32::new(0);

/// From so many seconds after the death of `parent` on, at least one, `SIGALRM` ends this process, whatever it does.
///
/// # Errors
/// `sigaction` or `prctl`.
pub fn die_after_parent(parent: u32, seconds: u32) -> io::Result<()> {
    PARENT.store(i32::try_from(parent).map_err(io::Error::other)?, Ordering::Relaxed);
    SECONDS.store(seconds.max(1), Ordering::Relaxed);
    let handler: extern "C" fn(libc::c_int) = parent_died;
    // SAFETY: all zero is an empty mask, no flags and the default handler; `parent_died` calls only functions that
    // are safe in a handler, and the signal is one that neither C libraries nor Python use for themselves.
    #[expect(unsafe_code, reason = "real-time signals have no name in nix")]
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        Errno::result(libc::sigaction(libc::SIGRTMAX(), &raw const action, std::ptr::null_mut()))?;
        Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGRTMAX()))?;
    }
    Ok(())
}

/// `SIGKILL` ends this process when its parent dies, also after an `execve`, unless its user changes; answers whether
/// the parent is still this one.
///
/// # Errors
/// `prctl`.
pub fn die_with_parent(parent: u32) -> io::Result<bool> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    Ok(u32::try_from(nix::unistd::getppid().as_raw()).is_ok_and(|pid| pid == parent))
}

/// The signal also comes when the child of a double fork loses the process in between, with the parent as the new one.
extern "C" fn parent_died(_signal: libc::c_int) {
    if nix::unistd::getppid().as_raw() == PARENT.load(Ordering::Relaxed) {
        return;
    }
    let alarm = Signal::SIGALRM as libc::c_int;
    // SAFETY: all of these may be called in a signal handler; the set and the action are valid for their calls.
    #[expect(unsafe_code, reason = "only bare system calls are allowed in a signal handler")]
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(alarm, &raw const action, std::ptr::null_mut());
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, alarm);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::alarm(SECONDS.load(Ordering::Relaxed));
    }
}
