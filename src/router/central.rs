//! The router's side of the central queue: lays requests where workers see them, rings for idle ones, takes answers.

mod mend;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;

use super::crews::{Crews, WorkerKey};
use super::job::{Job, Ticket};
use crate::wire::lane::Pull;
use crate::wire::queue::{Contents, LaneState, Lease, Sequence, SharedQueue, State};

/// How many requests wait besides those that workers run, before further ones are refused.
pub(super) const QUEUE_LIMIT: usize = 4096;
/// How many requests are laid where workers see them, besides two for each lane.
const SPARE_CELLS: usize = 64;
/// The threads of all workers, those of a generation that finishes included, and room for their requests. Only what was
/// ever used of it takes up memory.
const LANES: usize = 2048;
const CELLS: usize = 2 * LANES;

/// The router's side of the central queue.
#[derive(Debug)]
pub(super) struct Central {
    queue: SharedQueue,
    cells: Vec<Cell>,
    free: BTreeSet<usize>,
    /// The first cell above all that are in use.
    bound: usize,
    /// What has no cell yet, the oldest first.
    waiting: VecDeque<Job>,
    crews: Crews,
    sequence: Sequence,
    /// How often lanes were given to threads.
    leases: u32,
    /// Requests laid since lanes were last rung for.
    fresh: usize,
    /// Lanes that seemed to be closed at the last thorough look.
    doubted: Vec<Lease>,
}

#[derive(Debug)]
enum Cell {
    Free,
    Laid(Sequence, Job),
    /// Its worker sends the answer over its lane.
    Answering,
}

/// An answer out of a cell, or `None` for one that is none.
pub(super) type Answered = (Job, Option<Contents>);

impl Central {
    /// Nothing waits, and there are no workers.
    ///
    /// # Errors
    /// Making the shared memory.
    pub(super) fn new() -> io::Result<Self> {
        let queue = SharedQueue::create(CELLS, LANES)?;
        Ok(Self {
            cells: std::iter::repeat_with(|| Cell::Free).take(queue.cells()).collect(),
            free: (0..queue.cells()).collect(),
            bound: 0,
            waiting: VecDeque::new(),
            crews: Crews::default(),
            sequence: 0,
            leases: 0,
            fresh: 0,
            doubted: Vec::new(),
            queue,
        })
    }

