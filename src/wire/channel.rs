//! A channel of typed messages between two of our processes, over a SEQPACKET socket pair.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;

use crate::sys::{memfd, reactor, seqpacket};

/// A message up to this size travels in the packet; a longer one in a sealed memory file attached to it.
const INLINE_LIMIT_BYTES: usize = 32 * 1024;
/// The longest message that is read at all.
const MESSAGE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;
/// How many messages wait for a peer that does not read before the channel counts as broken.
const QUEUE_LIMIT: usize = 4096;

const INLINE: u8 = b'i';
const SPILLED: u8 = b'm';

/// A received message with the descriptors that came with it.
pub type Received<T> = (T, Vec<OwnedFd>);

/// A new pair of channel ends: ours, and the one to give to the peer.
///
/// # Errors
/// `socketpair`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    seqpacket::pair()
}

/// Sends one message at once, without a runtime; `WouldBlock` when the peer's queue is full.
///
/// # Errors
/// Encoding or `sendmsg`.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let (bytes, spilled) = encode(message)?;
    let mut all = fds.to_vec();
    all.extend(spilled.iter().map(AsFd::as_fd));
    seqpacket::send(socket, &bytes, &all)
}

/// Receives one message without a runtime; `None` when the peer is gone. Fails with `WouldBlock` on a
/// non-blocking socket without a message; wait with `poll` first.
///
/// # Errors
/// `recvmsg`, or `InvalidData` for a message that does not decode; such a message is lost, the channel goes on.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<Received<T>>> {
    receive_counted(socket, &Cell::default())
}

fn receive_counted<T: DeserializeOwned>(
    socket: impl AsFd,
    bytes: &Cell<u64>,
) -> io::Result<Option<Received<T>>> {
    match seqpacket::receive(socket, INLINE_LIMIT_BYTES + 1)? {
        None => Ok(None),
        Some(packet) => decode(packet, bytes).map(Some),
    }
}

/// An end of a channel inside a tokio runtime. Sending never waits: what the peer does not take at once is queued.
#[derive(Debug)]
pub struct Channel<Out, In> {
    socket: AsyncFd<OwnedFd>,
    queue: RefCell<VecDeque<(Vec<u8>, Vec<OwnedFd>)>>,
    received_bytes: Cell<u64>,
    types: PhantomData<fn(Out) -> In>,
}

