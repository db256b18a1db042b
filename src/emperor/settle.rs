//! When a change of a file is ripe to be acted on: after a short quiet, once its writer closed it, and with a removal
//! held back in case the file is only being replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::pace::Pace;
use crate::tick::Tick;

/// Act after so long without a change …
pub const QUIET: Duration = Duration::from_millis(20);
/// … and at the latest so long after the first one.
pub const LONGEST: Duration = Duration::from_millis(100);
/// A file that is being written is waited for so long.
pub const WRITING: Duration = Duration::from_secs(1);
/// A file that is gone may come back so long.
pub const GONE: Duration = Duration::from_millis(200);

/// What was noticed about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is being written, and a close will tell when that is over.
    Writing,
    /// A writer closed it.
    Closed,
    /// It changed, and nothing says that more follows.
    Changed,
    /// It is gone.
    Removed,
}

/// The names that changed and were not acted on yet.
#[derive(Debug, Default)]
pub struct Settle {
    names: BTreeMap<String, Unrest>,
    /// How often each was acted on lately.
    paces: BTreeMap<String, Pace>,
}

/// The unrest of one name.
#[derive(Clone, Copy, Debug)]
enum Unrest {
    Changing {
        first: Tick,
        last: Tick,
    },
    /// Before that it had been whole, and changed, since `whole`.
    Written {
        since: Tick,
        whole: Option<Tick>,
    },
    Gone {
        since: Tick,
    },
}

impl Unrest {
    fn after(before: Option<Self>, note: Note, now: Tick) -> Self {
        match (note, before) {
            (Note::Removed, _) => Self::Gone { since: now },
            // Also who is closed and written again without end is waited for so long and no longer.
            (Note::Writing, Some(Self::Changing { first, .. })) => {
                Self::Written { since: first, whole: Some(first) }
            }
            // Attributes change while somebody writes; only the close says that it is over.
            (Note::Writing | Note::Changed, Some(written @ Self::Written { .. })) => written,
            (Note::Writing, _) => Self::Written { since: now, whole: None },
            (Note::Changed | Note::Closed, Some(Self::Changing { first, .. }))
            | (Note::Closed, Some(Self::Written { whole: Some(first), .. })) => {
                Self::Changing { first, last: now }
            }
            (Note::Changed | Note::Closed, _) => Self::Changing { first: now, last: now },
        }
    }

    /// Only what goes away is never held up by what went before.
    fn ripe(self, pace: Pace) -> Tick {
        match self {
            Self::Changing { first, last } => (last + QUIET).min(first + LONGEST).max(pace.free_at()),
            Self::Written { since, .. } => (since + WRITING).max(pace.free_at()),
            Self::Gone { since } => since + GONE,
        }
    }
}

impl Settle {
    /// Notes a change.
    pub fn note(&mut self, name: &str, note: Note, now: Tick) {
        let before = self.names.get(name).copied();
        self.names.insert(name.to_owned(), Unrest::after(before, note, now));
    }

    /// Whether a change of this name waits.
    #[must_use]
    pub fn is_unsettled(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// When the next name is ripe.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.names.iter().map(|(name, unrest)| unrest.ripe(self.pace(name))).min()
    }

    fn pace(&self, name: &str) -> Pace {
        self.paces.get(name).copied().unwrap_or_default()
    }

    /// When the next change of this name is acted on, where it changes too often.
    #[must_use]
    pub fn held_until(&self, name: &str, now: Tick) -> Option<Tick> {
        Some(self.pace(name).free_at()).filter(|free_at| *free_at > now)
    }

    /// Takes out the names that are ripe.
    pub fn take_ripe(&mut self, now: Tick) -> Vec<String> {
        let ripe: Vec<String> = self
            .names
            .iter()
            .filter(|(name, unrest)| unrest.ripe(self.pace(name)) <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in &ripe {
            self.names.remove(name);
            self.paces.entry(name.clone()).or_default().begin(now);
        }
        self.paces.retain(|_, pace| !pace.is_forgotten(now));
        ripe
    }
}

#[cfg(test)]
mod tests {
    use super::Note::{Changed, Closed, Removed, Writing};
    use super::*;

