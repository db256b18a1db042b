//! uwsgi connections: one packet, one request, one response, on the bare descriptor as long as nothing has to be
//! waited for.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::job::{Head, Job, Reply, RequestBody};
use super::server::{Held, Server};
use super::waiter::Waiter;
use crate::gateway::environ::UwsgiRequest;
use crate::gateway::peer::Connection;
use crate::proto::refusal::Refusal;
use crate::proto::uwsgi::{self, Fault, Packet};
use crate::sys::{clock, reactor, stream};

/// A body up to this length is read before a thread is taken for its request.
const PREFETCH_BYTES: usize = 64 * 1024;
/// How much is read at first: most requests fit.
const FIRST_READ_BYTES: usize = 8 * 1024;

thread_local! {
    /// Where first reads go.
    static FIRST: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Serves a connection: at once, when the request is there already.
pub(super) fn serve(held: Held, socket: OwnedFd) {
    let mut reading = Reading { held, bytes: Vec::new(), wanted: 0, packet: 0, body: 0 };
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

/// The socket of a request, shared by its input and its output. Its methods wait; call them detached.
#[derive(Debug)]
pub(super) struct PacketSocket {
    fd: OwnedFd,
    read_timeout: Duration,
    /// A front end that passes a slow client's pace on may pause for longer than one that sends.
    write_timeout: Duration,
    /// Bytes of the request's body that nobody has read.
    unread: AtomicU64,
    held: Held,
}

impl PacketSocket {
    /// Reads at least a byte of the body.
    ///
    /// # Errors
    /// The front end is gone or silent for too long.
    pub(super) fn read(&self, buffer: &mut [u8], waiter: &Waiter) -> io::Result<usize> {
        loop {
            match stream::receive(&self.fd, buffer) {
                Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client is gone")),
                Ok(length) => {
                    self.unread.fetch_sub(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !waiter.readable(self.fd.as_fd(), self.read_timeout)? {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes everything, the head and the body in one piece.
    ///
    /// # Errors
    /// The front end is gone or does not read for too long.
    pub(super) fn write(&self, head: &[u8], body: &[u8], waiter: &Waiter) -> io::Result<()> {
        let mut slices = [IoSlice::new(head), IoSlice::new(body)];
        let mut left = &mut slices[..];
        // Empty slices in front would look like a write that made no progress.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match stream::send(&self.fd, left) {
                Ok(length) => IoSlice::advance_slices(&mut left, length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !waiter.writable(self.fd.as_fd(), self.write_timeout)? {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the connection. What is left of the body is read and thrown away for a while: closing before that would
    /// reset the connection, and the front end would lose the response.
    pub(super) fn end(self: Arc<Self>) {
        if self.unread.load(Ordering::Relaxed) == 0 || self.discard() {
            return;
        }
        let _ = stream::end_writing(&self.fd);
        let server = Arc::clone(self.held.server());
        let limit = server.limits.linger_time;
        server.handle.clone().spawn(async move {
            let Ok(socket) = self.fd.try_clone().and_then(reactor::register_readable) else { return };
            let linger = async {
                while let Ok(mut ready) = socket.readable().await {
                    if self.discard() {
                        break;
                    }
                    ready.clear_ready();
                }
            };
            let _ = timeout(limit, linger).await;
        });
    }

    /// Throws away what is there; whether nothing more can come, or too much did.
    fn discard(&self) -> bool {
        let limit = self.held.server().limits.linger_bytes;
        let mut buffer = [0; 8 * 1024];
        let mut discarded = 0;
        while self.unread.load(Ordering::Relaxed) > 0 && discarded < limit {
            match stream::receive(&self.fd, &mut buffer) {
                Ok(length) if length > 0 => {
                    self.unread.fetch_sub(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
                    discarded += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                _ => return true,
            }
        }
        true
    }
}

/// A request on its way in.
struct Reading {
    held: Held,
    bytes: Vec<u8>,
    /// How many bytes complete it, once that is known.
    wanted: usize,
    /// How many bytes the packet has, …
    packet: usize,
    /// … and the body.
    body: u64,
}

enum Progress {
    Complete,
    More,
}

/// The connection ends without a job.
struct Closed;

impl Reading {
    /// Reads what is there.
    fn read(&mut self, socket: &OwnedFd) -> Result<Progress, Closed> {
        loop {
            let read = if self.bytes.is_empty() { self.read_first(socket) } else { self.read_more(socket) };
            match read {
                Ok(0) => return Err(Closed),
                Ok(_) => {
                    self.wanted = self.needed(socket)?;
                    if self.bytes.len() >= self.wanted {
                        return Ok(Progress::Complete);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::More),
                Err(_) => return Err(Closed),
            }
        }
    }

    /// Reads into a buffer that is there already: one for each request would cost more than the copy.
    fn read_first(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        FIRST.with_borrow_mut(|buffer| {
            buffer.resize(FIRST_READ_BYTES, 0);
            let length = stream::receive(socket, buffer)?;
            self.bytes.extend_from_slice(buffer.get(..length).unwrap_or_default());
            Ok(length)
        })
    }

    fn read_more(&mut self, socket: &OwnedFd) -> io::Result<usize> {
        let before = self.bytes.len();
        let room = self.wanted.saturating_sub(before).clamp(FIRST_READ_BYTES, PREFETCH_BYTES);
        self.bytes.resize(before + room, 0);
        let read = stream::receive(socket, self.bytes.get_mut(before..).unwrap_or_default());
        self.bytes.truncate(before + read.as_ref().map_or(0, |length| *length));
        read
    }

    /// How many bytes must be there before a thread is taken: the packet, and a small body.
    fn needed(&mut self, socket: &OwnedFd) -> Result<usize, Closed> {
        let limits = &self.held.server().limits;
        match uwsgi::read(&self.bytes, limits) {
            Ok(Packet::Incomplete(bytes)) => Ok(bytes),
            Ok(Packet::Ping) => {
                let _ = stream::send(socket, &[IoSlice::new(&uwsgi::PONG)]);
                Err(Closed)
            }
            Ok(Packet::Request(variables, length)) => match UwsgiRequest::new(variables, false) {
                Ok(request) => {
                    let body = usize::try_from(request.content_length).unwrap_or(usize::MAX);
                    (self.packet, self.body) = (length, request.content_length);
                    Ok(if body <= PREFETCH_BYTES { length + body } else { length })
                }
                Err(refusal) => Err(self.refuse(socket, refusal)),
            },
            Err(Fault::Refused(refusal)) => Err(self.refuse(socket, refusal)),
            Err(Fault::Malformed(reason)) => Err(self.cut(socket, &reason)),
            Err(Fault::Modifier(modifier)) => {
                Err(self.cut(socket, &format_args!("unavailable modifier requested: {modifier}")))
            }
        }
    }

    fn refuse(&self, socket: &OwnedFd, refusal: Refusal) -> Closed {
        let _ = stream::send(socket, &[IoSlice::new(&refusal.response())]);
        self.cut(socket, &refusal)
    }

    /// Ends a connection whose request has no answer.
    fn cut(&self, socket: &OwnedFd, why: &dyn Display) -> Closed {
        let peer = socket.try_clone().map(TcpStream::from).and_then(|socket| socket.peer_addr());
        self.held.server().log_refusal(&Connection::new(peer.ok(), None), why);
        Closed
    }

    /// Queues the complete request.
    fn finish(self, socket: OwnedFd) {
        let server = Arc::clone(self.held.server());
        let content_length = self.body;
        let mut bytes = Bytes::from(self.bytes);
        let mut body = bytes.split_off(self.packet.min(bytes.len()));
        // Bytes beyond the announced ones are no second request.
        body.truncate(usize::try_from(content_length).unwrap_or(usize::MAX));
        let left = content_length.saturating_sub(u64::try_from(body.len()).unwrap_or(0));
        let socket = Arc::new(PacketSocket {
            fd: socket,
            read_timeout: socket_timeout(&server),
            write_timeout: socket_timeout(&server).max(server.limits.write_stall),
            unread: AtomicU64::new(left),
            held: self.held,
        });
        let head = Head::Packet(bytes.split_off(uwsgi::HEAD_BYTES));
        let body = if left == 0 {
            RequestBody::Whole(body)
        } else {
            RequestBody::Socket(body, left, Arc::clone(&socket))
        };
        let since_us = clock::monotonic_us();
        server.push(Job { head, body, reply: Reply::Socket(socket), since_us });
    }
}

/// Reads on as bytes come; a request that stays incomplete is cut off.
async fn read_on(reading: &mut Reading, socket: OwnedFd) -> Result<OwnedFd, Closed> {
    // A front end that has connected sends at once: one look later costs less than the reactor.
    yield_now().await;
    if let Progress::Complete = reading.read(&socket)? {
        return Ok(socket);
    }
    reading.held.server().pulse();
    let deadline = Instant::now() + socket_timeout(reading.held.server());
    let socket = reactor::register_readable(socket).map_err(|_| Closed)?;
    loop {
        let mut ready =
            timeout_at(deadline, socket.readable()).await.map_err(|_| Closed)?.map_err(|_| Closed)?;
        match reading.read(socket.get_ref())? {
            Progress::Complete => break,
            Progress::More => ready.clear_ready(),
        }
    }
    Ok(socket.into_inner())
}

fn socket_timeout(server: &Server) -> Duration {
    Duration::from_secs(u64::from(server.host.spec.workers.socket_timeout_s.max(1)))
}
