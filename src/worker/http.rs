//! HTTP connections: hyper reads and writes, requests become jobs.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http::request;
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::feed::ReplyBody;
use super::job::{Head, Job, Reply, RequestBody};
use super::reply;
use super::server::{Fresh, Held, Server};
use super::switch::{Switch, Taken};
use super::upload;
use crate::config::address::Protocol;
use crate::gateway::peer::{Connection, Peer};
use crate::proto::http1::{self, Guard, Watch};
use crate::proto::refusal::phrase;
use crate::sys::{clock, stream};
use crate::wire::message::Passed;

/// Where requests of a connection come from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A client, or a proxy that is taken for one.
    Client(Connection),
    /// The router, which says of each request where it comes from.
    Router,
}

impl Origin {
    /// The facts for the environ.
    pub(super) fn peer<'a>(&'a self, parts: &'a request::Parts, server_name: &'a str) -> Peer<'a> {
        match self {
            Self::Client(connection) => connection.peer(server_name),
            Self::Router => Peer::of_routed(&parts.headers, server_name),
        }
    }
}

/// Serves a connection to this port, on which so many requests were answered before.
pub(super) fn serve(held: Held, socket: OwnedFd, server_port: Option<u16>, requests: u64) {
    let server = Arc::clone(held.server());
    match Socket::new(socket) {
        Ok(socket) => {
            let origin = Arc::new(Origin::Client(Connection::new(socket.peer(), server_port)));
            let fresh = (requests == 0).then(|| Fresh::new(&server));
            server.spawn(client(held, fresh, socket, origin, requests));
        }
        Err(error) => tracing::warn!("cannot serve a connection: {error}"),
    }
}

async fn client(
    held: Held,
    mut fresh: Option<Fresh>,
    mut socket: Socket,
    origin: Arc<Origin>,
    mut requests: u64,
) {
    let server = held.server();
    loop {
        let guard = Guard::after(socket, server.limits, requests);
        let watch = guard.watch();
        match connection(&held, guard, watch.clone(), Arc::clone(&origin), fresh.take()).await {
            Left::AtRest(guard) => (socket, requests) = guard.into_parts(),
            Left::Switched(guard, read, switch) => return hand_over(guard, &read, &switch),
            Left::Nothing => {
                if let (Some(refusal), Origin::Client(peer)) = (watch.refusal(), &*origin) {
                    server.log_refusal(peer, &refusal);
                }
                return;
            }
        }
        match pass(server, socket, requests).await {
            Ok(None) => return,
            Ok(Some(kept)) => socket = kept,
            Err(error) => {
                return tracing::warn!("a connection was lost on its way to another worker: {error}");
            }
        }
    }
}

/// Gives an idle connection to a worker that serves on; comes back with it when none takes it.
async fn pass(server: &Server, socket: Socket, requests: u64) -> io::Result<Option<Socket>> {
    let socket = socket.into_fd()?;
    let Some(entrance) = server.entrance() else { return Socket::new(socket).map(Some) };
    let given = tokio::select! {
        biased;
        given = entrance.give(&socket, Passed { requests, protocol: Protocol::Http }) => given,
        () = server.hurried() => Err(io::ErrorKind::TimedOut.into()),
    };
    if let Err(error) = given {
        tracing::debug!("idle connections stay: {error}");
        server.set_entrance(None);
        return Socket::new(socket).map(Some);
    }
    Ok(None)
}

/// What is left of a connection when it was served.
enum Left<S> {
    Nothing,
    /// It is at rest, and others are to serve it.
    AtRest(S),
    /// It is another protocol's, of which so much was read.
    Switched(S, Bytes, Switch),
}

/// Gives a connection to the application's thread, where it is another protocol's.
fn hand_over(guard: Guard<Socket>, read: &[u8], switch: &Switch) {
    let (socket, held) = guard.into_raw();
    match socket.into_fd() {
        Ok(fd) => switch.give(Taken { fd, unread: [read, &held].concat() }),
        Err(error) => tracing::warn!("a websocket was lost on its way to the application: {error}"),
    }
}

