//! Which crowd of processes is a fork bomb where the kernel counts nothing: decided from what looks saw of it, and from
//! what its processes were doing each time that they were stopped. Pure.

use std::collections::BTreeMap;

use crate::sys::census::Doing;

/// Fewer that want a CPU harm their neighbours no more than any busy app.
pub const CROWD: u64 = 8;
/// A thread of a crowd that starts processes has so much of its CPU time in the kernel, in hundredths, on average.
const SYSTEM: u64 = 5;
/// Of those that were stopped so many were starting a process, in hundredths: they do little else.
const MOSTLY: usize = 50;
/// So many answers are enough to say that nobody forks, where nobody did.
const NOBODY: usize = 30;
/// Who forks only sometimes is judged after so many answers, from so many rounds at least; never after more rounds.
const ANSWERS: usize = 150;
const ROUNDS: u32 = 3;
const PATIENCE: u32 = 20;
/// So many that were forking are no chance.
const SEEN: usize = 5;
/// CPU time that goes on forking for nothing is a fork bomb's from so much on, in hundredths of all that the crowd had.
const IN_VAIN: u64 = 3;
/// A process that is born explains so much of the time that went on forking, in microseconds: also that of a large app.
const BIRTH_US: u64 = 5000;
/// So does a request that is finished: an app that is short of processes answers with errors.
const REQUEST_US: u64 = 300;

/// A thread in a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub pid: u32,
    /// When that began, in clock ticks since the boot.
    pub began: u64,
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

    /// How many threads are there that were not in an earlier look.
    #[must_use]
    pub fn births_since(&self, earlier: &Self) -> u64 {
        let new = self.threads.keys().filter(|id| !earlier.threads.contains_key(id));
        u64::try_from(new.count()).unwrap_or(u64::MAX)
    }

    /// The CPU time that they had since an earlier look, in clock ticks.
    #[must_use]
    pub fn ticks_since(&self, earlier: &Self) -> u64 {
        let before = |id| earlier.threads.get(id).map_or(0, Thread::ticks);
        self.threads.iter().map(|(id, thread)| thread.ticks().saturating_sub(before(id))).sum()
    }
}

impl Thread {
    const fn ticks(&self) -> u64 {
        self.user.saturating_add(self.system)
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
    /// Their processes, and when each began.
    pub processes: BTreeMap<u32, u64>,
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
    // Who has had no CPU yet says nothing. One that has computed for hours counts as much as one that has just begun.
    let shares = spinning.iter().filter_map(|(.., after)| (after.system * 100).checked_div(after.ticks()));
    let begun = shares.clone().count();
    let few = u64::try_from(spinning.len()).is_ok_and(|many| many < crowd(cpus));
    if few || shares.sum::<u64>() < SYSTEM * u64::try_from(begun).unwrap_or(u64::MAX) {
        return None;
    }
    let mut ages: Vec<u64> =
        spinning.iter().map(|((_, began), ..)| second.at.saturating_sub(*began)).collect();
    ages.sort_unstable();
    Some(Suspects {
        threads: spinning.iter().map(|((tid, _), _, after)| (after.pid, *tid)).collect(),
        processes: spinning.iter().map(|(.., after)| (after.pid, after.began)).collect(),
        most: second.most,
        age: ages.get(ages.len() / 2).copied().unwrap_or_default(),
    })
}

/// What has been learnt of a crowd of suspects: what they did each time that they were stopped, and what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How often they were asked.
    pub rounds: u32,
    /// How many answers there are.
    pub told: usize,
    /// How many of these were starting a process or a thread.
    pub forking: usize,
    /// How many processes and threads were born meanwhile.
    pub births: u64,
    /// How much CPU time the crowd had meanwhile, in microseconds.
    pub cpu_us: u64,
    /// How many requests the vassal has finished meanwhile.
    pub requests: u64,
}

/// What follows from findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are asked once more.
    Open,
    /// They are a fork bomb.
    Bomb,
    /// They do something else.
    Innocent,
}

impl Findings {
    /// Takes in what those did who have been stopped.
    pub fn add(&mut self, told: &[Doing]) {
        self.rounds += 1;
        self.told += told.len();
        self.forking += told.iter().filter(|doing| **doing == Doing::Forks).count();
    }

    /// What is known as soon as they have been asked.
    #[must_use]
    pub const fn at_once(&self) -> Verdict {
        if self.told > 0 && self.forking * 100 >= self.told * MOSTLY {
            return Verdict::Bomb;
        }
        if self.forking == 0 && self.told >= NOBODY { Verdict::Innocent } else { Verdict::Open }
    }

    /// What is known once they went on after that. Each answer stands for a share of their CPU time. Of the share that went
    /// on forking, births explain a part and requests another; what is left was refused.
    #[must_use]
    pub fn on_reflection(&self) -> Verdict {
        if self.told < ANSWERS || self.rounds < ROUNDS {
            return if self.rounds < PATIENCE { Verdict::Open } else { Verdict::Innocent };
        }
        let part = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let forking_us = self.cpu_us.saturating_mul(part(self.forking)) / part(self.told);
        let explained_us =
            self.births.saturating_mul(BIRTH_US).saturating_add(self.requests.saturating_mul(REQUEST_US));
        let in_vain_us = forking_us.saturating_sub(explained_us);
        let is_bomb =
            self.forking >= SEEN && in_vain_us.saturating_mul(100) > self.cpu_us.saturating_mul(IN_VAIN);
        if is_bomb { Verdict::Bomb } else { Verdict::Innocent }
    }
}

