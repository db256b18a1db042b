//! One turn of deciding: the fleet, the time, the effects so far, and the small steps that all decisions are made of.

use crate::emperor::event::Effect;
use crate::emperor::events::{EventKind, EventOutcome, Facts};
use crate::emperor::fleet::{Ending, Fleet, OPERATIONS, Operation, OperationKind, Vassal};
use crate::emperor::life::{Life, LifeId};
use crate::tick::Tick;
use crate::trace::escaped;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

/// The longest text that is kept of what an instance says of itself.
pub(super) const TEXT_LIMIT_BYTES: usize = 2048;
/// How many mistakes of one configuration are kept.
pub(super) const DIAGNOSTICS: usize = 100;

pub(super) struct Turn<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) now: Tick,
    pub(super) out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(super) fn vassal(&mut self, id: &str) -> Option<&mut Vassal> {
        self.fleet.vassals.get_mut(id)
    }

    pub(super) const fn epoch_ms(&self) -> u64 {
        self.now.as_ms().saturating_add(self.fleet.rules.epoch_offset_ms)
    }

    pub(super) fn new_life(&mut self) -> Life {
        self.fleet.last_life += 1;
        Life::new(self.fleet.last_life, self.now, self.epoch_ms())
    }

    /// Writes down what happened, for the log and for the API.
    pub(super) fn tell(&mut self, vassal: Option<&str>, facts: impl Into<Facts>, message: impl Into<String>) {
        self.say(vassal, false, facts.into(), message.into());
    }

    /// The same for what asks for somebody's attention.
    pub(super) fn warn(&mut self, vassal: Option<&str>, facts: impl Into<Facts>, message: impl Into<String>) {
        self.say(vassal, true, facts.into(), message.into());
    }

    /// Writes it down for the API only: to the log the instance has told it itself, or it is too little for one.
    pub(super) fn note(&mut self, vassal: Option<&str>, facts: impl Into<Facts>, message: impl Into<String>) {
        let at_epoch_ms = self.epoch_ms();
        self.fleet.record(at_epoch_ms, vassal, facts.into(), message.into());
    }

    fn say(&mut self, vassal: Option<&str>, warning: bool, facts: Facts, message: String) {
        let audit = matches!(facts.kind, EventKind::Asked | EventKind::Refused);
        self.note(vassal, facts, message.clone());
        self.out.push(Effect::Log { vassal: vassal.map(str::to_owned), warning, audit, message });
    }

    /// Begins an operation.
    pub(super) fn begin(
        &mut self,
        kind: OperationKind,
        vassal: Option<&str>,
        parent: Option<OperationId>,
        why: &str,
    ) -> OperationId {
        if self.fleet.operations.len() >= OPERATIONS {
            let oldest_ended = self.fleet.operations.iter().position(|operation| operation.ending.is_some());
            oldest_ended.and_then(|place| self.fleet.operations.remove(place));
        }
        self.fleet.last_operation += 1;
        self.fleet.operations.push_back(Operation {
            id: self.fleet.last_operation,
            kind,
            vassal: vassal.map(str::to_owned),
            parent,
            why: why.to_owned(),
            asked_epoch_ms: self.epoch_ms(),
            ended_epoch_ms: None,
            log_after: None,
            key: None,
            ending: None,
        });
        let operation = self.fleet.last_operation;
        let what = kind.word();
        self.note(vassal, EventKind::Began.because(why).of(operation), format!("{what} {operation} began"));
        operation
    }

    /// Ends an operation that has not ended yet, and the one that it is a part of with its last part.
    pub(super) fn end(&mut self, id: OperationId, ending: Ending) {
        let epoch_ms = self.epoch_ms();
        let operations = &mut self.fleet.operations;
        let Some(operation) = operations.iter_mut().rev().find(|o| o.id == id && o.ending.is_none()) else {
            return;
        };
        operation.ending = Some(ending);
        operation.ended_epoch_ms = Some(epoch_ms);
        let ended = operation.clone();
        if let (OperationKind::Reload, Some(vassal)) = (ended.kind, &ended.vassal)
            && let Some(vassal) = self.fleet.vassals.get_mut(vassal)
        {
            vassal.last_reload = Some(ended.clone());
            vassal.past.reloaded(ended.ending.as_ref().map_or(EventOutcome::Done, Into::into));
        }
        self.report(&ended);
        if let Some(parent) = ended.parent {
            self.end_parent(parent);
        }
    }

    /// Ends an operation of the whole fleet once none of its parts runs.
    pub(super) fn end_parent(&mut self, id: OperationId) {
        let parts: Vec<&Operation> =
            self.fleet.operations.iter().filter(|part| part.parent == Some(id)).collect();
        if parts.iter().any(|part| part.ending.is_none()) {
            return;
        }
        let failed = parts
            .iter()
            .filter(|part| {
                matches!(part.ending, Some(Ending::RolledBack(_) | Ending::TimedOut | Ending::Failed(_)))
            })
            .count();
        let ending = if failed == 0 {
            Ending::Done
        } else {
            Ending::Failed(Failure::new(format!("{failed} of {} vassals failed", parts.len())))
        };
        self.end(id, ending);
    }

    fn report(&mut self, operation: &Operation) {
        let Some(ending) = &operation.ending else { return };
        let subject = format!("{} {} ({})", operation.kind.word(), operation.id, operation.why);
        let vassal = operation.vassal.as_deref();
        let mut facts = Facts::from(EventKind::Ended).of(operation.id);
        facts.outcome = Some(ending.into());
        match ending {
            Ending::RolledBack(failure) => {
                let reason = &failure.message;
                facts.reason = Some(reason.clone());
                let text = format!("{subject} rolled back, the old generation serves on: {reason}");
                self.warn(vassal, facts, text);
            }
            Ending::TimedOut => {
                let serves = vassal.and_then(|id| self.fleet.vassals.get(id)).is_some_and(Vassal::serves);
                let rest = if serves { "the old generation serves on" } else { "it still loads" };
                self.warn(vassal, facts, format!("{subject} was not ready in time, {rest}"));
            }
            Ending::Failed(failure) => {
                facts.reason = Some(failure.message.clone());
                self.warn(vassal, facts, format!("{subject} failed: {}", failure.message));
            }
            Ending::Swapped => self.tell(vassal, facts, format!("{subject}: the new generation serves")),
            Ending::Done if operation.kind.is_quick() => self.note(vassal, facts, format!("{subject} done")),
            Ending::Done => self.tell(vassal, facts, format!("{subject} done")),
            Ending::Superseded => self.note(vassal, facts, format!("{subject} superseded by a later one")),
        }
    }
}

