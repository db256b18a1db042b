//! How many sockets the service manager keeps: it may have been given less room than the emperor is told, and says nothing
//! of what it throws away. So it is asked, with what can be seen to be thrown away.

/// How many are asked for at a time: where there is room for these there is room for any vassal.
const ASKED: usize = super::store::OF_ONE;

/// What is known of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What the emperor is told.
    told: usize,
    /// So many were there at a time.
    fits: usize,
    /// There is no room for more than these.
    most: usize,
}

impl Room {
    /// For so many, as the emperor is told.
    #[must_use]
    pub const fn new(told: usize) -> Self {
        Self { told, fits: 0, most: told }
    }

    /// How many may be stored now. Before it is known for sure how many there is room for, a place is left to ask.
    #[must_use]
    pub const fn usable(&self) -> usize {
        match self.fits == self.most {
            true => self.most,
            false if self.is_as_told() => self.most.saturating_sub(1),
            false => self.fits.midpoint(self.most),
        }
    }

    /// For how many more it is to be asked while so many are stored; 0: what matters is known.
    #[must_use]
    pub fn question(&self, stored: usize) -> usize {
        let is_known = stored < self.fits || self.fits == self.most;
        if is_known { 0 } else { ASKED.min(self.most.saturating_sub(stored)) }
    }

    /// It was asked for so many more while others were stored, and has taken these.
    pub fn answer(&mut self, stored: usize, asked: usize, taken: usize) {
        if taken > 0 {
            self.fits = self.fits.max(stored.saturating_add(taken).min(self.most));
        }
        if taken < asked {
            self.most = self.most.min(stored.saturating_add(taken)).max(self.fits);
        }
    }

    /// Nothing speaks against what the emperor is told.
    #[must_use]
    pub const fn is_as_told(&self) -> bool {
        self.most == self.told
    }

    /// What the emperor is told.
    #[must_use]
    pub const fn told(&self) -> usize {
        self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_out_how_many_there_is_room_for() {
        for (told, real, wanted, usable, as_told) in [
            (100, 100_usize, 3, 99, true),
            (100, 4096, 3, 99, true),
            (100, 100, 100, 100, true),
            (100, 100, 500, 100, true),
            (4096, 4096, 10, 4095, true),
            (4096, 100, 10, 4095, true),
            (4096, 100, 95, 100, false),
            (4096, 100, 100, 100, false),
            (4096, 100, 4096, 100, false),
            (4096, 0, 4096, 0, false),
            (4096, 1, 2, 1, false),
            (3, 2, 3, 2, false),
            (1, 1, 1, 1, true),
            (1, 0, 1, 0, false),
        ] {
            let mut room = Room::new(told);
            let mut rounds = 0;
            loop {
                let stored = wanted.min(room.usable());
                let asked = room.question(stored);
                if asked == 0 {
                    break;
                }
                room.answer(stored, asked, asked.min(real.saturating_sub(stored)));
                rounds += 1;
            }
            let what = format!("told {told}, real {real}, wanted {wanted}, {rounds} rounds");
            assert_eq!(room.usable(), usable, "{what}");
            assert_eq!(room.is_as_told(), as_told, "{what}");
            assert!(rounds <= 13 && (real < told || rounds == 1), "{what}");
        }
    }

    #[test]
    fn nothing_is_asked_while_there_is_room_for_sure() {
        let mut room = Room::new(100);
        room.answer(10, room.question(10), 16);
        for (stored, asked) in [(0, 0), (25, 0), (26, 16), (90, 10)] {
            assert_eq!(room.question(stored), asked, "{stored}");
        }
        // Late or odd answers take nothing back.
        room.answer(3, 16, 0);
        assert_eq!((room.usable(), room.question(26)), (26, 0));
        assert_eq!(Room::new(0).question(0), 0);
    }
}
