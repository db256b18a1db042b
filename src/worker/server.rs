//! What the I/O side and the application threads of a worker share: the queue of requests, and how full it is.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::host::Host;
use super::job::Job;
use super::lifetime::Lifetime;
use super::passage::Entrance;
use super::spool::Room;
use crate::proto::limits::Limits;
use crate::stats::scoreboard::{Field, Slot};

/// How far away the near timer is.
const PULSE: Duration = Duration::from_secs(1);
/// How long an idle connection may still send a request when the worker finishes.
const SILENCE: Duration = Duration::from_secs(15);

/// What the I/O side and the application threads of a worker share.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: &'static Host,
    pub(super) limits: Limits,
    /// What may wait for slow clients.
    pub(super) room_for_bodies: Arc<Room>,
    /// The loop, to start tasks in from application threads.
    pub(super) handle: Handle,
    threads: usize,
    lifetime: Lifetime,
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Requests queued or running.
    taken: AtomicUsize,
    room: Notify,
    connections: AtomicUsize,
    pulses: AtomicUsize,
    is_draining: AtomicBool,
    drain: Notify,
    is_hurried: AtomicBool,
    hurried_silence: OnceLock<Duration>,
    hurry: Notify,
    /// Where idle connections can be given to those who serve on.
    entrance: Mutex<Option<Arc<Entrance>>>,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    is_closed: bool,
    /// The loop that calls the application itself, while it waits.
    waiter: Option<Waker>,
    /// Threads that sleep until there is a request.
    sleepers: usize,
}

impl Server {
    /// Nothing accepted yet.
    pub(super) fn new(host: &'static Host, limits: Limits, handle: Handle) -> Self {
        Self {
            host,
            limits,
            room_for_bodies: Arc::default(),
            handle,
            threads: usize::try_from(host.spec.workers.threads).unwrap_or(1).max(1),
            lifetime: Lifetime::new(host),
            queue: Mutex::default(),
            filled: Condvar::new(),
            taken: AtomicUsize::new(0),
            room: Notify::new(),
            connections: AtomicUsize::new(0),
            pulses: AtomicUsize::new(0),
            is_draining: AtomicBool::new(false),
            drain: Notify::new(),
            is_hurried: AtomicBool::new(false),
            hurried_silence: OnceLock::new(),
            hurry: Notify::new(),
            entrance: Mutex::default(),
        }
    }

    /// How many requests run at the same time.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// Queues a request for the next free thread.
    pub(super) fn push(&self, job: Job) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        let (waiter, sleepers) = {
            let mut queue = self.lock();
            queue.jobs.push_back(job);
            (queue.waiter.take(), queue.sleepers)
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        // Notifying is a system call even where nobody listens.
        if sleepers > 0 {
            self.filled.notify_one();
        }
    }

    /// The next request, for the loop that calls the application itself; `None` when all are done and none follows.
    pub(super) async fn next(&self) -> Option<Job> {
        poll_fn(|cx| {
            let mut queue = self.lock();
            match queue.jobs.pop_front() {
                Some(job) => Poll::Ready(Some(job)),
                None if queue.is_closed => Poll::Ready(None),
                None => {
                    queue.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// The next request, for a thread that sleeps until there is one; `None` as [`Server::next`]. Call it detached.
    pub(super) fn take(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            match queue.jobs.pop_front() {
                Some(job) => return Some(job),
                None if queue.is_closed => return None,
                None => {
                    queue.sleepers += 1;
                    queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                    queue.sleepers -= 1;
                }
            }
        }
    }

    /// A request is over, and its thread is free again.
    pub(super) fn done(&self) {
        self.lifetime.count();
        self.taken.fetch_sub(1, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Waits until a thread is free: only then is a connection accepted, so that the kernel balances the workers.
    pub(super) async fn room(&self) {
        while self.taken.load(Ordering::Relaxed) >= self.threads {
            let mut notified = pin!(self.room.notified());
            notified.as_mut().enable();
            if self.taken.load(Ordering::Relaxed) < self.threads {
                return;
            }
            notified.await;
        }
    }

    /// Whether requests wait here while another worker has nothing to do, so that a kept-alive connection is better
    /// opened anew.
    pub(super) fn is_overtaken(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.threads && self.idle_siblings().next().is_some()
    }

    /// Other workers that accept requests and have none.
    pub(super) fn idle_siblings(&self) -> impl Iterator<Item = Slot<'_>> {
        let own = self.host.worker.get().map(|worker| worker.slot);
        let slots = self.host.board.iter().enumerate().filter(move |(n, _)| Some(*n) != own);
        slots.map(|(_, slot)| slot).filter(|slot| slot.get(Field::Accepting) == 1 && !slot.is_busy())
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

    /// Waits until the worker is to hurry.
    pub(super) async fn hurried(&self) {
        raised(&self.is_hurried, &self.hurry).await;
    }

    /// Accepts nothing more; what is there is finished, then the queue closes.
    pub(super) fn start_drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        if let Some(slot) = self.host.slot() {
            slot.set(Field::Accepting, 0);
        }
        self.drain.notify_waiters();
        self.close_if_empty();
    }

    /// Whether the worker finishes.
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Waits until the worker finishes.
    pub(super) async fn drained(&self) {
        raised(&self.is_draining, &self.drain).await;
    }

    /// Has connections closed that are silent for so long from now on.
    pub(super) fn hurry(&self, silence: Duration) {
        let _ = self.hurried_silence.set(silence);
        self.is_hurried.store(true, Ordering::Relaxed);
        self.hurry.notify_waiters();
    }

    /// Waits, in a worker that finishes, until a connection that stayed silent all the time is to be closed. A client
    /// may be sending on it at that very moment and would read the end of the connection, so there is patience as long
    /// as successors serve; what a busy client sends in that time is answered, with `Connection: close`.
    pub(super) async fn silence_over(&self) {
        let mercy = Duration::from_secs(u64::from(self.host.spec.workers.reload_mercy_s));
        // A request that comes last still has half of the mercy.
        let patience = SILENCE.min(mercy / 2);
        tokio::select! {
            () = sleep(patience) => {}
            () = async {
                self.hurried().await;
                sleep(self.hurried_silence.get().copied().unwrap_or_default()).await;
            } => {}
        }
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
            if self.lock().is_closed {
                return;
            }
            notified.await;
        }
    }

    fn close_if_empty(&self) {
        if !self.is_draining() || self.connections.load(Ordering::Relaxed) > 0 {
            return;
        }
        let waiter = {
            let mut queue = self.lock();
            queue.is_closed = true;
            queue.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
        self.filled.notify_all();
        self.room.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that the worker holds; it ends only when all are gone.
#[derive(Debug)]
pub(super) struct Held(Arc<Server>);

impl Held {
    /// One more connection.
    pub(super) fn new(server: &Arc<Server>) -> Self {
        let held = server.connections.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        publish(server, held);
        Self(Arc::clone(server))
    }

    /// The server that holds it.
    pub(super) const fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.0.connections.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        publish(&self.0, held);
        self.0.close_if_empty();
    }
}

/// Waits for a flag that is set before those who wait for it are told.
async fn raised(flag: &AtomicBool, told: &Notify) {
    let mut notified = pin!(told.notified());
    notified.as_mut().enable();
    if !flag.load(Ordering::Relaxed) {
        notified.await;
    }
}

fn publish(server: &Server, held: usize) {
    if let Some(slot) = server.host.slot() {
        slot.set(Field::Connections, u64::try_from(held).unwrap_or(u64::MAX));
    }
}
