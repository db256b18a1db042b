//! uWSGI's `busyness`: workers come and go by the share of their time that they spend in requests. No I/O, no clock.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cheaper::{Verdict, View, since};
use crate::config::cheaper::{BusynessSpec, CheaperSpec};
use crate::tick::Tick;

/// After so many cycles in a row between the least and the most, the time until a worker goes begins anew.
const TOLERATED: u32 = 3;

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Busyness {
    /// When the cycle began; `None`: not yet.
    began: Option<Tick>,
    /// What each slot had served then, in microseconds.
    served: BTreeMap<usize, u64>,
    /// The multiplier, with its penalties; 0: not yet.
    multiplier: u64,
    /// From when on a worker may go.
    may_go: Tick,
    /// When the last one went.
    went: Option<Tick>,
    /// The last change was that one went.
    was_fewer: bool,
    /// Cycles in a row between the least and the most.
    tolerated: u32,
    /// Workers that came because requests waited.
    emergency: u32,
    /// Since when requests wait.
    waiting_since: Option<Tick>,
}

impl Busyness {
    /// Looks begin again after a rest, in which nobody served.
    pub(super) fn restart(&mut self, now: Tick) {
        if self.began.is_some() {
            self.began = Some(now);
        }
    }

    fn begin_cycle(&mut self, view: &View<'_>) {
        self.began = Some(view.now);
        self.served = view.sample.workers.iter().map(|seen| (seen.slot, seen.served_us)).collect();
    }

    /// From now on it takes as long as the multiplier says.
    fn wait(&mut self, rules: &CheaperSpec, now: Tick) {
        let alert = rules.busyness.alert_multiplier;
        let cycles = if self.emergency > 0 { alert } else { self.multiplier };
        self.may_go = now + seconds(rules.overload.saturating_mul(cycles));
    }

    /// The average percentage of the cycle that workers spent in requests.
    fn percent(&self, view: &View<'_>, cycle: Duration) -> u64 {
        let cycle_us = u64::try_from(cycle.as_micros()).unwrap_or(u64::MAX).max(1);
        let shares = view.sample.workers.iter().map(|seen| {
            let before = self.served.get(&seen.slot).copied().unwrap_or_default();
            (since(before, seen.served_us).saturating_mul(100) / cycle_us).min(100)
        });
        shares.sum::<u64>() / u64::from(view.crew.active.max(1))
    }

    fn emergency(&mut self, rules: &CheaperSpec, view: &View<'_>) -> Verdict {
        let more = view.room(rules.busyness.alert_step);
        self.multiplier = rules.busyness.multiplier;
        self.was_fewer = false;
        self.emergency = self.emergency.saturating_add(more);
        self.wait(rules, view.now);
        Verdict::More(more, format!("{} requests wait", view.waiting))
    }
}

/// Takes what was seen, and says what follows.
pub(super) fn look(memory: &mut Busyness, rules: &CheaperSpec, view: &View<'_>) -> Verdict {
    let BusynessSpec { alert, nonzero_s, verbose, .. } = rules.busyness;
    let began = match memory.began {
        Some(began) => began,
        None => {
            memory.multiplier = rules.busyness.multiplier;
            memory.wait(rules, view.now);
            memory.begin_cycle(view);
            view.now
        }
    };
    let cycle = view.now.since(began);
    let is_alert = view.waiting > alert && view.room(1) > 0;
    if cycle >= seconds(rules.overload) {
        let percent = memory.percent(view, cycle);
        memory.begin_cycle(view);
        if is_alert && percent <= rules.busyness.most {
            return memory.emergency(rules, view);
        }
        let verdict = judge(memory, rules, view, percent);
        let told =
            format!("busyness of {} workers is {percent} % in {} s", view.crew.active, cycle.as_secs());
        return if verbose && verdict == Verdict::Stay(None) { Verdict::Stay(Some(told)) } else { verdict };
    }
    if is_alert {
        return memory.emergency(rules, view);
    }
    if view.waiting == 0 {
        memory.waiting_since = None;
        return Verdict::Stay(None);
    }
    let waiting_since = *memory.waiting_since.get_or_insert(view.now);
    if view.now.since(waiting_since) < seconds(nonzero_s) || view.room(1) == 0 {
        return Verdict::Stay(None);
    }
    memory.waiting_since = Some(view.now);
    memory.emergency(rules, view)
}

