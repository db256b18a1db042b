//! How the companions stand, for people.

use super::{Companion, Companions, Standing, Task};
use crate::wire::companion::{self, Kind, State};

impl Companions {
    /// How each stands.
    #[must_use]
    pub fn told(&self) -> Vec<companion::Companion> {
        self.all.iter().take(companion::MOST).map(Companion::told).collect()
    }
}

impl Companion {
    fn told(&self) -> companion::Companion {
        let run = self.runs.last();
        let (state, pid, next_epoch_s) = match (run, self.standing) {
            (Some(run), _) if run.asked => (State::Stopping, run.pid, None),
            (Some(run), _) => {
                let state = if run.pid.is_some() { State::Running } else { State::Starting };
                (state, run.pid, self.next)
            }
            (None, Standing::Stranger(pid)) => (State::Running, Some(pid), None),
            (None, Standing::Resting(rest) | Standing::Looking(rest)) if rest.back_off => {
                (State::Resting, None, Some(rest.epoch_s))
            }
            (None, Standing::Resting(_) | Standing::Looking(_)) => (State::Starting, None, None),
            (None, Standing::Settled) => (State::Waiting, None, self.next),
        };
        companion::Companion {
            kind: match &self.task {
                Task::Daemon(daemon) if daemon.control => Kind::ControlDaemon,
                Task::Daemon(daemon) if daemon.outlives_reloads() => Kind::SmartDaemon,
                Task::Daemon(_) => Kind::Daemon,
                Task::Cron(_) => Kind::Cron,
                Task::Touch(_) => Kind::TouchExec,
                Task::Mule(_) => Kind::Mule,
            },
            name: self.name.clone(),
            command: self.task.command().to_owned(),
            state,
            pid,
            since_epoch_s: run.map(|run| run.since_epoch_s),
            starts: self.starts,
            failures: self.failures,
            last_exit: self.last.clone(),
            next_epoch_s,
        }
    }
}
