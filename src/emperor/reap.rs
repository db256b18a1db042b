//! Children that ended: masters, what dead masters left behind, and strangers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::News;
use super::fleet::ExitKind;
use super::life::LifeId;
use super::masters::Masters;
use crate::sys::process::{self, Exit};
use crate::sys::{clock, own};

/// While many end at once, as those of a fork bomb do, to reap one can take milliseconds. After so long everything else,
/// the API included, has its turn …
const TURN: Duration = Duration::from_millis(1);
/// … for so long.
pub const PAUSE: Duration = Duration::from_millis(1);

/// What reaping found.
#[derive(Debug, Default)]
pub struct Reaped {
    /// Whether there may be more that ended.
    pub more: bool,
    /// Lives with news, in order.
    pub news: Vec<(LifeId, News)>,
    /// Children that belong to no life.
    pub others: Vec<(u32, Exit)>,
}

/// Reaps children that ended, for a turn. What a dead master left behind is ours now: each such child is counted to the life
/// that it came from, so that it is waited for, and killed when its time is over.
#[must_use]
pub fn reap(masters: &mut Masters) -> Reaped {
    let mut reaped = Reaped::default();
    let mut dead = Vec::new();
    // The last life that lost a process: orphans that appear now are most likely its own.
    let mut loser = None;
    let began = clock::monotonic_us();
    loop {
        let took = Duration::from_micros(clock::monotonic_us().saturating_sub(began));
        if took >= TURN {
            reaped.more = true;
            break;
        }
        let (pid, exit) = match process::reap_any() {
            Ok(Some(ended)) => ended,
            Ok(None) => break,
            Err(error) => {
                tracing::error!("cannot reap children: {error}");
                break;
            }
        };
        let of_life = masters.by_life.iter_mut().find_map(|(life, master)| {
            if master.is_ours && master.child.pid() == pid && !master.reaped {
                master.reaped = true;
                Some((*life, true))
            } else {
                master.strays.remove(&pid).then_some((*life, false))
            }
        });
        match of_life {
            Some((life, was_master)) => {
                loser = Some(life);
                if was_master {
                    dead.push((life, exit));
                }
            }
            None => reaped.others.push((pid, exit)),
        }
    }
    if let Some(life) = loser {
        count_orphans(masters, life);
    }
    for (life, exit) in dead {
        let survivors = masters.by_life.get(&life).is_some_and(|master| !master.strays.is_empty());
        reaped.news.push((life, News::Exited { exit: kind(exit), survivors }));
    }
    for (life, master) in &masters.by_life {
        let told = reaped.news.iter().any(|(known, _)| known == life);
        if master.is_ours && master.reaped && master.strays.is_empty() && !told {
            reaped.news.push((*life, News::Emptied));
        }
    }
    reaped
}

/// Counts children of ours that we did not start to the life they came from: by their process group, else to
/// `loser`.
fn count_orphans(masters: &mut Masters, loser: LifeId) {
    let Ok(children) = own::children() else { return };
    let known: BTreeSet<u32> = masters
        .by_life
        .values()
        .flat_map(|master| master.strays.iter().copied().chain([master.child.pid()]))
        .collect();
    // Every vassal has a session of its own: who is in ours was started for another purpose, as hooks are.
    let ours = own::session_of(std::process::id());
    let is_of_vassal = |pid: &u32| !known.contains(pid) && own::session_of(*pid) != ours;
    for orphan in children.into_iter().filter(is_of_vassal) {
        let group = own::group_of(orphan);
        let of_group = masters
            .by_life
            .iter()
            .find(|(_, master)| master.is_ours && master.reaped && Some(master.child.pid()) == group)
            .map(|(life, _)| *life);
        let of_loser = masters.by_life.get(&loser).is_some_and(|master| master.reaped).then_some(loser);
        if let Some(master) = of_group.or(of_loser).and_then(|life| masters.by_life.get_mut(&life)) {
            master.strays.insert(orphan);
        }
    }
}

const fn kind(exit: Exit) -> ExitKind {
    match exit {
        Exit::Status(status) => ExitKind::Status(status),
        Exit::Signal(signal) => ExitKind::Signal(signal),
    }
}