impl Vassal {
    /// All its lives.
    pub(super) fn lives(&self) -> impl Iterator<Item = &Life> {
        self.current.iter().chain(self.next.as_deref()).chain(&self.leaving)
    }

    /// All its lives.
    pub(in super::super) fn lives_mut(&mut self) -> impl Iterator<Item = &mut Life> {
        self.current.iter_mut().chain(self.next.as_deref_mut()).chain(&mut self.leaving)
    }

    pub(super) fn is_current(&self, life: LifeId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == life)
    }

    /// The instance that was to replace the running one is that no more.
    pub(super) fn take_next(&mut self) -> Option<Life> {
        self.next.take().map(|next| *next)
    }

    pub(super) fn is_next(&self, life: LifeId) -> bool {
        self.next.as_ref().is_some_and(|next| next.id == life)
    }
}

impl Turn<'_> {
    /// A failure of an instance, bounded; it says which vassal has the address that it wanted.
    pub(super) fn failure(&self, id: &str, failure: Failure) -> Failure {
        let mut failure = bounded(failure);
        let Some(address) = failure.taken.take() else { return failure };
        let other = self.fleet.vassals.values().find(|other| other.id != id && other.has(&address));
        match other {
            Some(other) => failure
                .with_hint(format!("{} has it: give one of the two another address", escaped(&other.id))),
            None => failure,
        }
    }
}

/// Text of an instance, no longer than [`TEXT_LIMIT_BYTES`].
pub(super) fn clipped(mut text: String) -> String {
    if text.len() > TEXT_LIMIT_BYTES {
        let mut end = TEXT_LIMIT_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// A failure of an instance, bounded.
fn bounded(mut failure: Failure) -> Failure {
    failure.message = clipped(failure.message);
    failure.hint = failure.hint.map(clipped);
    failure.diagnostics.truncate(DIAGNOSTICS);
    match failure.traceback.take() {
        Some(traceback) => failure.with_traceback(&traceback),
        None => failure,
    }
}
