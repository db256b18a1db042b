//! The connection that belongs to a lane of the central queue: rings, and what is too long for a cell, as frames of a
//! kind, a length and so many bytes.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::time::Duration;

use crate::sys::{stream, wait};

/// The bytes in front of each frame.
pub const HEADER_BYTES: usize = 5;
/// The most bytes of a frame.
pub const FRAME_BYTES: usize = 256 * 1024;
/// How long a worker waits for a router that takes nothing, which it does as long as a slow client is fast enough.
const WRITE_TIME: Duration = Duration::from_secs(600);

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Router → worker, first of all: the lane's number. Descriptor: the queue.
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

/// Writes whole frames, and waits where the router takes nothing. Call it detached where it may be long.
///
/// # Errors
/// The router is gone, or took nothing for a long time.
pub fn write(socket: impl AsFd, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() <= FRAME_BYTES {
        return write_frame(&socket, kind, bytes);
    }
    bytes.chunks(FRAME_BYTES).try_for_each(|piece| write_frame(&socket, kind, piece))
}

fn write_frame(socket: &impl AsFd, kind: Kind, bytes: &[u8]) -> io::Result<()> {
    let header = to_header(kind, bytes.len());
    let mut slices = [IoSlice::new(&header), IoSlice::new(bytes)];
    let mut left = &mut slices[..];
    while !left.is_empty() {
        match stream::send(socket, left) {
            Ok(length) => IoSlice::advance_slices(&mut left, length),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !wait::writable(socket, Some(WRITE_TIME))? {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the router takes nothing"));
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_pulls_arrive_as_they_were_sent() {
        for kind in [Kind::Hello, Kind::Ring, Kind::Data, Kind::Abort] {
            for length in [0, 1, 300, FRAME_BYTES] {
                assert_eq!(header(to_header(kind, length)), Some((kind, length)));
            }
        }
        assert_eq!(header(to_header(Kind::Data, FRAME_BYTES + 1)), None);
        for kind in [0, 10, 255] {
            assert_eq!(header([kind, 0, 0, 0, 0]), None);
        }
        let pull = Pull { cell: 3, at: 1 << 40, length: 7 };
        assert_eq!(Pull::from_bytes(&pull.to_bytes()), Some(pull));
        assert_eq!(Pull::from_bytes(&pull.to_bytes()[1..]), None);
        for length in [0, FRAME_BYTES as u64 + 1] {
            assert_eq!(Pull::from_bytes(&Pull { length, ..pull }.to_bytes()), None);
        }
    }
}
