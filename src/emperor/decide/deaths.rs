//! Decisions about deaths: what follows when a master is gone.

use std::time::Duration;

use super::turn::Turn;
use crate::emperor::backoff;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, Exit, ExitKind, OperationKind, Phase, State, Vassal};
use crate::emperor::life::{Leaving, LifeId};
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

impl Turn<'_> {
    pub(super) fn disconnected(&mut self, id: &str, life: LifeId) {
        let now = self.now;
        let longest = self.fleet.mercy();
        if self.fell_silent(id, life) {
            return;
        }
        let Some(vassal) = self.vassal(id) else { return };
        let mercy = vassal.mercy(longest);
        // It is expected of one that leaves, and a death follows for most others.
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life && known.leaving.is_none()) {
            // uWSGI closes it first, and ends its workers then.
            let patience = if life.foreign.is_some() { mercy } else { super::stop::TERMINATED };
            life.leaving = Some(Leaving::Asked(now + patience));
        }
    }

    pub(super) fn exited(&mut self, id: &str, life: LifeId, exit: ExitKind, survivors: bool) {
        let at_epoch_ms = self.epoch_ms();
        let Some(vassal) = self.vassal(id) else { return };
        let is_next = vassal.is_next(life);
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        let exit = if known.fork_bomb_ms.is_some() { ExitKind::ForkBomb } else { exit };
        let exit = Exit { pid: known.pid.unwrap_or(0), at_epoch_ms, how: exit };
        known.reaped = true;
        vassal.past.master_ended(exit.how);
        if !is_next {
            vassal.last_exit = Some(exit);
        }
        self.ended(id, life, survivors);
    }

    /// A master is gone; `survivors`: some of what it started is not.
    pub(super) fn ended(&mut self, id: &str, life: LifeId, survivors: bool) {
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.is_current(life) {
            self.died(id, survivors);
        } else if vassal.is_next(life) {
            self.replacement_died(id, survivors);
        } else if survivors {
            // It was asked to go and had its time: what is left of it goes now.
            self.kill_rest(id, life);
        } else {
            self.emptied(id, life);
        }
    }

    fn died(&mut self, id: &str, survivors: bool) {
        let now = self.now;
        let epoch_ms = self.epoch_ms();
        let stopping = self.fleet.phase == Phase::Stopping;
        let longest = self.fleet.mercy();
        let Some(vassal) = self.vassal(id) else { return };
        let Some(mut life) = vassal.current.take() else { return };
        let fork_bomb = life.fork_bomb_ms.map(Duration::from_millis);
        let (attempts, at_once) =
            backoff::after_failure(vassal.attempts, life.ready, now, fork_bomb.is_some());
        let how = death(vassal, life.failure.as_deref(), life.foreign.is_some());
        // A failure was told when it came; the log says only what follows.
        let told = life.pid.is_some();
        let end =
            if told { death(vassal, None, life.foreign.is_some()).message } else { how.message.clone() };
        let mistaken = life.file.filter(|_| life.has_mistakes());
        // What ran dies with it; what waited is done by the next life, which reads the newest file.
        let waiting = vassal.plan.reload.take();
        let reexec = vassal.plan.reexec.take();
        vassal.plan.own_reloads.clear();
        vassal.plan.loads_no_more();
        vassal.lose_sight();
        let replace = vassal.plan.replace;
        let mercy = vassal.mercy(longest);
        life.leaving = Some(match fork_bomb {
            // None of it works on a request.
            Some(_) => Leaving::Killed(now + super::stop::KILLED),
            None => Leaving::Orphaned(now + mercy),
        });
        let (number, started) = (life.id, life.pid.is_some());
        if survivors && let Some(vassal) = self.vassal(id) {
            vassal.leaving.push(life);
        } else {
            self.out.push(Effect::Release { life: number });
        }
        let running: Vec<OperationId> = self
            .fleet
            .operations
            .iter()
            .filter(|o| {
                o.vassal.as_deref() == Some(id) && o.ending.is_none() && o.kind != OperationKind::Stop
            })
            .map(|o| o.id)
            .filter(|o| Some(*o) != waiting && Some(*o) != replace)
            .collect();
        for operation in running {
            let ending = if Some(operation) == reexec { Ending::Done } else { Ending::Failed(how.clone()) };
            self.end(operation, ending);
        }
        let Some(vassal) = self.vassal(id) else { return };
        vassal.plan.start = waiting;
        if let Some(mut next) = vassal.take_next() {
            // The replacement is on its way already.
            vassal.configure(next.configured.take());
            let life = next.id;
            vassal.current = Some(next);
            vassal.plan.moved = false;
            vassal.state = State::Starting;
            vassal.plan.loads_since(now);
            vassal.plan.start = vassal.plan.replace.take().or(waiting);
            self.warn(
                Some(id),
                EventKind::Died.because(end.clone()),
                format!("{end}; its replacement takes over when it is ready"),
            );
            self.out.push(Effect::Adopt { vassal: id.to_owned(), life });
            return;
        }
        if vassal.plan.removed || vassal.plan.stopped || stopping {
            vassal.state = State::Stopping;
            return self.gone(id);
        }
        if let Some(file) = mistaken {
            if file == vassal.identity && waiting.is_none() {
                vassal.state = State::Broken;
                return self.warn(
                    Some(id),
                    EventKind::Failed.because(end.clone()),
                    format!("{end}; it waits for a change of its file"),
                );
            }
            // What it read is not what is there now.
            return self.queue(id);
        }
        vassal.attempts = attempts;
        let since = if attempts > 1 { vassal.failing_since_epoch_ms } else { None };
        vassal.failing_since_epoch_ms = since.or(Some(epoch_ms));
        vassal.restarts += u64::from(started);
        if at_once {
            vassal.plan.urgent = true;
            self.warn(Some(id), EventKind::Died.because(end.clone()), format!("{end}; restarted at once"));
            return self.queue(id);
        }
        let rules = self.fleet.rules;
        let delay = rules.back_off.delay(attempts, mixed(rules.seed ^ number));
        let delay = fork_bomb.map_or(delay, |known_after| rules.back_off.after_fork_bomb(delay, known_after));
        let Some(vassal) = self.vassal(id) else { return };
        vassal.state = State::Resting { until: now + delay, attempts };
        vassal.rested_for_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let seconds = delay.as_secs_f64();
        self.warn(
            Some(id),
            EventKind::Died.because(end.clone()),
            format!("{end}; failure {attempts} in a row, tried again in {seconds:.1} s"),
        );
    }

    fn replacement_died(&mut self, id: &str, survivors: bool) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(mut next) = vassal.take_next() else { return };
        let operation = vassal.plan.replace.take();
        let failure = next
            .failure
            .take()
            .map_or_else(|| Failure::new("the replacement ended before it was ready"), |failure| *failure);
        let life = next.id;
        vassal.leaving.push(next);
        if survivors {
            self.kill_rest(id, life);
        } else {
            self.emptied(id, life);
        }
        if let Some(operation) = operation {
            self.end(operation, Ending::RolledBack(failure));
            self.reloaded(id, operation);
        }
    }

    fn kill_rest(&mut self, id: &str, life: LifeId) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        let Some(known) = vassal.leaving.iter_mut().find(|known| known.id == life) else { return };
        known.leaving = Some(Leaving::Killed(now + super::stop::KILLED));
        self.out.push(Effect::Kill { life });
    }

    pub(super) fn emptied(&mut self, id: &str, life: LifeId) {
        let Some(vassal) = self.vassal(id) else { return };
        let before = vassal.leaving.len();
        vassal.leaving.retain(|known| known.id != life);
        if vassal.leaving.len() < before {
            self.out.push(Effect::Release { life });
            self.gone(id);
        }
    }
}

/// How the current life ended, as a failure.
fn death(vassal: &Vassal, failure: Option<&Failure>, foreign: bool) -> Failure {
    match (failure, &vassal.last_exit) {
        (Some(failure), _) => failure.clone(),
        (None, Some(exit)) => {
            let meant = if foreign { meant_by(exit.how) } else { "" };
            Failure::new(format!("its master ended: {}{meant}", exit.how))
        }
        (None, None) => Failure::new("its master ended"),
    }
}

/// What uWSGI means by an exit status.
const fn meant_by(how: ExitKind) -> &'static str {
    match how {
        ExitKind::Status(1) => " (uWSGI: a mistake in its configuration, or it was left alone)",
        ExitKind::Status(22) => " (uWSGI: no application could be loaded)",
        ExitKind::Status(26) => " (its program could not be executed)",
        _ => "",
    }
}

/// A number made of another, with all bits stirred (splitmix64).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
