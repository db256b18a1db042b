//! Decisions about requests: of operators through the API, and of signals.

use super::turn::Turn;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, Fleet, OperationKind, Phase, State};
use crate::emperor::handle::{Refusal, Request};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

/// Takes in a request; answers the operation that began, or why none did.
///
/// # Errors
/// The refusal.
pub fn request(
    fleet: &mut Fleet,
    who: &str,
    request: Request,
    now: Tick,
    out: &mut Vec<Effect>,
) -> Result<OperationId, Refusal> {
    let mut turn = Turn { fleet, now, out };
    turn.tell(None, EventKind::Asked.because(who), format!("{who} asks: {request}"));
    let answer = turn.answer(who, request);
    if let Err(refusal) = &answer {
        turn.tell(None, EventKind::Refused.because(who), format!("refused to {who}: {refusal}"));
    }
    turn.settle_accounts();
    answer
}

/// `SIGHUP`: re-execute the emperor, then reload every vassal.
pub fn hang_up(fleet: &mut Fleet, now: Tick, out: &mut Vec<Effect>) {
    let mut turn = Turn { fleet, now, out };
    if turn.fleet.phase != Phase::Stopping {
        turn.reload_host("SIGHUP");
    }
}

impl Turn<'_> {
    fn answer(&mut self, who: &str, request: Request) -> Result<OperationId, Refusal> {
        if self.fleet.phase == Phase::Stopping {
            return Err(Refusal::Stopping);
        }
        match request {
            Request::Reload { vassal } => self.ask_reload(who, &vassal),
            Request::Stop { vassal } => self.ask_stop(who, &vassal),
            Request::Start { vassal } => self.ask_start(who, &vassal),
            Request::Sleep { vassal } => {
                let state = self.known(&vassal)?;
                self.ask_sleep(who, &vassal, state)
            }
            Request::Wake { vassal } => {
                let state = self.known(&vassal)?;
                self.ask_wake(who, &vassal, state)
            }
            Request::ClearBackOff { vassal } => self.clear_back_off(who, vassal.as_deref()),
            Request::Restart { vassal } => self.ask_restart(who, &vassal),
            Request::Scale { vassal, workers } => self.ask_scale(who, &vassal, workers),
            Request::LogLevel { vassal, level } => self.ask_log_level(who, vassal.as_deref(), level),
            Request::Stacks { vassal, pid } => self.ask_stacks(who, &vassal, pid),
            Request::KillRequest { vassal, request } => self.ask_kill(who, &vassal, request),
            Request::ReloadAll => {
                let operation = self.begin(OperationKind::Reload, None, None, who);
                self.reload_all(operation);
                Ok(operation)
            }
            Request::ReloadHost => Ok(self.reload_host(who)),
            Request::Upgrade => {
                let operation = self.begin(OperationKind::Upgrade, None, None, who);
                self.out.push(Effect::Reexec(operation));
                Ok(operation)
            }
            Request::Written { vassal } => self.ask_take_over(who, &vassal),
            Request::Rescan => {
                let operation = self.begin(OperationKind::Rescan, None, None, who);
                self.out.push(Effect::Rescan);
                self.end(operation, Ending::Done);
                Ok(operation)
            }
        }
    }

    fn reload_host(&mut self, who: &str) -> OperationId {
        let operation = self.begin(OperationKind::Reload, None, None, who);
        self.out.push(Effect::Reexec(operation));
        operation
    }

    fn ask_reload(&mut self, who: &str, id: &str) -> Result<OperationId, Refusal> {
        match self.known(id)? {
            State::Starting | State::Up { .. } | State::Reloading { .. } | State::Adopting => {
                let operation = self.begin(OperationKind::Reload, Some(id), None, who);
                if let Some(vassal) = self.vassal(id) {
                    vassal.attempts = 0;
                }
                self.want_reload(id, operation);
                Ok(operation)
            }
            State::Waiting | State::Resting { .. } | State::Broken => {
                let operation = self.begin(OperationKind::Reload, Some(id), None, who);
                self.start_for(id, operation);
                Ok(operation)
            }
            State::Stopping => Err(conflict(id, "is being stopped")),
            State::Asleep => Err(conflict(id, "is asleep: it reads its file when it wakes")),
            State::Stopped => Err(conflict(id, "is stopped: start it")),
        }
    }

    /// A vassal that does not run reads its file when it does.
    fn ask_take_over(&mut self, who: &str, id: &str) -> Result<OperationId, Refusal> {
        match self.known(id)? {
            State::Stopping | State::Asleep | State::Stopped => {
                let operation = self.begin(OperationKind::Reload, Some(id), None, who);
                self.end(operation, Ending::Done);
                Ok(operation)
            }
            _ => self.ask_reload(who, id),
        }
    }

    fn ask_stop(&mut self, who: &str, id: &str) -> Result<OperationId, Refusal> {
        let state = self.known(id)?;
        if self.vassal(id).is_some_and(|vassal| vassal.plan.stopped) {
            let already =
                if state == State::Stopped { "is stopped already" } else { "is being stopped already" };
            return Err(conflict(id, already));
        }
        let operation = self.begin(OperationKind::Stop, Some(id), None, who);
        if let Some(vassal) = self.vassal(id) {
            vassal.plan.stopped = true;
            vassal.plan.by_itself = false;
            vassal.plan.stop = Some(operation);
        }
        self.stop(id);
        Ok(operation)
    }

    fn ask_start(&mut self, who: &str, id: &str) -> Result<OperationId, Refusal> {
        match self.known(id)? {
            State::Stopping if !self.vassal(id).is_some_and(|vassal| vassal.plan.stopped) => {
                Err(conflict(id, "stops by itself, and is started again then"))
            }
            State::Stopped | State::Resting { .. } | State::Broken | State::Stopping => {
                let operation = self.begin(OperationKind::Start, Some(id), None, who);
                self.start_for(id, operation);
                Ok(operation)
            }
            State::Asleep => self.ask_wake(who, id, State::Asleep),
            State::Waiting | State::Starting => Err(conflict(id, "is being started already")),
            State::Up { .. } | State::Reloading { .. } | State::Adopting => Err(conflict(id, "runs already")),
        }
    }

    fn clear_back_off(&mut self, who: &str, id: Option<&str>) -> Result<OperationId, Refusal> {
        if let Some(id) = id
            && self.known(id)? == State::Broken
        {
            return Err(conflict(
                id,
                "does not wait: its file is broken; mend it, or start it to try it as it is",
            ));
        }
        let operation = self.begin(OperationKind::ClearBackOff, id, None, who);
        let ids: Vec<String> = self.fleet.vassals.keys().cloned().collect();
        for known in ids.iter().filter(|known| id.is_none_or(|id| id == *known)) {
            let Some(vassal) = self.vassal(known) else { continue };
            vassal.attempts = 0;
            if vassal.next_try().is_some() {
                self.queue(known);
            }
        }
        self.end(operation, Ending::Done);
        Ok(operation)
    }

    pub(super) fn known(&mut self, id: &str) -> Result<State, Refusal> {
        let vassal = self.vassal(id).ok_or_else(|| Refusal::UnknownVassal(id.to_owned()))?;
        if vassal.plan.removed {
            return Err(conflict(id, "is being stopped because its file is gone"));
        }
        Ok(vassal.state)
    }

    pub(super) fn reexecuted(&mut self, operation: OperationId) {
        self.fleet.reexecutions += 1;
        let version = env!("CARGO_PKG_VERSION");
        self.tell(None, EventKind::Emperor, format!("the emperor was re-executed: liege {version}"));
        match self.fleet.operation(operation).map(|operation| operation.kind) {
            Some(OperationKind::Upgrade) => self.reexec_all(operation),
            Some(_) => self.reload_all(operation),
            None => {}
        }
    }

    pub(super) fn reexec_failed(&mut self, operation: OperationId, failure: Failure) {
        self.end(operation, Ending::Failed(failure));
    }

    fn reexec_all(&mut self, parent: OperationId) {
        // Another version may understand what this one did not.
        let broken = self.fleet.vassals.iter().filter(|(_, vassal)| vassal.state == State::Broken);
        let broken: Vec<String> = broken.map(|(id, _)| id.clone()).collect();
        for id in broken {
            self.queue(&id);
        }
        let running = self.fleet.vassals.iter().filter(|(_, v)| v.serves() && v.foreign_program().is_none());
        let running: Vec<String> = running.map(|(id, _)| id.clone()).collect();
        for id in running {
            let part = self.begin(OperationKind::Upgrade, Some(&id), Some(parent), "upgrade");
            self.want_reexec(&id, part);
        }
        self.end_parent(parent);
    }
}

pub(super) fn conflict(id: &str, why: &str) -> Refusal {
    Refusal::Conflict(format!("vassal {id:?} {why}"))
}
