//! The ring of events: what happened to whom, when and why, told once and kept over re-executions.

use std::cmp::Reverse;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::fleet::{Ending, Fleet};
use crate::wire::message::OperationId;

/// How many events are kept.
pub const EVENTS: usize = 2000;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetEvent {
    /// Its number, from 1, greater by one than that of the event before; a re-execution goes on counting.
    #[serde(alias = "number")]
    pub id: u64,
    /// When, milliseconds since the epoch.
    pub at_epoch_ms: u64,
    /// The vassal; `None`: the emperor itself.
    pub vassal: Option<String>,
    /// What it was, for programs.
    #[serde(default)]
    pub kind: EventKind,
    /// What it was, for people: one line, control characters escaped.
    pub message: String,
    /// Why: who asked, what was noticed, how it failed; one line.
    #[serde(default)]
    pub reason: Option<String>,
    /// Names the configuration in effect (see [`crate::config::fingerprint`]).
    #[serde(default)]
    pub config: Option<String>,
    /// The operation that it belongs to.
    #[serde(default)]
    pub operation: Option<OperationId>,
    /// How the operation ended.
    #[serde(default)]
    pub outcome: Option<EventOutcome>,
}

/// What an event was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An instance, or its application, said something.
    #[default]
    Said,
    /// A vassal's file appeared.
    Found,
    /// A vassal's file changed.
    Changed,
    /// A vassal's file is gone.
    Removed,
    /// A file is not started.
    NotStarted,
    /// A watched place can be read again, or not.
    Source,
    /// Somebody asked for something.
    Asked,
    /// It was refused.
    Refused,
    /// An operation began.
    Began,
    /// An operation ended.
    Ended,
    /// A master was launched.
    Launched,
    /// A master whose emperor died is ours now, or could not be taken over.
    Adopted,
    /// A configuration took effect.
    Configured,
    /// The vassal sleeps: nothing runs for it.
    Asleep,
    /// It was woken.
    Awake,
    /// The vassal serves.
    Up,
    /// It does not serve though its application had its time to load.
    Late,
    /// An instance could not start, or not go on.
    Failed,
    /// A master was stopped by a signal, or goes on.
    Halted,
    /// A master died unasked.
    Died,
    /// Something happened to what lives beside the workers.
    Companion,
    /// A worker died unasked.
    WorkerDied,
    /// The vassal is on its way out.
    Stopping,
    /// Patience with something that does not end is over.
    Forced,
    /// The vassal has stopped.
    Stopped,
    /// The emperor itself: it was re-executed, it stops.
    Emperor,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventOutcome {
    /// As asked.
    Done,
    /// The new generation serves.
    Swapped,
    /// The old generation serves on.
    RolledBack,
    /// The same: the new one was not ready in time.
    TimedOut,
    /// A later request took its place.
    Superseded,
    /// Not as asked.
    Failed,
}

impl From<&Ending> for EventOutcome {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Done => Self::Done,
            Ending::Swapped => Self::Swapped,
            Ending::RolledBack(_) => Self::RolledBack,
            Ending::TimedOut => Self::TimedOut,
            Ending::Superseded => Self::Superseded,
            Ending::Failed(_) => Self::Failed,
        }
    }
}

/// What is known of an event besides whom it concerns and what to tell people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: EventKind,
    pub(super) reason: Option<String>,
    pub(super) operation: Option<OperationId>,
    pub(super) outcome: Option<EventOutcome>,
}

impl From<EventKind> for Facts {
    fn from(kind: EventKind) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl EventKind {
    pub(super) fn because(self, reason: impl Into<String>) -> Facts {
        Facts { reason: Some(reason.into()), ..self.into() }
    }
}

impl Facts {
    pub(super) const fn of(mut self, operation: OperationId) -> Self {
        self.operation = Some(operation);
        self
    }
}

impl Fleet {
    /// The number of the last event; 0 before the first.
    #[must_use]
    pub const fn last_event(&self) -> u64 {
        self.last_event
    }

