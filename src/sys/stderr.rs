//! Writing to standard error, and other descriptors that others read, without ever waiting for the reader.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::write;

/// A pipe takes up to this many bytes whole or not at all; longer lines would mix with those of other processes.
pub const LINE_LIMIT_BYTES: usize = libc::PIPE_BUF;

/// The way to this process's standard error, found again whenever descriptor 2 becomes another file.
#[derive(Debug, Default)]
pub struct Stderr(Ways);

/// Any other descriptor to write lines to.
#[derive(Debug)]
pub struct Descriptor {
    fd: OwnedFd,
    ways: Ways,
}

/// The way to a descriptor, as long as it is the same file.
#[derive(Debug, Default)]
struct Ways {
    known: Option<(Identity, Way)>,
    /// The start of a line is there whose rest had no room.
    is_torn: bool,
}

/// Device and inode.
type Identity = (u64, u64);

/// How to write without waiting. Non-blocking mode belongs to the open file, which other processes share, so it
/// is never set on descriptor 2 itself.
#[derive(Debug)]
enum Way {
    /// A regular file: writing does not wait for a reader.
    Direct,
    /// A socket, as under journald: each write says that it does not wait.
    Socket,
    /// The same pipe or terminal, opened once more for ourselves, non-blocking.
    Reopened(File),
    /// It may not be opened again: ask for room first.
    Poll,
}

impl Stderr {
    /// The way is found when the first line is written.
    #[must_use]
    pub const fn new() -> Self {
        Self(Ways { known: None, is_torn: false })
    }

    /// Writes `line` whole, or, where it is a pipe or a socket, nothing of it; `false` when there was no room for all of
    /// it, or the reader is gone.
    #[must_use]
    pub fn write(&mut self, line: &[u8]) -> bool {
        self.0.write(io::stderr().as_fd(), line).is_ok()
    }

    /// Whether it is a regular file now: `logto` and `daemonize` make it one.
    #[must_use]
    pub fn is_file(&self) -> bool {
        let mode = fstat(io::stderr()).map(|stat| SFlag::from_bits_truncate(stat.st_mode));
        mode.is_ok_and(|mode| mode & SFlag::S_IFMT == SFlag::S_IFREG)
    }
}

impl Descriptor {
    /// Lines go to this.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd, ways: Ways::default() }
    }

    /// Writes `line` whole, or nothing of it where it is a socket, or a pipe that takes so much at once.
    ///
    /// # Errors
    /// `WouldBlock`: its reader left no room. Else as `write`.
    pub fn write(&mut self, line: &[u8]) -> io::Result<()> {
        Ok(self.ways.write(self.fd.as_fd(), line)?)
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Ways {
    fn write(&mut self, fd: BorrowedFd<'_>, line: &[u8]) -> nix::Result<()> {
        self.find(fd)?;
        let Some((_, way)) = &self.known else { return Err(Errno::EBADF) };
        if self.is_torn {
            // What was begun stands for itself.
            way.put(fd, b"\n")?;
            self.is_torn = false;
        }
        let mut rest = line;
        while !rest.is_empty() {
            match way.put(fd, rest) {
                Ok(0) => return Err(Errno::EIO),
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(error) => {
                    self.is_torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, fd: BorrowedFd<'_>) -> nix::Result<()> {
        let stat = fstat(fd)?;
        let identity = (stat.st_dev, stat.st_ino);
        if self.known.as_ref().is_none_or(|(known, _)| *known != identity) {
            self.known = Some((identity, Way::to(fd, SFlag::from_bits_truncate(stat.st_mode))));
            self.is_torn = false;
        }
        Ok(())
    }
}

impl Way {
    fn put(&self, fd: BorrowedFd<'_>, bytes: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Direct => write(fd, bytes),
            Self::Socket => send(fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
            Self::Reopened(own) => write(own, bytes),
            Self::Poll => need_room(fd).and_then(|()| write(fd, bytes)),
        }
    }

    fn to(fd: BorrowedFd<'_>, mode: SFlag) -> Self {
        match mode & SFlag::S_IFMT {
            SFlag::S_IFREG => Self::Direct,
            SFlag::S_IFSOCK => Self::Socket,
            _ => OpenOptions::new()
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
                .map_or(Self::Poll, Self::Reopened),
        }
    }
}

/// What has room for a line again when it can be written to; `None`: there is some, as far as the system can say.
#[must_use]
pub fn full(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    if has_room(fd) { None } else { fd.try_clone_to_owned().ok() }
}

fn has_room(fd: BorrowedFd<'_>) -> bool {
    poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1)
}

fn need_room(fd: BorrowedFd<'_>) -> nix::Result<()> {
    if has_room(fd) { Ok(()) } else { Err(Errno::EAGAIN) }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    #[test]
    fn a_line_that_did_not_fit_is_an_error_and_no_part_of_the_next_one() {
        let (mut reader, writer) = io::pipe().unwrap();
        fcntl(&writer, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        let mut pipe = Descriptor::new(writer.into());
        let long = "x".repeat(5000) + "\n";
        assert_eq!(pipe.write(long.as_bytes()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(pipe.write(b"no room\n").unwrap_err().kind(), io::ErrorKind::WouldBlock);
        reader.read_exact(&mut [0; 4096]).unwrap();
        pipe.write(b"whole\n").unwrap();
        pipe.write(b"again\n").unwrap();
        drop(pipe);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\nwhole\nagain\n");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = Descriptor::new(full.into()).write(b"line\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
