//! Unix SEQPACKET sockets: whole messages with descriptors attached.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg,
    socketpair,
};

use super::fd;

/// The most descriptors one message carries (`SCM_MAX_FD` is 253).
pub const MAX_FDS: usize = 250;

/// One message as it came: its bytes and the descriptors attached.
#[derive(Debug)]
pub struct Packet {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
}

/// A connected pair, both ends close-on-exec and non-blocking.
///
/// # Errors
/// `socketpair`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?)
}

/// Sends one message, or fails with `WouldBlock` and sends nothing.
///
/// # Errors
/// `sendmsg`: `WouldBlock` when the peer's queue is full, `BrokenPipe` when it is gone.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control: &[ControlMessage<'_>] = if numbers.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    retry(|| sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None))?;
    Ok(())
}

/// Receives one message; `None` is the end: the peer closed its end.
///
/// # Errors
/// `recvmsg` (`WouldBlock` when there is none, `Interrupted` after a signal), or `InvalidData` when a message was longer than `limit_bytes` or
/// its descriptors did not fit; such a message is lost.
pub fn receive(socket: impl AsFd, limit_bytes: usize) -> io::Result<Option<Packet>> {
    let mut buffer = vec![0_u8; limit_bytes];
    let mut space = cmsg_space!([RawFd; MAX_FDS]);
    let (length, truncated, fds) = {
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        // Interrupted calls come back to the caller, who waits for readiness anyway.
        let message = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut space), flags)?;
        let mut fds = Vec::new();
        for control in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = control {
                for number in numbers {
                    fds.push(fd::adopt(number)?);
                }
            }
        }
        let cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
        (message.bytes, cut, fds)
    };
    if truncated {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message longer than the limit"));
    }
    if length == 0 && fds.is_empty() {
        return Ok(None);
    }
    buffer.truncate(length);
    Ok(Some(Packet { bytes: buffer, fds }))
}

fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}
