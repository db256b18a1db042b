//! Finds fork bombs among vassals that have no control groups: nobody counts there what the kernel refuses a user. When
//! many processes want a CPU those of vassals that are at their `limit-nproc` are looked at, and who may be forking is
//! stopped for a moment and asked; who forks only sometimes, again and again.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::crowds::{Search, Sight};
use super::forkbomb::Evidence;
use super::life::LifeId;
use super::masters::{Master, Masters};
use super::roundup;
use super::suspicion::{self, Findings, Look, Suspects, Verdict};
use crate::sys::alarm::Ticker;
use crate::sys::census::{self, Doing};
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
/// After a look nobody else is looked at for so many times the CPU time that it took: all take a fiftieth of a CPU at most.
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
    /// The look that is under way, and what was seen.
    looking: Option<JoinHandle<Sight>>,
    sight: Option<Sight>,
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
    stopped: BTreeMap<u32, u64>,
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

    /// Waits until there is something to [go on](Self::go_on) with; for ever while nobody is watched. Cancel-safe.
    pub async fn due(&mut self) {
        if self.looking.is_some() || !self.cases.is_empty() {
            // Those that go on wait for the look that is under way.
            let waits = self.looking.is_some();
            let at = self.cases.iter().filter(|case| case.held.is_some() || !waits).map(|case| case.at).min();
            tokio::select! {
                sight = seen(&mut self.looking) => {
                    self.looking = None;
                    self.sight = Some(sight);
                }
                () = until(at) => {}
            }
            return;
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
                        until(Some(clock::now() + EVERY)).await;
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

    /// Goes on after what was [due](Self::due); answers which lives are fork bombs. `finished`: how many requests a vassal
    /// has finished.
    pub fn go_on(&mut self, masters: &Masters, finished: impl Fn(&str) -> u64) -> Vec<Found> {
        let now = clock::now();
        let mut sight = self.sight.take();
        if let Some(sight) = &sight {
            self.next = self.next.max(now) + sight.took.saturating_mul(COST);
        }
        if self.cases.is_empty() {
            match sight {
                None => self.start_look(masters),
                Some(sight) => self.open(sight, masters, finished),
            }
            return Vec::new();
        }
        let (due, later) = std::mem::take(&mut self.cases).into_iter().partition(|case| case.at <= now);
        self.cases = later;
        let mut found = Vec::new();
        for mut case in due {
            if let Some(held) = case.held.take() {
                found.extend(self.ask(case, held, now));
            } else if let Some(sight) = sight.as_mut().filter(|sight| sight.began >= case.at) {
                let seen = (sight.looks.remove(&case.life), masters.by_life.get(&case.life));
                if let (Some(look), Some(master)) = seen {
                    let requests = finished(&master.vassal).saturating_sub(case.requests);
                    found.extend(self.compare(case, look, (master, requests)));
                }
            } else {
                self.cases.push(case);
                if self.looking.is_none() {
                    self.start_look(masters);
                }
            }
        }
        found
    }

    fn start_look(&mut self, masters: &Masters) {
        let now = clock::now();
        let is_free = |life: &LifeId| self.acquitted.get(life).is_none_or(|(until, _)| now >= *until);
        let wanted = self.watched.iter().map(|(life, most)| (*life, *most)).filter(|(life, _)| is_free(life));
        let search = Search::of(masters, wanted);
        self.looking = Some(spawn_blocking(|| search.look()));
    }

    /// Begins with those that could be fork bombs.
    fn open(&mut self, sight: Sight, masters: &Masters, finished: impl Fn(&str) -> u64) {
        let (cpus, at) = (host::cpus(), clock::now() + PAUSE);
        let crowds = sight.looks.into_iter().filter(|(_, look)| look.is_of_crowd(cpus));
        self.cases.extend(crowds.filter_map(|(life, look)| {
            let requests = finished(&masters.by_life.get(&life)?.vassal);
            Some(Case { life, look, findings: Findings::default(), requests, held: None, at })
        }));
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
}

impl Held {
    /// Tells suspects to stop, but for a master: it would be told that it was.
    fn stop(mut suspects: Suspects, master: u32) -> Self {
        suspects.processes.remove(&master);
        let mut stopped = std::mem::take(&mut suspects.processes);
        stopped.retain(|pid, started| roundup::tell(*pid, *started, Signal::Stop));
        // Nothing is heard of those that have ended since they were seen.
        suspects.threads.retain(|(pid, _)| *pid == master || stopped.contains_key(pid));
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

async fn seen(looking: &mut Option<JoinHandle<Sight>>) -> Sight {
    match looking {
        // It fails with a panic only, which is told elsewhere.
        Some(looking) => looking.await.unwrap_or_default(),
        None => pending().await,
    }
}

async fn until(at: Option<Tick>) {
    match at {
        Some(at) => sleep_until(Instant::now() + at.since(clock::now()) + Duration::from_millis(1)).await,
        None => pending().await,
    }
}