impl<Out: Serialize, In: DeserializeOwned> Channel<Out, In> {
    /// Registers `socket` with the current runtime.
    ///
    /// # Errors
    /// Setting it non-blocking, or registering it.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            socket: reactor::register(socket)?,
            queue: RefCell::default(),
            received_bytes: Cell::default(),
            types: PhantomData,
        })
    }

    /// Sends a message with duplicates of these descriptors, or queues it. Call [`Channel::flush`] in the loop that
    /// also receives, so that queued messages leave.
    ///
    /// # Errors
    /// The peer is gone, or did not read for so long that the queue is full.
    pub fn send(&self, message: &Out, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let (bytes, spilled) = encode(message)?;
        let mut all = fds.to_vec();
        all.extend(spilled.iter().map(AsFd::as_fd));
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() {
            match seqpacket::send(self.socket.get_ref(), &bytes, &all) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        if queue.len() >= QUEUE_LIMIT {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not read its channel"));
        }
        let owned: io::Result<Vec<OwnedFd>> = all.iter().map(BorrowedFd::try_clone_to_owned).collect();
        queue.push_back((bytes, owned?));
        Ok(())
    }

    /// Writes queued messages as the peer takes them; never returns while there are none.
    ///
    /// # Errors
    /// `sendmsg`.
    pub async fn flush(&self) -> io::Result<()> {
        if self.queue.borrow().is_empty() {
            return std::future::pending().await;
        }
        loop {
            let mut ready = self.socket.writable().await?;
            let mut queue = self.queue.borrow_mut();
            let Some((bytes, fds)) = queue.front() else { return Ok(()) };
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match seqpacket::send(self.socket.get_ref(), bytes, &borrowed) {
                Ok(()) => {
                    queue.pop_front();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next message; `None` when the peer is gone. Cancel-safe.
    ///
    /// # Errors
    /// As [`receive`].
    pub async fn receive(&self) -> io::Result<Option<Received<In>>> {
        loop {
            let mut ready = self.socket.readable().await?;
            match receive_counted(self.socket.get_ref(), &self.received_bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// How many bytes all messages have had, those that were not understood included.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.get()
    }

    /// Takes the socket out of the runtime, for a hand-over. Messages still queued are lost.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket.into_inner()
    }
}

impl<Out, In> AsFd for Channel<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl<Out, In> AsRawFd for Channel<Out, In> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn encode<T: Serialize>(message: &T) -> io::Result<(Vec<u8>, Option<OwnedFd>)> {
    let mut bytes = vec![INLINE];
    serde_json::to_writer(&mut bytes, message)?;
    if bytes.len() <= INLINE_LIMIT_BYTES {
        return Ok((bytes, None));
    }
    let file = memfd::sealed("liege-message", bytes.get(1..).unwrap_or_default())?;
    Ok((vec![SPILLED], Some(file)))
}

fn decode<T: DeserializeOwned>(mut packet: seqpacket::Packet, bytes: &Cell<u64>) -> io::Result<Received<T>> {
    let count =
        |length: usize| bytes.set(bytes.get().saturating_add(u64::try_from(length).unwrap_or(u64::MAX)));
    count(packet.bytes.len());
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let message = match packet.bytes.split_first() {
        Some((&INLINE, json)) => {
            serde_json::from_slice(json).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?
        }
        Some((&SPILLED, _)) => {
            let file = packet.fds.pop().ok_or_else(|| invalid("long message without its file"))?;
            // Anything but a memory file could make us wait.
            let file = File::from(file);
            if !memfd::size_is_sealed(&file) {
                return Err(invalid("long message in something that is no sealed memory file"));
            }
            let json = memfd::read_all(file.into(), MESSAGE_LIMIT_BYTES)?;
            count(json.len());
            serde_json::from_slice(&json)?
        }
        _ => return Err(invalid("message of an unknown form")),
    };
    Ok((message, packet.fds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_every_size_arrive_whole_with_their_descriptors() {
        for length in [0, 1, INLINE_LIMIT_BYTES - 3, INLINE_LIMIT_BYTES, 3_000_000] {
            let (a, b) = pair().unwrap();
            let text = "x".repeat(length);
            let attached = memfd::sealed("attached", b"content").unwrap();
            send(&a, &text, &[attached.as_fd()]).unwrap();
            let (received, mut fds) = receive::<String>(&b).unwrap().unwrap();
            assert_eq!(received, text);
            assert_eq!(fds.len(), 1);
            assert_eq!(memfd::read_all(fds.remove(0), 100).unwrap(), b"content");
        }
    }

    #[test]
    fn a_closed_peer_is_the_end() {
        let (a, b) = pair().unwrap();
        drop(a);
        assert!(receive::<String>(&b).unwrap().is_none());
    }

    #[test]
    fn what_is_too_much_costs_its_message_and_leaves_no_descriptor() {
        let (a, b) = pair().unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let (reader, _writer) = io::pipe().unwrap();
        let before = open();
        let most = vec![reader.as_fd(); 253];
        let long = vec![b' '; INLINE_LIMIT_BYTES + 2];
        let broken = [(&b"m"[..], &most[..]), (b"m", &[]), (b"i", &[]), (b"i[", &most), (b"\xff", &[])];
        for (bytes, fds) in [(&b"i7"[..], &most[..]), (&long, &most)].into_iter().chain(broken) {
            seqpacket::send(&a, bytes, fds).unwrap();
            match receive::<u32>(&b) {
                Ok(received) => assert_eq!(received.unwrap().1.len(), 253),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData),
            }
        }
        // Other tests open and close a few meanwhile.
        assert!(open() < before + 100);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_never_blocks_the_sender_and_loses_nothing() {
        let (a, b) = pair().unwrap();
        let sender = Channel::<u32, u32>::new(a).unwrap();
        let receiver = Channel::<u32, u32>::new(b).unwrap();
        for n in 0..3000 {
            sender.send(&n, &[]).unwrap();
        }
        let mut next = 0;
        while next < 3000 {
            tokio::select! {
                done = sender.flush() => done.unwrap(),
                message = receiver.receive() => {
                    assert_eq!(message.unwrap().unwrap().0, next);
                    next += 1;
                }
            }
        }
    }
}
