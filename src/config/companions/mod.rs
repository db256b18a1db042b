//! What lives beside the workers of an instance: external programs, timed commands, commands run at a touch, mules.

mod daemon;
pub mod keyval;
mod mule;
mod signal;
mod task;

pub use daemon::{DaemonSpec, Tracking};
pub use mule::{MOST_MULES, MuleCode, MuleSpec};
pub use task::{CronSpec, TouchExec};

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::instance::{AppSpec, InstanceSpec};

/// All of them, in the order in which they were said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanionSpec {
    /// `attach-daemon` and its relatives.
    pub daemons: Vec<DaemonSpec>,
    /// `cron`, `cron2`, `unique-cron`.
    pub crons: Vec<CronSpec>,
    /// `touch-exec`.
    pub touch_exec: Vec<TouchExec>,
    /// `mule`, `mules`.
    #[serde(default)]
    pub mules: Vec<MuleSpec>,
    /// `touch-mules-reload`.
    #[serde(default)]
    pub mule_touch: Vec<PathBuf>,
    /// `mule-msg-size`: how many bytes of messages wait for a mule; 0: what the system gives a socket.
    #[serde(default)]
    pub mule_queue_bytes: u32,
}

impl CompanionSpec {
    /// Whether there is one that runs, or may run at any time, without a request: such an instance is never idle.
    #[must_use]
    pub const fn keeps_awake(&self) -> bool {
        !self.daemons.is_empty() || !self.crons.is_empty() || !self.mules.is_empty()
    }

    /// How many queues there are for messages to mules: one for each, and one for all.
    #[must_use]
    pub const fn queues(&self) -> usize {
        if self.mules.is_empty() { 0 } else { self.mules.len() + 1 }
    }

    /// The files whose change concerns them.
    pub fn touches(&self) -> impl Iterator<Item = &PathBuf> {
        let of_daemons = self.daemons.iter().flat_map(|daemon| &daemon.touch);
        let of_mules = self.mules.iter().flat_map(|mule| &mule.touch);
        of_daemons.chain(of_mules).chain(self.touch_exec.iter().map(|task| &task.file))
    }
}

impl InstanceSpec {
    /// Whether it answers requests: one that listens on nothing and has daemons, timed commands or mules lives for these
    /// alone.
    #[must_use]
    pub const fn serves(&self) -> bool {
        !self.listen.is_empty() || !self.companions.keeps_awake()
    }

    /// Whether it has workers: it needs none where the router gives every request to another server, and nothing was named
    /// that a worker would load or do.
    #[must_use]
    pub fn has_workers(&self) -> bool {
        let AppSpec { load, mounts, imports, shared_imports, .. } = &self.app;
        let loads = load.is_some()
            || [mounts.is_empty(), imports.is_empty(), shared_imports.is_empty()].contains(&false);
        let does = self.hooks.iter().any(|hook| hook.point.is_of_workers());
        let forwards = !self.router.to.is_empty() && self.listen.iter().all(|l| l.protocol.is_of_router());
        self.serves() && (!forwards || loads || does)
    }
}

/// The name by which people know a command: that of its program, without the directory. `cd /srv && npm run dev` is
/// `npm`. What follows the program may hold secrets and is no part of it.
#[must_use]
pub fn name_of(command: &str) -> String {
    const LONGEST: usize = 32;
    let last = command.rsplit(['&', ';', '|']).find(|part| !part.trim().is_empty()).unwrap_or(command);
    // With a pipe or a list, the first program that is not `cd` names it.
    let parts = command.split(['&', ';', '|']).map(str::trim).filter(|part| !part.is_empty());
    let part = parts.into_iter().find(|part| !is_preparation(part)).unwrap_or(last);
    let word = part.split_whitespace().find(|word| !is_prefix(word)).unwrap_or("command");
    let name: String = word
        .rsplit('/')
        .next()
        .unwrap_or(word)
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+'))
        .take(LONGEST)
        .collect();
    if name.is_empty() { "command".to_owned() } else { name }
}

fn is_preparation(part: &str) -> bool {
    let first = part.split_whitespace().next().unwrap_or_default();
    matches!(
        first,
        "cd" | "." | "source" | "export" | "set" | "umask" | "ulimit" | "sleep" | "mkdir" | "test" | "["
    )
}

/// A word before the program: `exec`, `env`, `NAME=value`.
fn is_prefix(word: &str) -> bool {
    matches!(word, "exec" | "env" | "nohup" | "nice" | "sudo") || word.contains('=') || word.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_called_by_its_program() {
        for (command, name) in [
            ("celery -A shop worker", "celery"),
            ("/srv/venv/bin/daphne -u /run/d.sock shop.asgi", "daphne"),
            ("cd /srv/front && npm run dev", "npm"),
            ("exec redis-server --requirepass secret", "redis-server"),
            ("./manage.py rqworker", "manage.py"),
            ("DJANGO=1 env A=b python worker.py", "python"),
            ("tail -f x | logger", "tail"),
            ("cd /srv;", "cd"),
            ("", "command"),
            ("$(evil)\u{7}", "evil"),
            ("PASSWORD=secret", "command"),
        ] {
            assert_eq!(name_of(command), name, "{command}");
        }
    }
}
