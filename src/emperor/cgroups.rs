//! The control groups of vassals: where groups are ours each vassal has one, so that the CPUs are shared among vassals
//! and not among their processes; where they are not, only a vassal with limits needs one.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use tokio::sync::mpsc;

use super::attributes::Attributes;
use super::forkbomb::{Bomb, Watch};
use super::handle::Handle;
use super::life::LifeId;
use super::shortage::Shortages;
use crate::config::limits::{Limits, Rule};
use crate::sys::cgroup::{Group, Tree};
use crate::sys::{clock, host, peer};
use crate::wire::failure::Failure;

/// CPU time is counted in portions of this length.
const PERIOD_US: u64 = 100_000;

/// A vassal of which nothing else is said may have so much of the processes and threads that there can be on this host, as
/// a service of systemd may (`DefaultTasksMax=`): none uses them up for all.
const PROCESSES_PERCENT: u64 = 15;

/// Who may use how much, and the tree of groups that sees to it.
#[derive(Debug, Default)]
pub struct Cgroups {
    rules: Vec<Rule>,
    /// Whether systemd starts the next emperor beside the instances of one that died.
    survives: bool,
    /// Taken when it is needed first; an earlier emperor may have.
    tree: Option<Tree>,
    /// Every vassal has a group, also without limits.
    all: bool,
    /// What a vassal with a group may have where nothing else is said.
    usual: Limits,
    shortages: Shortages,
    /// Those who may have so many processes only, looked at.
    watched: BTreeMap<String, Watch>,
    /// Who hears of fork bombs, and who knows what vassals have done meanwhile.
    ears: Option<(mpsc::Sender<Bomb>, Handle)>,
}

impl Cgroups {
    /// By these rules of the operator, once [`Cgroups::take`] took a tree; `ears` hear of fork bombs.
    #[must_use]
    pub fn new(rules: Vec<Rule>, survives: bool, ears: (mpsc::Sender<Bomb>, Handle)) -> Self {
        Self { rules, survives, ears: Some(ears), ..Self::default() }
    }

    /// Whether such rules can be obeyed, as far as that is to be seen where nothing may be changed.
    ///
    /// # Errors
    /// This host, or its service manager, does not let us.
    pub fn prove(rules: Vec<Rule>, survives: bool) -> Result<(), Failure> {
        let all = Self { rules, survives, ..Self::default() };
        let wanted = all.wanted();
        if wanted.is_empty() {
            return Ok(());
        }
        Tree::prove(&all.controllers(wanted), survives).map_err(disobeyed)
    }

    /// Takes the tree over. Where a group for us was made below one that is ours, nobody needs to say any rules.
    ///
    /// # Errors
    /// There are some, and this host, or its service manager, does not let us.
    pub fn take(&mut self) -> Result<(), Failure> {
        self.tree = Tree::taken();
        if self.tree.is_some() {
            match Tree::take(&["cpu"], self.survives) {
                Ok(_) => self.all = true,
                Err(reason) => tracing::debug!("vassals have no control groups of their own: {reason}"),
            }
            if self.all && Tree::take(&["pids"], self.survives).is_ok() {
                self.usual.processes = host::most_processes().map(|most| most * PROCESSES_PERCENT / 100);
            }
        }
        let wanted = self.wanted();
        if !wanted.is_empty() {
            self.tree(wanted).map_err(disobeyed)?;
        }
        if let Some(kills) = self.tree.as_ref().and_then(Tree::kills) {
            self.shortages.start(None, kills);
        }
        Ok(())
    }

    /// What the rules say of anybody.
    fn wanted(&self) -> Limits {
        self.rules.iter().fold(Limits::default(), |limits, rule| rule.limits.or_those_of(limits))
    }

    /// What a vassal may use: its file lowers it; one of ours says it.
    fn limits(&self, vassal: &str, attributes: &Attributes) -> Limits {
        let rules = Rule::of(&self.rules, vassal);
        if attributes.ours { attributes.limits.or_those_of(rules) } else { rules.and(attributes.limits) }
    }

