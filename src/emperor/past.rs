//! What a vassal has been through: how its reloads and its processes ended, counted, and the black boxes of its workers.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::events::EventOutcome;
use super::fleet::{ExitKind, LogLine};
use crate::wire::death::{Cause, Death, REQUESTS};

/// How many black boxes are kept of a vassal.
pub const BLACK_BOXES: usize = 10;
/// How many lines, and how many bytes of them, a black box holds.
const LINES: usize = 30;
const LINES_BYTES: usize = 8 * 1024;

/// What a vassal has been through.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    /// How often its reloads ended so.
    pub outcomes: BTreeMap<EventOutcome, u64>,
    /// How often its workers died unasked, by cause.
    pub deaths: BTreeMap<Cause, u64>,
    /// How often its masters ended by a signal.
    pub masters_killed: u64,
    /// How often its masters ended otherwise.
    pub masters_exited: u64,
    /// What workers were doing when they died, oldest first, at most [`BLACK_BOXES`].
    pub black_boxes: VecDeque<BlackBox>,
    /// The workers whose request somebody had killed, and that were not told as dead yet, at most [`BLACK_BOXES`].
    condemned: VecDeque<u32>,
}

/// What a worker was doing when it died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlackBox {
    /// When it was found dead, milliseconds since the epoch.
    pub at_epoch_ms: u64,
    /// What its master tells.
    pub death: Death,
    /// The last lines that the vassal had said by then, oldest first.
    pub log: Vec<LogLine>,
}

impl Past {
    /// A reload ended.
    pub(super) fn reloaded(&mut self, outcome: EventOutcome) {
        *self.outcomes.entry(outcome).or_default() += 1;
    }

    /// A master ended.
    pub(super) const fn master_ended(&mut self, how: ExitKind) {
        match how {
            ExitKind::Signal(_) | ExitKind::OutOfMemory | ExitKind::ForkBomb => self.masters_killed += 1,
            ExitKind::Status(_) | ExitKind::Unknown => self.masters_exited += 1,
        }
    }

    /// The request of a worker is about to be killed.
    pub(super) fn condemn(&mut self, pid: u32) {
        if self.condemned.len() >= BLACK_BOXES {
            self.condemned.pop_front();
        }
        self.condemned.push_back(pid);
    }

    /// The last one was not killed.
    pub(super) fn spare_the_last(&mut self) {
        self.condemned.pop_back();
    }

    /// Why a worker died, by what its master knows and what was asked for here.
    pub(super) fn cause_of(&mut self, death: &Death) -> Cause {
        let asked = self.condemned.iter().position(|pid| *pid == death.pid);
        match asked.and_then(|asked| self.condemned.remove(asked)) {
            Some(_) if death.cause == Cause::Signal => Cause::Operator,
            _ => death.cause,
        }
    }

    /// A worker died. What is told of it is a vassal's word, and bounded here.
    pub(super) fn worker_died(&mut self, mut death: Death, at_epoch_ms: u64, log: &VecDeque<LogLine>) {
        *self.deaths.entry(death.cause).or_default() += 1;
        death.last.truncate(REQUESTS);
        let mut bytes = 0_usize;
        let fits = |line: &&LogLine| {
            bytes += line.text.len();
            bytes <= LINES_BYTES
        };
        let mut log: Vec<LogLine> = log.iter().rev().take(LINES).take_while(fits).cloned().collect();
        log.reverse();
        if self.black_boxes.len() >= BLACK_BOXES {
            self.black_boxes.pop_front();
        }
        self.black_boxes.push_back(BlackBox { at_epoch_ms, death, log });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::death::LastRequest;

    fn death() -> Death {
        let last = LastRequest { core: 0, running: true, started_epoch_s: 1, request: "GET /".into() };
        Death {
            worker: 1,
            pid: 7,
            generation: 1,
            cause: Cause::Signal,
            how: "signal 11".into(),
            born_epoch_s: 1,
            requests: 3,
            last: vec![last; 1000],
        }
    }

    #[test]
    fn who_was_killed_by_request_died_of_that() {
        let mut past = Past::default();
        past.condemn(8);
        past.condemn(7);
        assert_eq!(past.cause_of(&Death { cause: Cause::Harakiri, pid: 8, ..death() }), Cause::Harakiri);
        assert_eq!(past.cause_of(&death()), Cause::Operator);
        assert_eq!(past.cause_of(&death()), Cause::Signal, "another one of that number");
        past.condemn(7);
        past.spare_the_last();
        assert_eq!(past.cause_of(&death()), Cause::Signal);
    }

    #[test]
    fn black_boxes_are_few_and_small() {
        let mut past = Past::default();
        let line = |number| LogLine { number, at_epoch_ms: 0, text: "x".repeat(400) };
        let log: VecDeque<LogLine> = (0..100).map(line).collect();
        let death = death();
        for n in 0..50 {
            past.worker_died(death.clone(), n, &log);
        }
        assert_eq!(past.deaths[&Cause::Signal], 50);
        assert_eq!((past.black_boxes.len(), past.black_boxes[0].at_epoch_ms), (BLACK_BOXES, 40));
        let newest = past.black_boxes.back().unwrap();
        assert_eq!((newest.death.last.len(), newest.log.len()), (REQUESTS, 20));
        assert_eq!(newest.log.last().unwrap().number, 99);
        let again: Past = serde_json::from_str(&serde_json::to_string(&past).unwrap()).unwrap();
        assert_eq!(format!("{again:?}"), format!("{past:?}"));
    }
}
