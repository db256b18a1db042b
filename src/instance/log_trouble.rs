//! What is told of a logger that takes no lines: once, and again when it does.

use std::time::Duration;

use crate::tick::Tick;

/// Of one that fails now and then nothing is told more often.
const PAUSE: Duration = Duration::from_secs(60);

/// How a logger does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    told_at: Option<Tick>,
    /// It was told that it fails.
    is_told: bool,
    lost: u64,
}

impl Trouble {
    /// It has lost some lines; whether that is to be told.
    pub(super) fn failed(&mut self, lost: u64, now: Tick) -> bool {
        self.lost = self.lost.saturating_add(lost);
        let is_due = !self.is_told && self.told_at.is_none_or(|at| now.since(at) >= PAUSE);
        if is_due {
            self.is_told = true;
            self.told_at = Some(now);
        }
        is_due
    }

    /// It has taken a line; how many it has lost, if that is to be told.
    pub(super) fn worked(&mut self) -> Option<u64> {
        let lost = std::mem::take(&mut self.lost);
        std::mem::take(&mut self.is_told).then_some(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_once_until_it_is_over_and_seldom() {
        let mut trouble = Trouble::default();
        let at = Tick::from_ms;
        for (step, now_ms, expected) in [
            ("works", 0, None),
            ("fails", 1000, Some(1)),
            ("fails", 90_000, None),
            ("works", 90_001, Some(2)),
            ("works", 90_002, None),
            ("fails", 120_000, Some(1)),
            ("works", 120_001, Some(1)),
            ("fails", 120_002, None),
            ("works", 120_003, None),
            ("fails", 120_004, None),
            ("fails", 180_000, Some(1)),
            ("works", 180_001, Some(2)),
        ] {
            let told = match step {
                "fails" => trouble.failed(1, at(now_ms)).then_some(1),
                _ => trouble.worked(),
            };
            assert_eq!(told, expected, "{step} {now_ms}");
        }
    }
}
