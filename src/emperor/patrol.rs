//! Finds fork bombs among vassals that have no control groups: nobody counts there what the kernel refuses a user. When
//! many processes want a CPU those of vassals that are at their `limit-nproc` are looked at, and who may be forking is
//! stopped for a moment and asked; who forks only sometimes, again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::forkbomb::Evidence;
use super::kin::{self, Head};
use super::life::LifeId;
use super::masters::{Master, Masters};
use super::roundup;
use super::suspicion::{self, Findings, Look, Suspects, Thread, Verdict};
use crate::sys::alarm::Ticker;
use crate::sys::census::{self, Doing, Seen};
use crate::sys::load::Load;
use crate::sys::process::Signal;
use crate::sys::{clock, host};
use crate::tick::Tick;

/// While somebody is watched the load is looked at so often. The kernel would tell of it, too (pressure stall
/// information), but whoever has no `CAP_SYS_RESOURCE` every two seconds only.
const EVERY: Duration = Duration::from_millis(250);
/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(100);
/// Who was told to stop is asked so often what it was doing, for so long.
const ASK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(500);
/// After a look none follows for so many times as long as it took: all of them take a fiftieth of a CPU at most.
const COST: u32 = 50;
/// Who was asked, and did something else, is not asked again for so long: twice as long each time, up to the second.
const ACQUITTED: Duration = Duration::from_secs(5);
const ACQUITTED_AGAIN: Duration = Duration::from_secs(60);

/// What is done about fork bombs that no group counts.
#[derive(Debug, Default)]
pub struct Patrol {
    /// How many processes and threads the user of each life may have.
    watched: BTreeMap<LifeId, u64>,
    /// None until many want a CPU.
    cases: Vec<Case>,
    watch: Option<Watch>,
    /// No crowd is looked at before.
    next: Tick,
    /// Until when, and how long that is in all.
    acquitted: BTreeMap<LifeId, (Tick, Duration)>,
}

/// What is there while somebody is watched.
#[derive(Debug)]
struct Watch {
    load: Load,
    ticker: Ticker,
}

/// What is known of a life that may be a fork bomb.
#[derive(Debug)]
struct Case {
    life: LifeId,
    /// The last look at it.
    look: Look,
    findings: Findings,
    /// How many requests its vassal had finished when it was seen first.
    requests: u64,
    /// Those that stand still, and are asked next; `None`: all go on, and are looked at next.
    held: Option<Held>,
    /// When that is.
    at: Tick,
}

/// Suspects that were told to stop; they go on when this is dropped.
#[derive(Debug)]
pub struct Held {
    suspects: Suspects,
    /// Pids, and when each began.
    stopped: Vec<(u32, u64)>,
    until: Tick,
}

/// A life that is a fork bomb.
#[derive(Debug)]
pub struct Found {
    /// It.
    pub life: LifeId,
    /// What tells that.
    pub evidence: Evidence,
    /// For how long most of its processes have been there, in milliseconds.
    pub within_ms: u64,
    /// Those that stand still until this is dropped.
    pub held: Held,
}

impl Patrol {
    /// Watches a life whose user may have `most` processes and threads; `None`: not any more.
    pub fn watch(&mut self, life: LifeId, most: Option<u64>) {
        let Some(most) = most else {
            self.watched.remove(&life);
            self.acquitted.remove(&life);
            if self.watched.is_empty() {
                self.cases.clear();
                self.watch = None;
            }
            return;
        };
        self.watched.insert(life, most);
    }

    /// Whoever was told to stop goes on.
    pub fn let_go(&mut self) {
        self.cases.clear();
    }

    /// Waits until it is time for a [look](Self::look); for ever while nobody is watched. Cancel-safe.
    pub async fn due(&mut self) {
        if let Some(at) = self.cases.iter().map(|case| case.at).min() {
            return until(at).await;
        }
        if self.watched.is_empty() {
            return pending().await;
        }
        loop {
            let watch = match &mut self.watch {
                Some(watch) => watch,
                none => match Ticker::every(EVERY) {
                    Ok(ticker) => none.insert(Watch { load: Load::of_host(), ticker }),
                    // Without a descriptor nothing else goes on either.
                    Err(_) => {
                        until(clock::now() + EVERY).await;
                        continue;
                    }
                },
            };
            watch.ticker.tick().await;
            let runnable = watch.load.runnable();
            // How many CPUs there are is asked only then.
            let is_crowd = runnable >= suspicion::CROWD && runnable >= suspicion::crowd(host::cpus());
            if is_crowd && clock::now() >= self.next {
                return;
            }
        }
    }

