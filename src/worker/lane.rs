//! A thread's lane to the router: it takes requests out of the central queue itself, and hears of rings.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use tokio::io::unix::AsyncFd;

use super::server::{Held, Server};
use super::waiter::Waiter;
use crate::sys::{reactor, seqpacket, stream};
use crate::wire::lane::{self, Frames, HEADER_BYTES, Kind, Pull};
use crate::wire::queue::{Claim, LaneState, Lease, Place, SharedQueue};

/// How much is read at once.
const READ_BYTES: usize = 4096;

/// A thread's lane.
#[derive(Debug)]
pub(super) struct Lane {
    queue: Arc<SharedQueue>,
    lease: Lease,
    /// Registered with the loop, which reads; threads write.
    socket: AsyncFd<OwnedFd>,
    /// The part of a request that was asked for.
    piece: Mutex<Wanted>,
    /// The thread leaves when it finds nothing more to do.
    leaves: AtomicBool,
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    Asked(Option<Waker>),
    Here(Bytes),
}

/// Connects the thread with this number to the router, over this socket.
pub(super) fn connect(held: Held, thread: usize, socket: OwnedFd) -> io::Result<()> {
    let handle = held.server().handle.clone();
    let socket = reactor::register_readable(socket)?;
    handle.spawn(async move {
        let server = held.server();
        match hello(server, &socket).await {
            Ok(Some((queue, lease))) => serve(server, thread, Lane::new(queue, lease, socket)).await,
            Ok(None) => {}
            Err(error) => tracing::error!("cannot take requests from the router: {error}"),
        }
    });
    Ok(())
}

