//! How the master learns that workers are busy without looking: it leaves a number on the scoreboard, and whoever is
//! about to run a request, and finds that so many do, tells it.

use std::sync::atomic::{Ordering, fence};

use super::scoreboard::{Field, Scoreboard};

/// A word of the header: so many workers must be busy; 0: nobody looks out.
const LOOKOUT: usize = 12;

impl Scoreboard {
    /// The master: have a worker tell when so many are busy. What began before, it sees itself after this.
    pub fn look_out(&self, busy: u64) {
        self.word(LOOKOUT).store(busy, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// A worker whose request is on the scoreboard: whether to tell the master, which of several only one does.
    #[must_use]
    pub fn is_to_tell(&self) -> bool {
        fence(Ordering::SeqCst);
        let word = self.word(LOOKOUT);
        let wanted = word.load(Ordering::Relaxed);
        if wanted == 0 {
            return false;
        }
        let accepting = || self.iter().filter(|slot| slot.get(Field::Accepting) == 1);
        let busy = accepting().filter(|slot| slot.is_busy()).count();
        // After a change of scoreboards some workers may be on another one.
        let wanted_here = usize::try_from(wanted).unwrap_or(usize::MAX).min(accepting().count());
        wanted != u64::from(u32::MAX)
            && busy >= wanted_here
            && word.compare_exchange(wanted, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scoreboard::CoreField;
    use super::*;

    #[test]
    fn one_worker_tells_when_so_many_are_busy() {
        let board = Scoreboard::create(4, 2).unwrap();
        for slot in 0..3 {
            board.slot(slot).unwrap().set(Field::Accepting, 1);
        }
        let busy = |slot: usize| board.slot(slot).unwrap().core(1).unwrap().set(CoreField::InRequest, 1);
        busy(0);
        assert!(!board.is_to_tell(), "nobody looks out");
        board.look_out(2);
        assert!(!board.is_to_tell());
        // It finishes.
        busy(3);
        assert!(!board.is_to_tell());
        busy(1);
        assert!(board.is_to_tell());
        assert!(!board.is_to_tell(), "it was told");
        board.look_out(u32::MAX.into());
        busy(2);
        assert!(!board.is_to_tell());
        board.look_out(9);
        assert!(board.is_to_tell(), "there are no more");
    }
}