    /// Looks, or asks; answers which lives are fork bombs. `finished`: how many requests a vassal has finished.
    pub fn look(&mut self, masters: &Masters, finished: impl Fn(&str) -> u64) -> Vec<Found> {
        let now = clock::now();
        if self.cases.is_empty() {
            let mut seen = self.see(masters);
            seen.retain(|_, look| look.is_of_crowd(host::cpus()));
            let open = |(life, look)| {
                let requests = finished(&masters.by_life.get(&life)?.vassal);
                let findings = Findings::default();
                Some(Case { life, look, findings, requests, held: None, at: now + PAUSE })
            };
            self.cases = seen.into_iter().filter_map(open).collect();
            return Vec::new();
        }
        let (due, later) = std::mem::take(&mut self.cases).into_iter().partition(|case| case.at <= now);
        self.cases = later;
        let is_looked_at = due.iter().any(|case: &Case| case.held.is_none());
        let mut seen = if is_looked_at { self.see(masters) } else { BTreeMap::new() };
        let mut found = Vec::new();
        for mut case in due {
            if let Some(held) = case.held.take() {
                found.extend(self.ask(case, held, now));
            } else if let (Some(look), Some(master)) =
                (seen.remove(&case.life), masters.by_life.get(&case.life))
            {
                let requests = finished(&master.vassal).saturating_sub(case.requests);
                found.extend(self.compare(case, look, (master, requests)));
            }
        }
        found
    }

    /// Takes in another look: who still may be a fork bomb is stopped, to be asked or because it is one.
    fn compare(&mut self, mut case: Case, look: Look, (master, requests): (&Master, u64)) -> Option<Found> {
        let suspects = suspicion::suspects(&case.look, &look, host::cpus())?;
        let findings = &mut case.findings;
        if findings.rounds > 0 {
            findings.births += look.births_since(&case.look);
            findings.cpu_us += look.ticks_since(&case.look) * 1_000_000 / census::ticks_per_second();
            findings.requests = requests;
        }
        case.look = look;
        let verdict = findings.on_reflection();
        if verdict != Verdict::Open {
            tracing::debug!(vassal = master.vassal, "suspects thought about: {verdict:?}: {findings:?}");
        }
        match verdict {
            Verdict::Innocent => self.acquit(case.life),
            Verdict::Bomb => return Some(Found::of(case.life, Held::stop(suspects, master.child.pid()))),
            Verdict::Open if suspects.threads.iter().any(|(pid, tid)| census::doing(*pid, *tid).is_ok()) => {
                case.held = Some(Held::stop(suspects, master.child.pid()));
                case.at = clock::now() + ASK;
                self.cases.push(case);
            }
            Verdict::Open => {
                let (vassal, many) = (&master.vassal, suspects.threads.len());
                tracing::warn!(
                    vassal,
                    "may be a fork bomb: {many} of its processes are busy at its limit, and nobody may see what they do"
                );
                self.acquit(case.life);
            }
        }
        None
    }

    /// Asks those who stand still.
    fn ask(&mut self, mut case: Case, held: Held, now: Tick) -> Option<Found> {
        let told: Vec<Doing> = held.told();
        let suspects = held.suspects.threads.len();
        match suspicion::is_enough(suspects, told.len(), held.until <= now) {
            Some(true) => case.findings.add(&told),
            Some(false) => return None,
            None => {
                case.held = Some(held);
                case.at = now + ASK;
                self.cases.push(case);
                return None;
            }
        }
        let verdict = case.findings.at_once();
        tracing::debug!("{} of {suspects} suspects asked: {verdict:?}", told.len());
        match verdict {
            Verdict::Bomb => return Some(Found::of(case.life, held)),
            Verdict::Innocent => self.acquit(case.life),
            Verdict::Open => {
                case.at = now + PAUSE;
                self.cases.push(case);
            }
        }
        None
    }

    fn acquit(&mut self, life: LifeId) {
        let before = self.acquitted.get(&life).map(|(_, time)| *time);
        let time = before.map_or(ACQUITTED, |time| (time * 2).min(ACQUITTED_AGAIN));
        self.acquitted.insert(life, (clock::now() + time, time));
    }

