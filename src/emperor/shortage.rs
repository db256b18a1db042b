//! Whether it was the kernel that killed a process, because memory was short: control groups count how often it did.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::tick::Tick;

/// Processes that it kills together are told as dead within this time.
const TOGETHER: Duration = Duration::from_secs(2);

/// What is known of the counts of control groups.
#[derive(Debug, Default)]
pub struct Shortages {
    vassals: BTreeMap<String, Count>,
    /// Of the unit, for vassals that are not counted by themselves.
    unit: Count,
}

#[derive(Debug, Default)]
struct Count {
    kills: u64,
    risen: Option<Tick>,
}

impl Shortages {
    /// So far none of these concerns us; `None`: the unit's.
    pub fn start(&mut self, vassal: Option<&str>, kills: u64) {
        let count = Count { kills, risen: None };
        match vassal {
            Some(vassal) => {
                self.vassals.insert(vassal.to_owned(), count);
            }
            None => self.unit = count,
        }
    }

    /// The group of a vassal is gone.
    pub fn end(&mut self, vassal: &str) {
        self.vassals.remove(vassal);
    }

    /// Whether a process of a vassal that is found dead, killed by a signal, was one of these: by the count of the
    /// vassal's group, or, where that has none, of the unit's.
    pub fn killed(&mut self, vassal: &str, own: Option<u64>, units: Option<u64>, now: Tick) -> bool {
        match (own, units) {
            (Some(kills), _) => self.vassals.entry(vassal.to_owned()).or_default().rises(kills, now),
            (None, Some(kills)) => self.unit.rises(kills, now),
            (None, None) => false,
        }
    }
}

impl Count {
    fn rises(&mut self, kills: u64, now: Tick) -> bool {
        if kills > self.kills {
            self.risen = Some(now);
        }
        self.kills = kills;
        self.risen.is_some_and(|risen| now.since(risen) <= TOGETHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_death_is_the_kernels_when_the_count_of_its_group_rises() {
        let mut known = Shortages::default();
        known.start(None, 7);
        known.start(Some("a"), 2);
        for (ms, vassal, own, units, expected) in [
            (0, "a", Some(2), Some(9), false),
            (10, "a", Some(3), Some(9), true),
            // Another one of the same moment, and one that somebody kills later.
            (1000, "a", Some(3), Some(9), true),
            (9000, "a", Some(3), Some(9), false),
            // Of whom nobody counts, the unit's is all that is known.
            (9000, "b", None, Some(7), false),
            (9000, "b", None, Some(8), true),
            (20_000, "b", None, Some(8), false),
            (20_000, "c", None, None, false),
        ] {
            let killed = known.killed(vassal, own, units, Tick::from_ms(ms));
            assert_eq!(killed, expected, "{ms} {vassal}");
        }
        // A new group counts from the start.
        known.end("a");
        assert!(known.killed("a", Some(1), None, Tick::from_ms(30_000)));
    }
}
