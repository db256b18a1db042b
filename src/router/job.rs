//! A complete request on its way through the queue, and when it may be sent to a second worker.

use http::request;
use hyper::Response;
use tokio::sync::oneshot;

use super::dispatch::Ticket;
use super::fields;
use super::pipe::ResponseBody;
use super::socket::Socket;
use super::upload::Payload;
use crate::tick::Tick;

/// How often a request that no worker ever read is sent again.
const ATTEMPTS: u32 = 8;
/// What a worker takes with its first read at least: the first write of a request up to this size is read whole or not
/// at all.
const FIRST_READ_BYTES: u64 = 4096;

/// A complete request.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    pub(super) since: Tick,
    pub(super) head: request::Parts,
    pub(super) payload: Payload,
    pub(super) client: Socket,
    pub(super) reply: oneshot::Sender<Reply>,
    /// How often it was sent to a worker.
    pub(super) attempts: u32,
}

/// What comes back to the client's task.
pub(super) type Reply = Result<Response<ResponseBody>, Trouble>;

/// Why there is no answer of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// The queue is full.
    #[error("too many requests wait for a worker")]
    Full,
    /// It waited too long.
    #[error("no worker was free in time")]
    Waited,
    /// The worker that had it is gone.
    #[error("the worker died or closed its connection before it answered")]
    WorkerGone,
    /// What the worker sent is no response.
    #[error("the worker's answer is malformed or incomplete")]
    BadAnswer,
}

/// What was seen on a worker's connection while it had a request without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// Bytes of the request that the kernel took.
    pub(super) written: u64,
    /// In how many writes.
    pub(super) writes: u32,
    /// Bytes of an answer.
    pub(super) read: u64,
    /// The connection was reset: on a unix socket this means that the peer closed it with bytes in it unread.
    pub(super) reset: bool,
    /// A write failed: the request did not get through whole.
    pub(super) cut: bool,
}

/// How far a request got at a worker that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The worker read nothing of it: the connection was closed before anything was written, or it was written at
    /// once, is so short that a read takes all of it, and lay there unread. Any method may be sent again.
    Nothing,
    /// The worker did not read all of it; whether any of it cannot be known. What is idempotent is sent again, once.
    Part,
    /// The worker read all of it, so the request was inside it: whatever ended the worker may well have been this
    /// request (a crash, harakiri), and it is never repeated.
    All,
    /// The answer began.
    Answered,
}

impl Trace {
    /// How far the request got.
    pub(super) fn reached(self) -> Reached {
        match self {
            Self { read: 1.., .. } => Reached::Answered,
            Self { written: 0, .. } => Reached::Nothing,
            Self { written: ..=FIRST_READ_BYTES, writes: 1, reset: true, .. } => Reached::Nothing,
            Self { reset, cut, .. } if reset || cut => Reached::Part,
            Self { .. } => Reached::All,
        }
    }
}

impl Job {
    /// Whether it goes to another worker after one is gone with it.
    pub(super) fn may_repeat(&self, reached: Reached) -> bool {
        match reached {
            Reached::Nothing => self.attempts < ATTEMPTS,
            Reached::Part => self.attempts < 2 && fields::is_idempotent(&self.head.method),
            Reached::All | Reached::Answered => false,
        }
    }

    /// Gives the client its answer; what the client's task no longer wants is dropped.
    pub(super) fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_request_got() {
        let trace = |written, writes, read, reset| Trace { written, writes, read, reset, cut: false };
        for (trace, expected) in [
            (trace(0, 0, 0, false), Reached::Nothing),
            (trace(0, 0, 0, true), Reached::Nothing),
            (trace(300, 1, 0, true), Reached::Nothing),
            (trace(4096, 1, 0, true), Reached::Nothing),
            (trace(4097, 1, 0, true), Reached::Part),
            (trace(300, 2, 0, true), Reached::Part),
            (trace(300, 1, 0, false), Reached::All),
            (trace(300, 1, 1, true), Reached::Answered),
            (Trace { cut: true, ..trace(0, 0, 0, false) }, Reached::Nothing),
            (Trace { cut: true, ..trace(300, 1, 0, false) }, Reached::Part),
        ] {
            assert_eq!(trace.reached(), expected, "{trace:?}");
        }
    }
}
