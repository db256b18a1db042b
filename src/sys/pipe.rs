//! Pipes that our children write their output to.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::pipe2;

/// A pipe for the output of children: the end to read, and the end to give them, close-on-exec. That end can be read
/// too, so that a write to it never fails because nobody else reads.
///
/// # Errors
/// `pipe`.
pub fn for_output() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = plain()?;
    let path = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let both = OpenOptions::new().read(true).write(true).open(path);
    Ok((reader, both.map_or_else(|_| writer, OwnedFd::from)))
}

/// The reading end of a pipe of which one end, or both in one, came from another process, non-blocking.
///
/// # Errors
/// It is no pipe, or one that another user has made.
pub fn read_end(end: impl AsFd) -> io::Result<OwnedFd> {
    let end = end.as_fd();
    let mode = SFlag::from_bits_truncate(fstat(end).map(|stat| stat.st_mode)?);
    if mode & SFlag::S_IFMT != SFlag::S_IFIFO {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no pipe"));
    }
    let path = format!("/proc/self/fd/{}", end.as_raw_fd());
    // Opening a FIFO without waiting also keeps a stranger's one from holding us up.
    Ok(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?.into())
}

/// A plain pipe: the end to read and the end to write, close-on-exec.
///
/// # Errors
/// `pipe`.
pub fn plain() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}
