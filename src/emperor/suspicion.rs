//! Which crowd of processes is a fork bomb where the kernel counts nothing: decided from what two looks saw of it, and
//! from what its processes were doing when they were stopped. Pure.

use std::collections::BTreeMap;

use crate::sys::census::Doing;

/// Fewer that want a CPU harm their neighbours no more than any busy app.
pub const CROWD: u64 = 8;
/// So much of a thread's CPU time is the kernel's, in hundredths, where it does nothing of its own.
const SYSTEM: u64 = 60;
/// So many threads of a fork bomb are like that, in hundredths.
const ALIKE: usize = 67;
/// Of those that were stopped so many were starting a process, in hundredths, at least. What serves, reads, writes or
/// computes does that seldom.
const FORKING: usize = 50;

/// A thread in a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub pid: u32,
    /// Whether it wants a CPU.
    pub is_runnable: bool,
    /// Its CPU time as itself so far, in clock ticks.
    pub user: u64,
    /// The same in the kernel.
    pub system: u64,
}

/// What was seen of a life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// When, in clock ticks since the boot.
    pub at: u64,
    /// How many processes and threads its user has.
    pub used: u64,
    /// How many it may have.
    pub most: u64,
    /// Its threads, by id and by when they began, in clock ticks since the boot.
    pub threads: BTreeMap<(u32, u64), Thread>,
}

impl Look {
    /// Whether it could be that of a fork bomb, and is worth another look.
    #[must_use]
    pub fn is_of_crowd(&self, cpus: u32) -> bool {
        // One may have ended just now that is replaced at once.
        self.used.saturating_add(1) >= self.most && self.runnable() >= crowd(cpus)
    }

    /// How many of it want a CPU.
    #[must_use]
    pub fn runnable(&self) -> u64 {
        let runnable = self.threads.values().filter(|thread| thread.is_runnable);
        u64::try_from(runnable.count()).unwrap_or(u64::MAX)
    }
}

/// How many that want a CPU are a crowd on so many CPUs.
#[must_use]
pub fn crowd(cpus: u32) -> u64 {
    CROWD.max(u64::from(cpus))
}

/// Those who look as if they did nothing but try to be more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspects {
    /// Their threads, each with its process.
    pub threads: Vec<(u32, u32)>,
    /// How many processes and threads their user may have.
    pub most: u64,
    /// For how long most of them have been there, in clock ticks.
    pub age: u64,
}

/// The suspects among a life that was looked at twice.
#[must_use]
pub fn suspects(first: &Look, second: &Look, cpus: u32) -> Option<Suspects> {
    if !first.is_of_crowd(cpus) || !second.is_of_crowd(cpus) {
        return None;
    }
    let both = second.threads.iter().filter_map(|(id, after)| Some((id, first.threads.get(id)?, after)));
    let spinning: Vec<_> =
        both.filter(|(_, before, after)| before.is_runnable && after.is_runnable).collect();
    // Who has had no CPU yet says nothing.
    let begun = spinning.iter().map(|(.., after)| *after).filter(|one| one.user + one.system > 0);
    let in_kernel = begun.clone().filter(|one| one.system * 100 >= (one.user + one.system) * SYSTEM);
    let few = u64::try_from(spinning.len()).is_ok_and(|many| many < crowd(cpus));
    if few || in_kernel.count() * 100 < begun.count() * ALIKE {
        return None;
    }
    let mut ages: Vec<u64> =
        spinning.iter().map(|((_, began), ..)| second.at.saturating_sub(*began)).collect();
    ages.sort_unstable();
    Some(Suspects {
        threads: spinning.iter().map(|((tid, _), _, after)| (after.pid, *tid)).collect(),
        most: second.most,
        age: ages.get(ages.len() / 2).copied().unwrap_or_default(),
    })
}

/// What follows from what suspects that were stopped were doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Too many of them run still.
    Open,
    /// They are a fork bomb.
    Bomb,
    /// They do something else.
    Innocent,
    /// They did not stop in time.
    Unknown,
}

