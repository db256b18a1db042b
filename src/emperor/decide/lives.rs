//! Decisions about lives: launched, ready, reloaded, dead.

use super::turn::{DIAGNOSTICS, Turn, bounded, clipped};
use crate::emperor::backoff;
use crate::emperor::event::{Effect, News};
use crate::emperor::fleet::{Ending, Exit, ExitKind, FileIdentity, OperationKind, Phase, State, Vassal};
use crate::emperor::life::{Leaving, LifeId};
use crate::wire::PROTOCOL;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, InstanceState, OperationId, Outcome};

/// How many reloads that it began by itself an instance may have at the same time.
const OWN_RELOADS: usize = 8;

impl Turn<'_> {
    pub(super) fn news(&mut self, id: &str, life: LifeId, news: News) {
        if !self.vassal(id).is_some_and(|vassal| vassal.lives().any(|known| known.id == life)) {
            return;
        }
        match news {
            News::Launched { pid, identity } => self.launched(id, life, pid, identity),
            News::Opened(identity) => {
                if let Some(vassal) = self.vassal(id) {
                    vassal.identity = identity;
                }
            }
            News::LaunchFailed(failure) => self.launch_failed(id, life, failure),
            News::Said(message) => self.said(id, life, message),
            News::Disconnected => self.disconnected(id, life),
            News::Exited { exit, survivors } => self.exited(id, life, exit, survivors),
            News::Emptied => self.emptied(id, life),
        }
    }

    fn launched(&mut self, id: &str, life: LifeId, pid: u32, identity: FileIdentity) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.identity = identity;
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life) {
            life.pid = Some(pid);
        }
    }

    fn launch_failed(&mut self, id: &str, life: LifeId, failure: Failure) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.last_failure = Some(failure.clone());
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life) {
            life.failure = Some(failure);
        }
        self.ended(id, life, false);
    }

    fn said(&mut self, id: &str, life: LifeId, message: FromInstance) {
        match message {
            FromInstance::Hello { protocol, version, .. } => self.hello(id, life, protocol, version),
            FromInstance::Configured { spec, mut warnings } => {
                warnings.truncate(DIAGNOSTICS);
                let Some(vassal) = self.vassal(id) else { return };
                if let Some(next) = vassal.next.as_mut().filter(|next| next.id == life) {
                    next.configured = Some((spec, warnings));
                } else if vassal.is_current(life) {
                    vassal.configure(Some((spec, warnings)));
                    for warning in self.vassal(id).map(|v| v.warnings.clone()).unwrap_or_default() {
                        self.warn(Some(id), clipped(warning.to_string()));
                    }
                }
            }
            FromInstance::Listeners { .. } | FromInstance::Scoreboard => self.adopt(id, life),
            FromInstance::State(state) => self.state(id, life, state),
            FromInstance::Ended { operation, outcome } => self.operation_ended(id, life, operation, outcome),
            FromInstance::Began { operation, reason } => self.began(id, life, operation, reason),
            FromInstance::Event { message } => self.tell(Some(id), clipped(message)),
            FromInstance::Failed(failure) => self.failed(id, life, bounded(failure)),
        }
    }

    fn hello(&mut self, id: &str, life: LifeId, protocol: u32, version: String) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        let new = known.version.replace(clipped(version.clone())).is_none();
        // A new child must match; one that re-executed itself speaks what every version understands.
        if new && protocol != PROTOCOL {
            let ours = env!("CARGO_PKG_VERSION");
            let reason = format!(
                "the instance is liege {} (protocol {protocol}), the emperor {ours} (protocol {PROTOCOL})",
                clipped(version)
            );
            self.failed(id, life, Failure::new(reason).with_hint("upgrade the emperor: liege upgrade"));
            self.out.push(Effect::Kill { life });
        }
        self.adopt(id, life);
    }

    fn adopt(&mut self, id: &str, life: LifeId) {
        if self.vassal(id).is_some_and(|vassal| vassal.is_current(life)) {
            self.out.push(Effect::Adopt { vassal: id.to_owned(), life });
        }
    }

    fn failed(&mut self, id: &str, life: LifeId, failure: Failure) {
        let Some(vassal) = self.vassal(id) else { return };
        if !failure.diagnostics.is_empty() {
            vassal.config_error = Some(failure.clone());
        }
        vassal.last_failure = Some(failure.clone());
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life) {
            life.failure = Some(failure.clone());
        }
        self.warn(Some(id), failure.to_string());
    }

    fn state(&mut self, id: &str, life: LifeId, state: InstanceState) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        let (is_current, is_next) = (vassal.is_current(life), vassal.is_next(life));
        let Some(known) = vassal.lives_mut().find(|known| known.id == life && known.leaving.is_none()) else {
            return;
        };
        match state {
            InstanceState::Starting => return,
            InstanceState::Stopping => {
                if is_current {
                    vassal.state = State::Stopping;
                    self.tell(Some(id), "it stops by itself");
                }
                return;
            }
            InstanceState::Ready => known.app = true,
            InstanceState::ReadyWithoutApp => known.app = false,
            InstanceState::Loyal => {
                known.app = true;
                known.loyal = true;
            }
        }
        let first = known.ready.is_none();
        known.ready.get_or_insert(now);
        let without = if known.app { "" } else { " without an application: it answers 500" };
        if is_next {
            self.promote(id);
        } else if is_current {
            if first {
                self.tell(Some(id), format!("up{without}"));
            }
            self.up(id);
        }
    }

    /// Shows a vassal that serves as it is, unless it is reloading.
    fn up(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(life) = vassal.current.as_ref().filter(|life| life.ready.is_some()) else { return };
        if !matches!(vassal.state, State::Starting | State::Up { .. }) {
            return;
        }
        vassal.state = State::Up { app: life.app, loyal: life.loyal };
        vassal.plan.loads_no_more();
        let start = vassal.plan.start.take();
        if let Some(operation) = start {
            let kind = self.fleet.operation(operation).map(|operation| operation.kind);
            let ending = if kind == Some(OperationKind::Reload) { Ending::Swapped } else { Ending::Done };
            self.end(operation, ending);
        }
    }

    /// The replacement is ready: it is the instance now, and the other one drains.
    fn promote(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(mut next) = vassal.next.take() else { return };
        vassal.configure(next.configured.take());
        let life = next.id;
        let old = vassal.current.replace(next);
        let operation = vassal.plan.replace.take();
        vassal.state = State::Starting;
        vassal.reloads += 1;
        self.out.push(Effect::Adopt { vassal: id.to_owned(), life });
        if let Some(old) = old {
            self.let_go(id, old);
        }
        if let Some(operation) = operation {
            self.end(operation, Ending::Swapped);
        }
        self.up(id);
    }

    fn began(&mut self, id: &str, life: LifeId, theirs: OperationId, reason: String) {
        let Some(vassal) = self.vassal(id).filter(|vassal| vassal.is_current(life)) else { return };
        if vassal.plan.own_reloads.len() >= OWN_RELOADS {
            return;
        }
        let operation = self.begin(OperationKind::Reload, Some(id), None, &clipped(reason));
        let Some(vassal) = self.vassal(id) else { return };
        vassal.plan.own_reloads.push((theirs, operation));
        if vassal.serves() {
            vassal.state = State::Reloading { operation };
        }
    }

    fn operation_ended(&mut self, id: &str, life: LifeId, theirs: OperationId, outcome: Outcome) {
        let Some(vassal) = self.vassal(id).filter(|vassal| vassal.is_current(life)) else { return };
        let own = vassal.plan.own_reloads.iter().position(|(known, _)| *known == theirs);
        let operation = own.map_or(theirs, |place| vassal.plan.own_reloads.swap_remove(place).1);
        let known = self.fleet.operation(operation);
        let Some(kind) = known.filter(|o| o.vassal.as_deref() == Some(id)).map(|o| o.kind) else { return };
        let ending = match outcome {
            Outcome::NeedsReplace { reason } => {
                return self.start_replacement(id, operation, &clipped(reason));
            }
            Outcome::Swapped if kind == OperationKind::Upgrade => Ending::Done,
            Outcome::Swapped => Ending::Swapped,
            Outcome::RolledBack(failure) => Ending::RolledBack(bounded(failure)),
            Outcome::TimedOut => Ending::TimedOut,
            Outcome::Superseded => Ending::Superseded,
        };
        if let Some(vassal) = self.vassal(id) {
            match &ending {
                Ending::Swapped => vassal.reloads += 1,
                Ending::RolledBack(failure) => {
                    vassal.last_failure = Some(failure.clone());
                    if !failure.diagnostics.is_empty() {
                        vassal.config_error = Some(failure.clone());
                    }
                }
                _ => {}
            }
        }
        self.end(operation, ending);
        self.reloaded(id, operation);
    }

    /// Nothing of this operation is under way any more.
    fn reloaded(&mut self, id: &str, operation: OperationId) {
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.state == (State::Reloading { operation }) {
            vassal.state = State::Starting;
            self.up(id);
        }
    }

    fn disconnected(&mut self, id: &str, life: LifeId) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        // It is expected of one that leaves, and a death follows for most others.
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life && known.leaving.is_none()) {
            life.leaving = Some(Leaving::Asked(now + super::stop::TERMINATED));
        }
    }

    fn exited(&mut self, id: &str, life: LifeId, exit: ExitKind, survivors: bool) {
        let at_epoch_ms = self.epoch_ms();
        let Some(vassal) = self.vassal(id) else { return };
        let is_next = vassal.is_next(life);
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        let exit = Exit { pid: known.pid.unwrap_or(0), at_epoch_ms, how: exit };
        known.reaped = true;
        if !is_next {
            vassal.last_exit = Some(exit);
        }
        self.ended(id, life, survivors);
    }

    /// A master is gone; `survivors`: some of what it started is not.
    fn ended(&mut self, id: &str, life: LifeId, survivors: bool) {
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
        let stopping = self.fleet.phase == Phase::Stopping;
        let longest = self.fleet.rules.mercy;
        let Some(vassal) = self.vassal(id) else { return };
        let Some(mut life) = vassal.current.take() else { return };
        let (attempts, at_once) = backoff::after_failure(vassal.attempts, life.ready, now);
        let how = death(vassal, life.failure.as_ref());
        // What ran dies with it; what waited is done by the next life, which reads the newest file.
        let waiting = vassal.plan.reload.take();
        let reexec = vassal.plan.reexec.take();
        vassal.plan.own_reloads.clear();
        vassal.plan.loads_no_more();
        vassal.scoreboard = None;
        let replace = vassal.plan.replace;
        let mercy = vassal.mercy(longest);
        life.leaving = Some(Leaving::Orphaned(now + mercy));
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
        if let Some(mut next) = vassal.next.take() {
            // The replacement is on its way already.
            vassal.configure(next.configured.take());
            let life = next.id;
            vassal.current = Some(next);
            vassal.state = State::Starting;
            vassal.plan.loads_since(now);
            vassal.plan.start = vassal.plan.replace.take().or(waiting);
            self.warn(Some(id), format!("{how}; its replacement takes over when it is ready"));
            self.out.push(Effect::Adopt { vassal: id.to_owned(), life });
            return;
        }
        if vassal.plan.removed || vassal.plan.stopped || stopping {
            vassal.state = State::Stopping;
            return self.gone(id);
        }
        vassal.attempts = attempts;
        vassal.restarts += u64::from(started);
        if at_once {
            vassal.plan.urgent = true;
            self.warn(Some(id), format!("{how}; restarted at once"));
            return self.queue(id);
        }
        let rules = self.fleet.rules;
        let delay = rules.back_off.delay(attempts, mixed(rules.seed ^ number));
        let Some(vassal) = self.vassal(id) else { return };
        vassal.state = State::Resting { until: now + delay, attempts };
        let seconds = delay.as_secs_f64();
        self.warn(Some(id), format!("{how}; failure {attempts} in a row, tried again in {seconds:.1} s"));
    }

    fn replacement_died(&mut self, id: &str, survivors: bool) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(mut next) = vassal.next.take() else { return };
        let operation = vassal.plan.replace.take();
        let failure =
            next.failure.take().unwrap_or_else(|| Failure::new("the replacement ended before it was ready"));
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

    fn emptied(&mut self, id: &str, life: LifeId) {
        let Some(vassal) = self.vassal(id) else { return };
        let before = vassal.leaving.len();
        vassal.leaving.retain(|known| known.id != life);
        if vassal.leaving.len() < before {
            self.out.push(Effect::Release { life });
            self.gone(id);
        }
    }
}

impl Vassal {
    fn configure(
        &mut self,
        configured: Option<(
            Box<crate::config::instance::InstanceSpec>,
            Vec<crate::config::diagnostic::Diagnostic>,
        )>,
    ) {
        if let Some((spec, warnings)) = configured {
            self.spec = Some(spec);
            self.warnings = warnings;
            self.config_error = None;
        }
    }
}

/// How the current life ended, as a failure.
fn death(vassal: &Vassal, failure: Option<&Failure>) -> Failure {
    match (failure, &vassal.last_exit) {
        (Some(failure), _) => failure.clone(),
        (None, Some(exit)) => Failure::new(format!("its master ended: {}", exit.how)),
        (None, None) => Failure::new("its master ended"),
    }
}

/// A number made of another, with all bits stirred (splitmix64).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
