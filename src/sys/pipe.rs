//! Pipes that our children write their output to.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
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

/// A plain pipe: the end to read and the end to write, close-on-exec.
///
/// # Errors
/// `pipe`.
pub fn plain() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(pipe2(OFlag::O_CLOEXEC)?)
}
