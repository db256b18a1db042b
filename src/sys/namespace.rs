//! Namespaces of this process and of its children.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

/// Has `start` start a child that is the first process of a new namespace: it sees no process but its own.
///
/// # Errors
/// `unshare` (it needs `CAP_SYS_ADMIN`), `setns`, or what `start` says.
pub fn with_pids_of_its_own<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    // Of this thread: others that start children meanwhile are not concerned.
    let ours = File::open("/proc/thread-self/ns/pid")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    let started = start();
    setns(&ours, CloneFlags::CLONE_NEWPID)?;
    started
}

/// Gives this process mounts of its own: what is mounted by it is seen by nobody else, what the host mounts it sees.
///
/// # Errors
/// `unshare` or `mount`: it needs `CAP_SYS_ADMIN`.
pub fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_SLAVE, None::<&str>)?)
}

/// Has `/proc` show the processes of this process's own namespace; call [`own_mounts`] before.
///
/// # Errors
/// `mount`.
pub fn own_processes() -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    Ok(mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)?)
}

/// Gives this process System V IPC and POSIX message queues of its own.
///
/// # Errors
/// `unshare`.
pub fn own_ipc() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWIPC)?)
}

/// Gives this process a host name of its own, which it may change.
///
/// # Errors
/// `unshare`.
pub fn own_hostname() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWUTS)?)
}

/// Gives this process a network of its own, with nothing but a loopback interface.
///
/// # Errors
/// `unshare`, or that interface cannot be brought up.
pub fn own_network() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let asked = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: an ifreq is numbers and bytes: all zero is one.
    #[expect(unsafe_code, reason = "a structure of the C library")]
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: SIOCSIFFLAGS reads the name and the flags of the request, which lives through the call.
    #[expect(unsafe_code, reason = "there is no wrapper for SIOCSIFFLAGS")]
    let done = unsafe { libc::ioctl(asked.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
