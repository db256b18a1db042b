//! Requests that run too long (`harakiri`, `uwsgi.set_user_harakiri`): what becomes of their workers.

use std::time::Duration;

use super::children::WorkerProcess;
use super::event::Event;
use super::master::Master;
use crate::config::guard::HarakiriSpec;
use crate::stats::scoreboard::{CoreField, Field, Slot};
use crate::sys::clock;
use crate::sys::process::Signal;
use crate::tick::Tick;
use crate::wire::death::Cause;

/// How soon a worker is looked at again that was let alone.
const SECOND: Duration = Duration::from_secs(1);

/// How it stands with a worker whose request runs too long.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// The deadline of the request for which it was let alone last, in monotonic milliseconds.
    spared: u64,
    /// It is not looked at before that.
    until: Tick,
    /// It was signalled, and has to end.
    warned: bool,
}

/// What becomes of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It is killed.
    Kill,
    /// It gets so much time to finish.
    Grace(Duration),
    /// It is let alone: so few wait that nobody misses it.
    Spare,
}

impl Verdict {
    /// While so many connections and requests wait.
    fn of(spec: &HarakiriSpec, waiting: u64) -> Self {
        match spec.grace_s {
            _ if waiting < spec.threshold => Self::Spare,
            0 => Self::Kill,
            seconds => Self::Grace(Duration::from_secs(seconds.into())),
        }
    }

    fn grace(self) -> Option<Duration> {
        match self {
            Self::Grace(grace) => Some(grace),
            Self::Kill | Self::Spare => None,
        }
    }
}

impl Master {
    /// When the scoreboard has to be looked at for requests that run too long.
    pub(super) fn next_harakiri(&self) -> Option<Tick> {
        let now = clock::now();
        let watched =
            self.children.workers.iter().filter(|(_, w)| w.killed.is_none() && w.process.exit.is_none());
        watched
            .filter_map(|(slot, worker)| {
                let limit = self.configs.get(&worker.generation)?.said.spec.workers.harakiri_s;
                // A request that starts now cannot be overdue before that.
                let whole = (limit > 0).then(|| now + Duration::from_secs(limit.into()));
                let deadline = worker.board.slot(*slot)?.deadline_ms().map(Tick::from_ms);
                let deadline = deadline.map(|deadline| deadline.max(worker.patience.until));
                whole.into_iter().chain(deadline).min()
            })
            .min()
    }

    /// Ends the workers whose request runs too long.
    pub(super) fn harakiri(&mut self, now: Tick) {
        let overdue = |worker: &WorkerProcess, slot: usize| {
            let entry = worker.board.slot(slot).filter(|_| worker.killed.is_none())?;
            let deadline = entry.deadline_ms()?;
            (Tick::from_ms(deadline).max(worker.patience.until) <= now).then_some(deadline)
        };
        let found = self.children.workers.iter().filter_map(|(slot, w)| Some((*slot, overdue(w, *slot)?)));
        let found: Vec<(usize, u64)> = found.collect();
        if found.is_empty() {
            return;
        }
        let spec = self.current.said.spec.workers.guard.harakiri.clone();
        let waiting = if spec.threshold > 0 { self.backlog() } else { 0 };
        let verdict = Verdict::of(&spec, waiting);
        for (slot, deadline) in found {
            let Some(worker) = self.children.workers.get_mut(&slot) else { continue };
            let number = worker.number;
            if verdict == Verdict::Spare {
                worker.patience.until = now + SECOND;
                if std::mem::replace(&mut worker.patience.spared, deadline) != deadline {
                    tracing::warn!(
                        "HARAKIRI: Skipping harakiri on worker {number}. Listen queue is smaller than the threshold ({waiting} < {})",
                        spec.threshold
                    );
                }
                continue;
            }
            worker.killed = Some(Cause::Harakiri);
            let pid = worker.process.pid().unwrap_or(0);
            let graceful = if verdict.grace().is_some() { "yes" } else { "no" };
            tracing::warn!("*** HARAKIRI ON WORKER {number} (pid: {pid}, try: 1, graceful: {graceful}) ***");
            if let Some(entry) = worker.board.slot(slot) {
                let guilty = log_requests(number, entry, deadline);
                tracing::warn!("HARAKIRI triggered by worker {number} core {guilty} !!!");
                let tally = self.tallies.entry(number).or_default();
                tally.harakiri += 1;
                entry.set(Field::HarakiriCount, tally.harakiri);
                self.show_tally(number);
            }
            self.handle(Event::Overran { slot, grace: verdict.grace() });
        }
    }

    /// Signals a worker that shall end.
    pub(super) fn warn(&mut self, slot: usize) {
        let HarakiriSpec { grace_s, signal, .. } = self.current.said.spec.workers.guard.harakiri;
        let Some(worker) = self.children.workers.get_mut(&slot) else { return };
        let number = worker.number;
        worker.patience.warned = true;
        tracing::warn!(
            "HARAKIRI: graceful termination attempt on worker {number} with signal {signal}, it is killed in {grace_s} s"
        );
        if let Some(child) = worker.process.child.as_ref().filter(|_| worker.process.exit.is_none())
            && let Err(error) = child.signal(Signal::Other(signal))
        {
            tracing::warn!("cannot signal process {}: {error}", child.pid());
        }
    }
}

impl WorkerProcess {
    /// It had its time to finish, and did not.
    pub(super) fn tell_of_second_try(&self) {
        if self.patience.warned {
            let (number, pid) = (self.number, self.process.pid().unwrap_or(0));
            tracing::warn!("*** HARAKIRI ON WORKER {number} (pid: {pid}, try: 2, graceful: no) ***");
        }
    }
}

/// Tells what a worker does; gives the core whose request has this deadline.
fn log_requests(number: u32, entry: Slot<'_>, deadline: u64) -> u32 {
    tracing::warn!("HARAKIRI !!! worker {number} status !!!");
    let mut guilty = 0;
    for (core, n) in entry.iter_cores().zip(0_u32..).filter(|(c, _)| c.get(CoreField::InRequest) == 1) {
        let text = String::from_utf8_lossy(&core.text().unwrap_or_default()).into_owned();
        let since = core.get(CoreField::StartedEpochS);
        tracing::warn!("HARAKIRI [core {n}] {text} since {since}");
        if core.get(CoreField::DeadlineMs) == deadline {
            guilty = n;
        }
    }
    tracing::warn!("HARAKIRI !!! end of worker {number} status !!!");
    guilty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missed_has_to_end() {
        let grace = Verdict::Grace(Duration::from_secs(3));
        for (grace_s, threshold, waiting, verdict) in [
            (0, 0, 0, Verdict::Kill),
            (3, 0, 0, grace),
            (0, 2, 1, Verdict::Spare),
            (3, 2, 1, Verdict::Spare),
            (0, 2, 2, Verdict::Kill),
            (3, 2, 9, grace),
        ] {
            let spec = HarakiriSpec { grace_s, threshold, ..HarakiriSpec::default() };
            assert_eq!(Verdict::of(&spec, waiting), verdict, "{spec:?} {waiting}");
        }
    }
}
