//! What all tasks of the router share: the queue, the workers' connections, the phase, the limits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::dispatch::{Dispatch, Offered, Ticket, WorkerKey};
use super::job::{Job, Reached, Trouble};
use super::pipe;
use super::upload::Room;
use crate::proto::budget::Budget;
use crate::proto::limits::Limits;
use crate::sys::clock;
use crate::tick::Tick;
use crate::wire::message::FromRouter;

/// How many requests wait for a worker before further ones are answered with 503.
pub(super) const QUEUE_LIMIT: usize = 4096;
/// How long a request waits for a worker before it is answered with 503, as uWSGI's `http-timeout`.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(60);
/// How many clients are connected at once; further ones wait in the listener's backlog.
pub(super) const CLIENT_LIMIT: usize = 16 * 1024;
/// Lines of the log about single requests in each [`LOG_PERIOD`].
const LOG_LINES: u32 = 20;
const LOG_PERIOD: Duration = Duration::from_secs(10);

/// What all tasks of the router share.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) limits: Cell<Limits>,
    pub(super) uploads: Room,
    pub(super) pipes: Budget,
    dispatch: RefCell<Dispatch<Job, Rc<Seat>>>,
    seats: RefCell<HashMap<WorkerKey, Vec<Rc<Seat>>>>,
    queued: Notify,
    reports: mpsc::UnboundedSender<FromRouter>,
    phase: Cell<Phase>,
    phase_changed: Notify,
    clients: Cell<usize>,
    /// A client left while nobody more was let in, or the last one did.
    vacancy: Notify,
    logged: Cell<(Tick, u32)>,
    refused: Cell<u64>,
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

/// A connection to a worker, as the queue sees it.
#[derive(Debug)]
pub(super) struct Seat {
    worker: WorkerKey,
    state: RefCell<SeatState>,
}

#[derive(Debug, Default)]
struct SeatState {
    job: Option<Job>,
    released: bool,
    waker: Option<Waker>,
}

impl Front {
    /// Nobody is connected; `reports` go to the master.
    pub(super) fn new(limits: Limits, reports: mpsc::UnboundedSender<FromRouter>) -> Rc<Self> {
        Rc::new(Self {
            limits: Cell::new(limits),
            uploads: Room::default(),
            pipes: Budget::new(pipe::PIPE_BUDGET_BYTES),
            dispatch: RefCell::new(Dispatch::new(QUEUE_LIMIT)),
            seats: RefCell::default(),
            queued: Notify::new(),
            reports,
            phase: Cell::new(Phase::Serving),
            phase_changed: Notify::new(),
            clients: Cell::new(0),
            vacancy: Notify::new(),
            logged: Cell::new((Tick::default(), 0)),
            refused: Cell::new(0),
        })
    }

    /// A place in the order of arrival.
    pub(super) fn ticket(&self) -> Ticket {
        self.dispatch.borrow_mut().ticket()
    }

    /// Gives a request to an idle worker, or queues it.
    pub(super) fn submit(&self, job: Job) {
        let offered = self.dispatch.borrow_mut().offer(job.ticket, job.since, job);
        match offered {
            Offered::Assigned(seat, job) => seat.give(job),
            Offered::Queued => self.queued.notify_one(),
            Offered::Full(job) => {
                self.refused.set(self.refused.get().saturating_add(1));
                if self.may_log() {
                    tracing::warn!(refused_so_far = self.refused.get(), "{}", Trouble::Full);
                }
                job.answer(Err(Trouble::Full));
            }
        }
    }

    /// A worker is gone with a request that it had not answered.
    pub(super) fn bounce(&self, job: Job, reached: Reached) {
        if job.may_repeat(reached) {
            self.submit(job);
            return;
        }
        let trouble = if reached == Reached::Answered { Trouble::BadAnswer } else { Trouble::WorkerGone };
        if self.may_log() {
            tracing::warn!(method = %job.head.method, path = job.head.uri.path(), "502: {trouble}");
        }
        job.answer(Err(trouble));
    }

    /// Takes a request out of the queue whose client is gone.
    pub(super) fn withdraw(&self, ticket: Ticket) -> Option<Job> {
        self.dispatch.borrow_mut().withdraw(ticket)
    }

