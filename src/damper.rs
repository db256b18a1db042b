//! Against floods: who says something without end is listened to in portions, so that the listener rests between them
//! instead of waking up for each word.

use std::time::{Duration, Instant};

/// A portion and its rest take so long.
pub const PERIOD: Duration = Duration::from_millis(10);

/// Counts what is heard.
#[derive(Clone, Copy, Debug)]
pub struct Damper {
    portion: u32,
    busy: Duration,
    since: Option<Instant>,
    heard: u32,
}

impl Damper {
    /// So many things may be heard in 10 ms, and more as long as that takes less time than `busy`.
    #[must_use]
    pub const fn new(portion: u32, busy: Duration) -> Self {
        Self { portion, busy, since: None, heard: 0 }
    }

    /// Something is heard; answers for how long nothing more should be.
    pub fn hear(&mut self, now: Instant) -> Option<Duration> {
        let since = match self.since.filter(|since| now.saturating_duration_since(*since) < PERIOD) {
            Some(since) => since,
            None => {
                self.heard = 0;
                *self.since.insert(now)
            }
        };
        self.heard = self.heard.saturating_add(1);
        let passed = now.saturating_duration_since(since);
        if self.heard < self.portion || passed < self.busy {
            return None;
        }
        self.since = None;
        Some(PERIOD.saturating_sub(passed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flood_is_held_up() {
        let start = Instant::now();
        // Microseconds between what is heard, how often that is, the portion, the longest work; and the rests.
        for (every_us, times, portion, busy_us, expected_us) in [
            (1000, 100, 20, 0, vec![]),
            (100, 50, 20, 0, vec![8100, 8100]),
            (100, 19, 20, 0, vec![]),
            (10, 250, 100, 1000, vec![9000, 9000]),
            (10, 100, 100, 1000, vec![]),
        ] {
            let mut damper = Damper::new(portion, Duration::from_micros(busy_us));
            let mut now = start;
            let mut rests = Vec::new();
            for _ in 0..times {
                if let Some(rest) = damper.hear(now) {
                    rests.push(rest.as_micros());
                    now += rest;
                }
                now += Duration::from_micros(every_us);
            }
            assert_eq!(rests, expected_us, "{every_us} {times} {portion} {busy_us}");
        }
    }
}
