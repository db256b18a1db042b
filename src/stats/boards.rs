//! The scoreboards of one instance: the newest, and those on which workers still count that were forked before it came.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use super::kept::{self, Kept};
use super::scoreboard::{Field, Scoreboard, Slot};
use super::sides::{Side, State};
use super::tally::Tally;

/// The most of one instance that another process looks at. A reload adds one at most, and the workers on the earlier ones
/// end soon. The instance itself knows all.
pub const BOARDS: usize = 8;
/// How often is read again what changes meanwhile, and after which pause: a hostile scoreboard always does, and costs its
/// reader some tenths of a millisecond.
const TRIES: usize = 4;
const PAUSE: Duration = Duration::from_micros(50);

/// The scoreboards. What goes for the whole instance stands on the newest; each worker is on exactly one.
#[derive(Clone, Debug)]
pub struct Boards {
    newest: Arc<Scoreboard>,
    earlier: Vec<Arc<Scoreboard>>,
}

impl Boards {
    /// The newest, and the earlier ones, each once.
    #[must_use]
    pub fn new(newest: Arc<Scoreboard>, earlier: impl IntoIterator<Item = Arc<Scoreboard>>) -> Self {
        let mut boards = Self { newest, earlier: Vec::new() };
        for board in earlier {
            if !boards.iter().any(|known| Arc::ptr_eq(known, &board)) {
                boards.earlier.push(board);
            }
        }
        boards
    }

    /// Opens those of another process for reading, the newest first; an earlier one that is none is not looked at.
    ///
    /// # Errors
    /// There is no newest one, or it cannot be opened.
    pub fn open(files: impl IntoIterator<Item = OwnedFd>) -> io::Result<Self> {
        let mut boards =
            files.into_iter().take(BOARDS).map(|file| Scoreboard::open(file, false).map(Arc::new));
        let newest = boards.next().ok_or_else(|| io::Error::other("no scoreboard came"))??;
        Ok(Self::new(newest, boards.filter_map(Result::ok)))
    }

    /// The newest.
    #[must_use]
    pub fn newest(&self) -> &Scoreboard {
        &self.newest
    }

    /// All of them, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Scoreboard>> {
        std::iter::once(&self.newest).chain(&self.earlier)
    }

    /// All slots.
    pub fn slots(&self) -> impl Iterator<Item = Slot<'_>> {
        self.iter().flat_map(|board| board.iter())
    }

    /// The descriptors of those that others look at, to be passed to them.
    pub fn share(&self) -> Vec<BorrowedFd<'_>> {
        self.iter().take(BOARDS).map(|board| board.share()).collect()
    }

    /// Their descriptors, the newest first.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.iter().map(|board| board.fd())
    }

    /// Requests answered by all workers, those that are gone included, and by the router.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let whole = self.now();
        let slots = whole.slots().chain(self.newest.attic()).map(|slot| slot.get(Field::Requests));
        slots.fold(whole.kept().requests, u64::saturating_add)
    }

    /// What counts now.
    #[must_use]
    pub fn now(&self) -> Whole<'_> {
        Whole { boards: self, state: self.newest.state() }
    }

    /// Reads what does not change meanwhile, as far as that can be had.
    pub fn whole<'a, T>(&'a self, read: impl Fn(Whole<'a>) -> T) -> T {
        for _ in 1..TRIES {
            let whole = self.now();
            let seen = read(whole);
            fence(Ordering::SeqCst);
            if self.newest.state() == whole.state {
                return seen;
            }
            // The master is at it right now.
            std::thread::sleep(PAUSE);
        }
        read(self.now())
    }

    /// The master: the worker in this slot of one of them is gone, and its counts go to what is kept, and to the tally of
    /// its number. An observer may still look at an earlier one as if it were the newest.
    pub fn retire(&self, of: &Arc<Scoreboard>, slot: usize, (number, tally): (u64, &Tally)) {
        let all: Vec<&Scoreboard> = self.iter().map(Arc::as_ref).collect();
        kept::retire(&all, (of, slot), |side| side.set_tally(number, tally));
    }

    /// The master: shows the tally of a number.
    pub fn set_tally(&self, number: u64, tally: &Tally) {
        self.iter().for_each(|board| board.set_tally(number, tally));
    }
}

/// What counts at one moment, on all scoreboards of an instance.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    boards: &'a Boards,
    state: State,
}

