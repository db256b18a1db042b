//! Message boundaries in a stream of requests: says how many of the bytes at hand are valid, whole heads and parts of bodies.

use super::chunked::Chunks;
use super::head::{Framing, HeadReader};
use crate::proto::limits::Limits;
use crate::proto::refusal::Refusal;

/// Where in the stream we are.
#[derive(Clone, Debug)]
enum Phase {
    Head(HeadReader),
    Length(u64),
    Chunked(Chunks),
    /// Nothing that follows is a request.
    Over,
}

/// Follows a stream of requests.
#[derive(Clone, Debug)]
pub struct Reader {
    limits: Limits,
    phase: Phase,
    /// The request being read asked for the connection to close after it.
    last: bool,
    requests: u64,
    refusal: Option<Refusal>,
    /// The refusal struck inside a body, whose head is accepted.
    refused_body: bool,
}

impl Reader {
    /// At the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            phase: Phase::Head(HeadReader::default()),
            last: false,
            requests: 0,
            refusal: None,
            refused_body: false,
        }
    }

    /// Goes on in `bytes`, which start with the first byte not accepted before, and gives how many of them are
    /// accepted. Those of an incomplete head are not: they come again with what follows.
    pub fn accept(&mut self, bytes: &[u8]) -> usize {
        let mut accepted = 0;
        while let Some(rest) = bytes.get(accepted..).filter(|rest| !rest.is_empty()) {
            let (taken, refusal) = self.step(rest);
            accepted += taken;
            if let Some(refusal) = refusal {
                self.refuse(refusal);
            }
            if taken == 0 {
                break;
            }
        }
        accepted
    }

    /// Why the stream was cut off.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The same where it struck before a head was complete, so that nobody else will answer it.
    #[must_use]
    pub fn refused_head(&self) -> Option<Refusal> {
        self.refusal.filter(|_| !self.refused_body)
    }

    /// Whether nothing that follows is accepted.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether the body of a request is being read.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(self.phase, Phase::Length(_) | Phase::Chunked(_))
    }

    /// How many heads were accepted.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Refuses what was being read, for a reason that lies outside of its bytes.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.refusal.is_none() {
            self.refusal = Some(refusal);
            self.refused_body = self.is_in_body();
        }
        self.phase = Phase::Over;
    }

    /// Ends the stream without a refusal.
    pub fn end(&mut self) {
        self.phase = Phase::Over;
    }

    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Refusal>) {
        match &mut self.phase {
            Phase::Head(reader) => {
                let head = match reader.read(bytes, &self.limits) {
                    Ok(Some(head)) => head,
                    Ok(None) => return (0, None),
                    Err(refusal) => return (0, Some(refusal)),
                };
                self.requests += 1;
                self.last = head.last;
                match head.body {
                    Framing::None => self.next(),
                    Framing::Length(length) => self.phase = Phase::Length(length),
                    Framing::Chunked => self.phase = Phase::Chunked(Chunks::default()),
                }
                (head.bytes, None)
            }
            Phase::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u64::try_from(taken).unwrap_or(0);
                if *left == 0 {
                    self.next();
                }
                (taken, None)
            }
            Phase::Chunked(chunks) => {
                let result = chunks.read(bytes, &self.limits);
                if chunks.is_complete() {
                    self.next();
                }
                result
            }
            Phase::Over => (0, None),
        }
    }

    fn next(&mut self) {
        self.phase = if self.last { Phase::Over } else { Phase::Head(HeadReader::default()) };
    }
}