    /// What there is to see of those lives that have a crowd.
    fn see(&mut self, masters: &Masters) -> BTreeMap<LifeId, Look> {
        let began = clock::monotonic_us();
        let looks = self.looks(masters);
        let took = Duration::from_micros(clock::monotonic_us().saturating_sub(began));
        self.next = self.next.max(clock::now() + took.saturating_mul(COST));
        looks
    }

    fn looks(&self, masters: &Masters) -> BTreeMap<LifeId, Look> {
        let all = match census::processes() {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!("cannot look at processes: {error}");
                return BTreeMap::new();
            }
        };
        let heads = masters.by_life.iter().map(|(life, master)| (*life, Head::of(master))).collect();
        let of = kin::of_lives(&all, &heads);
        let (now, crowd) = (clock::now(), suspicion::crowd(host::cpus()));
        let mut users = None;
        let mut looks = BTreeMap::new();
        for (life, most) in &self.watched {
            if self.acquitted.get(life).is_some_and(|(until, _)| now < *until) {
                continue;
            }
            let own: Vec<&Seen> = all.iter().filter(|one| of.get(&one.id) == Some(life)).collect();
            if own.iter().map(|one| one.threads).sum::<u64>() < crowd {
                continue;
            }
            let mut look = Look { at: census::now_ticks(), most: *most, ..Look::default() };
            for process in own {
                let threads =
                    if process.threads > 1 { census::threads_of(process.id) } else { vec![*process] };
                look.threads.extend(threads.iter().map(|one| thread(process.id, one)));
            }
            // Whose limit it is.
            let Some(busy) = look.threads.values().find(|thread| thread.is_runnable).map(|thread| thread.pid)
            else {
                continue;
            };
            if look.runnable() >= crowd {
                let users = users.get_or_insert_with(|| users_of(&all));
                let user = census::counted_to(busy);
                look.used = user.and_then(|user| users.get(&user)).copied().unwrap_or_default();
            }
            let (used, runnable) = (look.used, look.runnable());
            let vassal = masters.by_life.get(life).map_or("", |master| &master.vassal);
            tracing::debug!(
                vassal,
                "looked at: its user has {used} of {most} processes, {runnable} of it want a CPU"
            );
            looks.insert(*life, look);
        }
        looks
    }
}

impl Held {
    /// Tells suspects to stop, but for a master: it would be told that it was.
    fn stop(mut suspects: Suspects, master: u32) -> Self {
        let mut pids: BTreeSet<u32> = suspects.threads.iter().map(|(pid, _)| *pid).collect();
        pids.remove(&master);
        let began = |pid: u32| Some((pid, census::process(pid)?.started));
        let stopped: Vec<(u32, u64)> = pids.into_iter().filter_map(began).collect();
        for (pid, started) in &stopped {
            roundup::tell(*pid, *started, Signal::Stop);
        }
        // Nothing is heard of those that have ended since they were seen.
        suspects.threads.retain(|(pid, _)| *pid == master || stopped.iter().any(|(known, _)| known == pid));
        Self { suspects, stopped, until: clock::now() + PATIENCE }
    }

    /// What those did that stand still by now.
    fn told(&self) -> Vec<Doing> {
        let asked = self.suspects.threads.iter().filter_map(|(pid, tid)| census::doing(*pid, *tid).ok());
        asked.filter(|doing| *doing != Doing::Runs).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (pid, started) in &self.stopped {
            roundup::tell(*pid, *started, Signal::Cont);
        }
    }
}

impl Found {
    fn of(life: LifeId, held: Held) -> Self {
        let suspects = &held.suspects;
        Self {
            life,
            evidence: Evidence::Seen { processes: suspects.threads.len(), most: suspects.most },
            within_ms: suspects.age.saturating_mul(1000) / census::ticks_per_second(),
            held,
        }
    }
}

fn thread(pid: u32, seen: &Seen) -> ((u32, u64), Thread) {
    let thread =
        Thread { pid, is_runnable: seen.is_runnable, user: seen.user_ticks, system: seen.system_ticks };
    ((seen.id, seen.started), thread)
}

/// How many processes and threads each user has.
fn users_of(all: &[Seen]) -> BTreeMap<u32, u64> {
    let mut users = BTreeMap::new();
    for one in all {
        if let Some(user) = census::counted_to(one.id) {
            *users.entry(user).or_default() += one.threads;
        }
    }
    users
}

async fn until(at: Tick) {
    sleep_until(Instant::now() + at.since(clock::now()) + Duration::from_millis(1)).await;
}
