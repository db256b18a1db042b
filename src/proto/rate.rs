//! A limit for log lines that peers cause.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::tick::Tick;

const WINDOW_MS: u64 = 10_000;
const LINES: u64 = 20;

/// Lets through 20 lines in ten seconds.
#[derive(Debug, Default)]
pub struct Rate {
    window: AtomicU64,
    lines: AtomicU64,
}

impl Rate {
    /// Whether one more line is fine.
    pub fn allows(&self, now: Tick) -> bool {
        let window = now.as_ms() / WINDOW_MS;
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.lines.store(0, Ordering::Relaxed);
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_forgiven() {
        let rate = Rate::default();
        let lines = |at_ms| (0..100).filter(|_| rate.allows(Tick::from_ms(at_ms))).count();
        assert_eq!(lines(1000), 20);
        assert_eq!(lines(9999), 0);
        assert_eq!(lines(10_000), 20);
    }
}
