//! When a worker accepts: only with a free thread, or in turn with its kept connections.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::Server;
use crate::stats::scoreboard::{Field, Slot};
use crate::sys::process;

/// How long another worker may take to accept a connection that is better off there.
const COURTESY: Duration = Duration::from_millis(5);

impl Server {
    /// A request is over, and its thread is free again.
    pub(in crate::worker) fn done(&self) {
        self.lifetime.count();
        if self.host.spec.workers.reaper {
            while let Ok(Some(_)) = process::reap_any() {}
        }
        let others = self.taken.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
        if others >= self.threads && self.lock().favours_kept() && !self.is_relieved() {
            self.owes_turn.store(true, Ordering::Relaxed);
        }
        self.room.notify_waiters();
    }

    /// Waits until a thread is free: only then is a connection accepted, so that the kernel balances the workers. Where
    /// kept connections always have a request that waits, new ones take turns with them, or they would wait for ever.
    pub(in crate::worker) async fn room(&self) {
        while !self.has_room() {
            let mut notified = pin!(self.room.notified());
            notified.as_mut().enable();
            if self.has_room() {
                return;
            }
            notified.await;
        }
    }

    fn has_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.threads || self.owes_turn.swap(false, Ordering::Relaxed)
    }

    /// Waits until a connection is to be accepted: there is room, and no other worker is the better place.
    pub(in crate::worker) async fn turn(&self) {
        self.room().await;
        if self.is_better_elsewhere() {
            // In case that one does not come; and not longer than this one has something to do.
            tokio::select! {
                () = sleep(COURTESY) => {}
                () = self.room.notified() => {}
            }
            self.room().await;
        }
    }

    /// Whether all free threads are for connections whose first request is to come, so that one more would wait for them,
    /// while another worker has nothing to do, and fewer connections.
    fn is_better_elsewhere(&self) -> bool {
        let (taken, fresh) = (self.taken.load(Ordering::Relaxed), self.fresh.load(Ordering::Relaxed));
        if taken >= self.threads || taken + fresh < self.threads || !self.host.spec.socket_map.is_empty() {
            return false;
        }
        let own = u64::try_from(self.held.load(Ordering::Relaxed)).unwrap_or(u64::MAX);
        self.idle_siblings().any(|slot| slot.get(Field::Connections) < own)
    }

    /// Whether it is the turn of a new connection.
    pub(in crate::worker) fn owes_turn(&self) -> bool {
        self.owes_turn.load(Ordering::Relaxed)
    }

    /// Whether another worker has nothing to do that serves the same sockets.
    fn is_relieved(&self) -> bool {
        self.host.spec.socket_map.is_empty() && self.idle_siblings().next().is_some()
    }

    /// Whether requests wait here while another worker has nothing to do, so that a kept-alive connection is better
    /// opened anew.
    pub(in crate::worker) fn is_overtaken(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.threads && self.is_relieved()
    }

    /// Other workers that accept requests and have none.
    pub(in crate::worker) fn idle_siblings(&self) -> impl Iterator<Item = Slot<'_>> {
        let own = self.host.worker.get().map(|worker| worker.slot);
        let slots = self.host.board.iter().enumerate().filter(move |(n, _)| Some(*n) != own);
        slots.map(|(_, slot)| slot).filter(|slot| slot.get(Field::Accepting) == 1 && !slot.is_busy())
    }
}