    /// What the group of a vassal with these limits is set to.
    fn usually(&self, limits: Limits) -> Limits {
        limits.or_those_of(self.usual)
    }

    /// Makes the group of a life, where it has one; answers the door by which its master enters it before it begins.
    ///
    /// # Errors
    /// It has limits that cannot be set.
    pub fn prepare(
        &mut self,
        vassal: &str,
        attributes: &Attributes,
        life: LifeId,
    ) -> Result<Option<OwnedFd>, Failure> {
        let limits = self.limits(vassal, attributes);
        match self.make(vassal, limits, life).map(|group| group.map(|group| group.door()).transpose()) {
            Ok(Ok(door)) => Ok(door),
            Ok(Err(error)) => or_without(vassal, limits, error.to_string()),
            Err(reason) => or_without(vassal, limits, reason),
        }
    }

    /// The group of a life with its limits; `None`: it needs none.
    fn make(&mut self, vassal: &str, limits: Limits, life: LifeId) -> Result<Option<Group>, String> {
        if limits.is_empty() && !self.all {
            return Ok(None);
        }
        let group = self.tree(limits)?.group(vassal, life);
        let set = |()| set(&group, self.usually(limits));
        group.make().and_then(set).map_err(|error| error.to_string())?;
        Ok(Some(group))
    }

    /// The vassal's file, or the rules, may say something else by now. A life that had no group goes into one when it
    /// is to have one: its master, of this pid, and all of its process group. What it asks for itself, `own`, is a limit of
    /// the group, too: what the kernel refuses a group it counts, and what it refuses a user (`limit-nproc`) it does not;
    /// and the weight of a process (`prio`) counts within its group only. A weight that somebody has said stays.
    pub fn adjust(&mut self, vassal: &str, attributes: &Attributes, (life, pid): (LifeId, u32), own: Limits) {
        let limits = self.limits(vassal, attributes);
        let own = Limits { cpu_weight: own.cpu_weight.filter(|_| limits.cpu_weight.is_none()), ..own };
        let done = match self.group(vassal, life) {
            // What is limited now may need a controller that nothing needed before.
            Some(group) => {
                let wanted = self.usually(limits).and(own);
                let taken = self.tree(wanted).map(|_| ());
                taken.and_then(|()| set(&group, wanted).map_err(|error| error.to_string()))
            }
            None => self.make(vassal, limits, life).and_then(|group| match group {
                Some(group) => gather(&group, pid).map_err(|error| error.to_string()),
                None => Ok(()),
            }),
        };
        match done {
            Ok(()) => self.watch(vassal, life),
            Err(reason) => tracing::warn!(vassal, "its limits cannot be changed: {reason}"),
        }
    }

    /// Looks from now on at what a vassal is refused that may have so many processes only.
    fn watch(&mut self, vassal: &str, life: LifeId) {
        let limited = self.group(vassal, life).filter(|group| group.most_processes().is_some());
        let (Some(group), Some(ears)) = (limited, &self.ears) else {
            self.watched.remove(vassal);
            return;
        };
        if self.watched.get(vassal).is_some_and(Watch::goes_on) {
            return;
        }
        match group.refused_forks() {
            Ok(refused) => {
                let watch = Watch::start(vassal.to_owned(), refused, ears.clone());
                self.watched.insert(vassal.to_owned(), watch);
            }
            Err(error) => tracing::warn!(vassal, "a fork bomb of it would not be noticed: {error}"),
        }
    }

    /// Whether the kernel counts what a life is refused.
    #[must_use]
    pub fn counts(&self, vassal: &str, life: LifeId) -> bool {
        self.group(vassal, life).is_some_and(|group| group.most_processes().is_some())
    }

    /// Which of these lives of a vassal has the most processes, and how many the vassal may have.
    #[must_use]
    pub fn largest(
        &self,
        vassal: &str,
        lives: impl Iterator<Item = LifeId>,
    ) -> Option<(LifeId, Option<u64>)> {
        let groups = lives.filter_map(|life| Some((life, self.group(vassal, life)?)));
        let (life, group) = groups.max_by_key(|(_, group)| group.processes())?;
        Some((life, group.most_processes()))
    }

