//! What all tasks of the router share: the queue, the workers' lanes, the phase, the limits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, mpsc};

use super::answer;
use super::arrival::Arrivals;
use super::central::Central;
use super::crews::WorkerKey;
use super::job::{Job, Ticket, Trouble};
use super::lane::Lane;
use super::pipe::Buffers;
use super::upload::{Payload, Room};
use super::upstream::Upstreams;
use super::watch::Watched;
use crate::config::instance::InstanceSpec;
use crate::proto::limits::Limits;
use crate::proto::rate::Rate;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::clock;
use crate::tick::Tick;
use crate::wire::lane::Pull;
use crate::wire::message::FromRouter;

/// So many requests are not left until the end of a round.
const RING_AT_ONCE: usize = 16;
/// Fields that a worker gets beyond those of the client.
const OWN_FIELDS: usize = 6;
/// How many clients are connected at once; further ones wait in the listener's backlog.
pub(super) const CLIENT_LIMIT: usize = 16 * 1024;

/// What all tasks of the router share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) limits: Cell<Limits>,
    pub(super) arrivals: Arrivals,
    /// How long a request waits for a worker before it is answered with 503 (`http-timeout`).
    pub(super) queue_time: Cell<Duration>,
    /// No connection is kept after its answer (`http-keepalive = 0`).
    closes_each: Cell<bool>,
    /// Clients may have websockets (`http-websockets`).
    takes_websockets: Cell<bool>,
    /// Answers that ask for it are compressed (`http-auto-gzip`).
    gzips: Cell<bool>,
    /// The servers of `http-to`, which answer in place of workers.
    upstreams: RefCell<Option<Rc<Upstreams>>>,
    pub(super) uploads: Room,
    pub(super) buffers: Buffers,
    pub(super) central: RefCell<Central>,
    pub(super) lanes: RefCell<HashMap<usize, Rc<Lane>>>,
    tickets: Cell<Ticket>,
    pub(super) watched: Cell<Watched>,
    /// It has to be watched more closely.
    pub(super) waiting: Notify,
    /// When it was last told that the queue was written over.
    pub(super) told: Cell<Option<Tick>>,
    reports: mpsc::UnboundedSender<FromRouter>,
    phase: Cell<Phase>,
    phase_changed: Notify,
    pub(super) clients: Cell<usize>,
    /// How many of them are in the midst of something, and how many the scoreboard says.
    pub(super) engaged: Cell<u64>,
    pub(super) told_engaged: Cell<u64>,
    /// Where the router counts, once its master has given it.
    pub(super) board: RefCell<Option<Scoreboard>>,
    /// Requests that servers of `http-to` have.
    pub(super) forwarded: Cell<u64>,
    /// A client left while nobody more was let in, or the last one did.
    pub(super) vacancy: Notify,
    logged: Rate,
}

/// How the router stands towards its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// As usual.
    Serving,
    /// Every answer is the last on its connection.
    Draining,
    /// Silent connections are closed.
    Closing,
}

impl Front {
    /// Nobody is connected; `reports` go to the master.
    pub(super) fn new(central: Central, reports: mpsc::UnboundedSender<FromRouter>) -> Rc<Self> {
        Rc::new(Self {
            limits: Cell::default(),
            arrivals: Arrivals::default(),
            queue_time: Cell::default(),
            closes_each: Cell::default(),
            takes_websockets: Cell::default(),
            gzips: Cell::default(),
            upstreams: RefCell::default(),
            uploads: Room::default(),
            buffers: Buffers::default(),
            central: RefCell::new(central),
            lanes: RefCell::default(),
            tickets: Cell::new(0),
            watched: Cell::default(),
            waiting: Notify::new(),
            told: Cell::default(),
            reports,
            phase: Cell::new(Phase::Serving),
            phase_changed: Notify::new(),
            clients: Cell::new(0),
            engaged: Cell::new(0),
            told_engaged: Cell::new(0),
            board: RefCell::default(),
            forwarded: Cell::new(0),
            vacancy: Notify::new(),
            logged: Rate::default(),
        })
    }

