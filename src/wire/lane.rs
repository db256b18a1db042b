//! The connection that belongs to a lane of the central queue: rings, and what is too long for a cell, as frames of a
//! kind, a length and so many bytes.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use super::queue::Lease;
use crate::sys::{seqpacket, stream};

/// The bytes in front of each frame.
pub const HEADER_BYTES: usize = 5;
/// The most bytes of a frame.
pub const FRAME_BYTES: usize = 256 * 1024;
/// The length of the greeting: [`hello`].
pub const HELLO_BYTES: usize = 8;
/// How long a worker waits for a router that takes nothing, which it does as long as a slow client is fast enough.
const WRITE_TIME: Duration = Duration::from_secs(600);

/// How much room stays for a connection that is quiet.
const KEPT_BYTES: usize = 16 * 1024;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Router → worker, first of all: the lease of the lane ([`hello`]). Descriptor: the queue.
    Hello = 1,
    /// Either way: look at the queue.
    Ring = 2,
    /// Worker → router: give me a part of the request that does not fit into its cell: [`Pull`].
    Pull = 3,
    /// Router → worker: that part.
    Piece = 4,
    /// Worker → router: an answer that does not fit into its cell begins; the number of the cell.
    Begin = 5,
    /// Worker → router: the next part of its head.
    Head = 6,
    /// Worker → router: the next part of its body.
    Data = 7,
    /// Worker → router: it is complete.
    End = 8,
    /// Worker → router: it breaks off.
    Abort = 9,
    /// Worker → router: after [`Kind::Begin`], the fields of an answer that another protocol follows, packed.
    /// Descriptor: where its bytes go and come from. [`Kind::End`] comes when the request is over.
    Switch = 10,
}

/// What came is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame")]
pub struct Malformed;

/// Received bytes, as frames.
#[derive(Debug, Default)]
pub struct Frames(BytesMut);

impl Frames {
    /// Takes what was received.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Where to receive to.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.0
    }

    /// The next frame, when all of it is here.
    ///
    /// # Errors
    /// It is none.
    pub fn take(&mut self) -> Result<Option<(Kind, Bytes)>, Malformed> {
        let Some(head) = self.0.first_chunk::<HEADER_BYTES>() else {
            if self.0.is_empty() && self.0.capacity() > KEPT_BYTES {
                self.0 = BytesMut::new();
            }
            return Ok(None);
        };
        let (kind, length) = header(*head).ok_or(Malformed)?;
        let missing = (HEADER_BYTES + length).saturating_sub(self.0.len());
        if missing > 0 {
            self.0.reserve(missing);
            return Ok(None);
        }
        self.0.advance(HEADER_BYTES);
        Ok(Some((kind, self.0.split_to(length).freeze())))
    }
}

/// A header of a frame; `None` where it is none.
#[must_use]
pub fn header(bytes: [u8; HEADER_BYTES]) -> Option<(Kind, usize)> {
    let [kind, length @ ..] = bytes;
    let all = [
        Kind::Hello,
        Kind::Ring,
        Kind::Pull,
        Kind::Piece,
        Kind::Begin,
        Kind::Head,
        Kind::Data,
        Kind::End,
        Kind::Abort,
        Kind::Switch,
    ];
    let kind = all.into_iter().find(|known| *known as u8 == kind)?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    (length <= FRAME_BYTES).then_some((kind, length))
}

/// A frame's header.
#[must_use]
pub fn to_header(kind: Kind, length: usize) -> [u8; HEADER_BYTES] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    [kind as u8, a, b, c, d]
}

/// The greeting's contents: the lease of the lane.
#[must_use]
pub fn hello(lease: Lease) -> [u8; HELLO_BYTES] {
    let lane = u64::try_from(lease.lane).unwrap_or(u64::MAX);
    (lane << 32 | u64::from(lease.number)).to_le_bytes()
}

/// The lease that a greeting brings; `None` where it is no greeting.
#[must_use]
pub fn lease(hello: &[u8]) -> Option<Lease> {
    let word = u64::from_le_bytes(hello.try_into().ok()?);
    let lane = usize::try_from(word >> 32).ok()?;
    Some(Lease { lane, number: u32::try_from(word & u64::from(u32::MAX)).ok()? })
}

/// Which part of a request, the head and the body behind it taken together, a worker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The request's cell.
    pub cell: u64,
    /// From where on.
    pub at: u64,
    /// How many bytes, at least one and at most [`FRAME_BYTES`].
    pub length: u64,
}

impl Pull {
    /// As bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let numbers = [self.cell, self.at, self.length];
        bytes.iter_mut().zip(numbers.iter().flat_map(|n| n.to_le_bytes())).for_each(|(to, from)| *to = from);
        bytes
    }

    /// From bytes; `None` where they are none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let ([cell, at, length], []) = bytes.as_chunks::<8>() else { return None };
        let [cell, at, length] = [cell, at, length].map(|number| u64::from_le_bytes(*number));
        let fits = (1..=FRAME_BYTES as u64).contains(&length);
        fits.then_some(Self { cell, at, length })
    }
}