impl<'a> Whole<'a> {
    /// The newest scoreboard, for what has no part in changes.
    #[must_use]
    pub fn newest(self) -> &'a Scoreboard {
        &self.boards.newest
    }

    /// What workers that are gone have counted.
    #[must_use]
    pub fn kept(self) -> Kept {
        self.side().map(Side::kept).unwrap_or_default()
    }

    /// What a number has counted in lives that are over, if it has a tally.
    #[must_use]
    pub fn tally(self, number: u64) -> Option<Tally> {
        self.side()?.tally(number)
    }

    /// All slots whose counts are not yet among what is kept.
    pub fn slots(self) -> impl Iterator<Item = Slot<'a>> {
        self.boards.iter().flat_map(move |board| board.counting(self.state))
    }

    fn side(self) -> Option<Side<'a>> {
        self.newest().side(self.state)
    }
}

impl From<Scoreboard> for Boards {
    fn from(only: Scoreboard) -> Self {
        Self::new(Arc::new(only), [])
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn board(requests: u64) -> Arc<Scoreboard> {
        let board = Scoreboard::create(2, 1).unwrap();
        board.slot(0).unwrap().set(Field::WorkerId, 1);
        board.slot(0).unwrap().set(Field::Requests, requests);
        Arc::new(board)
    }

    fn on(board: &Arc<Scoreboard>) -> Boards {
        Boards::new(Arc::clone(board), [])
    }

    #[test]
    fn whoever_looks_at_the_newest_or_only_at_an_earlier_one_sees_no_count_go_back() {
        let (first, second, third) = (board(5), board(70), board(900));
        let all = [&first, &second].map(Arc::clone);
        let boards = Boards::new(Arc::clone(&third), all);
        assert_eq!(boards.requests(), 975);
        let mut tally = Tally { spawns: 1, ..Tally::default() };
        tally.add(second.slot(0).unwrap());
        boards.iter().for_each(|board| board.set_tallied(1));
        boards.retire(&second, 0, (1, &tally));
        assert_eq!(
            (boards.requests(), boards.slots().filter(|s| s.get(Field::Requests) > 0).count()),
            (975, 2)
        );
        assert_eq!((on(&first).requests(), on(&second).requests()), (75, 70));
        assert!(boards.iter().all(|board| on(board).now().tally(1).unwrap().requests == 70));
    }

    #[test]
    fn each_is_known_once_and_others_look_at_some() {
        let newest = board(1);
        let again = std::iter::repeat_n(Arc::clone(&newest), 3);
        let boards = Boards::new(Arc::clone(&newest), again.chain((0..20).map(|_| board(1))));
        assert_eq!((boards.iter().count(), boards.requests()), (21, 21));
        let shared = boards.share().into_iter().map(|fd| fd.try_clone_to_owned().unwrap());
        let seen = Boards::open(shared).unwrap();
        assert_eq!((seen.iter().count(), seen.requests()), (BOARDS, 8));
        let files = |board: &Arc<Scoreboard>| board.fd().try_clone_to_owned().unwrap();
        let other = crate::sys::memfd::fixed("other", 800).unwrap();
        let opened = Boards::open([files(&newest), other, files(&board(2))]).unwrap();
        assert_eq!(opened.requests(), 3);
        assert!(Boards::open([]).is_err());
        assert!(Boards::open([crate::sys::memfd::fixed("other", 800).unwrap()]).is_err());
        // Who ends on one that others do not look at is counted by what they do.
        let last = Arc::clone(boards.iter().last().unwrap());
        boards.retire(&last, 0, (1, &Tally::default()));
        assert_eq!((boards.requests(), seen.requests()), (21, 9));
    }

    #[test]
    fn what_changes_is_read_again_but_not_for_ever() {
        let boards = Boards::from(Scoreboard::create(1, 1).unwrap());
        let reads = Cell::new(0);
        let read = || reads.replace(reads.get() + 1);
        let change = || boards.set_tally(1, &Tally::default());
        boards.whole(|_| read());
        assert_eq!(reads.take(), 1);
        boards.whole(|_| {
            if read() == 0 {
                change()
            }
        });
        assert_eq!(reads.take(), 2);
        boards.whole(|_| {
            read();
            change();
        });
        assert_eq!(reads.take(), TRIES, "it gives up");
        boards.newest().turn(Some(0), |_| ());
        boards.whole(|_| read());
        assert_eq!(reads.take(), 1, "a master that stands still in the midst of a change holds nobody up");
        boards.newest().memory.words().iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        boards.whole(|_| read());
        assert_eq!(reads.take(), 1, "nor does garbage");
    }
}
