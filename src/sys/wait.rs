//! Waiting for one descriptor, outside any runtime.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Waits until `fd` can be read or its peer is gone; `false` when the time is over. `None` waits for ever.
///
/// # Errors
/// `poll`.
pub fn readable(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait(fd.as_fd(), PollFlags::POLLIN, timeout)
}

/// Waits until `fd` can be written or its peer is gone; `false` when the time is over. `None` waits for ever.
///
/// # Errors
/// `poll`.
pub fn writable(fd: impl AsFd, timeout: Option<Duration>) -> io::Result<bool> {
    wait(fd.as_fd(), PollFlags::POLLOUT, timeout)
}

/// Waits until one of these can be read or its peer is gone, and answers the first; `None` when the time is over.
///
/// # Errors
/// `poll`.
pub fn any_readable(fds: &[BorrowedFd<'_>], timeout: Option<Duration>) -> io::Result<Option<usize>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    if !wait_for(&mut polled, timeout)? {
        return Ok(None);
    }
    Ok(polled.iter().position(|fd| fd.any().unwrap_or(true)))
}

/// The same, but a signal that the process handles ends the waiting, too.
///
/// # Errors
/// `Interrupted`, and others of `poll`.
pub fn any_readable_or_signal(
    fds: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> io::Result<Option<usize>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    let count = poll(&mut polled, rounded_up(timeout))?;
    Ok(polled.iter().position(|fd| fd.any().unwrap_or(true)).filter(|_| count > 0))
}

fn wait(fd: BorrowedFd<'_>, flags: PollFlags, timeout: Option<Duration>) -> io::Result<bool> {
    wait_for(&mut [PollFd::new(fd, flags)], timeout)
}

fn wait_for(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match poll(fds, rounded_up(left)) {
            Err(Errno::EINTR) => {}
            Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A wait that ends a fraction early would spin until its deadline.
fn rounded_up(left: Option<Duration>) -> PollTimeout {
    left.map_or(PollTimeout::NONE, |left| {
        PollTimeout::try_from((left + Duration::from_micros(999)).as_millis()).unwrap_or(PollTimeout::MAX)
    })
}
