//! A queue of whole messages between processes, as long as the system keeps what was sent on a socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};

/// Both ends of a queue; any process that has them may send and receive. Neither ever waits.
#[derive(Debug)]
pub struct Mailbox {
    sender: UnixDatagram,
    receiver: UnixDatagram,
}

impl Mailbox {
    /// A new queue. Its ends are close-on-exec.
    ///
    /// # Errors
    /// `socketpair`, `fcntl`.
    pub fn new() -> io::Result<Self> {
        let (sender, receiver) = UnixDatagram::pair()?;
        sender.set_nonblocking(true)?;
        receiver.set_nonblocking(true)?;
        Ok(Self { sender, receiver })
    }

    /// A queue of another process, from its ends.
    #[must_use]
    pub fn of_ends(sender: OwnedFd, receiver: OwnedFd) -> Self {
        Self { sender: sender.into(), receiver: receiver.into() }
    }

    /// The ends: where one sends, where one receives.
    #[must_use]
    pub fn ends(&self) -> [BorrowedFd<'_>; 2] {
        [self.sender.as_fd(), self.receiver.as_fd()]
    }

    /// Where one receives.
    #[must_use]
    pub fn receiver(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }

    /// Has it hold about so many bytes, within what the system allows.
    ///
    /// # Errors
    /// `setsockopt`.
    pub fn set_capacity(&self, bytes: usize) -> io::Result<()> {
        setsockopt(&self.sender, sockopt::SndBuf, &bytes)?;
        Ok(setsockopt(&self.receiver, sockopt::RcvBuf, &bytes)?)
    }

    /// How many bytes it holds at most: no message is longer.
    ///
    /// # Errors
    /// `getsockopt`.
    pub fn capacity(&self) -> io::Result<usize> {
        Ok(getsockopt(&self.sender, sockopt::SndBuf)?)
    }

    /// Sends a message.
    ///
    /// # Errors
    /// `WouldBlock`: too much waits already. Others of `send`: the message is longer than the queue.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        self.sender.send(message).map(drop)
    }

    /// Takes the oldest message; what has no room in `buffer` is lost.
    ///
    /// # Errors
    /// `WouldBlock`: there is none. Others of `recv`.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.receiver.recv(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_until_there_is_no_room() {
        let queue = Mailbox::new().unwrap();
        queue.set_capacity(16 * 1024).unwrap();
        let mut buffer = vec![0; queue.capacity().unwrap()];
        assert_eq!(queue.receive(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for message in [&b"first"[..], b"", &[7; 4096]] {
            queue.send(message).unwrap();
            let length = queue.receive(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], message);
        }
        assert!(queue.send(&vec![0; 1 << 20]).is_err());
        let full = std::iter::repeat_with(|| queue.send(&[1; 100])).find_map(Result::err).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        queue.receive(&mut buffer).unwrap();
    }
}