    /// The events after the one of this number, oldest first. Where numbers are missing, those were dropped from the ring.
    pub fn events_after(&self, id: u64) -> impl Iterator<Item = &FleetEvent> {
        let start = self.events.partition_point(|event| event.id <= id);
        self.events.range(start..)
    }

    /// Keeps what happened. Beyond [`EVENTS`] the oldest is dropped of the vassal that has the most of them: whoever has
    /// something happen without end displaces nobody else's.
    pub(super) fn record(&mut self, at_epoch_ms: u64, vassal: Option<&str>, facts: Facts, message: String) {
        let Facts { kind, reason, operation, outcome } = facts;
        let config = vassal.and_then(|id| self.vassals.get(id)?.config.clone());
        self.last_event += 1;
        if self.events.len() >= EVENTS {
            let of_loudest = self.loudest();
            let oldest = self.events.iter().position(|event| event.vassal == of_loudest);
            self.events.remove(oldest.unwrap_or(0));
        }
        self.events.push_back(FleetEvent {
            id: self.last_event,
            at_epoch_ms,
            vassal: vassal.map(str::to_owned),
            kind,
            message,
            reason,
            config,
            operation,
            outcome,
        });
    }

    /// Who has the most events, and among those who has the oldest; `None`: the emperor itself.
    fn loudest(&self) -> Option<String> {
        let mut counts: HashMap<Option<&str>, (usize, Reverse<u64>)> = HashMap::new();
        for event in &self.events {
            counts.entry(event.vassal.as_deref()).or_insert((0, Reverse(event.id))).0 += 1;
        }
        counts.into_iter().max_by_key(|(_, rank)| *rank)?.0.map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vassal_to_which_something_happens_without_end_displaces_no_others() {
        let mut fleet = Fleet::default();
        for n in 0..3 * EVENTS {
            let quiet = (n % 100 == 0).then(|| format!("{}.ini", n / 100 % 20));
            let of = if n % 250 == 1 { None } else { quiet.or(Some("loud.ini".to_owned())) };
            fleet.record(0, of.as_deref(), EventKind::WorkerDied.into(), n.to_string());
        }
        let count =
            |of: Option<&str>| fleet.events.iter().filter(|event| event.vassal.as_deref() == of).count();
        assert_eq!((fleet.events.len(), count(None), count(Some("3.ini"))), (EVENTS, 24, 3));
        assert_eq!(count(Some("loud.ini")), EVENTS - 24 - 60);
        let ids: Vec<u64> = fleet.events.iter().map(|event| event.id).collect();
        assert!(ids.is_sorted() && ids.last() == Some(&fleet.last_event()));
        assert_eq!(fleet.events_after(0).count(), EVENTS);
    }

    #[test]
    fn the_ring_is_bounded_and_whoever_comes_late_sees_the_gap() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.events_after(0).count(), 0);
        for n in 0..EVENTS + 10 {
            fleet.record(0, None, EventKind::Asked.because("test").of(7), n.to_string());
        }
        assert_eq!((fleet.events.len(), fleet.last_event()), (EVENTS, 2010));
        let seen = |after| fleet.events_after(after).map(|event| event.id).collect::<Vec<_>>();
        assert_eq!(seen(2008), [2009, 2010]);
        assert!(seen(2010).is_empty());
        assert!(seen(5000).is_empty());
        assert_eq!(seen(3).first(), Some(&11), "4 to 10 are lost, and that shows");
    }

    #[test]
    fn an_event_of_an_older_version_is_read() {
        let old = r#"{"number":3,"at_epoch_ms":5,"vassal":null,"message":"up"}"#;
        let event: FleetEvent = serde_json::from_str(old).unwrap();
        assert_eq!((event.id, event.kind), (3, EventKind::Said));
    }
}
