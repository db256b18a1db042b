//! What outlives a slot, and a scoreboard: counters are cumulative, and kept when whoever counted is gone.

use std::sync::atomic::Ordering;

use super::scoreboard::{Field, Scoreboard, Slot, Total, slot_words};

impl Scoreboard {
    /// Adds what a slot, of this or another scoreboard, has counted to what is kept.
    pub fn keep(&self, slot: Slot<'_>) {
        self.add_total(Total::Requests, slot.get(Field::Requests));
        self.add_total(Total::TxBytes, slot.get(Field::TxBytes));
        self.add_total(Total::Exceptions, slot.get(Field::Exceptions));
        self.add_total(Total::RunningUs, slot.get(Field::RunningUs));
        self.keep_classes(slot);
    }

    /// Takes over what another scoreboard, whose place this one takes, has kept.
    pub fn inherit(&self, old: &Self) {
        for total in [
            Total::Requests,
            Total::TxBytes,
            Total::Exceptions,
            Total::RunningUs,
            Total::Threads,
            Total::Generation,
            Total::StartedEpochS,
            Total::LogLinesDropped,
        ] {
            self.set_total(total, old.total(total));
        }
        if let Some(attic) = old.attic() {
            self.keep_classes(attic);
            let own = self.attic();
            for field in [Field::Requests, Field::TxBytes, Field::RunningUs, Field::RouterErrors] {
                own.into_iter().for_each(|own| own.add(field, attic.get(field)));
            }
        }
    }

    /// Empties a slot whose worker is gone, keeping its counters in the totals.
    pub fn retire(&self, slot: usize) {
        self.hide_variables(slot);
        let Some(slot) = self.slot(slot) else { return };
        self.keep(slot);
        for word in slot.start..slot.start + slot_words(self.cores) {
            self.word(word).store(0, Ordering::Relaxed);
        }
    }
}
