//! A websocket: messages over a connection that was HTTP. Whoever waits holds no lock, so that another greenlet of the
//! request may send meanwhile.

mod heart;

use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use heart::{Beat, Heart};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, Utf8Bytes};
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};

use super::server::Server;
use super::switch::Taken;
use super::waiter::Waiter;
use crate::config::websocket::WebsocketSpec;
use crate::sys::{clock, reactor, stream};

/// How much is read at once.
const READ_BYTES: usize = 16 * 1024;
/// How much is read before others have their turn, whatever comes: pings and pieces of a message are nobody's reason to stop.
const TURN_BYTES: usize = 64 * 1024;
/// How many pings are answered that a client does not read the answers to.
const UNREAD_PONGS: usize = 512;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// Why a websocket is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// The application has done with it.
    Done,
    /// It raised an exception.
    Failed,
}

/// A websocket. Its methods that wait are to be called detached.
#[derive(Debug)]
pub(super) struct WebSocket {
    line: Arc<Line>,
    waiter: Waiter,
    server: Arc<Server>,
    write_limit: Duration,
    talk: Mutex<Talk>,
    sent_bytes: AtomicU64,
    /// Ends it when the worker's time is over.
    leaving: JoinHandle<()>,
}

/// The connection.
#[derive(Debug)]
struct Line {
    fd: OwnedFd,
    /// The worker ends soon.
    is_leaving: AtomicBool,
    /// How much may still be read in this turn.
    left: AtomicUsize,
}

#[derive(Debug)]
struct Talk {
    context: WebSocketContext,
    heart: Heart,
    /// Why nothing more is received or sent.
    over: Option<Arc<str>>,
    max_size_kib: u32,
    unread_pongs: usize,
}

/// What came.
enum Step {
    Message(Bytes),
    /// Nothing whole; wait for more, so long at most.
    Nothing(Option<Duration>),
}

impl WebSocket {
    /// On a connection that was taken over.
    pub(super) fn new(server: &Arc<Server>, taken: Taken, waiter: Waiter) -> Self {
        let spec = server.host.spec.websockets;
        let socket_timeout = Duration::from_secs(u64::from(server.host.spec.workers.socket_timeout_s.max(1)));
        let line =
            Arc::new(Line { fd: taken.fd, is_leaving: AtomicBool::new(false), left: AtomicUsize::new(0) });
        let leaving = server.handle.spawn({
            let (server, line) = (Arc::clone(server), Arc::clone(&line));
            async move {
                server.farewell().await;
                line.leave();
            }
        });
        Self {
            line,
            waiter,
            server: Arc::clone(server),
            write_limit: server.limits.write_stall.max(socket_timeout),
            talk: Mutex::new(Talk::new(taken.unread, &spec)),
            sent_bytes: AtomicU64::new(0),
            leaving,
        }
    }

    /// The connection.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.line.fd
    }

    /// How many bytes of messages were sent.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// There will be none.
    pub(super) fn receive(&self) -> Result<Bytes, Arc<str>> {
        loop {
            match self.step()? {
                Step::Message(message) => return Ok(message),
                Step::Nothing(limit) => {
                    let limit = limit.unwrap_or(Duration::MAX);
                    let waited = self.waiter.readable_at_length(self.fd().as_fd(), limit);
                    waited.map_err(|error| self.lock().end(&error.to_string()))?;
                }
            }
        }
    }

    /// The next message, if one is there.
    ///
    /// # Errors
    /// There will be none.
    pub(super) fn receive_now(&self) -> Result<Option<Bytes>, Arc<str>> {
        match self.step()? {
            Step::Message(message) => Ok(Some(message)),
            Step::Nothing(_) => Ok(None),
        }
    }

    fn step(&self) -> Result<Step, Arc<str>> {
        let mut talk = self.lock();
        talk.still(&self.line)?;
        let step = talk.step(&self.line);
        // What was there before the end was still read.
        if step.is_err() && self.line.is_leaving.load(Ordering::Relaxed) {
            talk.over = None;
            talk.still(&self.line)?;
        }
        step
    }

    /// Sends a message, and waits until it is on its way.
    ///
    /// # Errors
    /// The client is gone, or takes nothing.
    pub(super) fn send(&self, kind: Kind, message: Bytes) -> Result<(), Arc<str>> {
        let length = u64::try_from(message.len()).unwrap_or(u64::MAX);
        let mut sent = {
            let mut talk = self.lock();
            talk.still(&self.line)?;
            talk.send(&self.line, kind, message)?
        };
        while !sent {
            match self.waiter.writable(self.fd().as_fd(), self.write_limit) {
                Ok(true) => {}
                Ok(false) => return Err(self.lock().end("the client does not read")),
                Err(error) => return Err(self.lock().end(&error.to_string())),
            }
            sent = self.lock().flush(&self.line)?;
        }
        self.sent_bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// The end, as far as we are concerned. Does not wait; the client's goodbye is waited for by others.
    pub(super) fn part(&self, parting: Parting) {
        let code = match parting {
            Parting::Done => CloseCode::Normal,
            Parting::Failed => CloseCode::Error,
        };
        if !self.lock().close(&self.line, code, "the request is over") {
            return;
        }
        let _ = stream::end_writing(self.fd());
        let (line, limits) = (Arc::clone(&self.line), self.server.limits);
        self.server.handle.spawn(async move {
            let _ = timeout(limits.linger_time, linger(&line, limits.linger_bytes)).await;
        });
    }

    fn lock(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.leaving.abort();
    }
}

