//! What the I/O side and the application threads of a worker share: the queue of requests, and how full it is.

mod ending;
mod held;
mod turns;

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

pub(super) use held::{Fresh, Held};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::connections::Connections;
use super::host::Host;
use super::job::Job;
use super::lane::Lane;
use super::lifetime::Lifetime;
use super::passage::Entrance;
use super::queue::Queue;
use super::routed;
use super::spool::Room;
use crate::gateway::peer::Connection;
use crate::proto::limits::Limits;
use crate::proto::rate::Rate;
use crate::sys::clock;
use crate::wire::queue::{Claim, SharedQueue};

/// How far away the near timer is.
const PULSE: Duration = Duration::from_secs(1);

/// What the I/O side and the application threads of a worker share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: &'static Host,
    pub(super) limits: Limits,
    /// What may wait for slow clients.
    pub(super) room_for_bodies: Arc<Room>,
    /// The loop, to start tasks in from application threads.
    pub(super) handle: Handle,
    /// What is served before the next request, where there is one thread.
    pub(super) connections: Arc<Connections>,
    threads: usize,
    /// The thread that calls the application runs the loop, too.
    pub(super) is_inline: bool,
    pub(super) lifetime: Lifetime,
    queue: Mutex<Queue>,
    /// The central queue of the router, once it said which.
    central: OnceLock<Arc<SharedQueue>>,
    /// Of each thread its lane to the router, once it has one.
    lanes: Box<[OnceLock<Arc<Lane>>]>,
    /// How often a thread looked for a request; every other time it looks in the central queue first.
    looks: AtomicUsize,
    /// Requests queued or running.
    taken: AtomicUsize,
    room: Notify,
    /// Though no thread is free, one more connection is to be accepted.
    owes_turn: AtomicBool,
    held: AtomicUsize,
    /// How many of them are new, and their first request has not come.
    fresh: AtomicUsize,
    pulses: AtomicUsize,
    /// What lasts as long as its client likes has to end in time.
    has_farewell: AtomicBool,
    farewell: Notify,
    is_draining: AtomicBool,
    drain: Notify,
    is_hurried: AtomicBool,
    hurried_silence: OnceLock<Duration>,
    hurry: Notify,
    /// Where idle connections can be given to those who serve on.
    entrance: Mutex<Option<Arc<Entrance>>>,
    refusals: Rate,
}

impl Server {
    /// Nothing accepted yet.
    pub(super) fn new(host: &'static Host, limits: Limits, handle: Handle) -> Self {
        let threads = usize::try_from(host.spec.workers.cores()).unwrap_or(1);
        Self {
            host,
            limits,
            room_for_bodies: Arc::default(),
            handle,
            connections: Arc::default(),
            threads,
            is_inline: threads == 1 && host.spec.workers.gevent.greenlets == 0,
            lifetime: Lifetime::new(host),
            queue: Mutex::default(),
            central: OnceLock::new(),
            lanes: std::iter::repeat_with(OnceLock::new).take(threads).collect(),
            looks: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            room: Notify::new(),
            owes_turn: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            fresh: AtomicUsize::new(0),
            pulses: AtomicUsize::new(0),
            has_farewell: AtomicBool::new(false),
            farewell: Notify::new(),
            is_draining: AtomicBool::new(false),
            drain: Notify::new(),
            is_hurried: AtomicBool::new(false),
            hurried_silence: OnceLock::new(),
            hurry: Notify::new(),
            entrance: Mutex::default(),
            refusals: Rate::default(),
        }
    }

    /// Logs that a request of this peer was refused, unless that floods the log.
    pub(super) fn log_refusal(&self, peer: &Connection, why: &dyn Display) {
        if self.refusals.allows(clock::now()) {
            tracing::info!("refused a request of {peer}: {why}");
        }
    }

