//! How long a vassal that failed rests before it is tried again.

use std::time::Duration;

use crate::tick::Tick;

/// A vassal that was ready for this long has proved itself: its failures so far are forgotten.
pub const PROVEN: Duration = Duration::from_secs(10);

/// The same for one that failed as a fork bomb: until it was harmless for so long, each one costs it a longer rest.
pub const HARMLESS: Duration = Duration::from_secs(600);

/// A fork bomb rests so many times as long as it took to be known as one: its neighbours notice it in fewer than every
/// hundredth of their requests.
const REST: u32 = 200;

/// It was there at least for so long: it grows before it is refused anything, and takes some time to die.
const BRIEFEST: Duration = Duration::from_millis(100);

/// The first and the longest delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// After the first failure in a row.
    pub first: Duration,
    /// Never longer than this, jitter included.
    pub longest: Duration,
}

impl BackOff {
    /// The delay after so many failures in a row: doubling up to the longest, less up to a quarter by `chance`
    /// (any number; the same one gives the same delay), so that vassals which failed together do not return
    /// together.
    #[must_use]
    pub fn delay(self, attempts: u32, chance: u64) -> Duration {
        let doublings = attempts.saturating_sub(1).min(31);
        let full = self.first.saturating_mul(1 << doublings).min(self.longest);
        let quarter = u64::try_from(full.as_millis() / 4).unwrap_or(u64::MAX);
        full.saturating_sub(Duration::from_millis(chance % quarter.saturating_add(1)))
    }

    /// The delay after a failure as a fork bomb that was known as one after this time, where any other failure had had
    /// `delay`.
    #[must_use]
    pub fn after_fork_bomb(self, delay: Duration, known_after: Duration) -> Duration {
        delay.max(known_after.max(BRIEFEST).saturating_mul(REST)).min(self.longest)
    }
}

/// Failures in a row after one more, and whether the next try may follow at once: a vassal that served, and did not
/// fail lately, gets its first restart for nothing, unless it was a fork bomb.
#[must_use]
pub fn after_failure(attempts: u32, ready_since: Option<Tick>, now: Tick, fork_bomb: bool) -> (u32, bool) {
    let proof = if fork_bomb { HARMLESS } else { PROVEN };
    let forgiven = ready_since.is_some_and(|ready| now.since(ready) >= proof);
    let before = if forgiven { 0 } else { attempts };
    (before.saturating_add(1), before == 0 && ready_since.is_some() && !fork_bomb)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_up_to_the_longest_and_jitter_only_shortens_it() {
        let back_off = BackOff { first: Duration::from_secs(1), longest: Duration::from_secs(180) };
        for (attempts, chance, expected_ms) in [
            (0, 0, 1000),
            (1, 0, 1000),
            (2, 0, 2000),
            (3, 0, 4000),
            (8, 0, 128_000),
            (9, 0, 180_000),
            (40, 0, 180_000),
            (u32::MAX, 0, 180_000),
            (1, 250, 750),
            (1, 251, 1000),
            (9, 45_000, 135_000),
        ] {
            assert_eq!(back_off.delay(attempts, chance).as_millis(), expected_ms, "{attempts} {chance}");
        }
        let none = BackOff { first: Duration::ZERO, longest: Duration::ZERO };
        assert_eq!(none.delay(5, 77), Duration::ZERO);
    }

    #[test]
    fn a_fork_bomb_is_there_for_less_than_a_hundredth_of_the_time() {
        let back_off = BackOff { first: Duration::from_secs(1), longest: Duration::from_secs(180) };
        for (delay_s, known_after_ms, expected_s) in
            [(1, 240, 48), (1, 0, 20), (64, 240, 64), (1, 6000, 180), (180, 100, 180), (1, u64::MAX, 180)]
        {
            let delay = Duration::from_secs(delay_s);
            let rest = back_off.after_fork_bomb(delay, Duration::from_millis(known_after_ms));
            assert_eq!(rest.as_secs(), expected_s, "{delay_s} {known_after_ms}");
        }
    }

    #[test]
    fn only_a_vassal_that_proved_itself_is_forgiven() {
        let at = |ms| Some(Tick::from_ms(ms));
        let now = Tick::from_ms(1_000_000);
        for (attempts, ready, fork_bomb, expected) in [
            (0, None, false, (1, false)),
            (3, None, false, (4, false)),
            (0, at(999_999), false, (1, true)),
            (1, at(999_999), false, (2, false)),
            (7, at(990_001), false, (8, false)),
            (7, at(990_000), false, (1, true)),
            (0, at(990_000), true, (1, false)),
            (7, at(400_001), true, (8, false)),
            (7, at(400_000), true, (1, false)),
        ] {
            let decided = after_failure(attempts, ready, now, fork_bomb);
            assert_eq!(decided, expected, "{attempts} {ready:?} {fork_bomb}");
        }
    }
}