/// The router's first frame; `None` when there is no router.
async fn hello(server: &Server, socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Arc<SharedQueue>, Lease)>> {
    let mut drained = pin!(server.drained());
    let packet = loop {
        let mut ready = tokio::select! {
            biased;
            ready = socket.readable() => ready?,
            // Not even connected: nothing can come by this lane.
            () = &mut drained => return Ok(None),
        };
        match seqpacket::receive(socket.get_ref(), HEADER_BYTES + lane::HELLO_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    let Some(packet) = packet else { return Ok(None) };
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "malformed greeting");
    let (head, bytes) = packet.bytes.split_first_chunk().ok_or_else(malformed)?;
    let lease = lane::lease(bytes).ok_or_else(malformed)?;
    let fd = packet.fds.into_iter().next().ok_or_else(malformed)?;
    let queue = server.central_queue(fd)?;
    if lane::header(*head) != Some((Kind::Hello, lane::HELLO_BYTES)) || lease.lane >= queue.lanes() {
        return Err(malformed());
    }
    Ok(Some((queue, lease)))
}

/// Serves the lane until it ends.
async fn serve(server: &Arc<Server>, thread: usize, lane: Lane) {
    let lane = Arc::new(lane);
    if !server.open_lane(thread, Arc::clone(&lane)) {
        return;
    }
    server.wake(thread);
    let mut hearing = pin!(lane.hear(server, thread));
    tokio::select! {
        biased;
        () = hearing.as_mut() => {}
        () = async {
            server.drained().await;
            server.silence_over().await;
        } => {
            lane.leaves.store(true, Ordering::Relaxed);
            server.wake(thread);
            hearing.await;
        }
    }
    lane.is_over.store(true, Ordering::Relaxed);
    // The thread keeps the lane; the router must hear nevertheless that nothing comes any more.
    let _ = stream::end_writing(lane.socket.get_ref());
    lane.here(Bytes::new());
    server.wake(thread);
}

impl Lane {
    fn new(queue: Arc<SharedQueue>, lease: Lease, socket: AsyncFd<OwnedFd>) -> Self {
        Self {
            queue,
            lease,
            socket,
            piece: Mutex::default(),
            leaves: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    /// The oldest request, for a thread that runs.
    pub(super) fn take(&self) -> Option<Claim> {
        // Something else than the router may have woken the thread.
        self.queue.run(self.lease);
        if self.is_over.load(Ordering::Relaxed) || self.state() != LaneState::Busy {
            return None;
        }
        self.queue.claim(self.lease.lane)
    }

    /// A request, or none, and then the thread may sleep until it is woken.
    pub(super) fn take_or_rest(&self) -> Option<Claim> {
        loop {
            if let Some(claim) = self.take() {
                return Some(claim);
            }
            if self.is_over.load(Ordering::Relaxed) {
                return None;
            }
            let closes = self.state() == LaneState::Closing;
            if closes || self.leaves.load(Ordering::Relaxed) {
                self.queue.leave(self.lease);
                // The router closes its end.
                let _ = stream::end_writing(self.socket.get_ref());
                return None;
            }
            // Absent is what nobody stores in good faith: the router puts it right, and rings.
            let is_closed = matches!(self.state(), LaneState::Closed | LaneState::Absent);
            if is_closed || self.queue.rest(self.lease) {
                return None;
            }
        }
    }

    /// The thread found something else to do.
    pub(super) fn run(&self) {
        self.queue.run(self.lease);
    }

    fn state(&self) -> LaneState {
        self.queue.state_for(self.lease)
    }

    /// What is in the cell of a claim.
    pub(super) fn place(&self, claim: Claim) -> Place<'_> {
        self.queue.place(claim.cell)
    }

    /// Whether the claim counts: the router may have given it up.
    pub(super) fn holds(&self, claim: Claim) -> bool {
        self.queue.holds(claim)
    }

    /// Says that the answer is in the cell.
    pub(super) fn finish(&self, claim: Claim) {
        if self.queue.finish(claim) {
            // Where this does not fit, others are there that the router wakes up for.
            let ring = lane::to_header(Kind::Ring, 0);
            let _ = stream::send(self.socket.get_ref(), &[io::IoSlice::new(&ring)]);
        }
    }

    /// Sends a part of an answer that does not fit, waiting where the router takes nothing.
    pub(super) fn send(&self, kind: Kind, bytes: &[u8], waiter: &Waiter) -> io::Result<()> {
        lane::write(self.socket.get_ref(), kind, bytes, |fd, limit| waiter.writable(fd, limit))
    }

    /// Sends a frame with a descriptor.
    pub(super) fn send_with(
        &self,
        kind: Kind,
        bytes: &[u8],
        fd: &OwnedFd,
        waiter: &Waiter,
    ) -> io::Result<()> {
        lane::write_with(self.socket.get_ref(), kind, bytes, fd, |fd, limit| waiter.writable(fd, limit))
    }

    /// Asks for a part of a request.
    pub(super) async fn pull(&self, pull: Pull) -> io::Result<Bytes> {
        *lock(&self.piece) = Wanted::Asked(None);
        // So little has room where nothing else is on its way.
        self.send(Kind::Pull, &pull.to_bytes(), &Waiter::Sleep)?;
        let piece = poll_fn(|cx| match &mut *lock(&self.piece) {
            Wanted::Here(bytes) => Poll::Ready(std::mem::take(bytes)),
            Wanted::Nothing => Poll::Ready(Bytes::new()),
            Wanted::Asked(waker) => {
                if self.is_over.load(Ordering::Relaxed) {
                    return Poll::Ready(Bytes::new());
                }
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
        if piece.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the router gave the request up"));
        }
        Ok(piece)
    }

    /// What was asked for came, or (nothing) will not.
    fn here(&self, bytes: Bytes) {
        let mut piece = lock(&self.piece);
        if let Wanted::Asked(waker) = &mut *piece {
            let waker = waker.take();
            *piece = Wanted::Here(bytes);
            drop(piece);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Hears the router to the end.
    async fn hear(&self, server: &Server, thread: usize) {
        let mut frames = Frames::default();
        let mut space = [0; READ_BYTES];
        loop {
            match frames.take() {
                Ok(Some((Kind::Piece, bytes))) => self.here(bytes),
                Ok(Some((Kind::Ring, _))) => server.wake(thread),
                Ok(Some((kind, _))) => tracing::warn!("the router sent what is for itself: {kind:?}"),
                Ok(None) => {
                    let Ok(mut ready) = self.socket.readable().await else { return };
                    match stream::receive(self.socket.get_ref(), &mut space) {
                        Ok(0) => return,
                        Ok(length) => {
                            frames.add(space.get(..length).unwrap_or_default());
                            if length < READ_BYTES {
                                ready.clear_ready();
                            }
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                        Err(_) => return,
                    }
                }
                Err(malformed) => return tracing::error!("the router's connection: {malformed}"),
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