    /// A life of a vassal is followed from here on.
    pub fn follow(&mut self, vassal: &str, life: LifeId) {
        if let Some(kills) = self.group(vassal, life).and_then(|group| group.kills()) {
            self.shortages.start(Some(vassal), kills);
        }
        self.watch(vassal, life);
    }

    /// Whether a process of a life that was killed by a signal was killed by the kernel, because memory was short.
    pub fn ran_out_of_memory(&mut self, vassal: &str, life: LifeId) -> bool {
        let own = self.group(vassal, life).and_then(|group| group.kills());
        let units = self.tree.as_ref().and_then(Tree::kills);
        self.shortages.killed(vassal, own, units, clock::now())
    }

    /// Kills all that is in the group of a life.
    pub fn kill(&self, vassal: &str, life: LifeId) {
        if let Some(group) = self.group(vassal, life)
            && let Err(error) = group.kill()
        {
            tracing::debug!(vassal, "its control group cannot be killed as a whole: {error}");
        }
    }

    /// Nothing of a life is left.
    pub fn remove(&mut self, vassal: &str, life: LifeId) {
        if let Some(group) = self.group(vassal, life) {
            group.remove();
            if !group.vassal_has_groups() {
                self.watched.remove(vassal);
            }
            if group.kills().is_none() {
                self.shortages.end(vassal);
            }
        }
    }

    fn group(&self, vassal: &str, life: LifeId) -> Option<Group> {
        Some(self.tree.as_ref()?.group(vassal, life)).filter(Group::exists)
    }

    /// The tree, with the controllers that these limits need.
    fn tree(&mut self, limits: Limits) -> Result<&Tree, String> {
        // Enabling one again changes nothing.
        Tree::take(&self.controllers(limits), self.survives).map(|tree| &*self.tree.insert(tree))
    }

    /// The controllers that such limits need.
    fn controllers(&self, limits: Limits) -> Vec<&'static str> {
        let controllers = [
            ("memory", limits.memory_bytes.is_some()),
            ("cpu", self.all || limits.cpu_percent.is_some() || limits.cpu_weight.is_some()),
            ("pids", self.usually(limits).processes.is_some()),
        ];
        controllers.into_iter().filter(|(_, needed)| *needed).map(|(name, _)| name).collect()
    }
}

fn disobeyed(reason: String) -> Failure {
    Failure::new(format!("vassals-limit cannot be obeyed: {reason}"))
        .with_hint("limit-as and limit-nproc limit each process and each user without control groups")
}

/// What follows where a life cannot have its group: only the share of a vassal without limits can be done without.
fn or_without(vassal: &str, limits: Limits, reason: String) -> Result<Option<OwnedFd>, Failure> {
    if limits.is_empty() {
        tracing::warn!(vassal, "it has no control group of its own: {reason}");
        return Ok(None);
    }
    Err(Failure::new(format!("its limits cannot be set: {reason}")))
}

/// A master goes into a group with all that it has started. One may fork while it is looked for; what it makes then is
/// found by the second look.
fn gather(group: &Group, master: u32) -> io::Result<()> {
    group.take_in(master)?;
    for _ in 0..2 {
        for pid in peer::of_group(master).unwrap_or_default() {
            // It may have ended.
            let _ = group.take_in(pid);
        }
    }
    Ok(())
}

fn set(group: &Group, limits: Limits) -> io::Result<()> {
    let cpu = limits.cpu_percent.map(|percent| percent.saturating_mul(PERIOD_US) / 100);
    for (file, limit, otherwise) in [
        ("memory.max", limits.memory_bytes, "max"),
        ("cpu.max", cpu, "max"),
        ("cpu.weight", limits.cpu_weight, "100"),
        ("pids.max", limits.processes, "max"),
    ] {
        let value = limit.map_or_else(|| otherwise.to_owned(), |limit| limit.to_string());
        match group.limit(file, &value) {
            // A controller that nobody asked for has no file.
            Err(_) if limit.is_none() => {}
            done => done?,
        }
    }
    Ok(())
}
