//! The command that runs after an instance of a vassal has ended: beside the loop, a bounded number at a time, and each
//! for a bounded time.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::life::LifeId;
use crate::sys::process::{Child, Exit, Launch};
use crate::tick::Tick;

/// How many run at the same time.
const AT_ONCE: usize = 8;
/// How many wait for their turn; what is beyond is not run, and told of.
const WAITING: usize = 4096;
/// How long each may run before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The command, and where it is being run.
#[derive(Debug, Default)]
pub struct Hooks {
    command: Vec<String>,
    running: Vec<Running>,
    waiting: VecDeque<Ended>,
    /// Where the vassals of the lives are that this image launched.
    directories: BTreeMap<LifeId, PathBuf>,
}

/// An instance that ended.
#[derive(Debug)]
struct Ended {
    vassal: String,
    directory: PathBuf,
}

#[derive(Debug)]
struct Running {
    vassal: String,
    child: Child,
    until: Tick,
}

impl Hooks {
    /// Runs this command (words, no shell) with the vassal's id as its last argument.
    #[must_use]
    pub fn new(command: Option<&str>) -> Self {
        let command = command.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Self { command, ..Self::default() }
    }

    /// A life began, of a vassal in this directory.
    pub fn began(&mut self, life: LifeId, directory: &Path) {
        if !self.command.is_empty() {
            self.directories.insert(life, directory.to_owned());
        }
    }

    /// An instance of this vassal has ended.
    pub fn ended(&mut self, life: LifeId, vassal: &str, now: Tick) {
        if self.command.is_empty() {
            return;
        }
        let directory = self.directories.remove(&life).unwrap_or_default();
        if self.waiting.len() >= WAITING {
            tracing::warn!(vassal, "its stop hook is not run: {WAITING} others wait");
            return;
        }
        self.waiting.push_back(Ended { vassal: vassal.to_owned(), directory });
        self.go_on(now);
    }

    /// A child ended; whether it was one of these.
    pub fn reaped(&mut self, pid: u32, exit: &Exit, now: Tick) -> bool {
        let Some(place) = self.running.iter().position(|running| running.child.pid() == pid) else {
            return false;
        };
        let ended = self.running.swap_remove(place);
        if !exit.is_success() {
            tracing::warn!(vassal = ended.vassal, "its stop hook failed: {exit}");
        }
        self.go_on(now);
        true
    }

    /// When patience with one of them ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.running.iter().map(|running| running.until).min()
    }

    /// Kills those that run for too long.
    pub fn catch_up(&mut self, now: Tick) {
        for running in self.running.iter_mut().filter(|running| running.until <= now) {
            tracing::warn!(
                vassal = running.vassal,
                "its stop hook runs for {} s: SIGKILL",
                PATIENCE.as_secs()
            );
            let _ = running.child.kill_group();
            running.until = now + PATIENCE;
        }
    }

    /// Whether none runs or waits.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    fn go_on(&mut self, now: Tick) {
        let Some((program, arguments)) = self.command.split_first() else { return };
        while self.running.len() < AT_ONCE {
            let Some(Ended { vassal, directory }) = self.waiting.pop_front() else { return };
            let mut launch = Launch::new(program).own_group().env("UWSGI_VASSALS_DIR", directory);
            for argument in arguments.iter().chain([&vassal]) {
                launch = launch.arg(argument);
            }
            match launch.unset_env("NOTIFY_SOCKET").spawn() {
                Ok(child) => self.running.push(Running { vassal, child, until: now + PATIENCE }),
                Err(error) => tracing::warn!(vassal, "its stop hook {program} cannot be started: {error}"),
            }
        }
    }
}
