//! What the kernel knows of a unix socket that listens, by `sock_diag(7)`: there is no `TCP_INFO` for it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::sys::stat::fstat;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_UNIX: u8 = 1;
/// Ask for the lengths of the queues, and their attribute in the answer.
const UDIAG_SHOW_RQLEN: u32 = 0x10;
const UNIX_DIAG_RQLEN: u16 = 4;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;

/// How many connections wait to be accepted, and how many may; `None` where the kernel does not tell.
///
/// # Errors
/// No socket, or no such diagnosis.
pub(super) fn unix_queue(fd: BorrowedFd<'_>) -> io::Result<Option<(u32, u32)>> {
    let Ok(inode) = u32::try_from(fstat(fd)?.st_ino) else { return Ok(None) };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let kernel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    send(kernel.as_raw_fd(), &request(inode), MsgFlags::empty())?;
    // The kernel answers before the call above comes back.
    let mut answer = [0; 512];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    Ok(lengths(answer.get(..length).unwrap_or_default()))
}

fn request(inode: u32) -> Vec<u8> {
    let length: u32 = 16 + 24;
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and sender.
    bytes.extend([0; 8]);
    // Family, protocol, padding.
    bytes.extend([AF_UNIX, 0, 0, 0]);
    // States, inode, what to show; the cookie that fits all.
    for word in [u32::MAX, inode, UDIAG_SHOW_RQLEN, u32::MAX, u32::MAX] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// The queue and its limit in an answer.
fn lengths(answer: &[u8]) -> Option<(u32, u32)> {
    let half = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(answer.get(at..at + 4)?.try_into().ok()?));
    if half(4)? != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let mut at = HEADER_BYTES + MESSAGE_BYTES;
    loop {
        let (length, kind) = (usize::from(half(at)?), half(at + 2)?);
        if kind == UNIX_DIAG_RQLEN {
            return Some((word(at + ATTRIBUTE_BYTES)?, word(at + ATTRIBUTE_BYTES + 4)?));
        }
        at += length.max(ATTRIBUTE_BYTES).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn connections_that_wait_are_counted() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        // A kernel without this diagnosis is told from a wrong answer.
        let Ok(Some((0, most))) = unix_queue(listener.as_fd()) else { return };
        assert!(most > 0);
        let _clients = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        assert_eq!(unix_queue(listener.as_fd()).unwrap(), Some((2, most)));
        let _accepted = listener.accept().unwrap();
        assert_eq!(unix_queue(listener.as_fd()).unwrap(), Some((1, most)));
    }

    #[test]
    fn an_answer_that_is_none_is_told() {
        for answer in [&[][..], &[0; 20], &request(1), &[255; 64]] {
            assert_eq!(lengths(answer), None);
        }
    }
}