    /// The memory, for a worker.
    pub(super) fn memory(&self) -> BorrowedFd<'_> {
        self.queue.share()
    }

    /// A request, for the next idle worker; it comes back when too many wait.
    pub(super) fn submit(&mut self, job: Job) -> Result<(), Job> {
        if self.waiting.is_empty() && self.has_room() {
            self.lay(job);
            return Ok(());
        }
        if self.waiting.len() >= QUEUE_LIMIT {
            return Err(job);
        }
        self.waiting.push_back(job);
        self.show_overflow();
        Ok(())
    }

    /// How many requests were laid since lanes were last rung for.
    pub(super) const fn fresh(&self) -> usize {
        self.fresh
    }

    /// The lanes to be rung for, so that no request waits while a thread is idle.
    pub(super) fn rings(&mut self) -> Vec<usize> {
        if std::mem::take(&mut self.fresh) == 0 {
            return Vec::new();
        }
        self.queue.look_at_lanes();
        let mut lanes = Vec::new();
        for _ in 0..self.ready() {
            match self.crews.pick(|lane| self.queue.lane(lane) == LaneState::Idle) {
                Some(lane) if self.queue.rouse(lane) => lanes.push(lane),
                Some(_) => {}
                None => break,
            }
        }
        lanes
    }

    /// Has rings made again for what waits.
    pub(super) fn look_again(&mut self) {
        self.fresh = self.fresh.max(1);
    }

    /// The router is about to sleep; whether it may not, because there are answers.
    pub(super) fn fall_asleep(&self) -> bool {
        self.queue.fall_asleep();
        self.states().any(|(_, state)| matches!(state, Some(State::Done(..))))
    }

    /// The router runs.
    pub(super) fn wake_up(&self) {
        self.queue.wake_up();
    }

    /// Takes the answers that are there. `None` for a request that some application's scribbling made unknowable.
    pub(super) fn collect(&mut self) -> Vec<Answered> {
        let mut answers = Vec::new();
        for cell in 0..self.bound {
            let Some(Cell::Laid(sequence, _)) = self.cells.get(cell) else { continue };
            match self.queue.state(cell) {
                Some(State::Ready(found) | State::Claimed(_, found)) if found == *sequence => {}
                Some(State::Done(_, found)) if found == *sequence => {
                    let contents = self.queue.place(cell).get();
                    answers.extend(self.vacate(cell).map(|job| (job, contents)));
                }
                _ => answers.extend(self.vacate(cell).map(|job| (job, None))),
            }
        }
        if !answers.is_empty() {
            self.refill();
        }
        answers
    }

    /// The request whose answer a lane begins to send; its cell stays in use until [`Central::end`].
    pub(super) fn begin(&mut self, lane: usize, cell: usize) -> Option<Job> {
        self.claimed(lane, cell)?;
        match self.cells.get_mut(cell).map(|place| std::mem::replace(place, Cell::Answering)) {
            Some(Cell::Laid(_, job)) => Some(job),
            _ => None,
        }
    }

    /// The answer that was sent over a lane is over.
    pub(super) fn end(&mut self, cell: usize) {
        self.vacate(cell);
        self.refill();
    }

    /// Tells the worker that nobody waits for the answer in this cell.
    pub(super) fn give_up(&self, cell: usize) {
        self.queue.place(cell).give_up();
    }

    /// The request in a cell that a lane has claimed.
    pub(super) fn claimed(&self, lane: usize, cell: usize) -> Option<&Job> {
        let Some(Cell::Laid(sequence, job)) = self.cells.get(cell) else { return None };
        (self.queue.state(cell) == Some(State::Claimed(lane, *sequence))).then_some(job)
    }

    /// The request of which a lane wants a part.
    pub(super) fn pulled(&self, lane: usize, pull: Pull) -> Option<&Job> {
        self.claimed(lane, usize::try_from(pull.cell).ok()?)
    }

    /// Takes a request back whose client is gone, unless a worker has it; that one is told.
    pub(super) fn withdraw(&mut self, ticket: Ticket) -> Option<Job> {
        if let Ok(at) = self.waiting.binary_search_by_key(&ticket, |job| job.ticket) {
            let job = self.waiting.remove(at);
            self.show_overflow();
            return job;
        }
        let is_it = |cell: &Cell| matches!(cell, Cell::Laid(_, job) if job.ticket == ticket);
        let cell = self.cells.get(..self.bound)?.iter().position(is_it)?;
        self.take_back(cell).or_else(|| {
            self.give_up(cell);
            None
        })
    }

    /// Takes requests back whose clients are gone: not each of them is noticed when it goes.
    pub(super) fn forget_gone(&mut self) {
        let gone = self.laid().filter(|(_, _, job)| job.client.is_gone_now()).map(|(cell, ..)| cell);
        for cell in gone.collect::<Vec<_>>() {
            self.take_back(cell);
        }
    }

    /// Takes a request back that came at `until_us` or before and that no worker has, the oldest first.
    pub(super) fn expire(&mut self, until_us: u64) -> Option<Job> {
        let old = |job: &Job| job.since_us <= until_us;
        let laid = self.laid().filter(|(_, _, job)| old(job)).map(|(cell, sequence, _)| (sequence, cell));
        let mut laid: Vec<(Sequence, usize)> = laid.collect();
        laid.sort_unstable();
        if let Some(job) = laid.into_iter().find_map(|(_, cell)| self.take_back(cell)) {
            return Some(job);
        }
        let job = self.waiting.front().is_some_and(old).then(|| self.waiting.pop_front())?;
        self.show_overflow();
        job
    }

    /// Whether there are requests that no worker has.
    pub(super) fn has_waiting(&self) -> bool {
        self.ready() > 0 || !self.waiting.is_empty()
    }

    /// Whether requests are in cells, or wait for one.
    pub(super) fn is_used(&self) -> bool {
        self.bound > 0 || !self.waiting.is_empty()
    }

    /// A worker has a further lane; `None` when there are too many.
    pub(super) fn join(&mut self, worker: WorkerKey) -> Option<Lease> {
        self.forget_gone();
        let lane = self.crews.join(worker, self.queue.lanes())?;
        self.leases = self.leases.wrapping_add(1);
        let lease = Lease { lane, number: self.leases };
        self.queue.give(lease);
        self.refill();
        Some(lease)
    }

    /// A lane is gone: the requests that were inside its thread. `collect` first.
    pub(super) fn leave(&mut self, lane: usize) -> Vec<Job> {
        let mut lost = Vec::new();
        for cell in 0..self.bound {
            if matches!(self.queue.state(cell), Some(State::Claimed(claimer, _)) if claimer == lane) {
                lost.extend(self.vacate(cell));
            }
        }
        self.queue.take_away(lane);
        self.crews.leave(lane);
        self.refill();
        self.look_again();
        lost
    }

    /// A worker gets no further request: its lanes that are closed already, `None` if it has none at all.
    pub(super) fn release(&mut self, worker: WorkerKey) -> Option<Vec<usize>> {
        let lanes = self.crews.release(worker)?.to_vec();
        Some(lanes.into_iter().filter(|&lane| self.queue.close(lane)).collect())
    }

    /// Whether nothing more is given to the worker of a lane.
    pub(super) fn is_released(&self, lane: usize) -> bool {
        self.crews.is_released(lane)
    }

    /// Whether a worker has lanes.
    pub(super) fn has_lanes(&self, worker: WorkerKey) -> bool {
        self.crews.has_lanes(worker)
    }

    fn has_room(&self) -> bool {
        let used = self.cells.len() - self.free.len();
        used < self.crews.lanes().saturating_mul(2).saturating_add(SPARE_CELLS) && !self.free.is_empty()
    }

    fn refill(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        while self.has_room() {
            let Some(job) = self.waiting.pop_front() else { break };
            if !job.client.is_gone_now() {
                self.lay(job);
            }
        }
        self.show_overflow();
    }

    fn show_overflow(&self) {
        self.queue.set_overflow(self.waiting.len());
    }

    fn lay(&mut self, job: Job) {
        // Low cells first: few are looked through, and little memory is touched.
        let Some(cell) = self.free.pop_first() else { return };
        self.sequence += 1;
        self.fresh += 1;
        self.bound = self.bound.max(cell + 1);
        let length = job.payload.length().unwrap_or(0);
        self.queue.place(cell).put(&job.head, job.payload.in_memory(), length);
        self.queue.place(cell).stamp(job.since_us);
        self.queue.lay(cell, self.sequence, self.bound);
        if let Some(place) = self.cells.get_mut(cell) {
            *place = Cell::Laid(self.sequence, job);
        }
    }

    fn take_back(&mut self, cell: usize) -> Option<Job> {
        let Some(Cell::Laid(sequence, _)) = self.cells.get(cell) else { return None };
        if !self.queue.withdraw(cell, *sequence) {
            return None;
        }
        let job = self.vacate(cell);
        self.refill();
        job
    }

    fn vacate(&mut self, cell: usize) -> Option<Job> {
        let was = std::mem::replace(self.cells.get_mut(cell)?, Cell::Free);
        self.queue.free(cell);
        self.free.insert(cell);
        while matches!(self.bound.checked_sub(1).and_then(|last| self.cells.get(last)), Some(Cell::Free)) {
            self.bound -= 1;
        }
        self.queue.set_bound(self.bound);
        match was {
            Cell::Laid(_, job) => Some(job),
            _ => None,
        }
    }

    fn laid(&self) -> impl Iterator<Item = (usize, Sequence, &Job)> {
        self.cells.iter().take(self.bound).enumerate().filter_map(|(number, cell)| match cell {
            Cell::Laid(sequence, job) => Some((number, *sequence, job)),
            _ => None,
        })
    }

    fn states(&self) -> impl Iterator<Item = (usize, Option<State>)> {
        (0..self.bound).map(|cell| (cell, self.queue.state(cell)))
    }

    fn ready(&self) -> usize {
        self.states().filter(|(_, state)| matches!(state, Some(State::Ready(_)))).count()
    }
}
