//! The sockets go away at a stop: who waits at them is let in, to be served by who still can, and who comes later is
//! refused at once, however busy all workers are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::children::WorkerProcess;
use super::master::Master;
use super::spawn::served_by_workers;
use crate::config::address::Address;
use crate::sys::{socket, stream};
use crate::wire::message::ToWorker;

/// How many are let in at the end, at each listener.
const LAST: usize = 1024;
/// How many connections a worker is given at a time.
const BATCH: usize = 100;

impl Master {
    /// Has everybody refused who comes to the sockets from now on. Those who wait at the workers' are given to them, with
    /// `leaving` for sure among them; who waits at the router's unix sockets the router lets in still. (At its TCP sockets
    /// both would be turned away, so there it is up to the router.)
    pub(super) fn close_sockets(&self, leaving: Option<usize>) {
        let listeners = &self.current.sockets.listeners;
        let of_router = listeners.iter().filter(|listener| listener.listen.protocol.is_of_router());
        let is_unix = |address: &Address| matches!(address, Address::Unix(_) | Address::Abstract(_));
        of_router.filter(|listener| is_unix(&listener.listen.address)).for_each(socket::refuse_all);
        let map = &self.current.said.spec.socket_map;
        for (index, listener) in served_by_workers(listeners).enumerate() {
            let mut waiting = let_in(listener);
            socket::refuse_all(listener);
            // At a unix socket nobody was turned away in between.
            waiting.extend(let_in(listener));
            let order = ToWorker::Admit(listener.listen.protocol);
            let takers = self.takers(leaving, |number| map.has(index, number));
            for (worker, batch) in
                takers.iter().cycle().zip(waiting.chunks(share(waiting.len(), takers.len())))
            {
                let fds: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
                worker.process.link.send(&order, &fds);
            }
        }
    }

    /// The workers that have not been told to finish, those at rest if there are any.
    fn takers(&self, leaving: Option<usize>, serves: impl Fn(u32) -> bool) -> Vec<&WorkerProcess> {
        let can = |slot: usize, worker: &WorkerProcess| {
            let accepts = worker.ready || Some(slot) == leaving;
            accepts && !worker.leaves && worker.process.exit.is_none() && serves(worker.number)
        };
        let workers = self.children.workers.iter().filter(|(slot, worker)| can(**slot, worker));
        let is_busy = |slot: usize, worker: &WorkerProcess| {
            worker.board.slot(slot).is_some_and(|entry| entry.is_busy())
        };
        let (busy, idle): (Vec<_>, Vec<_>) = workers.partition(|(slot, worker)| is_busy(**slot, worker));
        let takers = if idle.is_empty() { busy } else { idle };
        takers.into_iter().map(|(_, worker)| worker).collect()
    }
}

/// How many of `waiting` connections each of `takers` gets at a time.
fn share(waiting: usize, takers: usize) -> usize {
    waiting.div_ceil(takers.max(1)).clamp(1, BATCH)
}

/// Accepts those who wait.
fn let_in(listener: impl AsFd) -> Vec<OwnedFd> {
    (0..LAST).map_while(|_| stream::accept(&listener).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_who_waits_goes_to_somebody() {
        for (waiting, takers, expected) in
            [(0, 0, 1), (0, 3, 1), (5, 3, 2), (6, 3, 2), (7, 0, 7), (1000, 2, BATCH)]
        {
            assert_eq!(share(waiting, takers), expected);
        }
    }
}