    /// Goes by this configuration from now on; connections that are there keep the limits on what they send.
    pub(super) fn obey(&self, spec: &InstanceSpec) {
        let limits = Limits::with_buffer_size(spec.workers.buffer_size_bytes)
            .with_chunks(spec.exchange.chunk_bytes, spec.exchange.chunk_timeout_s);
        let timeout = Duration::from_secs(u64::from(spec.router.timeout_s.max(1)));
        let head_time = match spec.router.headers_timeout_s {
            0 => limits.head_time,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        self.limits.set(Limits {
            head_time,
            // Workers have the same limit, and get our own fields besides.
            fields: limits.fields.saturating_sub(OWN_FIELDS),
            body_idle: timeout,
            write_stall: timeout,
            keep_alive_idle: Duration::from_secs(u64::from(spec.router.keepalive_s)),
            ..limits
        });
        self.queue_time.set(timeout);
        self.closes_each.set(spec.router.keepalive_s == 0);
        self.takes_websockets.set(spec.router.websockets);
        self.gzips.set(spec.router.auto_gzip);
        let earlier = self.upstreams();
        self.upstreams.replace(Upstreams::new(&spec.router, earlier.as_deref()).map(Rc::new));
    }

    /// Whether every answer is the last on its connection.
    pub(super) fn closes_each(&self) -> bool {
        self.closes_each.get()
    }

    /// Whether clients may have websockets.
    pub(super) fn takes_websockets(&self) -> bool {
        self.takes_websockets.get()
    }

    /// Who answers in place of workers.
    pub(super) fn upstreams(&self) -> Option<Rc<Upstreams>> {
        self.upstreams.borrow().clone()
    }

    /// Whether answers that ask for it are compressed.
    pub(super) fn gzips(&self) -> bool {
        self.gzips.get()
    }

    /// The memory of the queue, for the master.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn memory(&self) -> io::Result<OwnedFd> {
        self.central.borrow().memory().try_clone_to_owned()
    }

    /// A place in the order of arrival.
    pub(super) fn ticket(&self) -> Ticket {
        self.tickets.set(self.tickets.get().wrapping_add(1));
        self.tickets.get()
    }

    /// Queues a request for the next idle worker.
    pub(super) fn submit(&self, job: Job) {
        let refused = self.central.borrow_mut().submit(job).err();
        if let Some(job) = refused {
            self.refuse(job, Trouble::Full);
        }
        if self.central.borrow().fresh() >= RING_AT_ONCE {
            self.ring();
            self.collect();
        }
    }

    /// Passes on what is there, at the end of a round through all connections that were ready. The router may sleep
    /// after it unless a task was woken.
    pub(super) fn end_round(&self) {
        self.ring();
        // Until nothing is there: that a client who is gone was answered wakes no task, and then the router does sleep.
        while self.central.borrow().fall_asleep() {
            self.central.borrow().wake_up();
            self.collect();
            self.ring();
        }
        self.tell_engaged();
        if self.watched.get() < Watched::Closely {
            let wanted = self.to_be_watched();
            if wanted > self.watched.replace(wanted.max(self.watched.get())) {
                self.waiting.notify_one();
            }
        }
    }

    /// The router runs.
    pub(super) fn begin_round(&self) {
        self.central.borrow().wake_up();
    }

    fn ring(&self) {
        let rings = self.central.borrow_mut().rings();
        let lanes = self.lanes.borrow();
        for lane in rings.iter().filter_map(|number| lanes.get(number)) {
            lane.ring();
        }
    }

    /// Gives clients the answers that are there.
    pub(super) fn collect(&self) {
        let answered = self.central.borrow_mut().collect();
        for (job, contents) in answered {
            match contents.and_then(answer::of_cell) {
                Some(response) => job.answer(Ok(response)),
                None => self.refuse(job, Trouble::BadAnswer),
            }
        }
    }

    /// Answers a request in place of a worker.
    pub(super) fn refuse(&self, job: Job, trouble: Trouble) {
        self.note(trouble, &job.head);
        job.answer(Err(trouble));
    }

