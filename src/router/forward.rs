//! A request on its way to a server of `http-to`, in the uwsgi protocol, and the answer on its way back.
//!
//! The answer is HTTP without a request before it: hyper reads it as a client's, and what it writes for that is for
//! nobody.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::Response;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1::{Builder, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::fields;
use super::front::Front;
use super::job::{Reply, Trouble};
use super::meter::Meter;
use super::pipe::{Line, ResponseBody, Writer, pipe};
use super::socket::Socket;
use super::upload::Payload;
use super::upstream::Upstreams;
use crate::wire::packed;

/// The longest head of an answer.
const HEAD_LIMIT_BYTES: usize = 64 * 1024;
/// Who takes longer to be reached is not waited for in the name of a client that has left.
const MOMENT: Duration = Duration::from_secs(1);
/// How much of a body is sent at once.
const PIECE_BYTES: usize = 128 * 1024;

/// A request that is complete.
#[derive(Debug)]
pub(super) struct Errand {
    /// Packed, as for a worker.
    pub(super) head: Vec<u8>,
    pub(super) payload: Payload,
    /// A websocket may follow the answer.
    pub(super) may_switch: bool,
}

/// The answer of one of these servers; `None`: the client left before one of them could be reached.
pub(super) async fn ask(
    front: &Rc<Front>,
    upstreams: &Upstreams,
    client: &Socket,
    errand: Errand,
) -> Option<Reply> {
    let gone = async {
        // A client that only shut its sending side down looks the same.
        sleep(MOMENT).await;
        poll_fn(|cx| if client.is_gone(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    };
    let head = packed::to_request(errand.head.clone());
    let packet = head.as_ref().and_then(|head| upstreams.packet(head));
    let reply = match head.zip(packet) {
        None => Err(Trouble::TooLong),
        Some((head, packet)) => tokio::select! {
            biased;
            server = upstreams.connect() => match server {
                Ok(server) => exchange(front, server, &head, &packet, &errand).await,
                Err(trouble) => Err(trouble),
            },
            () = gone => return None,
        },
    };
    if let Err(trouble) = reply {
        front.note(trouble, &errand.head);
    }
    Some(reply)
}

type Answering = Connection<TokioIo<Ear>, Empty<Bytes>>;

async fn exchange(front: &Rc<Front>, server: Socket, head: &Parts, packet: &[u8], errand: &Errand) -> Reply {
    let limits = front.limits.get();
    let meter = Meter::new(front);
    let ear = Ear { socket: server.clone(), is_open: false, waiting: None, meter: Rc::clone(&meter) };
    let (mut sender, mut connection) = Builder::new()
        .max_buf_size(HEAD_LIMIT_BYTES)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(ear))
        .await
        .map_err(|_| Trouble::BadAnswer)?;
    // The method tells whether the answer has a body.
    let mut question = Request::new(Empty::new());
    question.method_mut().clone_from(&head.method);
    let mut asked = pin!(sender.send_request(question));
    let mut sending = pin!(send(server.clone(), packet, &errand.payload, limits.body_idle));
    let (mut is_sent, mut is_over) = (false, false);
    let mut deadline = Instant::now();
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut asked => break answer,
            _ = poll_fn(|cx| connection.poll_without_shutdown(cx)), if !is_over => is_over = true,
            sent = &mut sending, if !is_sent => {
                is_sent = true;
                let patience = match sent {
                    Ok(()) => limits.body_idle,
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => return Err(Trouble::Late),
                    // It does not want all of it, and may say why.
                    Err(_) => limits.linger_time,
                };
                deadline = Instant::now() + patience;
            }
            () = sleep_until(deadline), if is_sent => return Err(Trouble::Late),
        }
    };
    let mut answer =
        answer.map_err(|error| if error.is_parse() { Trouble::BadAnswer } else { Trouble::UpstreamGone })?;
    let switches = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    if switches && !errand.may_switch {
        return Err(Trouble::BadAnswer);
    }
    meter.answered();
    tidy(&mut answer);
    let (head, body) = answer.into_parts();
    if switches {
        let mut response = Response::from_parts(head, ResponseBody::Whole(Bytes::new()));
        response.headers_mut().remove(CONTENT_LENGTH);
        response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        if !is_over {
            let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        }
        server.unread(&connection.into_parts().read_buf);
        *response.body_mut() = ResponseBody::Switched(Line { socket: server, meter: Some(meter) });
        return Ok(response);
    }
    if body.is_end_stream() {
        return Ok(Response::from_parts(head, ResponseBody::Whole(Bytes::new())));
    }
    let (writer, reader) = pipe(&front.buffers);
    spawn_local(pass(connection, is_over, body, writer, limits.body_idle));
    Ok(Response::from_parts(head, ResponseBody::Piped(reader)))
}

/// Sends the request. What takes none of it for so long is too late.
async fn send(mut server: Socket, packet: &[u8], payload: &Payload, idle: Duration) -> io::Result<()> {
    let mut piece = Bytes::copy_from_slice(packet);
    let (mut at, length) = (0, payload.length().unwrap_or(0));
    loop {
        while !piece.is_empty() {
            let written = timeout(idle, server.write(&piece)).await??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let _ = piece.split_to(written);
        }
        if at >= length {
            return Ok(());
        }
        piece = payload.part(at, PIECE_BYTES).await?;
        at = at.saturating_add(piece.len() as u64);
    }
}

/// Passes the body on as it comes, as far as the client's side has room.
async fn pass(
    mut connection: Answering,
    mut is_over: bool,
    mut body: Incoming,
    writer: Writer,
    idle: Duration,
) {
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            _ = poll_fn(|cx| connection.poll_without_shutdown(cx)), if !is_over => {
                is_over = true;
                continue;
            }
            // Without its end it looks broken to the client.
            () = sleep(idle) => return,
        };
        match frame {
            None => return writer.finish(),
            Some(Err(_)) => return,
            // Trailers are for nobody.
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if !writer.write(data).await {
                    return;
                }
            }
        }
    }
}

/// Leaves out what concerns only the server's connection.
fn tidy(answer: &mut Response<Incoming>) {
    *answer.version_mut() = Version::HTTP_11;
    let headers = answer.headers_mut();
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    let closes =
        headers.get_all(CONNECTION).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    let unwanted: Vec<_> = headers.keys().filter(|name| fields::is_hop_by_hop(name)).cloned().collect();
    for name in unwanted {
        headers.remove(name);
    }
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Where hyper hears the answer.
#[derive(Debug)]
struct Ear {
    socket: Socket,
    /// hyper takes what comes before its own request for a mistake.
    is_open: bool,
    waiting: Option<Waker>,
    meter: Rc<Meter>,
}

impl AsyncRead for Ear {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_open {
            self.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = out.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, out);
        self.meter.add(out.filled().len().saturating_sub(before));
        polled
    }
}

impl AsyncWrite for Ear {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_open = true;
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
