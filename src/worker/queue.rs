//! Requests of the worker's own connections that wait for a thread, and threads that sleep until there is one.

use std::collections::VecDeque;
use std::task::Waker;

use super::job::Job;

/// Requests that wait, and threads that sleep.
#[derive(Debug, Default)]
pub(super) struct Queue {
    jobs: VecDeque<Job>,
    /// How many of them are the first of their connections.
    firsts: usize,
    is_closed: bool,
    /// By the thread's number; the one that slept last is woken first, its memory is warm.
    sleepers: Vec<(usize, Waker)>,
}

impl Queue {
    /// Appends a request: wake this thread for it, outside of the lock.
    #[must_use]
    pub(super) fn push(&mut self, job: Job) -> Option<Waker> {
        self.firsts += usize::from(job.is_first);
        self.jobs.push_back(job);
        self.sleepers.pop().map(|(_, waker)| waker)
    }

    /// The oldest request.
    pub(super) fn pop(&mut self) -> Option<Job> {
        let job = self.jobs.pop_front()?;
        self.firsts -= usize::from(job.is_first);
        Some(job)
    }

    /// Whether requests wait.
    pub(super) fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether more requests of kept connections wait than first ones of new connections.
    pub(super) fn favours_kept(&self) -> bool {
        self.jobs.len() > 2 * self.firsts
    }

    /// A thread is about to sleep.
    pub(super) fn sleep(&mut self, thread: usize, waker: &Waker) {
        self.wake(thread);
        self.sleepers.push((thread, waker.clone()));
    }

    /// A thread is not asleep any more, or not to be.
    pub(super) fn wake(&mut self, thread: usize) -> Option<Waker> {
        let at = self.sleepers.iter().position(|(sleeper, _)| *sleeper == thread)?;
        Some(self.sleepers.swap_remove(at).1)
    }

    /// A thread that was woken found something else to do: wake this one, if a request waits.
    #[must_use]
    pub(super) fn pass_on(&mut self) -> Option<Waker> {
        if self.jobs.is_empty() { None } else { self.sleepers.pop().map(|(_, waker)| waker) }
    }

    /// No request comes any more: wake all of these.
    #[must_use]
    pub(super) fn close(&mut self) -> Vec<(usize, Waker)> {
        self.is_closed = true;
        std::mem::take(&mut self.sleepers)
    }

    /// Whether no request comes any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }
}
