//! A request out of the central queue, and the way of its answer.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::http::Origin;
use super::job::{Head, Job, Reply, RequestBody};
use super::lane::Lane;
use super::waiter::Waiter;
use crate::wire::lane::{FRAME_BYTES, Kind, Pull};
use crate::wire::packed;
use crate::wire::queue::{Claim, Place};

/// The longest head: what the largest `buffer-size` lets through, with what the router adds.
const HEAD_LIMIT_BYTES: usize = 1024 * 1024;
/// What a head takes up besides the bytes that the log counts, for each field.
const FIELD_BYTES: usize = 4;

/// The request that a lane has claimed; `None` when the router gave it up.
pub(super) async fn job(lane: Arc<Lane>, claim: Claim) -> Option<Job> {
    let since_us = lane.place(claim).since_us();
    let answer = Answer { lane, claim, stage: Stage::Open, waiter: Waiter::Sleep };
    let Some(mut contents) = answer.lane.place(claim).get() else {
        tracing::error!("a request came damaged out of the central queue");
        return None;
    };
    let head_length = contents.head_length;
    let mut pulled = Pulled { lane: Arc::clone(&answer.lane), cell: claim.cell, at: 0, end: 0 };
    if contents.head.len() < head_length && head_length <= HEAD_LIMIT_BYTES {
        pulled.end = as_u64(head_length);
        let mut head = BytesMut::with_capacity(head_length);
        while let Some(piece) = pulled.next().await.ok()? {
            head.extend_from_slice(&piece);
        }
        contents.head = head.into();
    }
    let Some(parts) = packed::to_request(contents.head) else {
        tracing::error!("a request came damaged out of the central queue");
        return None;
    };
    let body = if as_u64(contents.body.len()) == contents.body_length {
        RequestBody::Whole(Bytes::from(contents.body))
    } else {
        pulled.at = as_u64(head_length);
        pulled.end = pulled.at.saturating_add(contents.body_length);
        RequestBody::Routed(pulled)
    };
    Some(Job {
        head: Head::Http(Box::new(parts), Arc::new(Origin::Router)),
        body,
        reply: Reply::Routed(answer),
        since_us,
        is_first: false,
    })
}

/// A part of a request that is too long for its cell.
#[derive(Debug)]
pub(super) struct Pulled {
    lane: Arc<Lane>,
    cell: usize,
    at: u64,
    end: u64,
}

impl Pulled {
    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// The router is gone.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = self.end.saturating_sub(self.at);
        if left == 0 {
            return Ok(None);
        }
        let pull = Pull { cell: as_u64(self.cell), at: self.at, length: left.min(as_u64(FRAME_BYTES)) };
        let piece = self.lane.pull(pull).await?;
        self.at = self.at.saturating_add(as_u64(piece.len()));
        Ok(Some(piece))
    }
}

/// The way of an answer: into the request's cell, or, where it is too long or comes bit by bit, over the lane's
/// connection. Dropped before it is complete, it tells the router so.
#[derive(Debug)]
pub(super) struct Answer {
    lane: Arc<Lane>,
    claim: Claim,
    stage: Stage,
    /// How whoever answers waits for the router.
    pub(super) waiter: Waiter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The head is out, and the body on its way.
    Begun,
    Over,
}

impl Answer {
    /// Whether an answer of this size goes into the cell, without waiting for anybody.
    pub(super) const fn is_short(&self, fields: usize, head: usize, body: usize) -> bool {
        match self.stage {
            Stage::Open => Place::fits(head + (fields + 4) * FIELD_BYTES, body),
            Stage::Begun => false,
            Stage::Over => true,
        }
    }

    /// The whole answer. It waits where it is long.
    pub(super) fn whole(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        if self.is_open() && Place::fits(head.len(), body.len()) {
            self.lane.place(self.claim).put(head, Some(body), as_u64(body.len()));
            self.stage = Stage::Over;
            self.lane.finish(self.claim);
            return Ok(());
        }
        self.begin(head)?;
        self.data(body)?;
        self.end(true)
    }

    /// The head of an answer whose body follows.
    pub(super) fn begin(&mut self, head: &[u8]) -> io::Result<()> {
        if !self.is_open() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stage = Stage::Begun;
        let cell = as_u64(self.claim.cell).to_le_bytes();
        self.send(Kind::Begin, &cell)?;
        self.send(Kind::Head, head)
    }

    /// A part of the body. Waits while the router has no room for it.
    ///
    /// # Errors
    /// The client is gone, or the router.
    pub(super) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.stage != Stage::Begun || !self.lane.place(self.claim).is_wanted() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.send(Kind::Data, bytes)
    }

    /// Nothing follows; whether that is as it should be.
    pub(super) fn end(&mut self, is_complete: bool) -> io::Result<()> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => Ok(()),
            Stage::Begun => self.send(if is_complete { Kind::End } else { Kind::Abort }, &[]),
            Stage::Open => {
                if self.lane.holds(self.claim) {
                    // No answer at all.
                    self.lane.place(self.claim).put(&[], Some(&[]), 0);
                    self.lane.finish(self.claim);
                }
                Ok(())
            }
        }
    }

    /// The answer that another protocol follows, with these fields; its bytes go to and come from `line`.
    ///
    /// # Errors
    /// There is an answer already, the client is gone, or the router.
    pub(super) fn switch(&mut self, fields: &[u8], line: &OwnedFd) -> io::Result<()> {
        if !self.is_open() || !self.lane.place(self.claim).is_wanted() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.stage = Stage::Begun;
        self.send(Kind::Begin, &as_u64(self.claim.cell).to_le_bytes())?;
        self.lane.send_with(Kind::Switch, fields, line, &self.waiter)
    }

    /// Whether there is no answer yet, and somebody to take it: in the cell may be another request by now.
    fn is_open(&self) -> bool {
        self.stage == Stage::Open && self.lane.holds(self.claim)
    }

    fn send(&self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        self.lane.send(kind, bytes, &self.waiter)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // The router is gone with all who wait for this.
        let _ = self.end(false);
    }
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
