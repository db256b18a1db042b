//! What this process may use, and how it makes files.

use std::io;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

/// Ends this process by a signal after so many seconds of CPU time.
///
/// # Errors
/// `setrlimit`.
pub fn limit_cpu_seconds(seconds: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_CPU, seconds, seconds.saturating_add(1))?)
}

/// Refuses this process more than so many bytes of address space.
///
/// # Errors
/// `setrlimit`.
pub fn limit_memory_bytes(bytes: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_AS, bytes, bytes)?)
}

/// Lets this process have so many descriptors.
///
/// # Errors
/// `setrlimit`: only root may raise it.
pub fn limit_files(count: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NOFILE, count, count)?)
}

/// Lets the user of this process have so many processes.
///
/// # Errors
/// `setrlimit`: only root may raise it.
pub fn limit_processes(count: u64) -> io::Result<()> {
    Ok(setrlimit(Resource::RLIMIT_NPROC, count, count)?)
}

/// Gives this process, and all that it starts from now on, this nice value.
///
/// # Errors
/// `setpriority`: only root may make it smaller.
pub fn set_nice(nice: i32) -> io::Result<()> {
    // SAFETY: only numbers are passed.
    #[expect(unsafe_code, reason = "there is no wrapper for setpriority")]
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The nice value of this process.
#[must_use]
pub fn nice() -> i32 {
    // SAFETY: only numbers are passed. It fails for nobody who is there.
    #[expect(unsafe_code, reason = "there is no wrapper for getpriority")]
    unsafe {
        libc::getpriority(libc::PRIO_PROCESS, 0)
    }
}

/// The mode of unix sockets unless an option says otherwise: what the umask leaves, never writable for the world.
#[must_use]
pub fn socket_mode() -> u32 {
    let umask = set_umask(0o077);
    set_umask(umask);
    0o664 & !umask
}

/// Sets which permissions new files never get, and answers what it was.
pub fn set_umask(mode: u32) -> u32 {
    umask(Mode::from_bits_truncate(mode)).bits()
}
