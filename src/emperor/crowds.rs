//! Looks at the crowds of vassals, by a thread: with hundreds of vassals a look takes some hundredths of a second.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kin::{self, Head};
use super::life::LifeId;
use super::masters::Masters;
use super::suspicion::{self, Look, Thread};
use crate::sys::census::{self, Seen};
use crate::sys::{clock, host};
use crate::tick::Tick;

/// What is looked for.
#[derive(Debug)]
pub struct Search {
    heads: BTreeMap<LifeId, Head>,
    /// How many processes and threads the user of each of these may have, and the vassal's name.
    wanted: BTreeMap<LifeId, (u64, String)>,
}

/// What was seen of those that have a crowd.
#[derive(Debug, Default)]
pub struct Sight {
    /// It.
    pub looks: BTreeMap<LifeId, Look>,
    /// When that began.
    pub began: Tick,
    /// How much CPU time it took.
    pub took: Duration,
}

impl Search {
    /// For the crowds of these, with how many processes and threads each one's user may have.
    #[must_use]
    pub fn of(masters: &Masters, wanted: impl Iterator<Item = (LifeId, u64)>) -> Self {
        let named = |(life, most)| Some((life, (most, masters.by_life.get(&life)?.vassal.clone())));
        Self {
            heads: masters.by_life.iter().map(|(life, master)| (*life, Head::of(master))).collect(),
            wanted: wanted.filter_map(named).collect(),
        }
    }

    /// Looks.
    #[must_use]
    pub fn look(self) -> Sight {
        let (at, began) = (clock::now(), clock::own_cpu_us());
        let looks = match census::processes() {
            Ok(all) => self.looks(&all),
            Err(error) => {
                tracing::warn!("cannot look at processes: {error}");
                BTreeMap::new()
            }
        };
        Sight { looks, began: at, took: Duration::from_micros(clock::own_cpu_us().saturating_sub(began)) }
    }

    fn looks(&self, all: &[Seen]) -> BTreeMap<LifeId, Look> {
        let of = kin::of_lives(all, &self.heads);
        let crowd = suspicion::crowd(host::cpus());
        let mut users = None;
        let mut looks = BTreeMap::new();
        for (life, (most, vassal)) in &self.wanted {
            let own: Vec<&Seen> = all.iter().filter(|one| of.get(&one.id) == Some(life)).collect();
            if own.iter().map(|one| one.threads).sum::<u64>() < crowd {
                continue;
            }
            let mut look = Look { at: census::now_ticks(), most: *most, ..Look::default() };
            for process in own {
                let threads =
                    if process.threads > 1 { census::threads_of(process.id) } else { vec![*process] };
                look.threads.extend(threads.iter().map(|one| thread(process, one)));
            }
            // Whose limit it is.
            let Some(busy) = look.threads.values().find(|thread| thread.is_runnable).map(|thread| thread.pid)
            else {
                continue;
            };
            if look.runnable() >= crowd {
                let users = users.get_or_insert_with(|| users_of(all));
                let user = census::counted_to(busy);
                look.used = user.and_then(|user| users.get(&user)).copied().unwrap_or_default();
            }
            let (used, runnable) = (look.used, look.runnable());
            tracing::debug!(
                vassal,
                "looked at: its user has {used} of {most} processes, {runnable} of it want a CPU"
            );
            looks.insert(*life, look);
        }
        looks
    }
}

fn thread(process: &Seen, seen: &Seen) -> ((u32, u64), Thread) {
    let thread = Thread {
        pid: process.id,
        began: process.started,
        is_runnable: seen.is_runnable,
        user: seen.user_ticks,
        system: seen.system_ticks,
    };
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
