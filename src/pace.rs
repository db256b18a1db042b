//! How often a vassal reloads because it says so itself, or a signal or a touched file does: each time its application is
//! loaded anew, and who asks for that without end takes the CPUs from its neighbours.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::tick::Tick;

/// So many follow each other at once.
const BURST: u32 = 10;
/// After them, one in so long a time.
const EVERY: Duration = Duration::from_secs(5);

/// What was begun lately: a leaky bucket, told by when it will be empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pace(Tick);

impl Pace {
    /// When the next one may begin.
    #[must_use]
    pub fn free_at(self) -> Tick {
        let room_ms = u64::try_from((EVERY * (BURST - 1)).as_millis()).unwrap_or(u64::MAX);
        Tick::from_ms(self.0.as_ms().saturating_sub(room_ms))
    }

    /// One begins.
    pub fn begin(&mut self, now: Tick) {
        self.0 = self.0.max(now) + EVERY;
    }

    /// Whether nothing is remembered any more.
    #[must_use]
    pub fn is_forgotten(self, now: Tick) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_then_one_each_five_seconds() {
        let mut pace = Pace::default();
        let mut begun = Vec::new();
        for at_ms in (100_000..130_000).step_by(100) {
            if pace.free_at() <= Tick::from_ms(at_ms) {
                pace.begin(Tick::from_ms(at_ms));
                begun.push(at_ms);
            }
        }
        let burst = (0..10).map(|n| 100_000 + n * 100);
        let paced = (1..=5).map(|n| 100_000 + n * 5000);
        // The burst paid for itself from its first one on.
        assert_eq!(begun, burst.chain(paced).collect::<Vec<_>>());
    }

    #[test]
    fn who_reloads_seldom_never_waits() {
        let mut pace = Pace::default();
        for at_ms in (0..600_000).step_by(5000) {
            assert!(pace.free_at() <= Tick::from_ms(at_ms), "{at_ms}");
            pace.begin(Tick::from_ms(at_ms));
        }
    }
}
