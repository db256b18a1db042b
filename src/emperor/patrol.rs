//! Finds fork bombs among vassals that have no control groups: nobody counts there what the kernel refuses a user. When
//! many processes want a CPU those of vassals that are at their `limit-nproc` are looked at, and who seems to do nothing
//! but fork is stopped for a moment and asked.

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::forkbomb::Evidence;
use super::kin::{self, Head};
use super::life::LifeId;
use super::masters::Masters;
use super::roundup;
use super::suspicion::{self, Look, Suspects, Thread, Verdict};
use crate::sys::alarm::Ticker;
use crate::sys::census::{self, Doing, Seen};
use crate::sys::load::Load;
use crate::sys::process::Signal;
use crate::sys::{clock, host};
use crate::tick::Tick;

/// While somebody is watched the load is looked at so often. The kernel would tell of it, too (pressure stall
/// information), but whoever has no `CAP_SYS_RESOURCE` every two seconds only.
const EVERY: Duration = Duration::from_millis(250);
/// Between the two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// Who was told to stop is asked so often what it was doing, for so long.
const ASK: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_millis(500);
/// After a look none follows for so many times as long as it took: all of them take a fiftieth of a CPU at most.
const COST: u32 = 50;
/// Who was asked, and did something else, is not asked again for so long.
const ACQUITTED: Duration = Duration::from_secs(60);

/// What is done about fork bombs that no group counts.
#[derive(Debug, Default)]
pub struct Patrol {
    /// How many processes and threads the user of each life may have.
    watched: BTreeMap<LifeId, u64>,
    stage: Stage,
    watch: Option<Watch>,
    /// No crowd is looked at before.
    next: Tick,
    acquitted: BTreeMap<LifeId, Tick>,
}

/// What is there while somebody is watched.
#[derive(Debug)]
struct Watch {
    load: Load,
    ticker: Ticker,
}

#[derive(Debug, Default)]
enum Stage {
    /// Until many want a CPU.
    #[default]
    Quiet,
    /// These were seen, and are looked at again then.
    Again(Tick, BTreeMap<LifeId, Look>),
    /// These are asked then.
    Asking(Tick, Vec<Held>),
}

/// Suspects that were told to stop; they go on when this is dropped.
#[derive(Debug)]
pub struct Held {
    life: LifeId,
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
                (self.stage, self.watch) = (Stage::Quiet, None);
            }
            return;
        };
        self.watched.insert(life, most);
    }

    /// Whoever was told to stop goes on.
    pub fn let_go(&mut self) {
        self.stage = Stage::Quiet;
    }

    /// Waits until it is time for a [look](Self::look); for ever while nobody is watched. Cancel-safe.
    pub async fn due(&mut self) {
        match self.stage {
            Stage::Again(at, _) | Stage::Asking(at, _) => return until(at).await,
            Stage::Quiet if self.watched.is_empty() => return pending().await,
            Stage::Quiet => {}
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

    /// Looks, or asks; answers which lives are fork bombs.
    pub fn look(&mut self, masters: &Masters) -> Vec<Found> {
        let now = clock::now();
        match std::mem::take(&mut self.stage) {
            Stage::Quiet => {
                let began = clock::monotonic_us();
                let mut seen = self.see(masters);
                seen.retain(|_, look| look.is_of_crowd(host::cpus()));
                let took = Duration::from_micros(clock::monotonic_us().saturating_sub(began));
                self.next = self.next.max(now + took.saturating_mul(COST));
                if !seen.is_empty() {
                    self.stage = Stage::Again(now + PAUSE, seen);
                }
                Vec::new()
            }
            Stage::Again(_, first) => {
                self.compare(&first, masters);
                Vec::new()
            }
            Stage::Asking(_, held) => self.ask(held, now),
        }
    }

    /// Looks again at those that were seen.
    fn compare(&mut self, first: &BTreeMap<LifeId, Look>, masters: &Masters) {
        let mut held = Vec::new();
        for (life, second) in self.see(masters) {
            let Some(first) = first.get(&life) else { continue };
            let Some(suspects) = suspicion::suspects(first, &second, host::cpus()) else { continue };
            let may_ask = suspects.threads.iter().any(|(pid, tid)| census::doing(*pid, *tid).is_ok());
            let Some(master) = masters.by_life.get(&life) else { continue };
            if may_ask {
                held.push(Held::stop(life, suspects, master.child.pid()));
            } else {
                let (vassal, many) = (&master.vassal, suspects.threads.len());
                tracing::warn!(
                    vassal,
                    "may be a fork bomb: {many} of its processes live in the kernel, and nobody may see what they do there"
                );
                self.acquitted.insert(life, clock::now() + ACQUITTED);
            }
        }
        if !held.is_empty() {
            self.stage = Stage::Asking(clock::now() + ASK, held);
        }
    }

    /// Asks those who stand still.
    fn ask(&mut self, all: Vec<Held>, now: Tick) -> Vec<Found> {
        let (mut found, mut open) = (Vec::new(), Vec::new());
        for held in all {
            let told: Vec<Doing> = held.told();
            let verdict = suspicion::verdict(held.suspects.threads.len(), &told, held.until <= now);
            if verdict != Verdict::Open {
                tracing::debug!(
                    "{} of {} suspects asked: {verdict:?}",
                    told.len(),
                    held.suspects.threads.len()
                );
            }
            match verdict {
                Verdict::Open => open.push(held),
                Verdict::Bomb => found.push(Found::of(held)),
                Verdict::Innocent => {
                    self.acquitted.insert(held.life, now + ACQUITTED);
                }
                Verdict::Unknown => {}
            }
        }
        if !open.is_empty() {
            self.stage = Stage::Asking(now + ASK, open);
        }
        found
    }

    /// What there is to see of those lives that have a crowd.
    fn see(&self, masters: &Masters) -> BTreeMap<LifeId, Look> {
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
            if self.acquitted.get(life).is_some_and(|until| now < *until) {
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
    fn stop(life: LifeId, suspects: Suspects, master: u32) -> Self {
        let mut pids: BTreeSet<u32> = suspects.threads.iter().map(|(pid, _)| *pid).collect();
        pids.remove(&master);
        let began = |pid: u32| Some((pid, census::process(pid)?.started));
        let stopped: Vec<(u32, u64)> = pids.into_iter().filter_map(began).collect();
        for (pid, started) in &stopped {
            roundup::tell(*pid, *started, Signal::Stop);
        }
        Self { life, suspects, stopped, until: clock::now() + PATIENCE }
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
    fn of(held: Held) -> Self {
        let suspects = &held.suspects;
        Self {
            life: held.life,
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
