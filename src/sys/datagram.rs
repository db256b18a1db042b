//! Datagrams to whoever has bound a unix address, with descriptors attached.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use super::stream;

/// The way to somebody who receives datagrams.
#[derive(Debug)]
pub struct Way {
    socket: UnixDatagram,
    to: UnixAddr,
}

impl Way {
    /// To the one at this path, or with this abstract name (`@name`).
    ///
    /// # Errors
    /// It is neither, or no descriptor is left.
    pub fn to(name: &[u8]) -> io::Result<Self> {
        let to = match name.split_first() {
            Some((b'@', rest)) => UnixAddr::new_abstract(rest)?,
            Some((b'/', _)) => UnixAddr::new(name)?,
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "neither a path nor an abstract name",
                ));
            }
        };
        let socket = UnixDatagram::unbound()?;
        // Who does not read must not hold up who writes.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to })
    }

    /// Sends all of it, or fails and sends nothing.
    ///
    /// # Errors
    /// `sendmsg`: `WouldBlock` while too much waits to be read, or nobody is there.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
        let socket = self.socket.as_fd().as_raw_fd();
        let send =
            || sendmsg(socket, &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, Some(&self.to));
        stream::retry(send).map(drop)
    }
}
