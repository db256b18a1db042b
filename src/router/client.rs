//! A client's connection: its requests are read whole, queued, and answered.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::fields::{self, Facts};
use super::forward::{self, Errand};
use super::front::{Front, Phase};
use super::gzip::Taste;
use super::held::Held;
use super::job::{Job, Reply, Ticket};
use super::page::{close, page};
use super::pipe::{Line, ResponseBody};
use super::redirect::Redirect;
use super::relay;
use super::socket::Socket;
use super::upload::Payload;
use crate::gateway::websocket::Wish;
use crate::proto::http1::{Guard, Watch, server_builder};
use crate::sys::clock;

/// What the requests of one connection have in common.
#[derive(Debug)]
struct Client {
    front: Rc<Front>,
    socket: Socket,
    facts: Facts,
    watch: Watch,
    /// A request has come.
    has_asked: Cell<bool>,
    /// Where all its requests are sent; `None`: they are answered here.
    redirect: Option<Redirect>,
    /// Where the bytes go to and come from after an answer that another protocol follows.
    line: RefCell<Option<Line>>,
}

/// The connection ends without an answer: the client is gone.
#[derive(Debug, thiserror::Error)]
#[error("the client is gone")]
struct ClientGone;

/// Serves a connection to its end. `stream` is what HTTP is spoken on: `socket`, or TLS over it.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    held: Held,
    socket: Socket,
    stream: S,
    facts: Facts,
    redirect: Option<Redirect>,
) {
    let front = Rc::clone(held.front());
    let guard = Guard::new(stream, front.limits.get());
    let (watch, has_asked) = (guard.watch(), Cell::new(false));
    let client =
        Rc::new(Client { front, socket, facts, watch, has_asked, redirect, line: RefCell::default() });
    let service = service_fn(|request| answer(Rc::clone(&client), request));
    let builder = server_builder(&client.front.limits.get());
    let mut connection = builder.serve_connection(TokioIo::new(guard), service);
    let front = &client.front;
    let over = {
        let mut closing = pin!(front.after(Phase::Draining));
        let mut seen = None;
        // Every new phase wakes this task; at its other wake-ups a look at the phase is enough.
        poll_fn(|cx| {
            if Pin::new(&mut connection).poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            held.engage(!client.has_asked.get() || !client.watch.is_at_rest());
            let phase = Some(front.phase());
            if seen == phase {
                return Poll::Pending;
            }
            seen = phase;
            closing.as_mut().poll(cx).map(|()| false)
        })
        .await
    };
    if !over {
        Pin::new(&mut connection).graceful_shutdown();
        let _ = Pin::new(&mut connection).await;
    }
    if let Some(line) = client.line.take() {
        let parts = connection.into_parts();
        let (stream, held) = parts.io.into_inner().into_raw();
        let read = [&parts.read_buf[..], &held].concat();
        // Apart, so that other connections stay small.
        return Box::pin(relay::run(&front.limits.get(), stream, &read, line)).await;
    }
    if let Some(refusal) = client.watch.refusal()
        && front.may_log()
    {
        tracing::info!("refused a request of {}: {refusal}", client.facts);
    }
}

async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, ClientGone> {
    client.has_asked.set(true);
    let front = &client.front;
    let (head, body) = request.into_parts();
    if let Some(redirect) = client.redirect {
        return Ok(redirect.answer(&head));
    }
    let mut payload = Payload::Empty;
    if !body.is_end_stream() {
        // Apart, so that requests without a body stay small.
        payload = match Box::pin(Payload::receive(body, &front.uploads)).await {
            Ok(payload) => payload,
            Err(error) => {
                let refusal = client.watch.refusal();
                let status = error.status().or(refusal.map(|refusal| refusal.status)).ok_or(ClientGone)?;
                if refusal.is_none() && front.may_log() {
                    tracing::warn!("{status} for {}: {error}", client.facts);
                }
                let mut response = page(status);
                close(response.headers_mut());
                return Ok(response);
            }
        };
    }
    let may_switch = front.takes_websockets() && payload.is_empty() && Wish::of_http(&head).is_some();
    let taste = front.gzips().then(|| Taste::of(&head));
    let head = fields::to_worker(&head, payload.length(), may_switch, &client.facts);
    let reply = match front.upstreams() {
        None => ask_worker(&client, head, payload, may_switch).await?,
        // Apart, so that requests to workers stay small.
        Some(upstreams) => {
            let errand = Errand { head, payload, may_switch };
            Box::pin(forward::ask(front, &upstreams, &client.socket, errand)).await.ok_or(ClientGone)?
        }
    };
    let mut response = match reply {
        Ok(response) => response,
        Err(trouble) => page(trouble.status()),
    };
    if let Some(taste) = taste {
        taste.serve(&mut response);
    }
    if let Some(line) = response.body_mut().take_line() {
        client.watch.switch();
        client.line.replace(Some(line));
        return Ok(response);
    }
    if front.phase() > Phase::Serving || front.closes_each() {
        close(response.headers_mut());
    }
    Ok(response)
}

/// The answer of the next idle worker.
async fn ask_worker(
    client: &Client,
    head: Vec<u8>,
    payload: Payload,
    may_switch: bool,
) -> Result<Reply, ClientGone> {
    let front = &client.front;
    let (reply, receiver) = oneshot::channel();
    let ticket = front.ticket();
    let since_us = clock::monotonic_us();
    front.submit(Job { ticket, since_us, head, payload, may_switch, client: client.socket.clone(), reply });
    Place { client, ticket, receiver, queued: true }.await
}

/// A request in the queue or at a worker. Dropped, or when its client is gone, it leaves the queue.
struct Place<'a> {
    client: &'a Client,
    ticket: Ticket,
    receiver: oneshot::Receiver<Reply>,
    /// It may be in the queue still, or at a worker.
    queued: bool,
}

impl Future for Place<'_> {
    type Output = Result<Reply, ClientGone>;

    fn poll(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let reply = Pin::new(&mut this.receiver).poll(cx);
        if reply.is_pending() && this.queued && this.client.socket.is_gone(cx) {
            this.queued = false;
            if this.client.front.withdraw(this.ticket).is_some() {
                return Poll::Ready(Err(ClientGone));
            }
        }
        let reply = ready!(reply);
        this.queued = false;
        // The sender is dropped without a reply only where the client was found gone.
        Poll::Ready(reply.map_err(|_| ClientGone))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.queued {
            self.client.front.withdraw(self.ticket);
        }
    }
}