/// Writes whole frames, and waits with `writable` where the router takes nothing. Call it detached where that may be
/// long.
///
/// # Errors
/// The router is gone, or took nothing for a long time.
pub fn write(
    socket: impl AsFd,
    kind: Kind,
    bytes: &[u8],
    writable: impl Fn(BorrowedFd<'_>, Duration) -> io::Result<bool>,
) -> io::Result<()> {
    let socket = socket.as_fd();
    if bytes.len() <= FRAME_BYTES {
        return write_frame(socket, kind, bytes, &writable);
    }
    bytes.chunks(FRAME_BYTES).try_for_each(|piece| write_frame(socket, kind, piece, &writable))
}

/// Writes one frame with a descriptor.
///
/// # Errors
/// As [`write`]; it is too long.
pub fn write_with(
    socket: impl AsFd,
    kind: Kind,
    bytes: &[u8],
    fd: impl AsFd,
    writable: impl Fn(BorrowedFd<'_>, Duration) -> io::Result<bool>,
) -> io::Result<()> {
    let socket = socket.as_fd();
    if bytes.len() > FRAME_BYTES {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let header = to_header(kind, bytes.len());
    // So little goes out whole or not at all.
    while let Err(error) = seqpacket::send(socket, &header, &[fd.as_fd()]) {
        if error.kind() != io::ErrorKind::WouldBlock {
            return Err(error);
        }
        wait(socket, &writable)?;
    }
    write_all(socket, &mut [IoSlice::new(bytes)], &writable)
}

fn write_frame(
    socket: BorrowedFd<'_>,
    kind: Kind,
    bytes: &[u8],
    writable: &impl Fn(BorrowedFd<'_>, Duration) -> io::Result<bool>,
) -> io::Result<()> {
    let header = to_header(kind, bytes.len());
    write_all(socket, &mut [IoSlice::new(&header), IoSlice::new(bytes)], writable)
}

fn write_all(
    socket: BorrowedFd<'_>,
    mut left: &mut [IoSlice<'_>],
    writable: &impl Fn(BorrowedFd<'_>, Duration) -> io::Result<bool>,
) -> io::Result<()> {
    while !left.is_empty() {
        match stream::send(socket, left) {
            Ok(length) => IoSlice::advance_slices(&mut left, length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(socket, writable)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait(
    socket: BorrowedFd<'_>,
    writable: &impl Fn(BorrowedFd<'_>, Duration) -> io::Result<bool>,
) -> io::Result<()> {
    if writable(socket, WRITE_TIME)? {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "the router takes nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_they_came_in() {
        let mut all = Vec::new();
        for (kind, text) in [(Kind::Ring, &b""[..]), (Kind::Data, b"some"), (Kind::End, b"")] {
            all.extend(to_header(kind, text.len()));
            all.extend(text);
        }
        for size in 1..=all.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in all.chunks(size) {
                frames.add(piece);
                while let Some((kind, bytes)) = frames.take().unwrap() {
                    seen.push((kind, bytes.to_vec()));
                }
            }
            assert_eq!(
                seen,
                [(Kind::Ring, vec![]), (Kind::Data, b"some".to_vec()), (Kind::End, vec![])],
                "{size}"
            );
        }
        let mut frames = Frames::default();
        frames.add(&[77, 0, 0, 0, 0]);
        assert_eq!(frames.take(), Err(Malformed));
    }

    #[test]
    fn headers_and_pulls_arrive_as_they_were_sent() {
        for kind in [Kind::Hello, Kind::Ring, Kind::Data, Kind::Abort] {
            for length in [0, 1, 300, FRAME_BYTES] {
                assert_eq!(header(to_header(kind, length)), Some((kind, length)));
            }
        }
        assert_eq!(header(to_header(Kind::Data, FRAME_BYTES + 1)), None);
        for kind in [0, 11, 255] {
            assert_eq!(header([kind, 0, 0, 0, 0]), None);
        }
        let given = Lease { lane: 1023, number: u32::MAX };
        assert_eq!(lease(&hello(given)), Some(given));
        assert_eq!(lease(&hello(given)[1..]), None);
        let pull = Pull { cell: 3, at: 1 << 40, length: 7 };
        assert_eq!(Pull::from_bytes(&pull.to_bytes()), Some(pull));
        assert_eq!(Pull::from_bytes(&pull.to_bytes()[1..]), None);
        for length in [0, FRAME_BYTES as u64 + 1] {
            assert_eq!(Pull::from_bytes(&Pull { length, ..pull }.to_bytes()), None);
        }
    }
}
