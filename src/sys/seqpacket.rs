//! Unix SEQPACKET sockets: whole messages with descriptors attached.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, bind, sendmsg, socketpair,
};

use super::{fd, stream};

/// Room for the most descriptors that one message carries (`SCM_MAX_FD`, 253), and more.
const CONTROL_WORDS: usize = 160;

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

/// Listens at `path`, in place of whatever was there: the directory must be the caller's own.
///
/// # Errors
/// `socket`, `bind`, `chmod` or `listen`.
pub fn listen(path: &Path, mode: u32, backlog: i32) -> io::Result<OwnedFd> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = make()?;
    bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    nix::sys::socket::listen(&socket, Backlog::new(backlog)?)?;
    Ok(socket)
}

/// Connects to who listens at `path`.
///
/// # Errors
/// `socket` or `connect`: nobody does, or the queue is full.
pub fn connect(path: &Path) -> io::Result<OwnedFd> {
    let socket = make()?;
    nix::sys::socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// The next connection that waits.
///
/// # Errors
/// `accept`: `WouldBlock` when there is none.
pub fn accept(listener: impl AsFd) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(fd::own(nix::sys::socket::accept4(listener.as_fd().as_raw_fd(), flags)?))
}

fn make() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(nix::sys::socket::socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?)
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
    stream::retry(|| {
        sendmsg::<()>(socket.as_fd().as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)
    })?;
    Ok(())
}

/// Receives one message; `None` is the end: the peer closed its end.
///
/// # Errors
/// `recvmsg` (`WouldBlock` when there is none, `Interrupted` after a signal), or `InvalidData` when a message was longer than `limit_bytes` or
/// its descriptors did not fit; such a message is lost.
pub fn receive(socket: impl AsFd, limit_bytes: usize) -> io::Result<Option<Packet>> {
    let mut buffer = vec![0_u8; limit_bytes];
    // Interrupted calls come back to the caller, who waits for readiness anyway.
    let (length, truncated, fds) = receive_into(socket.as_fd(), &mut buffer)?;
    if truncated {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "message longer than the limit"));
    }
    if length == 0 && fds.is_empty() {
        return Ok(None);
    }
    buffer.truncate(length);
    Ok(Some(Packet { bytes: buffer, fds }))
}

/// The length of a message, whether a part of it or of its descriptors was cut off, and the descriptors that came:
/// of those that did not fit into this process's limit the others are here, and must not be lost to it.
pub(super) fn receive_into(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, bool, Vec<OwnedFd>)> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut bytes = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: a structure of numbers and pointers that may all be zero.
    #[expect(unsafe_code, reason = "the structure has private padding")]
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut bytes;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the header names `buffer` and `control` with their true lengths; both outlive the call.
    #[expect(unsafe_code, reason = "nix's recvmsg loses the descriptors of a message that was cut off")]
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC) };
    let Ok(length) = usize::try_from(length) else { return Err(io::Error::last_os_error()) };
    let mut fds = Vec::new();
    // SAFETY: the kernel filled the header and its aligned control buffer; the macros walk within its length, and
    // each number in an SCM_RIGHTS message is a descriptor that it just opened for us and nobody else knows.
    #[expect(unsafe_code, reason = "reading control messages")]
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(message) = next.as_ref() {
            if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let length = message.cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
                let numbers = libc::CMSG_DATA(next).cast::<RawFd>();
                fds.extend(
                    (0..length / size_of::<RawFd>()).map(|n| fd::own(numbers.add(n).read_unaligned())),
                );
            }
            next = libc::CMSG_NXTHDR(&raw const header, next);
        }
    }
    Ok((length, header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0, fds))
}