/// Whether so many answers of so many suspects are all that there will be; `None`: there may be more, and it is waited for
/// them. `is_last`: nobody waits longer.
#[must_use]
pub fn is_enough(suspects: usize, told: usize, is_last: bool) -> Option<bool> {
    // Who was stopped first was running: all have to be asked, but for a few that may have ended.
    let enough = if is_last { suspects.div_ceil(2) } else { suspects - suspects / 10 };
    match told >= enough.max(1) {
        true => Some(true),
        false if is_last => Some(false),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A life of so many processes, of which so many want a CPU; those have used so much CPU time each.
    fn look(at: u64, used: u64, runnable: u32, (user, system): (u64, u64)) -> Look {
        let own = u32::try_from(used).unwrap();
        let thread = |id: u32| match id <= runnable {
            true => Thread { pid: id, began: 900, is_runnable: true, user, system },
            false => Thread { pid: id, began: 900, ..Thread::default() },
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
            ("a pool that computes and reads", (60, 59), (60, 59), (1, 1), true),
            ("Pythons that start Pythons", (60, 60), (60, 60), (7, 3), true),
            ("the same by posix_spawn", (60, 60), (60, 60), (8, 1), true),
            ("a pool that seldom reads", (60, 59), (60, 59), (40, 1), false),
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
        assert_eq!(found.processes, (2..=58).map(|id| (id, 900)).collect());
        assert_eq!((found.most, found.age), (60, 110));
    }

    #[test]
    fn one_that_has_computed_for_hours_does_not_hide_the_others() {
        let (first, mut second) = (look(1000, 60, 58, (0, 0)), look(1010, 60, 58, (0, 1)));
        second.threads.get_mut(&(1, 900)).unwrap().user = 1_000_000;
        assert!(suspects(&first, &second, 2).is_some());
    }

    #[test]
    fn what_came_of_it_is_counted_from_look_to_look() {
        let (first, mut second) = (look(1000, 60, 58, (3, 4)), look(1010, 60, 58, (4, 5)));
        // One has ended, and another is in its place.
        second.threads.remove(&(60, 900));
        second.threads.insert((60, 1005), Thread { user: 7, ..Thread::default() });
        assert_eq!((second.births_since(&first), second.ticks_since(&first)), (1, 58 * 2 + 7));
        assert_eq!((first.births_since(&first), first.ticks_since(&first)), (0, 0));
    }

    #[test]
    fn what_they_did_when_they_were_stopped_decides() {
        let asked = |rounds, told, forking| Findings { rounds, told, forking, ..Findings::default() };
        for (what, findings, expected) in [
            ("os.fork() without end", asked(1, 60, 54), Verdict::Bomb),
            ("half of the time", asked(1, 60, 30), Verdict::Bomb),
            ("nearly half of the time", asked(1, 60, 29), Verdict::Open),
            ("a pool that reads", asked(1, 60, 0), Verdict::Innocent),
            ("few that read", asked(1, 8, 0), Verdict::Open),
            ("the same, often enough", asked(4, 32, 0), Verdict::Innocent),
            ("nobody", asked(1, 0, 0), Verdict::Open),
        ] {
            assert_eq!(findings.at_once(), expected, "{what}");
        }
        // Rounds, answers and those who were forking; births, milliseconds of CPU time, and requests.
        for (what, (rounds, told, forking), (births, cpu_ms, requests), expected) in [
            ("Pythons that start Pythons", (3, 180, 52), (0, 900, 0), Verdict::Bomb),
            ("the same, as nice as can be", (3, 180, 52), (0, 40, 0), Verdict::Bomb),
            ("posix_spawn", (3, 176, 14), (0, 900, 0), Verdict::Bomb),
            ("os.fork(), and some work", (3, 180, 37), (0, 900, 0), Verdict::Bomb),
            ("os.system() in the background", (4, 176, 80), (45, 800, 0), Verdict::Bomb),
            ("a bomb that also serves", (3, 180, 52), (0, 900, 400), Verdict::Bomb),
            ("fewer, asked more often", (19, 152, 30), (0, 2000, 0), Verdict::Bomb),
            ("too early", (2, 180, 52), (0, 900, 0), Verdict::Open),
            ("too few", (3, 140, 52), (0, 900, 0), Verdict::Open),
            ("too few, again and again", (20, 140, 52), (0, 900, 0), Verdict::Innocent),
            ("a pool that starts programs", (9, 160, 48), (300, 1800, 0), Verdict::Innocent),
            ("the same beside others that compute", (9, 160, 48), (30, 180, 0), Verdict::Innocent),
            ("an app that is short of threads", (3, 180, 20), (0, 900, 600), Verdict::Innocent),
            ("a chance", (3, 180, 4), (0, 900, 0), Verdict::Innocent),
            ("one that is refused now and then", (4, 240, 7), (0, 900, 0), Verdict::Innocent),
            ("those who had no CPU", (3, 180, 52), (0, 0, 0), Verdict::Innocent),
        ] {
            let cpu_us = cpu_ms * 1000;
            let findings = Findings { rounds, told, forking, births, cpu_us, requests };
            assert_eq!(findings.on_reflection(), expected, "{what}");
        }
        let mut findings = asked(1, 60, 3);
        findings.add(&[Doing::Forks, Doing::Other, Doing::Other]);
        assert_eq!(findings, asked(2, 63, 4));
    }

    #[test]
    fn all_are_waited_for_but_not_for_ever() {
        for (suspects, told, is_last, expected) in [
            (60, 60, false, Some(true)),
            (60, 54, false, Some(true)),
            (60, 53, false, None),
            (9, 0, false, None),
            (60, 30, true, Some(true)),
            (60, 29, true, Some(false)),
            (60, 0, true, Some(false)),
            (0, 0, false, None),
        ] {
            assert_eq!(is_enough(suspects, told, is_last), expected, "{told} of {suspects}");
        }
    }
}