/// Judges so many suspects; `told`: what those of them did that are stopped by now. `is_last`: nobody waits longer.
#[must_use]
pub fn verdict(suspects: usize, told: &[Doing], is_last: bool) -> Verdict {
    let forking = told.iter().filter(|doing| **doing == Doing::Forks).count();
    // Who was stopped first was running: all have to be asked, but for a few that may have ended.
    let enough = if is_last { suspects.div_ceil(2) } else { suspects - suspects / 10 };
    if told.len() < enough.max(1) {
        return if is_last { Verdict::Unknown } else { Verdict::Open };
    }
    if forking * 100 >= told.len() * FORKING { Verdict::Bomb } else { Verdict::Innocent }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life of so many processes, of which so many want a CPU; those have used so much CPU time each.
    fn look(at: u64, used: u64, runnable: u32, (user, system): (u64, u64)) -> Look {
        let own = u32::try_from(used).unwrap();
        let thread = |id: u32| match id <= runnable {
            true => Thread { pid: id, is_runnable: true, user, system },
            false => Thread { pid: id, ..Thread::default() },
        };
        let threads = (1..=own).map(|id| ((id, 900), thread(id))).collect();
        Look { at, used, most: 60, threads }
    }

    #[test]
    fn a_crowd_at_its_limit_that_lives_in_the_kernel_is_suspected() {
        // Processes and those of them that want a CPU in each look, user and system time of each of those, and whether they
        // are suspected. Looked at on two CPUs.
        for (what, first, second, spent, expected) in [
            ("os.fork() without end", (60, 60), (60, 60), (0, 2), true),
            ("the same in threads of its own", (60, 58), (60, 59), (1, 9), true),
            ("one ends and is replaced", (59, 59), (60, 60), (0, 1), true),
            ("with some work of its own", (60, 60), (60, 60), (1, 3), true),
            ("in the midst of those who wait", (60, 30), (60, 30), (0, 2), true),
            ("one that has just begun", (60, 60), (60, 60), (0, 0), true),
            ("a pool that computes", (60, 59), (60, 59), (2, 0), false),
            ("a pool that computes and reads", (60, 59), (60, 59), (1, 1), false),
            ("a pool of as many as it likes", (40, 40), (40, 40), (0, 2), false),
            ("one that was at its limit", (60, 60), (58, 58), (0, 2), false),
            ("one that comes to its limit", (40, 40), (60, 60), (0, 2), false),
            ("many that wait", (60, 0), (60, 0), (0, 0), false),
            ("one that forks while the others wait", (60, 1), (60, 1), (0, 9), false),
            ("few", (60, 7), (60, 7), (0, 2), false),
        ] {
            let first = look(1000, first.0, first.1, (0, 0));
            let second = look(1010, second.0, second.1, spent);
            let found = suspects(&first, &second, 2);
            assert_eq!(found.is_some(), expected, "{what}: {found:?}");
        }
        let busy = look(1000, 60, 20, (0, 0));
        assert!(
            busy.is_of_crowd(20) && !busy.is_of_crowd(21),
            "no more than one for each CPU is nobody's harm"
        );
    }

    #[test]
    fn those_are_suspects_who_were_there_both_times() {
        let (first, mut second) = (look(1000, 60, 58, (0, 0)), look(1010, 60, 58, (0, 1)));
        // Another has the pid of one that ended, and one is only seen now.
        let reborn = second.threads.remove(&(1, 900)).unwrap();
        second.threads.insert((1, 1005), reborn);
        let found = suspects(&first, &second, 2).unwrap();
        assert_eq!(found.threads, (2..=58).map(|id| (id, id)).collect::<Vec<_>>());
        assert_eq!((found.most, found.age), (60, 110));
    }

    #[test]
    fn what_they_did_when_they_were_stopped_decides() {
        let told =
            |forking: usize, other: usize| [vec![Doing::Forks; forking], vec![Doing::Other; other]].concat();
        for (what, suspects, told, is_last, expected) in [
            ("os.fork() without end", 60, told(54, 6), false, Verdict::Bomb),
            ("some have ended", 60, told(54, 0), false, Verdict::Bomb),
            ("half of the time", 60, told(30, 30), false, Verdict::Bomb),
            ("a pool that reads", 60, told(0, 60), false, Verdict::Innocent),
            ("a pool that starts a program now and then", 60, told(29, 31), false, Verdict::Innocent),
            ("too early", 60, told(53, 0), false, Verdict::Open),
            ("nobody yet", 9, told(0, 0), false, Verdict::Open),
            ("late, but most of them", 60, told(28, 2), true, Verdict::Bomb),
            ("late, and few", 60, told(29, 0), true, Verdict::Unknown),
            ("all have ended", 60, told(0, 0), true, Verdict::Unknown),
        ] {
            assert_eq!(verdict(suspects, &told, is_last), expected, "{what}");
        }
    }
}
