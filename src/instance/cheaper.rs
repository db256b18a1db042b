//! How many workers there should be, from what was seen of them. No I/O, no clock.
//!
//! The algorithms are uWSGI's, with its cycle of a second. They differ in what they see: a worker that answers one short
//! request after the other is busy though it may be between two of them when it is looked at, and requests wait in the
//! router and in kept-alive connections, too.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::busyness::{self, Busyness};
use crate::config::cheaper::{Algorithm, CheaperSpec};
use crate::tick::Tick;

/// How often workers are looked at while that is needed.
pub const CYCLE: Duration = Duration::from_secs(1);
/// A worker that spent so much of its time in requests is busy, wherever it is at the moment.
const BUSY_PERCENT: u64 = 90;

/// What was seen at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The workers that accept requests.
    pub workers: Vec<Seen>,
    /// Connections and requests that no worker has taken.
    pub backlog: u64,
}

/// What was seen of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its slot.
    pub slot: usize,
    /// A request runs in it.
    pub busy: bool,
    /// Microseconds of all its life that it spent in requests, those that run included.
    pub served_us: u64,
    /// Microseconds that its requests waited for it, as far as they have begun.
    pub queued_us: u64,
    /// Its memory, where a limit asks for that.
    pub rss_bytes: u64,
}

/// What is remembered from one look to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// When to look next; `None`: somebody looks, or nobody needs to before a worker says so.
    pub next: Option<Tick>,
    /// When was looked last.
    looked: Option<Tick>,
    /// What each slot had counted then: `served_us` and `queued_us`.
    counted: BTreeMap<usize, (u64, u64)>,
    /// How often in a row all were busy.
    overloaded: u64,
    /// How often in a row some were idle.
    idle: u64,
    busyness: Busyness,
}

/// How many workers there are and may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crew {
    /// Those that serve or load.
    pub active: u32,
    /// The most.
    pub most: u32,
}

/// What follows from a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All stays as it is; why, if that is worth a line.
    Stay(Option<String>),
    /// So many more, and why.
    More(u32, String),
    /// One less, if one is idle, and why.
    Fewer(String),
}

/// What was seen, against what was seen before.
pub(super) struct View<'a> {
    pub(super) sample: &'a Sample,
    pub(super) crew: Crew,
    pub(super) now: Tick,
    /// How many of those that serve are busy.
    pub(super) busy: u32,
    /// How many requests wait, on average or now.
    pub(super) waiting: u64,
}

impl View<'_> {
    /// How many of at most `step` may come.
    pub(super) fn room(&self, step: u32) -> u32 {
        self.crew.most.saturating_sub(self.crew.active).min(step)
    }
}

impl Memory {
    /// Somebody has work: looks begin.
    pub fn stir(&mut self, now: Tick) {
        if self.next.is_none() {
            self.next = Some(now + CYCLE);
            self.looked = Some(now);
            self.busyness.restart(now);
        }
    }

    /// Takes what was seen, and says what follows.
    pub fn look(&mut self, rules: &CheaperSpec, crew: Crew, sample: &Sample, now: Tick) -> Verdict {
        let view = self.view(crew, sample, now);
        let rss: u64 = sample.workers.iter().map(|seen| seen.rss_bytes).fold(0, u64::saturating_add);
        let reached = |limit: u64| limit > 0 && rss >= limit;
        if reached(rules.rss_hard_bytes) && crew.active > 1 {
            return Verdict::Fewer(format!(
                "{} MiB of all workers are more than cheaper-rss-limit-hard",
                rss >> 20
            ));
        }
        let verdict = match rules.algorithm {
            Algorithm::Spare => self.spare(rules, &view),
            Algorithm::Spare2 => self.spare2(rules, &view),
            Algorithm::Backlog => backlog(rules, &view),
            Algorithm::Busyness => busyness::look(&mut self.busyness, rules, &view),
            Algorithm::Manual => Verdict::Stay(None),
        };
        match verdict {
            Verdict::More(0, _) => Verdict::Stay(None),
            Verdict::More(_, reason) if reached(rules.rss_soft_bytes) => Verdict::Stay(Some(format!(
                "no more workers, though {reason}: {} MiB of all workers are more than cheaper-rss-limit-soft",
                rss >> 20
            ))),
            verdict => verdict,
        }
    }