    /// When a name becomes ripe after these notes, each with its time.
    fn ripe_times(notes: &[(u64, Note)]) -> Vec<u64> {
        let mut settle = Settle::default();
        let mut times = Vec::new();
        let mut notes = notes.iter().peekable();
        while notes.peek().is_some() || settle.next_deadline().is_some() {
            let deadline = settle.next_deadline().map(Tick::as_ms);
            match notes.peek() {
                Some((at, note)) if deadline.is_none_or(|deadline| *at < deadline) => {
                    settle.note("a.ini", *note, Tick::from_ms(*at));
                    notes.next();
                }
                _ => {
                    let at = deadline.unwrap();
                    assert_eq!(settle.take_ripe(Tick::from_ms(at)), ["a.ini"]);
                    times.push(at);
                }
            }
        }
        times
    }

    #[test]
    fn a_change_is_acted_on_once_and_in_time() {
        for (name, notes, expected) in [
            ("a touch", vec![(0, Changed), (0, Closed)], vec![20]),
            ("written at once", vec![(0, Writing), (1, Writing), (2, Closed)], vec![22]),
            ("renamed into place", vec![(5, Changed)], vec![25]),
            ("two edits within the quiet", vec![(0, Closed), (15, Closed)], vec![35]),
            ("two edits apart", vec![(0, Closed), (30, Closed)], vec![20, 50]),
            (
                "never quiet",
                vec![
                    (0, Closed),
                    (15, Closed),
                    (30, Closed),
                    (45, Closed),
                    (60, Closed),
                    (75, Closed),
                    (90, Closed),
                ],
                vec![100],
            ),
            ("written slowly", vec![(0, Writing), (400, Writing), (800, Writing), (900, Closed)], vec![920]),
            ("a writer that never closes", vec![(0, Writing), (500, Writing)], vec![1000]),
            (
                "written again and again",
                (0..10).flat_map(|n| [(n * 15, Writing), (n * 15 + 1, Closed)]).collect(),
                vec![101, 156],
            ),
            ("attributes while written", vec![(0, Writing), (10, Changed), (300, Closed)], vec![320]),
            ("removed", vec![(0, Removed)], vec![200]),
            ("replaced", vec![(0, Removed), (150, Writing), (151, Closed)], vec![171]),
            ("replaced by a slow writer", vec![(0, Removed), (150, Writing), (900, Closed)], vec![920]),
            ("replaced too late", vec![(0, Removed), (250, Closed)], vec![200, 270]),
            ("written, then removed", vec![(0, Writing), (10, Removed)], vec![210]),
            ("moved away and back", vec![(0, Removed), (1, Changed)], vec![21]),
        ] {
            assert_eq!(ripe_times(&notes), expected, "{name}");
        }
    }

    #[test]
    fn who_changes_without_end_is_acted_on_seldom_and_goes_at_once() {
        let touches: Vec<(u64, Note)> = (1000..1500).map(|n| (n * 100, Changed)).collect();
        let ripe = ripe_times(&touches);
        let (burst, paced) = ripe.split_at(10);
        assert_eq!(burst, (0..10).map(|n| 100_020 + n * 100).collect::<Vec<_>>());
        assert_eq!(paced, (1..=10).map(|n| 100_020 + n * 5000).collect::<Vec<_>>());
        let mut removed: Vec<(u64, Note)> = (1000..1020).map(|n| (n * 100, Changed)).collect();
        removed.push((102_000, Removed));
        assert_eq!(ripe_times(&removed).last(), Some(&102_200));
        let mut settle = Settle::default();
        settle.note("a.ini", Changed, Tick::from_ms(0));
        settle.take_ripe(Tick::from_ms(20));
        settle.note("b.ini", Changed, Tick::from_ms(60_000));
        settle.take_ripe(Tick::from_ms(60_020));
        assert_eq!(settle.paces.keys().collect::<Vec<_>>(), ["b.ini"], "what was long ago is forgotten");
    }

    #[test]
    fn names_do_not_wait_for_each_other() {
        let mut settle = Settle::default();
        settle.note("slow.ini", Writing, Tick::from_ms(0));
        settle.note("a.ini", Changed, Tick::from_ms(5));
        assert_eq!(settle.take_ripe(Tick::from_ms(24)), Vec::<String>::new());
        assert_eq!(settle.take_ripe(Tick::from_ms(25)), ["a.ini"]);
        assert!(settle.is_unsettled("slow.ini"));
        assert_eq!(settle.next_deadline(), Some(Tick::from_ms(1000)));
    }
}
