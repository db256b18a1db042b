//! The watch over requests that are out: those that wait too long, threads that did not come, and a queue that the
//! application has written over.

use std::time::Duration;

use tokio::time::sleep;

use super::front::Front;
use super::job::Trouble;
use crate::sys::clock;
use crate::tick::Tick;
use crate::wire::message::FromRouter;

/// How often waiting requests are looked after.
const PERIOD: Duration = Duration::from_millis(100);
/// How often those that workers have are, and lanes thoroughly: without an application that writes where it must not,
/// nothing is found.
const LONG_PERIOD: Duration = Duration::from_secs(1);
/// How often it is told that the queue was written over: an application may do that without an end.
const TELL_PERIOD: Duration = Duration::from_secs(10);

/// How closely the queue is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    /// Nothing is in it.
    #[default]
    No,
    /// Workers have all of it.
    Loosely,
    /// Requests wait.
    Closely,
}

impl Front {
    /// How closely the queue has to be watched.
    pub(super) fn to_be_watched(&self) -> Watched {
        let central = self.central.borrow();
        match (central.has_waiting(), central.is_used()) {
            (true, _) => Watched::Closely,
            (false, true) => Watched::Loosely,
            (false, false) => Watched::No,
        }
    }

    /// Looks after requests. Never returns.
    pub(super) async fn watch(&self) {
        loop {
            self.waiting.notified().await;
            let mut looked = Tick::default();
            loop {
                self.watched.set(self.to_be_watched());
                match self.watched.get() {
                    Watched::No => break,
                    Watched::Closely => sleep(PERIOD).await,
                    Watched::Loosely => tokio::select! {
                        () = sleep(LONG_PERIOD) => {}
                        () = self.waiting.notified() => continue,
                    },
                }
                let now = clock::now();
                let thorough = now.since(looked) >= LONG_PERIOD;
                if thorough {
                    looked = now;
                }
                self.mend(thorough, now);
                self.expire();
            }
        }
    }

    /// Rings again where a thread that was rung for has not come, and answers those that waited too long.
    fn expire(&self) {
        self.central.borrow_mut().forget_gone();
        self.central.borrow_mut().look_again();
        let limit_us = u64::try_from(self.queue_time.get().as_micros()).unwrap_or(u64::MAX);
        let cutoff = clock::monotonic_us().saturating_sub(limit_us);
        loop {
            let expired = self.central.borrow_mut().expire(cutoff);
            let Some(job) = expired else { break };
            self.refuse(job, Trouble::Waited);
        }
    }

    fn mend(&self, thorough: bool, now: Tick) {
        self.collect();
        let lanes = self.lanes.borrow();
        let leases = lanes.values().map(|lane| lane.lease);
        let mended = self.central.borrow_mut().mend(leases, thorough);
        for lane in mended.rings.iter().filter_map(|number| lanes.get(number)) {
            lane.ring();
        }
        if mended.was_spoilt && self.told.get().is_none_or(|told| now.since(told) >= TELL_PERIOD) {
            self.told.set(Some(now));
            self.report(FromRouter::Spoilt);
        }
    }
}