/// Serves a connection to its end, until it is at rest and others are to serve it, or until it is another protocol's.
async fn connection<S>(
    held: &Held,
    stream: S,
    watch: Watch,
    origin: Arc<Origin>,
    fresh: Option<Fresh>,
) -> Left<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let server = held.server();
    let is_new = AtomicBool::new(fresh.is_some());
    let (switch, fresh) = (OnceLock::new(), Mutex::new(fresh));
    let service = service_fn(|request| {
        is_new.store(false, Ordering::Relaxed);
        let is_first = fresh.lock().unwrap_or_else(PoisonError::into_inner).take().is_some();
        answer(server, &watch, &switch, &origin, is_first, request)
    });
    let builder = http1::server_builder(&server.limits);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut drained = pin!(server.drained());
    let mut waits_for_drain = false;
    // The wish to drain wakes this task once; asking for it at each of the connection's wake-ups would cost more
    // than a look at the flag.
    let over = poll_fn(|cx| {
        if !server.is_draining() && Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        held.engage(is_new.load(Ordering::Relaxed) || !watch.is_at_rest());
        if !waits_for_drain || server.is_draining() {
            waits_for_drain = true;
            return drained.as_mut().poll(cx).map(|()| false);
        }
        Poll::Pending
    })
    .await;
    if over {
        return left(connection.into_parts(), &switch);
    }
    let mut silence_over = pin!(server.silence_over());
    let over = poll_fn(|cx| {
        // What has come by then is answered.
        if Pin::new(&mut connection).poll(cx).is_ready() {
            return Poll::Ready(Some(Over::Ended));
        }
        if watch.is_at_rest() && server.entrance().is_some() {
            return Poll::Ready(Some(Over::AtRest));
        }
        silence_over.as_mut().poll(cx).map(|()| None)
    })
    .await;
    match over {
        Some(Over::Ended) => return left(connection.into_parts(), &switch),
        Some(Over::AtRest) => return Left::AtRest(connection.into_parts().io.into_inner()),
        None => {}
    }
    Pin::new(&mut connection).graceful_shutdown();
    let _ = Pin::new(&mut connection).await;
    left(connection.into_parts(), &switch)
}

fn left<S, V>(parts: Parts<TokioIo<S>, V>, switch: &OnceLock<Switch>) -> Left<S> {
    match switch.get() {
        Some(switch) => Left::Switched(parts.io.into_inner(), parts.read_buf, switch.clone()),
        None => Left::Nothing,
    }
}

/// Why a connection of a worker that finishes is no longer waited for.
enum Over {
    Ended,
    AtRest,
}

/// The connection ends without an answer: the client is gone, or the application broke off.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct NoAnswer;

async fn answer(
    server: &Server,
    watch: &Watch,
    switch: &OnceLock<Switch>,
    origin: &Arc<Origin>,
    is_first: bool,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, NoAnswer> {
    let (mut parts, incoming) = request.into_parts();
    let limit = server.host.spec.workers.limit_post_bytes;
    // What is refused need not be received.
    if limit > 0 && incoming.size_hint().exact().is_some_and(|length| length > limit) {
        return refused(413);
    }
    let body = if incoming.is_end_stream() {
        RequestBody::Whole(Bytes::new())
    } else {
        // Apart, so that requests without a body stay small.
        match Box::pin(upload::receive(incoming, &server.room_for_bodies)).await {
            Ok(body) => body,
            Err(_) => return refused(watch.refusal().ok_or(NoAnswer)?.status),
        }
    };
    if let RequestBody::Received(received) = &body
        && let Some(length) = received.length()
    {
        // Applications know what to do with a length.
        parts.headers.remove(TRANSFER_ENCODING);
        parts.headers.insert(CONTENT_LENGTH, length.into());
    }
    let (sender, receiver) = reply::channel();
    let head = Head::Http(Box::new(parts), Arc::clone(origin));
    let since_us = clock::monotonic_us();
    server.push(Job { head, body, reply: Reply::Http(sender, watch.clone()), since_us, is_first });
    let mut response = receiver.await.ok_or(NoAnswer)?;
    if let Some(wanted) = response.extensions_mut().remove() {
        watch.switch();
        let _ = switch.set(wanted);
        return Ok(response);
    }
    // What passes to another worker right after the answer need not end.
    if (server.is_draining() || server.is_overtaken()) && server.entrance().is_none() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

fn refused(status: u16) -> Result<Response<ReplyBody>, NoAnswer> {
    let page = Bytes::from_static(phrase(status).as_bytes());
    let response = Response::builder().status(status).header(CONNECTION, "close");
    response.body(ReplyBody::Whole(Some(page))).map_err(|_| NoAnswer)
}

/// A connected socket of either family.
#[derive(Debug)]
enum Socket {
    Tcp(tokio::net::TcpStream),
    Unix(tokio::net::UnixStream),
}

impl Socket {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(if stream::is_tcp(&socket) {
            let socket = TcpStream::from(socket);
            socket.set_nonblocking(true)?;
            Self::Tcp(tokio::net::TcpStream::from_std(socket)?)
        } else {
            let socket = UnixStream::from(socket);
            socket.set_nonblocking(true)?;
            Self::Unix(tokio::net::UnixStream::from_std(socket)?)
        })
    }

    fn into_fd(self) -> io::Result<OwnedFd> {
        Ok(match self {
            Self::Tcp(socket) => socket.into_std()?.into(),
            Self::Unix(socket) => socket.into_std()?.into(),
        })
    }

    fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, out),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Unix(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
