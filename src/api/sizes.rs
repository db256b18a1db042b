//! How large processes are, measured no more often than is worth its cost.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::sys::own;
use crate::tick::Tick;

/// A measurement is good for so long.
const FRESH: Duration = Duration::from_secs(5);
/// How many processes are remembered.
const LIMIT: usize = 100_000;

/// The sizes of processes, by pid, as measured last.
#[derive(Debug, Default)]
pub struct Sizes {
    measured: Mutex<BTreeMap<u32, Size>>,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    at: Tick,
    group: Option<u32>,
    bytes: (u64, u64),
}

impl Sizes {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { measured: Mutex::new(BTreeMap::new()) }
    }

    /// Virtual and resident size in bytes of a process of this group; of others, and of those that are gone, 0.
    #[must_use]
    pub fn of(&self, pid: u32, group: u32, now: Tick) -> (u64, u64) {
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let known = measured.get(&pid).filter(|size| now.since(size.at) < FRESH).copied();
        let size = known.unwrap_or_else(|| {
            let group = own::group_of(pid);
            let bytes = group.and_then(|_| own::size_of(pid)).unwrap_or_default();
            let size = Size { at: now, group, bytes };
            if measured.len() >= LIMIT {
                measured.clear();
            }
            if group.is_some() {
                measured.insert(pid, size);
            } else {
                measured.remove(&pid);
            }
            size
        });
        if size.group == Some(group) { size.bytes } else { (0, 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_the_group_have_a_size() {
        let sizes = Sizes::new();
        let us = std::process::id();
        let group = own::group_of(us).unwrap();
        let now = Tick::from_ms(1);
        assert!(sizes.of(us, group, now).1 > 0);
        assert_eq!(sizes.of(us, group + 1, now), (0, 0));
        assert_eq!(sizes.of(u32::MAX, group, now), (0, 0));
        assert_eq!(sizes.measured.lock().unwrap().len(), 1);
    }
}
