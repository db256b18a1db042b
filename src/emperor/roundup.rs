//! Ends all that is of a life without a control group, also what left its process group and its session.

use std::collections::BTreeMap;

use super::kin::{self, Head};
use super::life::LifeId;
use super::masters::Masters;
use crate::sys::census;
use crate::sys::process::{Child, Signal};

/// What was forked while the others were looked for is found by the next look; who is stopped forks no more, and holds
/// its place among the processes that their user may have.
const ROUNDS: usize = 10;

/// Kills all processes of a life but its master.
pub fn round_up(masters: &Masters, life: LifeId) {
    let heads: BTreeMap<LifeId, Head> =
        masters.by_life.iter().map(|(life, master)| (*life, Head::of(master))).collect();
    let master = heads.get(&life).map(|head| head.session);
    let mut caught: BTreeMap<u32, u64> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let Ok(all) = census::processes() else { break };
        let of = kin::of_lives(&all, &heads);
        let is_loose = |one: &&census::Seen| {
            of.get(&one.id) == Some(&life)
                && Some(one.id) != master
                && caught.get(&one.id) != Some(&one.started)
        };
        let loose: Vec<(u32, u64)> = all.iter().filter(is_loose).map(|one| (one.id, one.started)).collect();
        if loose.is_empty() {
            break;
        }
        for (pid, started) in loose {
            tell(pid, started, Signal::Stop);
            caught.insert(pid, started);
        }
    }
    for (pid, started) in caught {
        tell(pid, started, Signal::Kill);
    }
}

/// Sends a signal to the process that has this pid and began then, and to no other; whether it is still there.
pub fn tell(pid: u32, started: u64, signal: Signal) -> bool {
    // The handle first: what is found out after that is about this very process.
    let Ok(process) = Child::adopt(pid) else { return false };
    let is_there = census::process(pid).is_some_and(|found| found.started == started);
    if is_there && let Err(error) = process.signal(signal) {
        tracing::warn!("cannot signal pid {pid}: {error}");
    }
    is_there
}
