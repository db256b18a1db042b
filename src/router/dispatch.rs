//! Who gets the next worker: one queue for all requests, from which an idle connection takes the oldest. Pure: no
//! input or output, no clock.

use std::collections::{BTreeMap, VecDeque};

use crate::tick::Tick;

/// A worker by its slot and generation.
pub type WorkerKey = (u32, u64);

/// A request's place in the order of arrival. Keeps its value when the request has to be queued again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What became of a request that was offered.
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<J, S> {
    /// This connection was idle: it gets the request.
    Assigned(S, J),
    /// It waits.
    Queued,
    /// Too many wait already.
    Full(J),
}

/// Requests `J` that wait, and connections `S` that are idle: never both at once.
#[derive(Debug)]
pub struct Dispatch<J, S> {
    /// In the order of tickets; `None` was withdrawn.
    queue: VecDeque<Waiting<J>>,
    waiting: usize,
    limit: usize,
    next_ticket: u64,
    workers: BTreeMap<WorkerKey, Crew<S>>,
    uses: u64,
}

#[derive(Debug)]
struct Waiting<J> {
    ticket: Ticket,
    since: Tick,
    job: Option<J>,
}

/// The connections of one worker.
#[derive(Debug)]
struct Crew<S> {
    connections: usize,
    idle: Vec<S>,
    last_use: u64,
    /// It gets no further request.
    released: bool,
}