    /// Takes a request out of the queue whose client is gone.
    pub(super) fn withdraw(&self, ticket: Ticket) -> Option<Job> {
        self.central.borrow_mut().withdraw(ticket)
    }

    /// A worker has a further lane, by this connection; `None` when there are too many.
    pub(super) fn join(&self, worker: WorkerKey, socket: AsyncFd<OwnedFd>) -> Option<Rc<Lane>> {
        let lease = self.central.borrow_mut().join(worker)?;
        let lane = Rc::new(Lane { lease, worker, socket });
        self.lanes.borrow_mut().insert(lease.lane, Rc::clone(&lane));
        Some(lane)
    }

    /// Tells a worker about its lane.
    pub(super) fn greet(&self, lane: &Lane) -> io::Result<()> {
        lane.greet(self.central.borrow().memory())
    }

    /// A lane's connection has ended.
    pub(super) fn leave(&self, lane: &Lane) {
        self.collect();
        let was_released = self.central.borrow().is_released(lane.number());
        let lost = self.central.borrow_mut().leave(lane.number());
        self.lanes.borrow_mut().remove(&lane.number());
        for job in lost {
            self.refuse(job, Trouble::WorkerGone);
        }
        let (slot, generation) = lane.worker;
        if !was_released {
            self.report(FromRouter::Lost { slot, generation });
        } else if !self.central.borrow().has_lanes(lane.worker) {
            self.report_released(lane.worker);
        }
    }

    /// A worker gets no further request, and its lanes are closed as their threads become idle.
    pub(super) fn release(&self, worker: WorkerKey) {
        let closed = self.central.borrow_mut().release(worker);
        match closed {
            None => self.report_released(worker),
            Some(closed) => {
                let lanes = self.lanes.borrow();
                for lane in closed.iter().filter_map(|number| lanes.get(number)) {
                    lane.end_writing();
                }
                self.report(FromRouter::PassedOver { slot: worker.0, generation: worker.1 });
            }
        }
    }

    /// The request of which a lane wants a part.
    pub(super) fn pulled(&self, lane: &Lane, pull: Pull) -> Option<(Vec<u8>, Payload)> {
        let central = self.central.borrow();
        let job = central.pulled(lane.number(), pull)?;
        Some((job.head.clone(), job.payload.clone()))
    }

    /// The request whose answer a lane begins to send.
    pub(super) fn begin(&self, lane: &Lane, cell: usize) -> Option<Job> {
        self.central.borrow_mut().begin(lane.number(), cell)
    }

    /// An answer that a lane sent is over.
    pub(super) fn end(&self, cell: usize) {
        self.central.borrow_mut().end(cell);
    }

    /// Nobody waits any more for the answer that a lane sends.
    pub(super) fn give_up(&self, cell: usize) {
        self.central.borrow().give_up(cell);
    }

    fn report_released(&self, worker: WorkerKey) {
        self.report(FromRouter::Released { slot: worker.0, generation: worker.1 });
    }

    pub(super) fn report(&self, report: FromRouter) {
        // The other end is the loop that ends this process.
        let _ = self.reports.send(report);
    }

    /// How the router stands.
    pub(super) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Goes on to a later phase.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase.max(self.phase.get()));
        self.phase_changed.notify_waiters();
    }

    /// Waits until the phase is later than this.
    pub(super) async fn after(&self, phase: Phase) {
        loop {
            let changed = self.phase_changed.notified();
            if self.phase.get() > phase {
                return;
            }
            changed.await;
        }
    }

    /// Waits until one more client may connect.
    pub(super) async fn vacancy(&self) {
        while self.clients.get() >= CLIENT_LIMIT {
            self.vacancy.notified().await;
        }
    }

    /// Waits until no client is connected.
    pub(super) async fn empty(&self) {
        while self.clients.get() > 0 {
            self.vacancy.notified().await;
        }
    }

    /// Whether one more line about a single request may be logged: a flood of them must not fill the log.
    pub(super) fn may_log(&self) -> bool {
        self.logged.allows(clock::now())
    }
}