    /// How many workers must be busy for another look to be needed; `None`: it is needed in any case.
    #[must_use]
    pub fn may_rest(&self, rules: &CheaperSpec, crew: Crew, sample: &Sample) -> Option<u32> {
        if rules.algorithm == Algorithm::Manual && rules.rss_hard_bytes == 0 {
            return Some(u32::MAX);
        }
        let all_serve = sample.workers.len() == usize::try_from(crew.active).unwrap_or(usize::MAX);
        let busy = sample.workers.iter().filter(|seen| seen.busy).count();
        let limited = rules.rss_hard_bytes > 0 && crew.active > 1;
        if crew.active > rules.least || !all_serve || sample.backlog > 0 || limited || self.overloaded > 0 {
            return None;
        }
        match rules.algorithm {
            Algorithm::Spare | Algorithm::Backlog => {
                (busy < sample.workers.len()).then_some(crew.active.max(1))
            }
            Algorithm::Spare2 | Algorithm::Busyness => (busy == 0).then_some(1),
            Algorithm::Manual => None,
        }
    }

    fn view<'a>(&mut self, crew: Crew, sample: &'a Sample, now: Tick) -> View<'a> {
        let window = self.looked.map_or(CYCLE, |looked| now.since(looked));
        let window_us = u64::try_from(window.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut counted = BTreeMap::new();
        let (mut busy, mut queued_us) = (0, 0_u64);
        for seen in &sample.workers {
            let (served, queued) = self.counted.get(&seen.slot).copied().unwrap_or_default();
            let served_us = since(served, seen.served_us);
            queued_us = queued_us.saturating_add(since(queued, seen.queued_us));
            let is_busy = seen.busy || served_us.saturating_mul(100) / window_us >= BUSY_PERCENT;
            busy += u32::from(is_busy);
            counted.insert(seen.slot, (seen.served_us, seen.queued_us));
        }
        (self.counted, self.looked) = (counted, Some(now));
        View { sample, crew, now, busy, waiting: sample.backlog.max(queued_us / window_us) }
    }

    fn spare(&mut self, rules: &CheaperSpec, view: &View<'_>) -> Verdict {
        let Crew { active, .. } = view.crew;
        let serving = u32::try_from(view.sample.workers.len()).unwrap_or(u32::MAX);
        // One that loads is idle soon.
        let full = serving == active && (view.busy >= active || view.waiting > 0);
        if full {
            self.overloaded += 1;
            self.idle = 0;
        } else {
            self.overloaded = self.overloaded.saturating_sub(1);
        }
        if self.overloaded >= rules.overload {
            self.overloaded = 0;
            return Verdict::More(view.room(rules.step), all_busy(active, rules.overload));
        }
        let idle = active.saturating_sub(view.busy);
        if self.overloaded > 0 || idle == 1 || serving < active {
            return Verdict::Stay(None);
        }
        self.idle += 1;
        if active > rules.least && self.idle.is_multiple_of(rules.overload) {
            return Verdict::Fewer(format!("{idle} of {active} workers are idle"));
        }
        Verdict::Stay(None)
    }

    fn spare2(&mut self, rules: &CheaperSpec, view: &View<'_>) -> Verdict {
        let idle = view.crew.active.saturating_sub(view.busy);
        if idle <= rules.least {
            self.idle = 0;
            let more = view.room(rules.step).min(rules.least - idle);
            return Verdict::More(more, format!("{idle} of {} workers are idle", view.crew.active));
        }
        self.idle += 1;
        if self.idle < u64::from(rules.idle_s) {
            return Verdict::Stay(None);
        }
        self.idle = 0;
        Verdict::Fewer(format!("{idle} of {} workers are idle for {} s", view.crew.active, rules.idle_s))
    }
}