/// A cycle is over.
fn judge(memory: &mut Busyness, rules: &CheaperSpec, view: &View<'_>, percent: u64) -> Verdict {
    let BusynessSpec { most, least, multiplier, penalty, .. } = rules.busyness;
    let decrease = |now: u64| now.saturating_sub(1).max(multiplier);
    let reason =
        || format!("busyness of {} workers is {percent} % in {} s", view.crew.active, rules.overload);
    if percent > most {
        memory.tolerated = 0;
        let more = view.room(rules.step);
        if more == 0 {
            return Verdict::Stay(None);
        }
        memory.was_fewer = false;
        let soon = seconds(rules.overload.saturating_mul(memory.multiplier.saturating_add(1)));
        // It went too soon: the next one has to wait longer.
        if memory.went.is_some_and(|went| view.now.since(went) < soon) {
            memory.multiplier = memory.multiplier.saturating_add(penalty);
        } else {
            memory.multiplier = decrease(memory.multiplier);
        }
        memory.wait(rules, view.now);
        return Verdict::More(more, reason());
    }
    if view.crew.active == 1 {
        return Verdict::Stay(None);
    }
    if percent < least {
        memory.tolerated = 0;
        if view.crew.active <= rules.least || view.now < memory.may_go {
            return Verdict::Stay(None);
        }
        if memory.was_fewer {
            memory.multiplier = decrease(memory.multiplier);
        }
        memory.wait(rules, view.now);
        (memory.went, memory.was_fewer) = (Some(view.now), true);
        memory.emergency = memory.emergency.saturating_sub(1);
        return Verdict::Fewer(reason());
    }
    memory.emergency = memory.emergency.saturating_sub(1);
    memory.tolerated = memory.tolerated.saturating_add(1);
    if memory.tolerated >= TOLERATED {
        memory.wait(rules, view.now);
    } else {
        // This cycle is no idle one.
        memory.may_go = memory.may_go + seconds(rules.overload);
    }
    Verdict::Stay(None)
}

/// No number that is said overflows a time.
fn seconds(count: u64) -> Duration {
    Duration::from_secs(count.min(u32::MAX.into()))
}

#[cfg(test)]
mod tests {
    use super::super::cheaper::tests::play;
    use super::*;
    use crate::config::cheaper::Algorithm;

    #[test]
    fn workers_come_and_go_by_the_share_of_time() {
        let busyness = BusynessSpec { multiplier: 2, ..BusynessSpec::default() };
        let rules = CheaperSpec {
            least: 1,
            overload: 1,
            algorithm: Algorithm::Busyness,
            busyness,
            ..CheaperSpec::default()
        };
        let idle = CheaperSpec { initial: 3, ..rules };
        let tight = CheaperSpec { busyness: BusynessSpec { alert: 5, alert_step: 2, ..busyness }, ..rules };
        let long =
            CheaperSpec { overload: 100, busyness: BusynessSpec { nonzero_s: 2, ..busyness }, ..rules };
        for (name, rules, seconds, expected) in [
            ("busy", rules, vec![(9, 0); 5], vec![1, 2, 3, 4, 4]),
            ("idle", idle, vec![(0, 0); 6], vec![3, 3, 2, 2, 1, 1]),
            ("between", CheaperSpec { initial: 3, ..rules }, vec![(1, 0); 8], vec![3; 8]),
            ("an alert", tight, vec![(0, 0), (0, 6), (0, 6)], vec![1, 3, 4]),
            ("waiting for long", long, vec![(0, 1); 6], vec![1, 1, 2, 2, 3, 3]),
        ] {
            assert_eq!(play(rules, 4, &seconds), expected, "{name}");
        }
    }

    #[test]
    fn one_that_went_too_soon_makes_the_next_one_wait() {
        let busyness = BusynessSpec { multiplier: 1, penalty: 3, ..BusynessSpec::default() };
        let rules = CheaperSpec {
            least: 1,
            initial: 2,
            overload: 1,
            algorithm: Algorithm::Busyness,
            busyness,
            ..CheaperSpec::default()
        };
        let idle_again = [(0, 0); 6];
        let seconds = [&[(0, 0), (0, 0), (9, 0)][..], &idle_again].concat();
        assert_eq!(play(rules, 4, &seconds), [2, 1, 2, 2, 2, 2, 1, 1, 1]);
    }
}
