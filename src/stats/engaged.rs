//! Connections that are engaged: their clients have connected and are heard for the first time, send a request, or take an
//! answer. No thread is busy with them, and yet their instance is not at rest.

use super::scoreboard::{CoreField, Field, Scoreboard, Slot};

impl Slot<'_> {
    /// The worker: one connection more is engaged, or one less.
    pub fn engage(self, more: bool) {
        if let Some(core) = self.core(0) {
            core.add(CoreField::Engaged, if more { 1 } else { u64::MAX });
        }
    }

    /// Whether the worker has connections that are engaged.
    #[must_use]
    pub fn is_engaged(self) -> bool {
        self.core(0).is_some_and(|core| core.get(CoreField::Engaged) > 0)
    }
}

impl Scoreboard {
    /// So many connections of the router are engaged. It says this, or the master when it is gone.
    pub fn set_engaged(&self, connections: u64) {
        self.attic().into_iter().for_each(|attic| attic.set(Field::Connections, connections));
    }

    /// Whether the router has connections that are engaged.
    #[must_use]
    pub fn is_router_engaged(&self) -> bool {
        self.of_router(Field::Connections) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_engaged_is_so_until_the_last_one_is_not() {
        let board = Scoreboard::create(2, 2).unwrap();
        let slot = board.slot(1).unwrap();
        let engaged: Vec<bool> = [true, true, false, false]
            .into_iter()
            .map(|more| {
                slot.engage(more);
                slot.is_engaged()
            })
            .collect();
        assert_eq!(engaged, [true, true, true, false]);
        slot.engage(true);
        board.retire(1);
        assert!(!slot.is_engaged() && !board.is_router_engaged());
        board.set_engaged(3);
        assert!(board.is_router_engaged() && !slot.is_engaged());
    }
}