    /// How many requests run at the same time.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// Runs what belongs to an HTTP connection, or comes before the next request of one.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        if self.is_inline {
            self.connections.add(future);
        } else {
            self.handle.spawn(future);
        }
    }

    /// Queues a request for the next free thread.
    pub(super) fn push(&self, job: Job) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let sleeper = self.lock().push(job);
        if let Some(waker) = sleeper {
            waker.wake();
        }
    }

    /// The next request for the thread with this number, of a connection of this worker or of the router's clients;
    /// `None` when all are done and none follows.
    pub(super) async fn next(&self, thread: usize) -> Option<Job> {
        loop {
            match poll_fn(|cx| self.poll_next(thread, cx)).await? {
                Found::Own(job) => return Some(job),
                Found::Routed(lane, claim) => {
                    if let Some(job) = self.begin(lane, claim).await {
                        return Some(job);
                    }
                }
            }
        }
    }

    /// The next request for the thread with this number, if it is one of the router's clients and waits.
    pub(super) fn next_at_once(&self, thread: usize) -> Option<impl Future<Output = Option<Job>> + Send> {
        if self.lock().has_jobs() {
            return None;
        }
        let lane = self.lane(thread)?;
        let claim = lane.take()?;
        Some(self.begin(Arc::clone(lane), claim))
    }

    async fn begin(&self, lane: Arc<Lane>, claim: Claim) -> Option<Job> {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let job = routed::job(lane, claim).await;
        if job.is_none() {
            self.taken.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }

    fn lane(&self, thread: usize) -> Option<&Arc<Lane>> {
        self.lanes.get(thread).and_then(OnceLock::get)
    }

    fn poll_next(&self, thread: usize, cx: &Context<'_>) -> Poll<Option<Found>> {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let first = self.lane(thread).filter(|_| looks.is_multiple_of(2)).and_then(|lane| lane.take());
        if first.is_none() {
            let mut queue = self.lock();
            if let Some(job) = queue.pop() {
                queue.wake(thread);
                if let Some(lane) = self.lane(thread) {
                    lane.run();
                }
                return Poll::Ready(Some(Found::Own(job)));
            }
            if queue.is_closed() {
                return Poll::Ready(None);
            }
            // Before the last look, so that whatever comes after it wakes.
            queue.sleep(thread, cx.waker());
        }
        // The lane may have been opened just now, too.
        let Some(lane) = self.lane(thread) else { return Poll::Pending };
        let Some(claim) = first.or_else(|| lane.take_or_rest()) else { return Poll::Pending };
        let other = {
            let mut queue = self.lock();
            queue.wake(thread);
            queue.pass_on()
        };
        if let Some(waker) = other {
            waker.wake();
        }
        Poll::Ready(Some(Found::Routed(Arc::clone(lane), claim)))
    }

    /// Has a thread look for a request.
    pub(super) fn wake(&self, thread: usize) {
        let sleeper = self.lock().wake(thread);
        if let Some(waker) = sleeper {
            waker.wake();
        }
    }

    /// The central queue in this memory.
    pub(super) fn central_queue(&self, memory: OwnedFd) -> io::Result<Arc<SharedQueue>> {
        // Every lane brings it; one mapping is enough.
        if let Some(queue) = self.central.get() {
            return Ok(Arc::clone(queue));
        }
        let queue = Arc::new(SharedQueue::open(memory)?);
        Ok(Arc::clone(self.central.get_or_init(|| queue)))
    }

    /// A thread takes requests by this lane, too; `false` if there is no such thread, or it has one.
    pub(super) fn open_lane(&self, thread: usize, lane: Arc<Lane>) -> bool {
        self.lanes.get(thread).is_some_and(|place| place.set(lane).is_ok())
    }

    /// Has the worker replaced when it has lived as long as it may.
    pub(super) fn start_ageing(server: &Arc<Self>) {
        let Some(longest) = server.lifetime.longest() else { return };
        let server = Arc::downgrade(server);
        tokio::spawn(async move {
            sleep(longest).await;
            if let Some(server) = server.upgrade() {
                server.lifetime.expire();
            }
        });
    }

    /// Idle connections go through here from now on, or, without an entrance, stay.
    pub(super) fn set_entrance(&self, entrance: Option<Entrance>) {
        *self.entrance.lock().unwrap_or_else(PoisonError::into_inner) = entrance.map(Arc::new);
    }

    /// Where idle connections go, when this worker finishes and others serve on.
    pub(super) fn entrance(&self) -> Option<Arc<Entrance>> {
        if !self.is_draining() || self.is_hurried.load(Ordering::Relaxed) {
            return None;
        }
        self.entrance.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Accepts nothing more; what is there is finished, then the queue closes.
    pub(super) fn start_drain(&self) {
        self.start_farewell();
        self.is_draining.store(true, Ordering::Relaxed);
        self.drain.notify_waiters();
        self.close_if_empty();
    }

    /// Whether the worker finishes.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Keeps a near timer while deadlines are being set: each that comes before all others costs a system call, those
    /// behind it cost none. Stops when a second went by without a call, so that nothing ticks at rest.
    pub(super) fn pulse(self: &Arc<Self>) {
        if self.pulses.fetch_add(1, Ordering::Relaxed) > 0 {
            return;
        }
        let server = Arc::clone(self);
        self.handle.spawn(async move {
            loop {
                let before = server.pulses.load(Ordering::Relaxed);
                sleep(PULSE).await;
                if server.pulses.compare_exchange(before, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                    return;
                }
            }
        });
    }

    /// Waits until all requests are answered and none can follow.
    pub(super) async fn emptied(&self) {
        loop {
            let mut notified = pin!(self.room.notified());
            notified.as_mut().enable();
            if self.lock().is_closed() {
                return;
            }
            notified.await;
        }
    }

    fn close_if_empty(&self) {
        if !self.is_draining() || self.held.load(Ordering::Relaxed) > 0 {
            return;
        }
        let sleepers = self.lock().close();
        for (_, waker) in sleepers {
            waker.wake();
        }
        self.room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a request was found.
enum Found {
    Own(Job),
    Routed(Arc<Lane>, Claim),
}
