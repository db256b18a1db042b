//! A complete request on its way through the queue.

use hyper::Response;
use tokio::sync::oneshot;

use super::pipe::ResponseBody;
use super::socket::Socket;
use super::upload::Payload;
use crate::wire::packed;

/// A request's place in the order of arrival.
pub(super) type Ticket = u64;

/// A complete request.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) ticket: Ticket,
    /// When it came, in microseconds of the monotonic clock.
    pub(super) since_us: u64,
    /// Packed.
    pub(super) head: Vec<u8>,
    pub(super) payload: Payload,
    /// A websocket may follow the answer.
    pub(super) may_switch: bool,
    pub(super) client: Socket,
    pub(super) reply: oneshot::Sender<Reply>,
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
    #[error("the worker died before it answered")]
    WorkerGone,
    /// No server of `http-to` could be reached.
    #[error("no server of http-to can be reached")]
    Unreachable,
    /// The server that had it is gone.
    #[error("the server of http-to ended the connection before it answered")]
    UpstreamGone,
    /// A server of `http-to` let it wait too long.
    #[error("the server of http-to does not answer in time")]
    Late,
    /// The head does not fit the protocol.
    #[error("its head is too long for the uwsgi protocol")]
    TooLong,
    /// What the worker sent is no response.
    #[error("the answer is malformed or incomplete")]
    BadAnswer,
}

impl Job {
    /// Gives the client its answer; what the client's task no longer wants is dropped.
    pub(super) fn answer(self, reply: Reply) {
        let _ = self.reply.send(reply);
    }
}

impl Trouble {
    /// Says it in the log, of the request with this head.
    pub(super) fn log(self, head: &[u8]) {
        let (method, target) = packed::line(head).unwrap_or_default();
        let (method, target) = (String::from_utf8_lossy(method), String::from_utf8_lossy(target));
        let path = target.split('?').next().unwrap_or_default();
        tracing::warn!(%method, path, "{}: {self}", self.status());
    }
}