impl<J, S: PartialEq> Dispatch<J, S> {
    /// Nobody waits; at most `limit` may.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { queue: VecDeque::new(), waiting: 0, limit, next_ticket: 0, workers: BTreeMap::new(), uses: 0 }
    }

    /// A place at the end of the order, for a request that is about to be offered.
    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// A complete request: given to an idle connection of the least busy worker (of several the one used last, whose
    /// memory is warm), or queued by its ticket. `since` is when it came.
    pub fn offer(&mut self, ticket: Ticket, since: Tick, job: J) -> Offered<J, S> {
        if let Some(seat) = self.take_idle() {
            return Offered::Assigned(seat, job);
        }
        if self.waiting >= self.limit {
            return Offered::Full(job);
        }
        let at = self.queue.partition_point(|waiting| waiting.ticket < ticket);
        self.queue.insert(at, Waiting { ticket, since, job: Some(job) });
        self.waiting += 1;
        Offered::Queued
    }

    /// Takes a request out of the queue, if it still waits.
    pub fn withdraw(&mut self, ticket: Ticket) -> Option<J> {
        let at = self.queue.partition_point(|waiting| waiting.ticket < ticket);
        let place = self.queue.get_mut(at).filter(|waiting| waiting.ticket == ticket)?;
        let job = place.job.take()?;
        self.waiting -= 1;
        self.sweep();
        Some(job)
    }

    /// Takes the oldest request out of the queue if it came at `until` or before.
    pub fn expire(&mut self, until: Tick) -> Option<J> {
        if self.oldest()? > until { None } else { self.pop() }
    }

    /// Since when the oldest request waits.
    #[must_use]
    pub fn oldest(&self) -> Option<Tick> {
        self.queue.front().map(|waiting| waiting.since)
    }

    /// How many requests wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.waiting
    }

    /// A worker has a further connection, which is not idle yet.
    pub fn join(&mut self, worker: WorkerKey) {
        let crew = self.workers.entry(worker).or_insert(Crew {
            connections: 0,
            idle: Vec::new(),
            last_use: 0,
            released: false,
        });
        crew.connections += 1;
    }

    /// A connection can take a request: the oldest that is still `wanted` (the others are dropped), or none, and then
    /// it is idle. Nothing for a worker that was released.
    pub fn free(&mut self, worker: WorkerKey, seat: S, mut wanted: impl FnMut(&J) -> bool) -> Option<J> {
        if self.workers.get(&worker).is_none_or(|crew| crew.released) {
            return None;
        }
        let job = loop {
            match self.pop() {
                Some(job) if !wanted(&job) => {}
                other => break other,
            }
        };
        let crew = self.workers.get_mut(&worker)?;
        if job.is_none() {
            crew.idle.push(seat);
        } else {
            self.uses += 1;
            crew.last_use = self.uses;
        }
        job
    }

    /// A worker gets no further request; its connections leave as they become idle. `false`: it has none.
    pub fn release(&mut self, worker: WorkerKey) -> bool {
        let Some(crew) = self.workers.get_mut(&worker) else { return false };
        crew.idle.clear();
        crew.released = true;
        true
    }

    /// A connection is gone, idle or not.
    pub fn leave(&mut self, worker: WorkerKey, seat: &S) {
        let Some(crew) = self.workers.get_mut(&worker) else { return };
        crew.idle.retain(|other| other != seat);
        crew.connections = crew.connections.saturating_sub(1);
        if crew.connections == 0 {
            self.workers.remove(&worker);
        }
    }

    /// How many connections a worker has.
    #[must_use]
    pub fn connections(&self, worker: WorkerKey) -> usize {
        self.workers.get(&worker).map_or(0, |crew| crew.connections)
    }

    fn take_idle(&mut self) -> Option<S> {
        let (_, crew) =
            self.workers.iter_mut().filter(|(_, crew)| !crew.idle.is_empty()).min_by_key(|(_, crew)| {
                (crew.connections.saturating_sub(crew.idle.len()), u64::MAX - crew.last_use)
            })?;
        self.uses += 1;
        crew.last_use = self.uses;
        crew.idle.pop()
    }

    fn pop(&mut self) -> Option<J> {
        let job = self.queue.pop_front()?.job;
        self.waiting = self.waiting.saturating_sub(usize::from(job.is_some()));
        self.sweep();
        job
    }

    /// Keeps a waiting request at the front, and withdrawn places few.
    fn sweep(&mut self) {
        while self.queue.front().is_some_and(|waiting| waiting.job.is_none()) {
            self.queue.pop_front();
        }
        if self.queue.len() > 2 * self.waiting + 16 {
            self.queue.retain(|waiting| waiting.job.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: Tick = Tick::from_ms(5);

    fn offer(dispatch: &mut Dispatch<u32, u32>, job: u32) -> (Ticket, Offered<u32, u32>) {
        let ticket = dispatch.ticket();
        (ticket, dispatch.offer(ticket, NOW, job))
    }

    fn joined(limit: usize, seats: &[(u32, u32)]) -> Dispatch<u32, u32> {
        let mut dispatch = Dispatch::new(limit);
        for &(worker, seat) in seats {
            dispatch.join((worker, 1));
            assert_eq!(dispatch.free((worker, 1), seat, |_| true), None);
        }
        dispatch
    }

    #[test]
    fn the_oldest_request_is_taken_first() {
        let mut dispatch = joined(10, &[]);
        for job in 1..=3 {
            assert_eq!(offer(&mut dispatch, job).1, Offered::Queued);
        }
        dispatch.join((0, 1));
        for job in 1..=3 {
            assert_eq!(dispatch.free((0, 1), 7, |_| true), Some(job));
        }
        assert_eq!(dispatch.free((0, 1), 7, |_| true), None);
        assert_eq!(offer(&mut dispatch, 4).1, Offered::Assigned(7, 4));
    }

    #[test]
    fn the_least_busy_worker_is_chosen_and_of_equals_the_one_used_last() {
        let mut dispatch = joined(10, &[(0, 1), (0, 2), (1, 3), (1, 4)]);
        let Offered::Assigned(first, _) = offer(&mut dispatch, 1).1 else { panic!() };
        let Offered::Assigned(second, _) = offer(&mut dispatch, 2).1 else { panic!() };
        assert_ne!(first <= 2, second <= 2, "two workers, a request each");
        assert_eq!(dispatch.free((u32::from(first > 2), 1), first, |_| true), None);
        assert_eq!(dispatch.free((u32::from(second > 2), 1), second, |_| true), None);
        let Offered::Assigned(third, _) = offer(&mut dispatch, 3).1 else { panic!() };
        assert_eq!(third, second);
    }

    #[test]
    fn a_full_queue_refuses_and_a_withdrawn_request_makes_room() {
        let mut dispatch = joined(2, &[]);
        let (first, _) = offer(&mut dispatch, 1);
        offer(&mut dispatch, 2);
        assert_eq!(offer(&mut dispatch, 3).1, Offered::Full(3));
        assert_eq!(dispatch.withdraw(first), Some(1));
        assert_eq!(dispatch.withdraw(first), None);
        assert_eq!(offer(&mut dispatch, 4).1, Offered::Queued);
        dispatch.join((0, 1));
        assert_eq!(dispatch.free((0, 1), 1, |_| true), Some(2));
    }

    #[test]
    fn a_request_queued_again_keeps_its_place() {
        let mut dispatch = joined(9, &[(0, 1)]);
        let (first, offered) = offer(&mut dispatch, 1);
        assert_eq!(offered, Offered::Assigned(1, 1));
        offer(&mut dispatch, 2);
        dispatch.leave((0, 1), &1);
        assert_eq!(dispatch.offer(first, NOW, 1), Offered::Queued);
        dispatch.join((1, 1));
        assert_eq!(dispatch.free((1, 1), 2, |_| true), Some(1));
    }

    #[test]
    fn requests_that_are_not_wanted_any_more_are_passed_over() {
        let mut dispatch = joined(9, &[]);
        for job in 1..=4 {
            offer(&mut dispatch, job);
        }
        dispatch.join((0, 1));
        assert_eq!(dispatch.free((0, 1), 1, |job| *job > 3), Some(4));
        assert_eq!(dispatch.waiting(), 0);
    }

    #[test]
    fn what_waited_too_long_leaves_oldest_first() {
        let mut dispatch = Dispatch::<u32, u32>::new(9);
        for (job, at) in [(1, 10), (2, 20), (3, 30)] {
            let ticket = dispatch.ticket();
            dispatch.offer(ticket, Tick::from_ms(at), job);
        }
        assert_eq!(dispatch.expire(Tick::from_ms(9)), None);
        assert_eq!(dispatch.expire(Tick::from_ms(20)), Some(1));
        assert_eq!(dispatch.expire(Tick::from_ms(20)), Some(2));
        assert_eq!(dispatch.expire(Tick::from_ms(20)), None);
        assert_eq!(dispatch.oldest(), Some(Tick::from_ms(30)));
    }

    #[test]
    fn a_worker_is_gone_with_its_last_connection() {
        let mut dispatch = joined(9, &[(0, 1), (0, 2)]);
        dispatch.leave((0, 1), &1);
        assert_eq!(dispatch.connections((0, 1)), 1);
        dispatch.leave((0, 1), &2);
        assert_eq!(dispatch.connections((0, 1)), 0);
        assert_eq!(offer(&mut dispatch, 1).1, Offered::Queued);
    }

    #[test]
    fn a_released_worker_gets_nothing_more() {
        let mut dispatch = joined(9, &[(0, 1), (0, 2)]);
        let Offered::Assigned(busy, _) = offer(&mut dispatch, 1).1 else { panic!() };
        assert!(dispatch.release((0, 1)) && !dispatch.release((0, 2)));
        assert_eq!(offer(&mut dispatch, 2).1, Offered::Queued);
        assert_eq!(dispatch.free((0, 1), busy, |_| true), None);
        assert_eq!(offer(&mut dispatch, 3).1, Offered::Queued);
        dispatch.join((1, 1));
        assert_eq!(dispatch.free((1, 1), 3, |_| true), Some(2));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Offer,
        Free(usize),
        Withdraw(usize),
        Leave(usize),
        Join(u32),
        PutBack(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Offer),
            4 => any::<usize>().prop_map(Step::Free),
            1 => any::<usize>().prop_map(Step::Withdraw),
            1 => any::<usize>().prop_map(Step::Leave),
            1 => (0_u32..4).prop_map(Step::Join),
            1 => any::<usize>().prop_map(Step::PutBack),
        ]
    }

    proptest! {
        /// No request is lost or given out twice, the queue is first in first out and bounded, and nobody waits
        /// while a connection is idle.
        #[test]
        fn random_histories(steps in proptest::collection::vec(step(), 1..300)) {
            const LIMIT: usize = 5;
            let mut dispatch = Dispatch::<u32, u32>::new(LIMIT);
            let (mut next_job, mut next_seat) = (0_u32, 0_u32);
            // Job by ticket; seats with their worker and the job they run.
            let mut queued: BTreeMap<Ticket, u32> = BTreeMap::new();
            let mut tickets: BTreeMap<u32, Ticket> = BTreeMap::new();
            let mut busy: Vec<(u32, u32, Option<u32>)> = Vec::new();
            let mut idle: BTreeSet<(u32, u32)> = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Offer => {
                        next_job += 1;
                        let ticket = dispatch.ticket();
                        tickets.insert(next_job, ticket);
                        match dispatch.offer(ticket, NOW, next_job) {
                            Offered::Assigned(seat, job) => {
                                prop_assert!(queued.is_empty() && job == next_job);
                                let at = *idle.iter().find(|(_, s)| *s == seat).unwrap();
                                idle.remove(&at);
                                busy.push((at.0, seat, Some(job)));
                            }
                            Offered::Queued => {
                                prop_assert!(idle.is_empty());
                                queued.insert(ticket, next_job);
                            }
                            Offered::Full(_) => prop_assert_eq!(queued.len(), LIMIT),
                        }
                    }
                    Step::Free(n) if !busy.is_empty() => {
                        let at = n % busy.len();
                        let (worker, seat, _) = busy[at];
                        let oldest = queued.pop_first().map(|(_, job)| job);
                        prop_assert_eq!(dispatch.free((worker, 0), seat, |_| true), oldest);
                        match oldest {
                            Some(job) => busy[at].2 = Some(job),
                            None => {
                                busy.remove(at);
                                idle.insert((worker, seat));
                            }
                        }
                    }
                    Step::Withdraw(n) if !queued.is_empty() => {
                        let ticket = *queued.keys().nth(n % queued.len()).unwrap();
                        prop_assert_eq!(dispatch.withdraw(ticket), queued.remove(&ticket));
                        prop_assert_eq!(dispatch.withdraw(ticket), None);
                    }
                    Step::Leave(n) if !idle.is_empty() => {
                        let (worker, seat) = *idle.iter().nth(n % idle.len()).unwrap();
                        dispatch.leave((worker, 0), &seat);
                        idle.remove(&(worker, seat));
                    }
                    Step::Join(worker) => {
                        next_seat += 1;
                        dispatch.join((worker, 0));
                        busy.push((worker, next_seat, None));
                    }
                    // The worker died before it began: the request goes back, or to an idle one.
                    Step::PutBack(n) if !busy.is_empty() => {
                        let (worker, seat, job) = busy.remove(n % busy.len());
                        dispatch.leave((worker, 0), &seat);
                        let Some(job) = job else { continue };
                        let ticket = tickets[&job];
                        match dispatch.offer(ticket, NOW, job) {
                            Offered::Assigned(seat, job) => {
                                let at = *idle.iter().find(|(_, s)| *s == seat).unwrap();
                                idle.remove(&at);
                                busy.push((at.0, seat, Some(job)));
                            }
                            Offered::Queued => {
                                queued.insert(ticket, job);
                            }
                            Offered::Full(_) => prop_assert_eq!(queued.len(), LIMIT),
                        }
                    }
                    _ => {}
                }
                prop_assert_eq!(dispatch.waiting(), queued.len());
                prop_assert!(queued.len() <= LIMIT);
                prop_assert!(queued.is_empty() || idle.is_empty());
                prop_assert!(dispatch.queue.len() <= 2 * queued.len() + 17);
            }
        }
    }
}
