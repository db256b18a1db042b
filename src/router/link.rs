//! A connection to a worker: one request at a time, sent and answered in one task.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

use super::fields;
use super::front::{Front, Seat};
use super::job::{Job, Trace, Trouble};
use super::pipe::{ResponseBody, Writer, pipe};
use super::upload::RequestBody;

/// The most fields of a response.
const RESPONSE_FIELDS: usize = 256;
/// The longest head of a response.
const RESPONSE_HEAD_BYTES: usize = 256 * 1024;
/// How much of an answer is read and thrown away when its client is gone, so that the connection can go on.
pub(super) const DISCARD_BYTES: u64 = 16 * 1024 * 1024;
/// For how long. What is not over then has no end, and the worker is told by closing its connection.
pub(super) const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Serves with a worker's connection until it ends or is released.
pub(super) async fn serve(front: Rc<Front>, seat: Rc<Seat>, socket: UnixStream) {
    let trace = Rc::new(Cell::new(Trace::default()));
    let line = TokioIo::new(Line { socket, trace: Rc::clone(&trace) });
    let mut builder = Builder::new();
    builder.max_headers(RESPONSE_FIELDS).max_buf_size(RESPONSE_HEAD_BYTES);
    // A handshake of HTTP/1 says nothing to the peer, so it cannot fail by it.
    if let Ok((sender, connection)) = builder.handshake(line).await {
        let mut link = Link { front: &front, seat: &seat, sender, connection: Some(connection), trace };
        while let Some(job) = link.next().await {
            link.perform(job).await;
        }
    }
    front.leave(&seat);
}

struct Link<'a> {
    front: &'a Front,
    seat: &'a Rc<Seat>,
    sender: SendRequest<RequestBody>,
    /// Dropped at its end: only then does hyper give up a request that it had not begun to send.
    connection: Option<Connection<TokioIo<Line>, RequestBody>>,
    trace: Rc<Cell<Trace>>,
}

/// What was at hand of an answer when its head came.
enum Beginning {
    Whole(Bytes),
    Part(Bytes),
    Broken,
}

impl Link<'_> {
    /// The next request; `None` when the connection has ended or was released.
    async fn next(&mut self) -> Option<Job> {
        poll_fn(|cx| {
            self.drive(cx);
            self.sender.poll_ready(cx)
        })
        .await
        .ok()?;
        if let Some(job) = self.front.free(self.seat) {
            return Some(job);
        }
        poll_fn(|cx| {
            if self.seat.is_released() {
                return Poll::Ready(None);
            }
            if self.drive(cx) { Poll::Ready(None) } else { self.seat.poll_job(cx) }
        })
        .await
    }

    /// Sends a request and passes its answer on.
    async fn perform(&mut self, mut job: Job) {
        job.attempts += 1;
        self.trace.set(Trace::default());
        let request = Request::from_parts(job.head.clone(), job.payload.to_body());
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await;
        match answer {
            Ok(response) => self.pass_on(job, response).await,
            Err(_) => {
                self.connection = None;
                self.front.bounce(job, self.trace.get().reached());
            }
        }
    }

    async fn pass_on(&mut self, job: Job, response: Response<Incoming>) {
        let (mut head, mut body) = response.into_parts();
        if head.status.is_informational() {
            // A change of protocol that nobody asked for.
            self.connection = None;
            job.answer(Err(Trouble::BadAnswer));
            return;
        }
        fields::to_client(&mut head.headers);
        match poll_fn(|cx| Poll::Ready(beginning(&mut body, cx))).await {
            Beginning::Whole(bytes) => {
                job.answer(Ok(Response::from_parts(head, ResponseBody::Whole(bytes))));
            }
            Beginning::Part(bytes) => {
                let (writer, reader) = pipe(&self.front.pipes);
                writer.push(bytes);
                job.answer(Ok(Response::from_parts(head, ResponseBody::Piped(reader))));
                self.pump(body, writer).await;
            }
            Beginning::Broken => {
                self.connection = None;
                job.answer(Err(Trouble::BadAnswer));
            }
        }
    }

    /// Passes the rest of a body on as it comes and as there is room.
    async fn pump(&mut self, mut body: Incoming, writer: Writer) {
        let end = poll_fn(|cx| {
            loop {
                let progress = self.drive(cx);
                if !ready!(writer.poll_room(cx)) {
                    return Poll::Ready(None);
                }
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => writer.push(frame.into_data().unwrap_or_default()),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Some(false)),
                    Poll::Ready(None) => return Poll::Ready(Some(true)),
                    Poll::Pending if progress => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
        match end {
            Some(true) => writer.finish(),
            Some(false) => self.connection = None,
            None => self.discard(body).await,
        }
    }

    /// Reads the rest of an answer that nobody wants, if it has an end within reason.
    async fn discard(&mut self, mut body: Incoming) {
        let mut left = DISCARD_BYTES;
        let rest = poll_fn(|cx| {
            loop {
                let progress = self.drive(cx);
                match Pin::new(&mut body).poll_frame(cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let length = frame.data_ref().map_or(0, Bytes::len);
                        left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                        if left == 0 {
                            return Poll::Ready(false);
                        }
                    }
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Ready(None) => return Poll::Ready(true),
                    Poll::Pending if progress => {}
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        if tokio::time::timeout(DISCARD_TIME, rest).await != Ok(true) {
            self.connection = None;
        }
    }

    /// Lets hyper read and write; whether the connection came to its end by it.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let ended =
            self.connection.as_mut().is_some_and(|connection| Pin::new(connection).poll(cx).is_ready());
        if ended {
            self.connection = None;
        }
        ended
    }
}

/// Takes what is there of a body, which is mostly all of it.
fn beginning(body: &mut Incoming, cx: &mut Context<'_>) -> Beginning {
    let mut bytes = Bytes::new();
    loop {
        if body.is_end_stream() {
            return Beginning::Whole(bytes);
        }
        if !bytes.is_empty() {
            return Beginning::Part(bytes);
        }
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => bytes = frame.into_data().unwrap_or_default(),
            Poll::Ready(Some(Err(_))) => return Beginning::Broken,
            Poll::Ready(None) => return Beginning::Whole(bytes),
            Poll::Pending => return Beginning::Part(bytes),
        }
    }
}

/// The socket, with a trace of what passed over it.
#[derive(Debug)]
struct Line {
    socket: UnixStream,
    trace: Rc<Cell<Trace>>,
}

impl Line {
    fn note(&self, change: impl FnOnce(&mut Trace)) {
        let mut trace = self.trace.get();
        change(&mut trace);
        self.trace.set(trace);
    }

    fn wrote(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &written {
            Poll::Ready(Ok(length)) => self.note(|trace| {
                trace.written = trace.written.saturating_add(u64::try_from(*length).unwrap_or(u64::MAX));
                trace.writes = trace.writes.saturating_add(1);
            }),
            Poll::Ready(Err(_)) => self.note(|trace| trace.cut = true),
            Poll::Pending => {}
        }
        written
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = out.filled().len();
        let result = ready!(Pin::new(&mut self.socket).poll_read(cx, out));
        let length = u64::try_from(out.filled().len().saturating_sub(before)).unwrap_or(u64::MAX);
        self.note(|trace| {
            trace.read = trace.read.saturating_add(length);
            trace.reset |= matches!(&result, Err(error) if error.kind() == io::ErrorKind::ConnectionReset);
        });
        Poll::Ready(result)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket does not buffer.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
