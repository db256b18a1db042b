//! Fork bombs: a vassal that tries without end to have more processes than its `pids-max` is told to the loop, which ends
//! it. The limit keeps the host from running out of processes; what each refused fork costs, its neighbours notice.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use crate::sys::cgroup::RefusedForks;
use crate::sys::clock;
use crate::tick::Tick;

/// So many refused processes and threads in a second may go on for ever: an app that is short of threads answers
/// each such request with an error, and has not that many.
const PER_SECOND: u64 = 250;
/// So many more are a fork bomb.
const BURST: u64 = 1000;
/// Who is refused again and again is looked at so often.
const PAUSE: Duration = Duration::from_millis(50);

/// A vassal that forks without end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bomb {
    /// The vassal.
    pub vassal: String,
    /// How many forks it was refused.
    pub refused: u64,
    /// Within this time, in milliseconds.
    pub within_ms: u64,
}

/// Looks at what a vassal is refused, until this is dropped.
#[derive(Debug)]
pub struct Watch(AbortHandle);

impl Watch {
    /// Begins; each time that it is a bomb `told` hears of it. Nothing is done while nothing is refused.
    #[must_use]
    pub fn start(vassal: String, refused: RefusedForks, told: mpsc::Sender<Bomb>) -> Self {
        let watch = async move {
            let mut meter = Meter::new(refused.count()?, clock::now());
            loop {
                refused.rises().await?;
                if let Some((refused, within_ms)) = meter.look(refused.count()?, clock::now())
                    && told.send(Bomb { vassal: vassal.clone(), refused, within_ms }).await.is_err()
                {
                    return Ok::<(), std::io::Error>(());
                }
                sleep(PAUSE).await;
            }
        };
        // It fails when the group is gone, and there is nothing left to look at.
        Self(spawn_local(watch).abort_handle())
    }

    /// Whether the group is still there to be looked at.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        !self.0.is_finished()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is refused above what may go on for ever.
#[derive(Debug)]
struct Meter {
    count: u64,
    at: Tick,
    /// In thousandths of a refusal.
    level: u64,
    /// What was refused since it was zero, and since when that is.
    refused: u64,
    since: Tick,
}

impl Meter {
    const fn new(count: u64, now: Tick) -> Self {
        Self { count, at: now, level: 0, refused: 0, since: now }
    }

    /// Takes in a new count; answers how many were refused, and in how many milliseconds, where that is a bomb.
    fn look(&mut self, count: u64, now: Tick) -> Option<(u64, u64)> {
        let more = count.saturating_sub(self.count);
        let drained = PER_SECOND.saturating_mul(now.as_ms().saturating_sub(self.at.as_ms()));
        if self.level <= drained {
            (self.refused, self.since) = (0, now);
        }
        self.level = self.level.saturating_sub(drained).saturating_add(more.saturating_mul(1000));
        self.refused = self.refused.saturating_add(more);
        (self.count, self.at) = (count, now);
        if self.level < BURST * 1000 {
            return None;
        }
        let told = (self.refused, now.as_ms().saturating_sub(self.since.as_ms()));
        *self = Self::new(count, now);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_more_than_an_app_could_bear_is_a_bomb() {
        // For each look: milliseconds, the count, and what is told.
        for (what, looks) in [
            ("a burst", vec![(0, 0, None), (10, 999, None), (50, 1011, Some((1011, 40))), (60, 1500, None)]),
            (
                "another one after it",
                vec![(0, 1000, Some((1000, 0))), (100, 1999, None), (101, 2025, Some((1025, 1)))],
            ),
            ("an app that is short of threads", (0..100).map(|n| (n * 1000, n * 250, None)).collect()),
            (
                "a little more than that",
                vec![(0, 300, None), (1000, 600, None), (2000, 900, None), (3000, 2200, Some((2200, 3000)))],
            ),
            ("seldom", vec![(0, 900, None), (4000, 1800, None), (8000, 2700, None)]),
            ("a new group counts from zero", vec![(0, 900, None), (10, 20, None), (20, 120, None)]),
        ] {
            let mut meter = Meter::new(0, Tick::from_ms(0));
            for (ms, count, expected) in looks {
                assert_eq!(meter.look(count, Tick::from_ms(ms)), expected, "{what}, at {ms} ms");
            }
        }
    }
}
