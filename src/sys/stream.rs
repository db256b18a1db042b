//! Stream sockets on their bare descriptors, without a reactor: nothing here waits.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, accept4,
    getpeername, getsockname, getsockopt, recv, sendmsg, setsockopt, shutdown, socketpair, sockopt,
};

use super::{fd, seqpacket};

/// Takes the next connection of a non-blocking listener, close-on-exec and non-blocking.
///
/// # Errors
/// `accept4`: `WouldBlock` when there is none, or the limits of process and system.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(fd::own(retry(|| accept4(listener.as_fd().as_raw_fd(), flags))?))
}

/// Whether accepting failed because the listener refuses everybody for good.
#[must_use]
pub fn is_closed(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// What a listener that refuses everybody for good answers.
#[must_use]
pub fn closed() -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

/// Whether accepting failed because the process or the system has no descriptors or memory left for it.
#[must_use]
pub fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// A connected pair, both ends close-on-exec and blocking.
///
/// # Errors
/// `socketpair`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Whether a descriptor is a connected unix stream socket.
pub fn is_unix_connection(fd: impl AsFd) -> bool {
    let kind = getsockopt(&fd, sockopt::SockType).ok();
    kind == Some(SockType::Stream) && getpeername::<UnixAddr>(fd.as_fd().as_raw_fd()).is_ok()
}

/// Reads what is there; 0 is the end.
///
/// # Errors
/// `recv`: `WouldBlock` when nothing is there.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    retry(|| recv(socket.as_fd().as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT))
}

/// Reads what is there from a non-blocking unix socket, and the descriptors that came with it, close-on-exec; no byte is
/// the end.
///
/// # Errors
/// `recvmsg`: `WouldBlock` when nothing is there.
pub fn receive_with_fds(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    loop {
        match seqpacket::receive_into(socket.as_fd(), buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|(length, _, fds)| (length, fds)),
        }
    }
}

/// Writes as much of `slices` as there is room for.
///
/// # Errors
/// `sendmsg`: `WouldBlock` when there is no room, `BrokenPipe` when the peer is gone.
pub fn send(socket: impl AsFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    retry(|| sendmsg::<()>(socket.as_fd().as_raw_fd(), slices, &[], flags, None))
}

/// Says that nothing more will be written.
///
/// # Errors
/// `shutdown`.
pub fn end_writing(socket: impl AsFd) -> io::Result<()> {
    Ok(shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write)?)
}

/// Says that nothing more will be read: whoever waits for it finds the end.
///
/// # Errors
/// `shutdown`.
pub fn end_reading(socket: impl AsFd) -> io::Result<()> {
    Ok(shutdown(socket.as_fd().as_raw_fd(), Shutdown::Read)?)
}

/// Has `place` be the connection of `socket`, whatever it was: its number stays.
///
/// # Errors
/// `dup3`.
pub fn put_in_place(socket: impl AsFd, place: &mut OwnedFd) -> io::Result<()> {
    Ok(nix::unistd::dup3(socket, place, nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Makes a TCP listener's connections send small pieces at once. Nothing happens to other sockets.
pub fn set_no_delay(listener: impl AsFd) {
    if is_tcp(&listener) {
        // A refusal costs latency only.
        let _ = setsockopt(&listener, sockopt::TcpNoDelay, &true);
    }
}

/// Whether a socket is an internet one.
pub fn is_tcp(socket: impl AsFd) -> bool {
    getsockname::<SockaddrStorage>(socket.as_fd().as_raw_fd())
        .is_ok_and(|address| matches!(address.family(), Some(family) if family != AddressFamily::Unix))
}

/// Calls again what a signal interrupts.
pub(super) fn retry<T>(mut call: impl FnMut() -> nix::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}