fn backlog(rules: &CheaperSpec, view: &View<'_>) -> Verdict {
    let waiting = view.waiting;
    if waiting > rules.overload {
        return Verdict::More(view.room(rules.step), format!("{waiting} requests wait"));
    }
    if waiting < rules.overload && view.crew.active > rules.least {
        return Verdict::Fewer(format!("{waiting} requests wait"));
    }
    Verdict::Stay(None)
}

fn all_busy(active: u32, seconds: u64) -> String {
    match active {
        1 => format!("the only worker is busy for {seconds} s"),
        _ => format!("all {active} workers are busy for {seconds} s"),
    }
}

/// What a counter has grown by; one that is smaller than before belongs to another worker.
pub(super) const fn since(before: u64, now: u64) -> u64 {
    match now.checked_sub(before) {
        Some(grown) => grown,
        None => now,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A crew that is looked at each second: how many are busy, how many requests wait; who is wanted comes and goes at
    /// once.
    pub(in crate::instance) fn play(rules: CheaperSpec, most: u32, seconds: &[(u32, u64)]) -> Vec<u32> {
        let mut memory = Memory::default();
        let mut active = rules.first(most);
        let mut served = BTreeMap::new();
        memory.stir(Tick::from_ms(0));
        let mut wanted = Vec::new();
        for (second, (busy, backlog)) in (1..).zip(seconds) {
            let workers = (0..active).map(|slot| {
                let is_busy = slot < *busy;
                let served_us = served.entry(slot).or_insert(0);
                *served_us += if is_busy { 1_000_000 } else { 0 };
                Seen {
                    slot: usize::try_from(slot).unwrap(),
                    busy: is_busy,
                    served_us: *served_us,
                    ..Seen::default()
                }
            });
            let sample = Sample { workers: workers.collect(), backlog: *backlog };
            match memory.look(&rules, Crew { active, most }, &sample, Tick::from_ms(second * 1000)) {
                Verdict::Stay(_) => {}
                Verdict::More(more, _) => active += more,
                Verdict::Fewer(_) => active -= u32::from(*busy < active),
            }
            served.retain(|slot, _| *slot < active);
            wanted.push(active);
        }
        wanted
    }

    fn rules(least: u32, algorithm: Algorithm) -> CheaperSpec {
        CheaperSpec { least, algorithm, ..CheaperSpec::default() }
    }

    #[test]
    fn every_algorithm_follows_the_load() {
        let spare = rules(1, Algorithm::Spare);
        for (name, rules, seconds, expected) in [
            ("all busy, then none", spare, vec![(9, 0); 7], vec![1, 1, 2, 2, 2, 3, 3]),
            ("a step of two", CheaperSpec { step: 2, ..spare }, vec![(9, 0); 6], vec![1, 1, 3, 3, 3, 4]),
            (
                "one after the other goes",
                CheaperSpec { initial: 4, ..spare },
                vec![(0, 0); 10],
                vec![4, 4, 3, 3, 3, 2, 2, 2, 1, 1],
            ),
            ("one to spare is kept", CheaperSpec { initial: 3, ..spare }, vec![(2, 0); 9], vec![3; 9]),
            (
                "a moment of rest is no rest",
                spare,
                vec![(1, 0), (1, 0), (0, 0), (1, 0), (1, 0)],
                vec![1, 1, 1, 1, 2],
            ),
            ("requests that wait count", spare, vec![(0, 1), (0, 1), (0, 1)], vec![1, 1, 2]),
            (
                "spare2 keeps idle ones",
                CheaperSpec { least: 2, step: 9, idle_s: 2, ..rules(2, Algorithm::Spare2) },
                vec![(0, 0), (1, 0), (3, 0), (3, 0), (0, 0), (0, 0), (0, 0), (0, 0)],
                vec![2, 3, 4, 4, 4, 3, 3, 2],
            ),
            (
                "backlog",
                rules(1, Algorithm::Backlog),
                vec![(1, 3), (1, 4), (2, 9), (2, 3), (0, 0), (0, 0), (0, 0)],
                vec![1, 2, 3, 3, 2, 1, 1],
            ),
            ("manual", rules(1, Algorithm::Manual), vec![(9, 9); 5], vec![1; 5]),
        ] {
            assert_eq!(play(rules, 4, &seconds), expected, "{name}");
        }
    }

    #[test]
    fn one_that_is_always_in_short_requests_is_busy_whenever_it_is_looked_at() {
        let rules = rules(1, Algorithm::Spare);
        let crew = Crew { active: 1, most: 4 };
        for (served_us, queued_us, grows) in
            [(950_000, 0, true), (500_000, 0, false), (500_000, 1_500_000, true), (0, 900_000, false)]
        {
            let mut memory = Memory::default();
            memory.stir(Tick::from_ms(0));
            let verdicts: Vec<_> = (1..=3)
                .map(|second| {
                    let (served_us, queued_us) = (second * served_us, second * queued_us);
                    let workers = vec![Seen { served_us, queued_us, ..Seen::default() }];
                    memory.look(&rules, crew, &Sample { workers, backlog: 0 }, Tick::from_ms(second * 1000))
                })
                .collect();
            let expected = "the only worker is busy for 3 s".to_owned();
            assert_eq!(
                verdicts.last() == Some(&Verdict::More(1, expected)),
                grows,
                "{served_us} {queued_us}"
            );
        }
    }

    #[test]
    fn memory_limits_come_first() {
        let limited =
            CheaperSpec { rss_soft_bytes: 100, rss_hard_bytes: 200, ..rules(1, Algorithm::Backlog) };
        let look = |rss_bytes: u64, backlog: u64, active: u32| {
            let workers = vec![Seen { rss_bytes, ..Seen::default() }];
            let mut memory = Memory::default();
            memory.look(&limited, Crew { active, most: 4 }, &Sample { workers, backlog }, Tick::from_ms(1))
        };
        assert!(matches!(look(50, 9, 2), Verdict::More(1, _)));
        assert!(matches!(look(150, 9, 2), Verdict::Stay(Some(_))));
        assert!(matches!(look(250, 9, 2), Verdict::Fewer(_)));
        assert!(matches!(look(250, 9, 1), Verdict::Stay(Some(_))));
    }

    #[test]
    fn nobody_looks_at_a_crew_that_rests() {
        let sample = |busy: usize, of: usize| Sample {
            workers: (0..of).map(|slot| Seen { slot, busy: slot < busy, ..Seen::default() }).collect(),
            backlog: 0,
        };
        for (algorithm, least, (busy, of), rests) in [
            (Algorithm::Spare, 1, (0, 1), Some(1)),
            (Algorithm::Spare, 1, (1, 1), None),
            (Algorithm::Spare, 3, (2, 3), Some(3)),
            (Algorithm::Spare, 1, (0, 2), None),
            (Algorithm::Spare2, 2, (0, 2), Some(1)),
            (Algorithm::Spare2, 2, (1, 2), None),
            (Algorithm::Backlog, 2, (1, 2), Some(2)),
            (Algorithm::Busyness, 2, (0, 2), Some(1)),
            (Algorithm::Busyness, 2, (1, 2), None),
            (Algorithm::Manual, 1, (3, 3), Some(u32::MAX)),
        ] {
            let crew = Crew { active: u32::try_from(of).unwrap(), most: 4 };
            let (rules, memory) = (rules(least, algorithm), Memory::default());
            assert_eq!(memory.may_rest(&rules, crew, &sample(busy, of)), rests, "{algorithm:?} {busy}/{of}");
        }
        let waits = Sample { backlog: 1, ..sample(0, 1) };
        let crew = Crew { active: 1, most: 4 };
        assert_eq!(Memory::default().may_rest(&rules(1, Algorithm::Spare), crew, &waits), None);
    }
}
