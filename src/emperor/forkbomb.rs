//! Fork bombs: a vassal that tries without end to have more processes than its `pids-max` is told to the loop, which ends
//! it. The limit keeps the host from running out of processes; what each refused fork costs, its neighbours notice.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::sleep;

use super::handle::Handle;
use crate::sys::cgroup::RefusedForks;
use crate::sys::clock;
use crate::tick::Tick;

/// So many refused processes and threads in a second may go on for ever.
const PER_SECOND: u64 = 50;
/// So many more may be refused for each request that is finished: an app that is short of threads answers with errors.
const PER_REQUEST: u64 = 10;
/// What is refused beyond that and comes to so many is a fork bomb.
const BURST: u64 = 500;
/// Who is refused again and again is looked at so often.
const PAUSE: Duration = Duration::from_millis(50);

/// What tells that a life forks without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// The kernel has refused its control group so many processes.
    Refused {
        /// How many.
        count: u64,
        /// How many it may have (`pids-max`, `limit-nproc`).
        most: Option<u64>,
    },
    /// Its user has as many processes as it may, and the CPU time of these goes on tries to start more: by what they did when
    /// they were stopped.
    Seen {
        /// How many.
        processes: usize,
        /// How many its user may have (`limit-nproc`).
        most: u64,
    },
}

impl Evidence {
    /// In words, where it was known after so many milliseconds.
    #[must_use]
    pub fn told(&self, within_ms: u64) -> String {
        let seconds = Duration::from_millis(within_ms).as_secs_f64();
        match self {
            Self::Refused { count, most } => {
                let limit =
                    most.map(|most| format!(" beyond the {most} that it may have")).unwrap_or_default();
                format!("refused {count} processes within {seconds:.1} s{limit}")
            }
            Self::Seen { processes, most } => format!(
                "{processes} of its processes have tried without a pause for {seconds:.1} s to start more than the {most} that \
                 its user may have"
            ),
        }
    }
}

/// A vassal that is refused processes without end.
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
    pub fn start(
        vassal: String,
        refused: RefusedForks,
        (told, handle): (mpsc::Sender<Bomb>, Handle),
    ) -> Self {
        let watch = async move {
            let look = || refused.count().map(|count| (count, finished(&handle, &vassal)));
            let mut meter = Meter::new(look()?, clock::now());
            loop {
                refused.rises().await?;
                if let Some((refused, within_ms)) = meter.look(look()?, clock::now())
                    && told.send(Bomb { vassal: vassal.clone(), refused, within_ms }).await.is_err()
                {
                    return Ok::<(), io::Error>(());
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

/// How many requests a vassal has finished so far, by its own word: who lies has no more than his share of the CPUs.
pub(super) fn finished(handle: &Handle, vassal: &str) -> u64 {
    let fleet = handle.fleet();
    let shown = fleet.vassals.get(vassal).and_then(|vassal| vassal.shown.as_ref());
    shown.map_or(0, |shown| shown.boards.requests())
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is refused above what may go on for ever.
#[derive(Debug)]
struct Meter {
    /// Refusals and finished requests.
    counts: (u64, u64),
    at: Tick,
    /// In thousandths of a refusal.
    level: u64,
    /// What was refused since it was zero, and since when that is.
    refused: u64,
    since: Tick,
}

impl Meter {
    const fn new(counts: (u64, u64), now: Tick) -> Self {
        Self { counts, at: now, level: 0, refused: 0, since: now }
    }

    /// Takes in the counts of refusals and of finished requests; answers how many were refused, and in how many milliseconds,
    /// where that is a bomb.
    fn look(&mut self, counts: (u64, u64), now: Tick) -> Option<(u64, u64)> {
        let more = counts.0.saturating_sub(self.counts.0);
        let requests = counts.1.saturating_sub(self.counts.1);
        let elapsed_ms = now.as_ms().saturating_sub(self.at.as_ms());
        let drained =
            PER_SECOND.saturating_mul(elapsed_ms).saturating_add(requests.saturating_mul(PER_REQUEST * 1000));
        if self.level <= drained {
            (self.refused, self.since) = (0, now);
        }
        self.level = self.level.saturating_sub(drained).saturating_add(more.saturating_mul(1000));
        self.refused = self.refused.saturating_add(more);
        (self.counts, self.at) = (counts, now);
        if self.level < BURST * 1000 {
            return None;
        }
        let told = (self.refused, now.as_ms().saturating_sub(self.since.as_ms()));
        *self = Self::new(counts, now);
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_evidence_says_no_more_than_is_known() {
        for (evidence, expected) in [
            (Evidence::Refused { count: 512, most: None }, "refused 512 processes within 0.3 s"),
            (
                Evidence::Refused { count: 512, most: Some(100) },
                "refused 512 processes within 0.3 s beyond the 100 that it may have",
            ),
            (
                Evidence::Seen { processes: 58, most: 60 },
                "58 of its processes have tried without a pause for 0.3 s to start more than the 60 that its user may have",
            ),
        ] {
            assert_eq!(evidence.told(300), expected);
        }
    }

    #[test]
    fn who_is_refused_more_than_an_app_could_bear_is_a_bomb() {
        // For each look: milliseconds, refusals, requests, and what is told.
        for (what, looks) in [
            (
                "a burst",
                vec![(0, 0, 0, None), (10, 499, 0, None), (50, 505, 0, Some((505, 40))), (60, 1000, 0, None)],
            ),
            (
                "another one after it",
                vec![(0, 500, 0, Some((500, 0))), (100, 999, 0, None), (101, 1010, 0, Some((510, 1)))],
            ),
            ("one that is tried again and again", (0..100).map(|n| (n * 1000, n * 50, 0, None)).collect()),
            ("an app that is short of threads", (0..100).map(|n| (n * 10, n * 100, n * 10, None)).collect()),
            ("a bomb that also serves", vec![(0, 0, 0, None), (100, 5000, 400, Some((5000, 0)))]),
            (
                "more than can be borne",
                vec![(0, 200, 0, None), (1000, 400, 0, None), (3000, 900, 0, Some((900, 3000)))],
            ),
            ("seldom", vec![(0, 400, 0, None), (8000, 800, 0, None), (16_000, 1200, 0, None)]),
            ("counts that begin anew", vec![(0, 400, 9, None), (10, 20, 0, None), (20, 110, 0, None)]),
        ] {
            let mut meter = Meter::new((0, 0), Tick::from_ms(0));
            for (ms, refused, requests, expected) in looks {
                assert_eq!(
                    meter.look((refused, requests), Tick::from_ms(ms)),
                    expected,
                    "{what}, at {ms} ms"
                );
            }
        }
    }
}
