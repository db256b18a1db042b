//! What the router counts of its own, in the attic: requests that servers of `http-to` answered, and answers that it had to
//! give itself.

use super::scoreboard::{Field, Scoreboard};

impl Scoreboard {
    /// The router: a server has answered a request, with so many bytes, in so many microseconds.
    pub fn count_forwarded(&self, tx_bytes: u64, taken_us: u64) {
        let Some(attic) = self.attic() else { return };
        attic.add(Field::Requests, 1);
        attic.add(Field::TxBytes, tx_bytes);
        attic.add(Field::RunningUs, taken_us);
        attic.classify(taken_us);
    }

    /// The router: a client got an error, because no worker or server answered.
    pub fn count_router_error(&self) {
        self.attic().into_iter().for_each(|attic| attic.add(Field::RouterErrors, 1));
    }

    /// How many requests are at servers of `http-to` now. There is one router at a time: it says this, or the master when
    /// it is gone.
    pub fn set_forwarding(&self, requests: u64) {
        self.attic().into_iter().for_each(|attic| attic.set(Field::Forwarding, requests));
    }

    /// What the router said of itself.
    #[must_use]
    pub fn of_router(&self, field: Field) -> u64 {
        self.attic().map_or(0, |attic| attic.get(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_router_counts_outlives_scoreboards() {
        let board = Scoreboard::create(2, 1).unwrap();
        board.slot(0).unwrap().set(Field::Requests, 5);
        board.count_forwarded(100, 2000);
        board.count_forwarded(50, 99_000_000);
        board.count_router_error();
        board.set_forwarding(3);
        board.retire(0);
        let larger = Scoreboard::create(3, 1).unwrap();
        larger.inherit(&board);
        let attic = larger.attic().unwrap();
        let fields =
            [Field::Requests, Field::TxBytes, Field::RunningUs, Field::RouterErrors, Field::Forwarding];
        // How many are under way, the router says itself.
        assert_eq!(fields.map(|field| attic.get(field)), [2, 150, 99_002_000, 1, 0]);
        assert_eq!((larger.requests(), larger.kept().requests, attic.classes()[1]), (7, 5, 1));
    }
}
