//! The control groups of vassals that have limits.

use super::attributes::Attributes;
use super::life::LifeId;
use crate::config::limits::{Limits, Rule};
use crate::sys::cgroup::{Group, Tree};
use crate::sys::peer;
use crate::wire::failure::Failure;

/// CPU time is counted in portions of this length.
const PERIOD_US: u64 = 100_000;

/// Who may use how much, and the tree of groups that sees to it.
#[derive(Debug, Default)]
pub struct Cgroups {
    rules: Vec<Rule>,
    /// Whether systemd starts the next emperor beside the instances of one that died.
    survives: bool,
    /// Taken when it is needed first; an earlier emperor may have.
    tree: Option<Tree>,
}

impl Cgroups {
    /// By these rules of the operator.
    ///
    /// # Errors
    /// There are some, and this host, or its service manager, does not let us.
    pub fn new(rules: Vec<Rule>, survives: bool) -> Result<Self, Failure> {
        let mut all = Self { rules, survives, tree: Tree::taken() };
        let wanted = all.rules.iter().fold(Limits::default(), |limits, rule| rule.limits.or_those_of(limits));
        if !wanted.is_empty() {
            all.tree(wanted).map_err(|reason| {
                Failure::new(format!("vassals-limit cannot be obeyed: {reason}")).with_hint(
                    "limit-as and limit-nproc limit each process and each user without control groups",
                )
            })?;
        }
        Ok(all)
    }

    /// What a vassal may use: its file lowers it; one of ours says it.
    fn limits(&self, vassal: &str, attributes: &Attributes) -> Limits {
        let rules = Rule::of(&self.rules, vassal);
        if attributes.ours { attributes.limits.or_those_of(rules) } else { rules.and(attributes.limits) }
    }

    /// Puts the master of a life, which has not begun yet, into its group.
    ///
    /// # Errors
    /// It has limits that cannot be set.
    pub fn confine(
        &mut self,
        vassal: &str,
        attributes: &Attributes,
        life: LifeId,
        pid: u32,
    ) -> Result<(), Failure> {
        let limits = self.limits(vassal, attributes);
        if limits.is_empty() {
            return Ok(());
        }
        let failed = |reason: String| Failure::new(format!("its limits cannot be set: {reason}"));
        let group = self.tree(limits).map_err(failed)?.group(vassal, life);
        group
            .make()
            .and_then(|()| set(&group, limits))
            .and_then(|()| group.take_in(pid))
            .map_err(|error| failed(error.to_string()))
    }

    /// The vassal's file, or the rules, may say something else by now. A life that had no limits goes into a group as
    /// it gets some: its master, of this pid, and all of its process group.
    pub fn adjust(&mut self, vassal: &str, attributes: &Attributes, life: LifeId, pid: u32) {
        let limits = self.limits(vassal, attributes);
        let done = match self.group(vassal, life) {
            // What is limited now may need a controller that nothing needed before.
            Some(group) => self
                .tree(limits)
                .map(|_| ())
                .and_then(|()| set(&group, limits).map_err(|error| error.to_string()))
                .map_err(|reason| Failure::new(format!("its limits cannot be changed: {reason}"))),
            None => self.confine(vassal, attributes, life, pid).map(|()| self.gather(vassal, life, pid)),
        };
        if let Err(failure) = done {
            tracing::warn!(vassal, "{failure}");
        }
    }

    /// What a master has started goes where it went. One may fork while it is looked for; what it makes then is found
    /// by the second look.
    fn gather(&self, vassal: &str, life: LifeId, master: u32) {
        let Some(group) = self.group(vassal, life) else { return };
        for _ in 0..2 {
            for pid in peer::of_group(master).unwrap_or_default() {
                // It may have ended.
                let _ = group.take_in(pid);
            }
        }
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
    pub fn remove(&self, vassal: &str, life: LifeId) {
        if let Some(group) = self.group(vassal, life) {
            group.remove();
        }
    }

    fn group(&self, vassal: &str, life: LifeId) -> Option<Group> {
        Some(self.tree.as_ref()?.group(vassal, life)).filter(Group::exists)
    }

    /// The tree, with the controllers that these limits need.
    fn tree(&mut self, limits: Limits) -> Result<&Tree, String> {
        let controllers = [
            ("memory", limits.memory_bytes.is_some()),
            ("cpu", limits.cpu_percent.is_some()),
            ("pids", limits.processes.is_some()),
        ];
        let needed: Vec<&str> =
            controllers.iter().filter(|(_, needed)| *needed).map(|(name, _)| *name).collect();
        // Enabling one again changes nothing.
        Tree::take(&needed, self.survives).map(|tree| &*self.tree.insert(tree))
    }
}

fn set(group: &Group, limits: Limits) -> std::io::Result<()> {
    let text = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |limit| limit.to_string());
    let cpu = limits.cpu_percent.map(|percent| percent.saturating_mul(PERIOD_US) / 100);
    for (file, value) in [
        ("memory.max", text(limits.memory_bytes)),
        ("cpu.max", format!("{} {PERIOD_US}", text(cpu))),
        ("pids.max", text(limits.processes)),
    ] {
        match group.limit(file, &value) {
            // A controller that nobody asked for has no file.
            Err(_) if value.starts_with("max") => {}
            done => done?,
        }
    }
    Ok(())
}
