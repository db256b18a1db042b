//! File descriptors: flags, numbers, and taking over those that were handed to this process by number.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};

/// Descriptors that outlive an exec or must not be met by a subprocess of the app live at this number or above.
pub const HIGH: RawFd = 64;

/// Duplicates `fd`, close-on-exec, at the lowest free number from [`HIGH`] on, or, where this process may have no more of
/// those (`max-fd`), from 3 on.
///
/// # Errors
/// `fcntl(F_DUPFD_CLOEXEC)`: no number is free.
pub fn duplicate_high(fd: impl AsFd) -> io::Result<OwnedFd> {
    let from = |lowest| fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(lowest)).map(own);
    match from(HIGH) {
        Err(Errno::EINVAL | Errno::EMFILE) => Ok(from(3)?),
        high => Ok(high?),
    }
}

/// Whether this process may have so many descriptors more than it has.
#[must_use]
pub fn is_room_for(count: usize) -> bool {
    let input = io::stdin();
    let taken: Result<Vec<OwnedFd>, _> =
        (0..count).map(|_| fcntl(&input, FcntlArg::F_DUPFD_CLOEXEC(3)).map(own)).collect();
    !matches!(taken, Err(Errno::EMFILE))
}

/// Sets or clears close-on-exec.
///
/// # Errors
/// `fcntl(F_SETFD)`.
pub fn set_close_on_exec(fd: impl AsFd, on: bool) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(if on { FdFlag::FD_CLOEXEC } else { FdFlag::empty() }))?;
    Ok(())
}

/// Sets or clears `O_NONBLOCK` on the open file description (shared by all duplicates).
///
/// # Errors
/// `fcntl(F_GETFL)` or `fcntl(F_SETFL)`.
pub fn set_nonblocking(fd: impl AsFd, on: bool) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    let wanted = if on { flags | OFlag::O_NONBLOCK } else { flags & !OFlag::O_NONBLOCK };
    if wanted != flags {
        fcntl(&fd, FcntlArg::F_SETFL(wanted))?;
    }
    Ok(())
}

/// Takes over a descriptor that this process was started with, by its number (from the environment or a record).
///
/// # Errors
/// The number is not an open descriptor.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only borrowed for one F_GETFD, which is harmless on any number and fails on a closed one.
    #[expect(unsafe_code, reason = "the number comes from outside; this is the one place that checks it")]
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_GETFD)?;
    let owned = own(number);
    set_close_on_exec(&owned, true)?;
    Ok(owned)
}

/// Makes every descriptor above 2 that this process was started with close-on-exec, so that what the starter forgot
/// to close reaches none of our children. Those that are meant for us can still be taken over.
///
/// # Errors
/// Listing `/proc/self/fd`.
pub fn keep_private() -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| entry.map(|entry| entry.file_name()));
    let names = names.collect::<io::Result<Vec<_>>>()?;
    let mut inherited = Vec::new();
    for number in names.iter().filter_map(|name| name.to_str()?.parse::<RawFd>().ok()).filter(|&n| n > 2) {
        // The listing's own descriptor is closed by now.
        if let Ok(fd) = adopt(number) {
            // Whose it is shows later.
            inherited.push(fd.into_raw_fd());
        }
    }
    let _ = INHERITED.set(inherited);
    Ok(())
}

/// What [`keep_private`] found.
static INHERITED: OnceLock<Vec<RawFd>> = OnceLock::new();

/// The numbers of what [`keep_private`] found.
#[must_use]
pub fn inherited() -> &'static [RawFd] {
    INHERITED.get().map(Vec::as_slice).unwrap_or_default()
}

/// Duplicates a descriptor that whoever started this process left open for what it runs; none of our own making.
///
/// # Errors
/// There is none of that number.
pub fn duplicate_inherited(number: RawFd) -> io::Result<OwnedFd> {
    let is_known = number < HIGH && INHERITED.get().is_some_and(|known| known.contains(&number));
    if is_known { duplicate(number) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
}

/// The same of one that the service manager passes, whose numbers have no limit.
///
/// # Errors
/// There is none of that number.
pub fn duplicate_passed(number: RawFd) -> io::Result<OwnedFd> {
    let is_known = INHERITED.get().is_some_and(|known| known.contains(&number));
    if is_known { duplicate(number) } else { Err(io::Error::from_raw_os_error(libc::EBADF)) }
}

/// Duplicates a descriptor that something else in this process owns, by its number, close-on-exec.
///
/// # Errors
/// The number is not an open descriptor, or no number is free.
pub fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: only borrowed for one F_DUPFD_CLOEXEC, which is harmless on any number and fails on a closed one.
    #[expect(unsafe_code, reason = "the number comes from outside; the kernel checks it")]
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned()
}

/// Replaces descriptor `target` (0, 1 or 2) by a duplicate of `fd`, without close-on-exec.
///
/// # Errors
/// `dup2`.
pub fn replace(fd: impl AsFd, target: RawFd) -> io::Result<()> {
    let source = fd.as_fd().as_raw_fd();
    if source == target {
        return set_close_on_exec(fd, false);
    }
    // SAFETY: dup2 takes two numbers; `source` is open because it is borrowed, and `target` is a standard
    // stream that no OwnedFd of ours owns.
    #[expect(unsafe_code, reason = "nix's dup2 wants an OwnedFd for the target, which 0, 1 and 2 are not")]
    let done = unsafe { libc::dup2(source, target) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

pub(super) fn own(number: RawFd) -> OwnedFd {
    // SAFETY: callers pass a number that the kernel just returned, or that `adopt` found open and takes over.
    #[expect(unsafe_code, reason = "the one conversion from number to owner")]
    unsafe {
        OwnedFd::from_raw_fd(number)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn a_process_of_few_descriptors_has_no_high_ones() {
        let file = File::open("/dev/null").unwrap();
        assert!(duplicate_high(&file).unwrap().as_raw_fd() >= HIGH);
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(HIGH).unwrap(), hard).unwrap();
        let low = duplicate_high(&file);
        setrlimit(Resource::RLIMIT_NOFILE, u64::try_from(HIGH + 1).unwrap(), hard).unwrap();
        let (only, other) = (duplicate_high(&file), duplicate_high(&file));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert!((3..HIGH).contains(&low.unwrap().as_raw_fd()));
        assert!(
            [only, other].map(|fd| fd.unwrap().as_raw_fd()).iter().any(|number| (3..HIGH).contains(number))
        );
    }
}
