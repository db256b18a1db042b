//! The body of a request as it comes from a front end.

use std::io;
use std::os::fd::OwnedFd;

use bytes::{Buf as _, Bytes};

use crate::proto::fastcgi::{Event, Receiver};
use crate::proto::limits::Limits;
use crate::sys::stream;

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// The body of a request as it comes.
#[derive(Debug)]
pub(super) enum Inlet {
    /// Nothing but the body, of which so many bytes are still to come.
    Plain { left: u64 },
    /// Records of FastCGI.
    Records(Box<Records>),
}

/// A body in records.
#[derive(Debug)]
pub(super) struct Records {
    receiver: Receiver,
    /// Received and not yet given on.
    pending: Bytes,
    /// What is left of the announced length, if one was announced.
    left: Option<u64>,
    /// Bytes of a body of unknown length that came, …
    received: u64,
    /// … and how many may; 0: any number.
    limit: u64,
    is_ended: bool,
}

impl Records {
    /// A body of which so many bytes were received.
    pub(super) fn new(
        receiver: Receiver,
        announced: Option<u64>,
        received: u64,
        limit: u64,
        is_ended: bool,
    ) -> Self {
        let left = announced.map(|length| length.saturating_sub(received));
        Self { receiver, pending: Bytes::new(), left, received, limit, is_ended }
    }

    /// Reads what is there, as [`Inlet::read`].
    fn read(&mut self, socket: &OwnedFd, buffer: &mut [u8], limits: &Limits) -> io::Result<usize> {
        loop {
            if self.is_ended && self.pending.is_empty() {
                return match self.left {
                    Some(1..) => Err(gone("the body is shorter than it was announced")),
                    _ => Ok(0),
                };
            }
            if !self.pending.is_empty() {
                let length = self.pending.len().min(buffer.len());
                self.pending.copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
                return Ok(length);
            }
            match self.receiver.next(limits) {
                Ok(Some(Event::Body(part))) => self.take(part)?,
                Ok(Some(Event::End)) => self.is_ended = true,
                Ok(Some(Event::Abort(_))) => return Err(gone("the front end broke the request off")),
                Ok(None) => {
                    let mut piece = [0; PIECE_BYTES];
                    let length = stream::receive(socket, &mut piece)?;
                    if length == 0 {
                        return Err(gone("the client is gone"));
                    }
                    self.receiver.push(piece.get(..length).unwrap_or_default());
                }
                Ok(Some(Event::Request(_) | Event::Reply(_))) | Err(_) => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed FastCGI records"));
                }
            }
        }
    }

    fn take(&mut self, mut part: Bytes) -> io::Result<()> {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(length);
        match &mut self.left {
            Some(left) => {
                part.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left = left.saturating_sub(length);
            }
            None if self.limit > 0 && self.received > self.limit => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the body is longer than limit-post"));
            }
            None => {}
        }
        self.pending = part;
        Ok(())
    }
}

impl Inlet {
    /// Reads what is there of the body; 0 is its end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; the front end is gone, or sends nonsense.
    pub(super) fn read(&mut self, socket: &OwnedFd, buffer: &mut [u8], limits: &Limits) -> io::Result<usize> {
        match self {
            Self::Plain { left } => {
                let room = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                if room == 0 {
                    return Ok(0);
                }
                match stream::receive(socket, buffer.get_mut(..room).unwrap_or_default())? {
                    0 => Err(gone("the client is gone")),
                    length => {
                        *left = left.saturating_sub(u64::try_from(length).unwrap_or(0));
                        Ok(length)
                    }
                }
            }
            Self::Records(records) => records.read(socket, buffer, limits),
        }
    }

    /// Whether all of the body has been taken.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Plain { left } => *left == 0,
            Self::Records(records) => {
                records.is_ended && records.pending.is_empty() && records.left.unwrap_or(0) == 0
            }
        }
    }

    /// Where the next request of the connection comes from, when this one is over.
    pub(super) fn into_receiver(self) -> Option<Receiver> {
        match self {
            Self::Records(records) if records.is_ended => Some(records.receiver),
            _ => None,
        }
    }
}

fn gone(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}