/// Reads on until the client closes: closing with something unread would reset the connection, and the client would not
/// read our last frame.
async fn linger(line: &Line, limit_bytes: usize) -> io::Result<()> {
    let socket = reactor::register_readable(line.fd.try_clone()?)?;
    let (mut buffer, mut read) = ([0; 4096], 0);
    while read < limit_bytes {
        let mut ready = socket.readable().await?;
        match stream::receive(socket.get_ref(), &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => read += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Line {
    /// Has whoever waits for a message, or comes next, find out that the worker ends.
    fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        let _ = stream::end_reading(&self.fd);
    }
}

impl Talk {
    fn new(unread: Vec<u8>, spec: &WebsocketSpec) -> Self {
        let limit = usize::try_from(spec.max_size_kib).unwrap_or(usize::MAX).saturating_mul(1024);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limit))
            .max_frame_size(Some(limit));
        Self {
            context: WebSocketContext::from_partially_read(unread, Role::Server, Some(config)),
            heart: Heart::new(spec, clock::now()),
            over: None,
            max_size_kib: spec.max_size_kib,
            unread_pongs: 0,
        }
    }

    /// Whether it goes on.
    fn still(&mut self, line: &Line) -> Result<(), Arc<str>> {
        match &self.over {
            Some(why) => Err(Arc::clone(why)),
            None if line.is_leaving.load(Ordering::Relaxed) => {
                self.close(line, CloseCode::Away, "this worker ends");
                Err(self.end("this worker ends"))
            }
            None => Ok(()),
        }
    }

    /// Reads what is there, for one turn.
    fn step(&mut self, line: &Line) -> Result<Step, Arc<str>> {
        line.left.store(TURN_BYTES, Ordering::Relaxed);
        loop {
            match self.context.read(&mut &*line) {
                Ok(Message::Text(text)) => return Ok(self.heard(text.into())),
                Ok(Message::Binary(bytes)) => return Ok(self.heard(bytes)),
                Ok(Message::Close(_)) => {
                    // With the answer to it.
                    let _ = self.context.flush(&mut &*line);
                    return Err(self.end("the client closed the websocket"));
                }
                Ok(_) => {
                    self.heart.hear(clock::now());
                    self.answer_ping(line)?;
                }
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.heart.beat(clock::now()) {
                        Beat::Wait(limit) => return Ok(Step::Nothing(limit)),
                        Beat::Ping => self.ping(line)?,
                        Beat::Lost => return Err(self.end("no PONG received in time")),
                    }
                }
                Err(error) => return Err(self.fail(line, &error)),
            }
        }
    }

    /// Sends the answer to a ping, if there is one to be sent; those that have no room are kept, up to a number.
    fn answer_ping(&mut self, line: &Line) -> Result<(), Arc<str>> {
        if self.flush(line)? {
            self.unread_pongs = 0;
            return Ok(());
        }
        self.unread_pongs += 1;
        if self.unread_pongs > UNREAD_PONGS { Err(self.end("the client does not read")) } else { Ok(()) }
    }

    fn heard(&mut self, message: Bytes) -> Step {
        self.heart.hear(clock::now());
        Step::Message(message)
    }

    fn ping(&mut self, line: &Line) -> Result<(), Arc<str>> {
        let written = self.context.write(&mut &*line, Message::Ping(Bytes::new()));
        self.is_out(line, written).map(drop)
    }

    /// Whether all of the message is on its way.
    fn send(&mut self, line: &Line, kind: Kind, message: Bytes) -> Result<bool, Arc<str>> {
        let kind = match kind {
            Kind::Text => Data::Text,
            Kind::Binary => Data::Binary,
        };
        // As it is: uWSGI, too, has the application answer for its text.
        let frame = Frame::message(message, OpCode::Data(kind), true);
        let written = self.context.write(&mut &*line, Message::Frame(frame));
        self.is_out(line, written)
    }

    /// The same for what is left of it.
    fn flush(&mut self, line: &Line) -> Result<bool, Arc<str>> {
        let written = self.context.flush(&mut &*line);
        self.is_out(line, written)
    }

    fn is_out(&mut self, line: &Line, written: Result<(), Error>) -> Result<bool, Arc<str>> {
        match written {
            Ok(()) => Ok(true),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(self.fail(line, &error)),
        }
    }

    /// What came breaks the rules, or the client is gone.
    fn fail(&mut self, line: &Line, error: &Error) -> Arc<str> {
        let (code, why) = match error {
            Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake)
            | Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Io(_) => return self.end("the client is gone"),
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                let limit = self.max_size_kib;
                (CloseCode::Size, format!("invalid packet size received, max allowed: {limit} KiB"))
            }
            Error::Utf8(_) => (CloseCode::Invalid, error.to_string()),
            _ => (CloseCode::Protocol, error.to_string()),
        };
        self.close(line, code, &why);
        self.end(&why)
    }

    /// Says goodbye; whether that had not been done.
    fn close(&mut self, line: &Line, code: CloseCode, why: &str) -> bool {
        if self.over.is_some() {
            return false;
        }
        let farewell = CloseFrame { code, reason: Utf8Bytes::from_static("") };
        // A client that takes nothing now is not waited for.
        let _ = self.context.close(&mut &*line, Some(farewell));
        self.end(why);
        true
    }

    /// Nothing more is received or sent, for this reason or an earlier one.
    fn end(&mut self, why: &str) -> Arc<str> {
        Arc::clone(self.over.get_or_insert_with(|| why.into()))
    }
}

impl Read for &Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = stream::receive(&self.fd, buffer)?;
        self.left.store(left.saturating_sub(length), Ordering::Relaxed);
        Ok(length)
    }
}

impl Write for &Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        stream::send(&self.fd, &[IoSlice::new(bytes)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
