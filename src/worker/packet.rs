//! Connections of front ends that send the variables of a request ready-made, by uwsgi, SCGI or FastCGI: on the bare
//! descriptor as long as nothing has to be waited for.

mod inlet;
mod intake;
mod outlet;
mod socket;

use std::cell::RefCell;
use std::fmt::Display;
use std::future::pending;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use intake::{Intake, Progress};
pub(super) use socket::PacketSocket;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use super::job::{Head, Job, Reply, RequestBody};
use super::server::{Held, Server};
use crate::config::address::Protocol;
use crate::gateway::peer::Connection;
use crate::proto::fastcgi::Receiver;
use crate::sys::{clock, reactor, stream};
use crate::wire::message::Passed;

/// A body up to this length is read before a thread is taken for its request.
const PREFETCH_BYTES: usize = 64 * 1024;
/// How much is read at first: most requests fit.
const FIRST_READ_BYTES: usize = 8 * 1024;
/// How long a connection that the front end keeps may rest: front ends close theirs sooner, nginx after a minute, and
/// no request meets the end of a connection.
const REST: Duration = Duration::from_secs(120);

thread_local! {
    /// Where reads go: a buffer for each request would cost more than the copy.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Serves a new connection: at once, when the request is there already.
pub(super) fn serve(held: Held, socket: OwnedFd, protocol: Protocol) {
    let mut reading = Reading { held, intake: Intake::new(protocol), requests: 0 };
    match reading.read(&socket) {
        Ok(Progress::Complete) => reading.finish(socket),
        Ok(Progress::More) => {
            let handle = reading.held.server().handle.clone();
            handle.spawn(async move {
                if let Ok(socket) = read_on(&mut reading, socket).await {
                    reading.finish(socket);
                }
            });
        }
        Err(_) => {}
    }
}

/// Waits for the next request on a connection that the front end keeps, on which so many were answered.
pub(super) fn keep(held: Held, socket: OwnedFd, receiver: Receiver, requests: u64) {
    let handle = held.server().handle.clone();
    let mut reading = Reading { held, intake: Intake::keep(receiver), requests };
    handle.spawn(async move {
        if let Ok(socket) = rest(&mut reading, socket).await {
            reading.finish(socket);
        }
    });
}

/// A request on its way in.
struct Reading {
    held: Held,
    intake: Intake,
    /// How many requests came before it.
    requests: u64,
}

/// The connection ends without a job, or is another worker's.
struct Closed;

impl Reading {
    /// Reads what is there.
    fn read(&mut self, socket: &OwnedFd) -> Result<Progress, Closed> {
        loop {
            let read = BUFFER.with_borrow_mut(|buffer| {
                buffer.resize(self.intake.room().clamp(FIRST_READ_BYTES, PREFETCH_BYTES), 0);
                let length = stream::receive(socket, buffer)?;
                Ok::<_, io::Error>(match length {
                    0 => None,
                    _ => Some(self.take(socket, buffer.get(..length).unwrap_or_default())),
                })
            });
            match read {
                Ok(Some(Ok(Progress::More))) => {}
                Ok(Some(other)) => return other,
                Ok(None) => return Err(Closed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::More),
                Err(_) => return Err(Closed),
            }
        }
    }

    /// Takes what was read.
    fn take(&mut self, socket: &OwnedFd, bytes: &[u8]) -> Result<Progress, Closed> {
        let taken = self.intake.push(bytes, &self.held.server().limits);
        let replies = self.intake.replies();
        if !replies.is_empty() {
            send_short(socket, &replies)?;
        }
        taken.map_err(|cut| {
            if !cut.answer.is_empty() {
                let _ = send_short(socket, &cut.answer);
            }
            match cut.why {
                Some(why) => self.cut(socket, &why),
                None => Closed,
            }
        })
    }

    /// Ends a connection whose request has no answer.
    fn cut(&self, socket: &OwnedFd, why: &dyn Display) -> Closed {
        let peer = socket.try_clone().map(TcpStream::from).and_then(|socket| socket.peer_addr());
        self.held.server().log_refusal(&Connection::new(peer.ok(), None), why);
        Closed
    }

    /// Queues the complete request.
    fn finish(self, socket: OwnedFd) {
        self.held.engage(true);
        let server = Arc::clone(self.held.server());
        let Some(whole) = self.intake.finish(server.host.spec.workers.limit_post_bytes) else { return };
        let is_here = whole.inlet.is_ended();
        let read_timeout = socket_timeout(&server);
        let is_first = self.requests == 0;
        let socket = Arc::new(PacketSocket::new(
            self.held,
            socket,
            read_timeout,
            whole.inlet,
            whole.outlet,
            self.requests.saturating_add(1),
        ));
        let body = if is_here {
            RequestBody::Whole(whole.body)
        } else {
            RequestBody::Socket(whole.body, Arc::clone(&socket))
        };
        let since_us = clock::monotonic_us();
        server.push(Job {
            head: Head::Packet(Box::new(whole.request)),
            body,
            reply: Reply::Socket(socket),
            since_us,
            is_first,
        });
    }
}

/// Sends what fits into any socket that was not written to for a while.
fn send_short(socket: &OwnedFd, bytes: &[u8]) -> Result<(), Closed> {
    match stream::send(socket, &[IoSlice::new(bytes)]) {
        Ok(length) if length == bytes.len() => Ok(()),
        _ => Err(Closed),
    }
}

/// Reads on as bytes come; a request that stays incomplete is cut off.
async fn read_on(reading: &mut Reading, socket: OwnedFd) -> Result<OwnedFd, Closed> {
    // A front end that has connected sends at once: one look later costs less than the reactor.
    yield_now().await;
    if let Progress::Complete = reading.read(&socket)? {
        return Ok(socket);
    }
    let socket = reactor::register_readable(socket).map_err(|_| Closed)?;
    complete(reading, &socket).await?;
    Ok(socket.into_inner())
}

/// Reads the rest of a request.
async fn complete(reading: &mut Reading, socket: &AsyncFd<OwnedFd>) -> Result<(), Closed> {
    reading.held.engage(true);
    reading.held.server().pulse();
    let deadline = Instant::now() + socket_timeout(reading.held.server());
    loop {
        let mut ready =
            timeout_at(deadline, socket.readable()).await.map_err(|_| Closed)?.map_err(|_| Closed)?;
        match reading.read(socket.get_ref())? {
            Progress::Complete => return Ok(()),
            Progress::More => ready.clear_ready(),
        }
    }
}

/// Waits for the next request and reads it. While nothing of it has come, the connection may pass to another worker.
async fn rest(reading: &mut Reading, socket: OwnedFd) -> Result<OwnedFd, Closed> {
    let server = Arc::clone(reading.held.server());
    // What came behind the request before.
    if let Progress::Complete = reading.take(&socket, &[])? {
        return Ok(socket);
    }
    let socket = reactor::register_readable(socket).map_err(|_| Closed)?;
    let mut stays = false;
    let mut over = pin!(sleep(REST));
    while reading.intake.is_at_rest() {
        let silence = async { if stays { server.silence_over().await } else { pending().await } };
        let ready = tokio::select! {
            biased;
            ready = socket.readable() => Some(ready),
            () = server.drained(), if !stays => None,
            () = silence => return Err(Closed),
            () = &mut over => return Err(Closed),
        };
        match ready {
            Some(ready) => {
                let mut ready = ready.map_err(|_| Closed)?;
                match reading.read(socket.get_ref())? {
                    Progress::Complete => return Ok(socket.into_inner()),
                    Progress::More => ready.clear_ready(),
                }
            }
            None => {
                pass(&server, socket.get_ref(), reading.requests).await?;
                stays = true;
            }
        }
    }
    complete(reading, &socket).await?;
    Ok(socket.into_inner())
}

/// Gives the connection to a worker that serves on; comes back when none takes it.
async fn pass(server: &Server, socket: &OwnedFd, requests: u64) -> Result<(), Closed> {
    let Some(entrance) = server.entrance() else { return Ok(()) };
    let passed = Passed { requests, protocol: Protocol::Fastcgi };
    let given: io::Result<()> = tokio::select! {
        biased;
        given = entrance.give(socket, passed) => given,
        () = server.hurried() => Err(io::ErrorKind::TimedOut.into()),
    };
    match given {
        Ok(()) => Err(Closed),
        Err(error) => {
            tracing::debug!("a connection of a front end stays: {error}");
            Ok(())
        }
    }
}

fn socket_timeout(server: &Server) -> Duration {
    Duration::from_secs(u64::from(server.host.spec.workers.socket_timeout_s.max(1)))
}
