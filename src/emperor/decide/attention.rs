//! Decisions about what operators ask of running instances besides reloads and stops: restarts, workers, log levels.

use super::requests::conflict;
use std::sync::Arc;

use super::turn::Turn;
use crate::config::log_level::LogLevel;
use crate::emperor::event::Effect;
use crate::emperor::fleet::{Ending, OperationKind, State};
use crate::emperor::handle::{Refusal, RunningRequest};
use crate::emperor::life::LifeId;
use crate::stats::scoreboard::{CoreField, Field};
use crate::stats::shown::Shown;
use crate::sys::process::Signal;
use crate::wire::failure::Failure;
use crate::wire::message::{OperationId, ToInstance};

impl Turn<'_> {
    pub(super) fn ask_restart(&mut self, who: &str, id: &str) -> Result<OperationId, Refusal> {
        match self.known(id)? {
            State::Starting | State::Up { .. } | State::Reloading { .. } => {
                let operation = self.begin(OperationKind::Restart, Some(id), None, who);
                self.start_replacement(id, operation, "restart");
                Ok(operation)
            }
            State::Waiting | State::Resting { .. } | State::Broken => {
                let operation = self.begin(OperationKind::Restart, Some(id), None, who);
                self.start_for(id, operation);
                Ok(operation)
            }
            State::Stopping => Err(conflict(id, "is being stopped")),
            State::Asleep => Err(conflict(id, "is asleep: nothing runs that could be replaced")),
            State::Stopped => Err(conflict(id, "is stopped: start it")),
            State::Adopting => Err(conflict(id, "is being adopted: wait until it answers")),
        }
    }

    pub(super) fn ask_scale(&mut self, who: &str, id: &str, workers: u32) -> Result<OperationId, Refusal> {
        let life = self.serving(id)?;
        let operation = self.begin(OperationKind::Scale, Some(id), None, who);
        let message = ToInstance::Scale { operation, workers };
        self.out.push(Effect::Send { life, message, file_of: None });
        self.end_if_halted(id, operation);
        Ok(operation)
    }

    pub(super) fn ask_log_level(
        &mut self,
        who: &str,
        id: Option<&str>,
        level: LogLevel,
    ) -> Result<OperationId, Refusal> {
        let effect = match id {
            None => Effect::LogLevel(level),
            Some(id) => {
                let life = self.serving(id)?;
                Effect::Send { life, message: ToInstance::LogLevel(level), file_of: None }
            }
        };
        let operation = self.begin(OperationKind::LogLevel, id, None, who);
        self.out.push(effect);
        self.end(operation, Ending::Done);
        Ok(operation)
    }

    pub(super) fn ask_stacks(&mut self, who: &str, id: &str, pid: u32) -> Result<OperationId, Refusal> {
        let shown = self.shown(id)?;
        if shown.boards.slots().all(|slot| slot.get(Field::Pid) != u64::from(pid)) {
            return Err(conflict(id, &format!("has no worker {pid}")));
        }
        self.attend(who, id, pid, OperationKind::Stacks)
    }

    pub(super) fn ask_kill(
        &mut self,
        who: &str,
        id: &str,
        request: RunningRequest,
    ) -> Result<OperationId, Refusal> {
        let shown = self.shown(id)?;
        let runs = shown
            .boards
            .slots()
            .filter(|slot| slot.get(Field::Pid) == u64::from(request.pid))
            .filter_map(|slot| slot.core(request.core))
            .any(|core| {
                core.get(CoreField::InRequest) == 1 && core.get(CoreField::StartedUs) == request.started_us
            });
        if !runs {
            return Err(conflict(id, "does not run this request any more"));
        }
        self.attend(who, id, request.pid, OperationKind::KillRequest)
    }

    /// A signal for a worker. What the scoreboard says of pids is a vassal's word: who does it looks once more.
    fn attend(&mut self, who: &str, id: &str, pid: u32, kind: OperationKind) -> Result<OperationId, Refusal> {
        let master = self.vassal(id).and_then(|vassal| vassal.pid());
        let Some(master) = master.filter(|master| *master != pid) else {
            return Err(conflict(id, "has no instance"));
        };
        let operation = self.begin(kind, Some(id), None, who);
        let last = self.vassal(id).and_then(|vassal| vassal.log.back()).map_or(0, |line| line.number);
        if let Some(begun) = self.fleet.operations.back_mut() {
            begun.log_after = Some(last);
        }
        let signal = if kind == OperationKind::KillRequest { Signal::Kill } else { Signal::Usr2 };
        if let Some(vassal) = self.vassal(id).filter(|_| kind == OperationKind::KillRequest) {
            vassal.past.condemn(pid);
        }
        self.out.push(Effect::Attend { operation, master, pid, signal });
        Ok(operation)
    }

    pub(super) fn attended(&mut self, operation: OperationId, done: Result<(), Failure>) {
        let known = self.fleet.operation(operation).filter(|known| known.kind == OperationKind::KillRequest);
        let vassal = known.filter(|_| done.is_err()).and_then(|known| known.vassal.clone());
        if let Some(vassal) = vassal.and_then(|id| self.vassal(&id)) {
            vassal.past.spare_the_last();
        }
        self.end(operation, done.map_or_else(Ending::Failed, |()| Ending::Done));
    }

    fn serving(&mut self, id: &str) -> Result<LifeId, Refusal> {
        let state = self.ours(id)?;
        let life = self.vassal(id).and_then(|vassal| vassal.current.as_ref()).map(|life| life.id);
        match (state, life) {
            (State::Up { .. } | State::Reloading { .. }, Some(life)) => Ok(life),
            _ => Err(conflict(id, "does not serve")),
        }
    }

    /// The state of a vassal that no other program runs.
    fn ours(&mut self, id: &str) -> Result<State, Refusal> {
        let state = self.known(id)?;
        match self.vassal(id).and_then(|vassal| vassal.foreign_program()) {
            Some(program) => Err(conflict(id, &format!("is run by {program}, which takes no such order"))),
            None => Ok(state),
        }
    }

    fn shown(&mut self, id: &str) -> Result<Arc<Shown>, Refusal> {
        self.ours(id)?;
        let shown = self.vassal(id).and_then(|vassal| vassal.shown.clone());
        shown.ok_or_else(|| conflict(id, "has no instance"))
    }
}