    /// Answers requests that waited too long; never returns.
    pub(super) async fn expire(&self) {
        loop {
            let oldest = self.dispatch.borrow().oldest();
            let Some(since) = oldest else {
                self.queued.notified().await;
                continue;
            };
            let until = since + QUEUE_TIME;
            tokio::time::sleep(until.since(clock::now())).await;
            let limit_ms = u64::try_from(QUEUE_TIME.as_millis()).unwrap_or(u64::MAX);
            let cutoff = Tick::from_ms(clock::now().as_ms().saturating_sub(limit_ms));
            loop {
                let expired = self.dispatch.borrow_mut().expire(cutoff);
                let Some(job) = expired else { break };
                if self.may_log() {
                    tracing::warn!(method = %job.head.method, path = job.head.uri.path(), "503: {}", Trouble::Waited);
                }
                job.answer(Err(Trouble::Waited));
            }
        }
    }

    /// A worker has a further connection.
    pub(super) fn join(&self, worker: WorkerKey) -> Rc<Seat> {
        let seat = Rc::new(Seat { worker, state: RefCell::default() });
        self.dispatch.borrow_mut().join(worker);
        self.seats.borrow_mut().entry(worker).or_default().push(Rc::clone(&seat));
        seat
    }

    /// A connection can take a request: the oldest, or none, and then it is idle.
    pub(super) fn free(&self, seat: &Rc<Seat>) -> Option<Job> {
        let wanted = |job: &Job| !job.client.is_gone_now();
        self.dispatch.borrow_mut().free(seat.worker, Rc::clone(seat), wanted)
    }

    /// A connection is closed.
    pub(super) fn leave(&self, seat: &Rc<Seat>) {
        let worker = seat.worker;
        self.dispatch.borrow_mut().leave(worker, seat);
        let last = {
            let mut seats = self.seats.borrow_mut();
            let others = seats.entry(worker).or_default();
            others.retain(|other| other != seat);
            others.is_empty() && seats.remove(&worker).is_some()
        };
        let state = std::mem::take(&mut *seat.state.borrow_mut());
        if !state.released {
            self.report(FromRouter::Lost { slot: worker.0, generation: worker.1 });
        } else if last {
            self.report_released(worker);
        }
        if let Some(job) = state.job {
            self.bounce(job, Reached::Nothing);
        }
    }

    /// A worker gets no further request, and its connections are closed as they become idle.
    pub(super) fn release(&self, worker: WorkerKey) {
        if !self.dispatch.borrow_mut().release(worker) {
            self.report_released(worker);
            return;
        }
        for seat in self.seats.borrow().get(&worker).into_iter().flatten() {
            let mut state = seat.state.borrow_mut();
            state.released = true;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    fn report_released(&self, worker: WorkerKey) {
        self.report(FromRouter::Released { slot: worker.0, generation: worker.1 });
    }

    fn report(&self, report: FromRouter) {
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
        let now = clock::now();
        let (start, lines) = self.logged.get();
        if now.since(start) >= LOG_PERIOD {
            self.logged.set((now, 1));
            return true;
        }
        self.logged.set((start, lines.saturating_add(1)));
        lines < LOG_LINES
    }
}

impl Seat {
    fn give(&self, job: Job) {
        let mut state = self.state.borrow_mut();
        state.job = Some(job);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// The request that it was given while idle; `None` when it was released.
    pub(super) fn poll_job(&self, cx: &mut Context<'_>) -> Poll<Option<Job>> {
        let mut state = self.state.borrow_mut();
        if let Some(job) = state.job.take() {
            return Poll::Ready(Some(job));
        }
        if state.released {
            return Poll::Ready(None);
        }
        if state.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether no further request comes.
    pub(super) fn is_released(&self) -> bool {
        self.state.borrow().released
    }
}

impl PartialEq for Seat {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

/// A client that is connected.
#[derive(Debug)]
pub(super) struct Held(Rc<Front>);

impl Held {
    pub(super) fn new(front: &Rc<Front>) -> Self {
        front.clients.set(front.clients.get().saturating_add(1));
        Self(Rc::clone(front))
    }

    pub(super) const fn front(&self) -> &Rc<Front> {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let clients = self.0.clients.get().saturating_sub(1);
        self.0.clients.set(clients);
        if clients == 0 || clients.saturating_add(1) == CLIENT_LIMIT {
            self.0.vacancy.notify_waiters();
        }
    }
}
