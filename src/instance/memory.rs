//! The memory of the workers (`evil-reload-on-rss`, `evil-reload-on-as`): whoever has too much is killed, whatever it
//! does.

use std::time::Duration;

use super::event::Event;
use super::master::Master;
use super::roster::Phase;
use crate::config::guard::GuardSpec;
use crate::sys::own;
use crate::tick::Tick;
use crate::wire::death::Cause;

/// Why a worker of this size is killed, as uWSGI says it.
fn excess(guard: &GuardSpec, (vsz, rss): (u64, u64)) -> Option<String> {
    let reached = |limit: u64, bytes: u64| limit > 0 && bytes >> 20 >= limit;
    if reached(guard.evil_as_mib, vsz) {
        return Some(format!("ADDRESS SPACE: {vsz}"));
    }
    reached(guard.evil_rss_mib, rss).then(|| format!("RSS: {rss}"))
}

impl Master {
    /// When to look at the memory again.
    pub(super) fn next_weighing(&self) -> Option<Tick> {
        self.weighs().then_some(self.weigh_at).flatten()
    }

    /// Looks at the memory of the workers, if it is time.
    pub(super) fn weigh(&mut self, now: Tick) {
        if !self.weighs() {
            self.weigh_at = None;
            return;
        }
        let due = self.weigh_at.is_some_and(|at| at <= now);
        if self.weigh_at.is_some() && !due {
            return;
        }
        let guard = self.current.said.spec.workers.guard.clone();
        self.weigh_at = Some(now + Duration::from_secs(guard.collector_s.into()));
        if !due {
            return;
        }
        let mut killed = Vec::new();
        for (slot, worker) in &mut self.children.workers {
            let Some(pid) = worker.process.pid().filter(|_| worker.killed.is_none()) else { continue };
            let Some(why) = own::size_of(pid).and_then(|size| excess(&guard, size)) else { continue };
            worker.killed = Some(Cause::Memory);
            killed
                .push((*slot, format!("*** EVIL RELOAD ON WORKER {} {why} (pid: {pid}) ***", worker.number)));
        }
        for (slot, message) in killed {
            self.tell(message);
            self.handle(Event::Overran { slot, grace: None });
        }
    }

    fn weighs(&self) -> bool {
        let GuardSpec { evil_rss_mib, evil_as_mib, .. } = self.current.said.spec.workers.guard;
        (evil_rss_mib > 0 || evil_as_mib > 0) && self.roster.phase == Phase::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reaches_a_limit_is_over_it() {
        let mib = |count: u64| count << 20;
        for (rss, address_space, size, why) in [
            (0, 0, (mib(900), mib(900)), None),
            (10, 0, (mib(900), mib(9)), None),
            (10, 0, (mib(900), mib(10)), Some("RSS: 10485760")),
            (0, 10, (mib(10), mib(1)), Some("ADDRESS SPACE: 10485760")),
            (10, 10, (mib(11), mib(10)), Some("ADDRESS SPACE: 11534336")),
        ] {
            let guard = GuardSpec { evil_rss_mib: rss, evil_as_mib: address_space, ..GuardSpec::default() };
            assert_eq!(excess(&guard, size).as_deref(), why, "{rss} {address_space} {size:?}");
        }
    }
}
