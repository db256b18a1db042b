//! Decisions about lives: launched, ready, reloaded, dead.

use super::turn::{DIAGNOSTICS, Turn, clipped};
use crate::config::fingerprint;
use crate::emperor::event::{Effect, News};
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, FileIdentity, OperationKind, State, Vassal};
use crate::emperor::foreign::Foreign;
use crate::emperor::life::{LifeId, Origin};
use crate::trace::escaped;
use crate::wire::PROTOCOL;
use crate::wire::companion::{self, Companion};
use crate::wire::death::Death;
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
            News::Launched { pid, identity, program } => self.launched(id, life, (pid, identity), program),
            News::Opened(identity) => {
                if let Some(vassal) = self.vassal(id) {
                    vassal.identity = identity;
                }
            }
            News::LaunchFailed(failure) => self.launch_failed(id, life, failure),
            News::Said(message) => self.said(id, life, message),
            News::Byte(word) => self.byte(id, life, word),
            News::Disconnected => self.disconnected(id, life),
            News::Halted(halted) => self.halted(id, life, halted),
            News::ForkBomb { evidence, within_ms } => self.fork_bomb(id, life, evidence, within_ms),
            News::Exited { exit, survivors } => self.exited(id, life, exit, survivors),
            News::Emptied => self.emptied(id, life),
            News::Adopted => self.adopted(id, life),
        }
    }

    fn launched(
        &mut self,
        id: &str,
        life: LifeId,
        (pid, identity): (u32, FileIdentity),
        program: Option<String>,
    ) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.identity = identity;
        if program.is_some() {
            // What one of ours had in effect says nothing about another program.
            (vassal.spec, vassal.config, vassal.config_error) = (None, None, None);
            vassal.warnings.clear();
        }
        let by = program.as_ref().map(|program| format!(" by {program}")).unwrap_or_default();
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life) {
            life.pid = Some(pid);
            life.file = Some(identity);
            life.foreign = program.map(Foreign::new);
        }
        self.note(Some(id), EventKind::Launched, format!("launched{by}, pid {pid}"));
    }

    fn launch_failed(&mut self, id: &str, life: LifeId, failure: Failure) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.last_failure = Some(failure.clone());
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life) {
            life.failure = Some(Box::new(failure));
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
                    self.note(Some(id), EventKind::Configured, "a configuration took effect");
                    for warning in self.vassal(id).map(|v| v.warnings.clone()).unwrap_or_default() {
                        self.note(Some(id), EventKind::Said, clipped(warning.to_string()));
                    }
                }
            }
            FromInstance::Output => {}
            FromInstance::Becomes { program } => self.becomes(id, life, &clipped(escaped(&program))),
            FromInstance::Tries { program } => self.tries(id, life, &clipped(escaped(&program))),
            FromInstance::Idle { idle_s } => self.idle(id, life, idle_s),
            FromInstance::Heartbeat => self.lives(id, life),
            FromInstance::Doing(doing) => {
                let known = self.vassal(id).and_then(|v| v.lives_mut().find(|known| known.id == life));
                if let Some(known) = known {
                    known.doing = doing.map(clipped);
                }
            }
            FromInstance::Listeners { .. } | FromInstance::Scoreboard | FromInstance::Caches { .. } => {
                self.adopt(id, life)
            }
            FromInstance::State(state) => self.state(id, life, state),
            FromInstance::Ended { operation, outcome } => self.operation_ended(id, life, operation, outcome),
            FromInstance::Began { operation, reason } => self.began(id, life, operation, reason),
            FromInstance::Event { message } => self.note(Some(id), EventKind::Said, clipped(message)),
            FromInstance::Companion { message } => {
                self.note(Some(id), EventKind::Companion, clipped(message))
            }
            FromInstance::Companions { companions } => self.companions(id, life, companions),
            FromInstance::Shortfall(failure) => {
                let failure = failure.map(|failure| self.failure(id, failure));
                let known = self.vassal(id).and_then(|v| v.lives_mut().find(|known| known.id == life));
                if let Some(known) = known {
                    known.shortfall = failure.map(Box::new);
                }
            }
            FromInstance::Late { after_s } => self.late(id, life, after_s),
            FromInstance::Died(death) => self.worker_died(id, death),
            FromInstance::AppFailed(failure) => {
                let failure = self.failure(id, failure);
                if let Some(vassal) = self.vassal(id).filter(|vassal| vassal.is_current(life)) {
                    vassal.last_failure = Some(failure);
                }
            }
            FromInstance::Failed(failure) => {
                let failure = self.failure(id, failure);
                self.failed(id, life, failure);
            }
        }
    }

    /// What lives beside its workers: a vassal's word, and bounded here.
    fn companions(&mut self, id: &str, life: LifeId, mut companions: Vec<Companion>) {
        companions.truncate(companion::MOST);
        for companion in &mut companions {
            companion.name = clipped(escaped(&companion.name));
            companion.command = clipped(escaped(&companion.command));
            if let Some(exit) = &mut companion.last_exit {
                exit.how = clipped(escaped(&exit.how));
            }
        }
        let Some(vassal) = self.vassal(id) else { return };
        if let Some(life) = vassal.lives_mut().find(|known| known.id == life) {
            life.companions = companions;
        }
    }

    fn worker_died(&mut self, id: &str, mut death: Death) {
        let at_epoch_ms = self.epoch_ms();
        let Some(vassal) = self.vassal(id) else { return };
        death.how = clipped(death.how);
        death.cause = vassal.past.cause_of(&death);
        for last in &mut death.last {
            last.request = clipped(escaped(&last.request));
        }
        let facts = EventKind::WorkerDied.because(death.cause.to_string());
        let message = death.to_string();
        vassal.past.worker_died(death, at_epoch_ms, &vassal.log);
        self.note(Some(id), facts, message);
    }

    fn hello(&mut self, id: &str, life: LifeId, protocol: u32, version: String) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        let first = known.version.replace(clipped(version.clone())).is_none();
        let new = first && known.origin == Origin::Launched;
        // A new child must match; one that re-executed itself, or is adopted, speaks what every version understands.
        if new && protocol != PROTOCOL {
            let ours = env!("CARGO_PKG_VERSION");
            let reason = format!(
                "the instance is liege {} (protocol {protocol}), the emperor {ours} (protocol {PROTOCOL})",
                clipped(version)
            );
            self.warn(Some(id), EventKind::Failed, reason.clone());
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
            life.failure = Some(Box::new(failure.clone()));
        }
        self.note(Some(id), EventKind::Failed, failure.message);
    }

    pub(super) fn state(&mut self, id: &str, life: LifeId, state: InstanceState) {
        let (now, epoch_ms) = (self.now, self.epoch_ms());
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
                    self.tell(Some(id), EventKind::Stopping, "it stops by itself");
                }
                return;
            }
            InstanceState::Ready => known.app = true,
            InstanceState::ReadyWithoutApp => known.app = false,
            InstanceState::Loyal => {
                known.app = true;
                known.loyal = true;
                known.loyal_epoch_ms.get_or_insert(epoch_ms);
            }
        }
        let first = known.ready.is_none();
        known.ready.get_or_insert(now);
        known.doing = None;
        let without = if known.app { "" } else { " without an application: it answers 500" };
        if is_next {
            self.promote(id);
        } else if is_current {
            if first {
                self.tell(Some(id), EventKind::Up, format!("up{without}"));
            }
            self.up(id);
        }
    }

    /// A first generation is not ready in time: a replacement is given up, any other goes on loading.
    fn late(&mut self, id: &str, life: LifeId, after_s: u64) {
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.is_next(life) {
            let operation = vassal.plan.replace.take();
            if let Some(next) = vassal.take_next() {
                self.let_go(id, next);
            }
            if let Some(operation) = operation {
                self.end(operation, Ending::TimedOut);
                self.reloaded(id, operation);
            }
        } else if vassal.is_current(life) && vassal.state == State::Starting {
            let operation = vassal.plan.start.take();
            let text =
                format!("nothing serves after {after_s} s (startup-timeout): the application still loads");
            self.note(Some(id), EventKind::Late, text);
            if let Some(operation) = operation {
                self.end(operation, Ending::TimedOut);
            }
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
        let Some(mut next) = vassal.take_next() else { return };
        vassal.configure(next.configured.take());
        let life = next.id;
        let old = vassal.current.replace(next);
        let operation = vassal.plan.replace.take();
        vassal.plan.moved = false;
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

    pub(super) fn operation_ended(&mut self, id: &str, life: LifeId, theirs: OperationId, outcome: Outcome) {
        let Some(vassal) = self.vassal(id).filter(|vassal| vassal.is_current(life)) else { return };
        let own = vassal.plan.own_reloads.iter().position(|(known, _)| *known == theirs);
        let operation = own.map_or(theirs, |place| vassal.plan.own_reloads.swap_remove(place).1);
        let known = self.fleet.operation(operation);
        let Some(kind) = known.filter(|o| o.vassal.as_deref() == Some(id)).map(|o| o.kind) else { return };
        let ending = match outcome {
            Outcome::NeedsReplace { reason } => match self.replaces_too_often(id, own.is_some()) {
                Some(failure) => Ending::Failed(failure),
                None => return self.start_replacement(id, operation, &clipped(reason)),
            },
            Outcome::Swapped if kind == OperationKind::Upgrade => Ending::Done,
            Outcome::Swapped => Ending::Swapped,
            Outcome::RolledBack(failure) => Ending::RolledBack(self.failure(id, failure)),
            Outcome::Done => Ending::Done,
            Outcome::Refused(failure) => Ending::Failed(self.failure(id, failure)),
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

    /// Why what a vassal began by itself does not get it another instance: that one knows nothing of its pace.
    fn replaces_too_often(&mut self, id: &str, own: bool) -> Option<Failure> {
        let now = self.now;
        let pace = self.vassal(id).filter(|_| own).map(|vassal| &mut vassal.plan.own_replacements)?;
        let wait = pace.free_at().since(now);
        if wait.is_zero() {
            pace.begin(now);
            return None;
        }
        let message = format!("it was replaced too often: not again in the next {:.1} s", wait.as_secs_f64());
        Some(Failure::new(message).with_hint("liege reload does it at once"))
    }

    /// Nothing of this operation is under way any more.
    pub(super) fn reloaded(&mut self, id: &str, operation: OperationId) {
        let Some(vassal) = self.vassal(id) else { return };
        if vassal.state == (State::Reloading { operation }) {
            vassal.state = State::Starting;
            self.up(id);
        }
    }
}

impl Vassal {
    pub(super) fn configure(
        &mut self,
        configured: Option<(
            Box<crate::config::instance::InstanceSpec>,
            Vec<crate::config::diagnostic::Diagnostic>,
        )>,
    ) {
        if let Some((spec, warnings)) = configured {
            self.config = Some(fingerprint::of(&spec));
            self.spec = Some(spec);
            self.warnings = warnings;
            self.config_error = None;
        }
    }
}
