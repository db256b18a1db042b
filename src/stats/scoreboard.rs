//! The scoreboard: a slot for each worker with a core for each of its threads, in shared memory, atomics only.
//!
//! The master creates it, workers write their own slot, the master, the stats server and the emperor read. A reader
//! takes nothing for granted: sizes come from its own arithmetic on the sealed length, values are clamped. Counters
//! are cumulative and never reset; when a slot changes hands the master adds its counters to what is kept first (see
//! [`Scoreboard::retire`]).

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use super::classes::HAS_ATTIC;
use super::sides::sides_words;
use super::variables::{self, HAS_VARIABLES, PLACE_WORDS};
use crate::sys::shared::SharedWords;

const MAGIC: u64 = u64::from_le_bytes(*b"liegeSB1");
pub(super) const HEADER_WORDS: usize = 16;
pub(super) const SLOT_WORDS: usize = 32;
const CORE_WORDS: usize = 48;
pub(super) const TEXT_WORDS: usize = 32;
pub(super) const TEXT_START: usize = CORE_WORDS - TEXT_WORDS;
/// The most bytes of method and path that a core shows; longer ones are clipped.
pub const TEXT_BYTES: usize = TEXT_WORDS * 8;
const MAX_SLOTS: usize = 16_384;
const MAX_CORES: usize = 4_096;
/// The largest scoreboard that an observer looks at, 256 MiB: hundreds of thousands of threads.
const OBSERVED_WORDS: usize = 1 << 25;

/// [`Field::Begun`] of a worker that accepts …
const BEGUN: u64 = 1;
/// … of one that never shall …
const FORBIDDEN: u64 = 2;
/// … and of one that shall no more.
const DISMISSED: u64 = 3;

/// A number of the whole instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Total {
    /// Threads of each worker of the generation that serves: there may be places for more. 0: nobody has said.
    Threads = 3,
    /// The generation that serves.
    Generation = 8,
    /// When the master started, seconds since the epoch.
    StartedEpochS = 9,
    /// Log lines that were dropped because nobody read them.
    LogLinesDropped = 10,
}

/// A number of one slot. Those above `Pid` to `WorkerId` are written by the master, the rest by the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// The worker's number, 1 to `processes`; 0: the slot is empty.
    WorkerId = 0,
    /// Its pid; 0: none.
    Pid = 1,
    /// Its generation.
    Generation = 2,
    /// When it was last forked, seconds since the epoch.
    LastSpawnEpochS = 3,
    /// How often this worker number was spawned.
    RespawnCount = 4,
    /// How often harakiri ended it.
    HarakiriCount = 5,
    /// 1 while it accepts requests.
    Accepting = 6,
    /// Requests answered.
    Requests = 7,
    /// Bytes sent.
    TxBytes = 8,
    /// Requests that ended in an exception.
    Exceptions = 9,
    /// Microseconds spent in requests.
    RunningUs = 10,
    /// uWSGI's average response time in microseconds: new = (old + last) / 2.
    AverageUs = 11,
    /// Resident size in bytes, as last measured.
    RssBytes = 12,
    /// Virtual size in bytes, as last measured.
    VszBytes = 13,
    /// Connections that the worker holds open; in the attic: those of the router that are engaged.
    Connections = 14,
    /// Milliseconds the application took to load.
    StartupMs = 15,
    // 16 to 27: requests by how long they took.
    /// Microseconds that requests waited for a thread.
    QueuedUs = 28,
    /// Whether its worker may accept: see [`Slot::begin`], [`Slot::forbid`] and [`Slot::dismiss`].
    Begun = 29,
    /// Only in the attic: errors that the router answered itself.
    RouterErrors = 30,
    /// Only in the attic: requests that are at servers of `http-to`.
    Forwarding = 31,
}

/// A number of one core (thread) of a slot, written by the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum CoreField {
    /// 1 while in a request.
    InRequest = 0,
    /// When the request started, microseconds on the monotonic clock.
    StartedUs = 1,
    /// When the request started, seconds since the epoch.
    StartedEpochS = 2,
    /// Monotonic milliseconds at which harakiri strikes; 0: never.
    DeadlineMs = 3,
    /// Requests answered by this core.
    Requests = 4,
    /// Writes to clients that failed.
    WriteErrors = 5,
    /// Reads from clients that failed.
    ReadErrors = 6,
    /// Odd while the text is being written.
    TextSequence = 7,
    /// Bytes of text.
    TextLength = 8,
    /// Files that were served without the application.
    StaticRequests = 9,
    /// How often a rule of the internal routing had the last word.
    RoutedRequests = 10,
    /// Only in the first core: connections of the worker that are engaged (see [`Slot::engage`]).
    Engaged = 11,
}

/// The scoreboard of one instance.
#[derive(Debug)]
pub struct Scoreboard {
    pub(super) memory: SharedWords,
    pub(super) slots: usize,
    pub(super) cores: usize,
    /// There are places for the variables of requests.
    pub(super) variables: bool,
}

impl Scoreboard {
    /// Makes an empty scoreboard without places for the variables of requests.
    ///
    /// # Errors
    /// Creating or mapping the memory, or a size beyond 16384 slots or 4096 cores.
    pub fn create(slots: usize, cores: usize) -> io::Result<Self> {
        Self::create_with(slots, cores, false)
    }

    /// Makes an empty scoreboard, with places for the variables of requests or without.
    ///
    /// # Errors
    /// Creating or mapping the memory, or a size beyond 16384 slots or 4096 cores.
    pub fn create_with(slots: usize, cores: usize, variables: bool) -> io::Result<Self> {
        if slots == 0 || slots > MAX_SLOTS || cores == 0 || cores > MAX_CORES {
            return Err(invalid());
        }
        let variable_words = if variables { slots * cores * PLACE_WORDS } else { 0 };
        let words = words_for(slots + 1, cores) + variable_words + sides_words(slots, cores);
        let memory = SharedWords::create("liege-scoreboard", words)?;
        let board = Self { memory, slots, cores, variables };
        board.word(HAS_ATTIC).store(1, Ordering::Relaxed);
        board.share();
        Ok(board)
    }

    /// Opens the scoreboard of another process: `writable` for a worker, read-only for an observer, who must call
    /// nothing that stores.
    ///
    /// # Errors
    /// Mapping, or contents that are not a scoreboard of a size that fits, or, for an observer, one of more than
    /// 256 MiB.
    pub fn open(file: OwnedFd, writable: bool) -> io::Result<Self> {
        let memory = SharedWords::map(file, writable, if writable { usize::MAX } else { OBSERVED_WORDS })?;
        let word = |at: usize| memory.words().get(at).map_or(0, |w| w.load(Ordering::Acquire));
        let slots = usize::try_from(word(1)).unwrap_or(usize::MAX);
        let cores = usize::try_from(word(2)).unwrap_or(usize::MAX);
        let variables = word(HAS_VARIABLES) == 1;
        let room = memory.words().len();
        let fits = word(0) == MAGIC
            && (1..=MAX_SLOTS).contains(&slots)
            && (1..=MAX_CORES).contains(&cores)
            && room >= words_for(slots, cores)
            && (!variables || room >= words_for(slots + 1, cores) + slots * cores * PLACE_WORDS);
        if fits { Ok(Self { memory, slots, cores, variables }) } else { Err(invalid()) }
    }

    /// The descriptor to pass to a process that opens it, with a header that is as it was made: whatever an
    /// application wrote over it, its vassal can be reloaded.
    pub fn share(&self) -> BorrowedFd<'_> {
        self.word(1).store(as_u64(self.slots), Ordering::Relaxed);
        self.word(2).store(as_u64(self.cores), Ordering::Relaxed);
        variables::note(self);
        self.word(0).store(MAGIC, Ordering::Release);
        self.fd()
    }

    /// The descriptor itself.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// How many slots there are.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// How many cores each slot has.
    #[must_use]
    pub const fn cores(&self) -> usize {
        self.cores
    }

    /// A slot, by its number from 0.
    #[must_use]
    pub fn slot(&self, slot: usize) -> Option<Slot<'_>> {
        (slot < self.slots)
            .then_some(Slot { board: self, start: HEADER_WORDS + slot * slot_words(self.cores) })
    }

    /// All slots.
    pub fn iter(&self) -> impl Iterator<Item = Slot<'_>> {
        (0..self.slots).filter_map(|n| self.slot(n))
    }

    /// A number of the whole instance.
    #[must_use]
    pub fn total(&self, total: Total) -> u64 {
        self.word(total as usize).load(Ordering::Relaxed)
    }

    /// Sets a number of the whole instance.
    pub fn set_total(&self, total: Total, value: u64) {
        self.word(total as usize).store(value, Ordering::Relaxed);
    }

    /// Adds to a number of the whole instance.
    pub fn add_total(&self, total: Total, value: u64) {
        self.word(total as usize).fetch_add(value, Ordering::Relaxed);
    }

    /// Requests answered by all workers, those of retired slots included, and for the router.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let state = self.state();
        let slots = self.counting(state).chain(self.attic()).map(|slot| slot.get(Field::Requests));
        slots.fold(self.side(state).map_or(0, |side| side.kept().requests), u64::saturating_add)
    }

    pub(super) fn word(&self, at: usize) -> &AtomicU64 {
        static NOWHERE: AtomicU64 = AtomicU64::new(0);
        // In bounds by construction; a wrong index must not take a supervisor down.
        self.memory.words().get(at).unwrap_or(&NOWHERE)
    }
}

/// One worker's place.
#[derive(Clone, Copy, Debug)]
pub struct Slot<'a> {
    pub(super) board: &'a Scoreboard,
    pub(super) start: usize,
}

impl<'a> Slot<'a> {
    /// A number.
    #[must_use]
    pub fn get(self, field: Field) -> u64 {
        self.board.word(self.start + field as usize).load(Ordering::Relaxed)
    }

    /// Sets a number.
    pub fn set(self, field: Field, value: u64) {
        self.board.word(self.start + field as usize).store(value, Ordering::Relaxed);
    }

    /// Adds to a number.
    pub fn add(self, field: Field, value: u64) {
        self.board.word(self.start + field as usize).fetch_add(value, Ordering::Relaxed);
    }

    /// The worker begins to accept; `false`: its master has decided that it never shall, and kills it.
    #[must_use]
    pub fn begin(self) -> bool {
        self.settle(BEGUN)
    }

    /// Its master decides that the worker never accepts; `false`: it has begun, and may have requests.
    #[must_use]
    pub fn forbid(self) -> bool {
        self.settle(FORBIDDEN)
    }

    /// Its master decides that a worker that has begun accepts no more. It is told so, too, but while it is in the
    /// application it does not hear.
    pub fn dismiss(self) {
        let word = self.board.word(self.start + Field::Begun as usize);
        let _ = word.compare_exchange(BEGUN, DISMISSED, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Whether its master has decided that it accepts no more.
    #[must_use]
    pub fn is_dismissed(self) -> bool {
        self.get(Field::Begun) == DISMISSED
    }

    /// Whoever comes first decides.
    fn settle(self, begun: u64) -> bool {
        let word = self.board.word(self.start + Field::Begun as usize);
        word.compare_exchange(0, begun, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|was| was == begun, |_| true)
    }

    /// A core, by its number from 0.
    #[must_use]
    pub fn core(self, core: usize) -> Option<Core<'a>> {
        let slot = (self.start - HEADER_WORDS) / slot_words(self.board.cores);
        (core < self.board.cores).then_some(Core {
            board: self.board,
            start: self.start + SLOT_WORDS + core * CORE_WORDS,
            number: slot * self.board.cores + core,
        })
    }

    /// How many cores it has.
    #[must_use]
    pub const fn cores(self) -> usize {
        self.board.cores
    }

    /// All cores.
    pub fn iter_cores(self) -> impl Iterator<Item = Core<'a>> {
        (0..self.board.cores).filter_map(move |n| self.core(n))
    }

    /// Whether a request runs in it.
    #[must_use]
    pub fn is_busy(self) -> bool {
        self.iter_cores().any(|c| c.get(CoreField::InRequest) == 1)
    }

    /// The earliest harakiri deadline of its running requests, in monotonic milliseconds.
    #[must_use]
    pub fn deadline_ms(self) -> Option<u64> {
        self.iter_cores()
            .filter(|c| c.get(CoreField::InRequest) == 1)
            .map(|c| c.get(CoreField::DeadlineMs))
            .filter(|&deadline| deadline != 0)
            .min()
    }
}

/// One thread of a worker.
#[derive(Clone, Copy, Debug)]
pub struct Core<'a> {
    pub(super) board: &'a Scoreboard,
    pub(super) start: usize,
    /// Which of all the cores it is.
    pub(super) number: usize,
}

impl Core<'_> {
    /// A number.
    #[must_use]
    pub fn get(self, field: CoreField) -> u64 {
        self.board.word(self.start + field as usize).load(Ordering::Relaxed)
    }

    /// Sets a number.
    pub fn set(self, field: CoreField, value: u64) {
        self.board.word(self.start + field as usize).store(value, Ordering::Relaxed);
    }

    /// Adds to a number.
    pub fn add(self, field: CoreField, value: u64) {
        self.board.word(self.start + field as usize).fetch_add(value, Ordering::Relaxed);
    }
}

pub(super) const fn slot_words(cores: usize) -> usize {
    SLOT_WORDS + cores * CORE_WORDS
}

pub(super) const fn words_for(slots: usize, cores: usize) -> usize {
    HEADER_WORDS + slots * slot_words(cores)
}

pub(super) fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a scoreboard of a size that fits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_worker_accepts_is_decided_once() {
        let board = Scoreboard::create(2, 1).unwrap();
        let (begun, forbidden) = (board.slot(0).unwrap(), board.slot(1).unwrap());
        assert_eq!((begun.begin(), begun.forbid(), begun.begin()), (true, false, true));
        assert_eq!((forbidden.forbid(), forbidden.begin(), forbidden.forbid()), (true, false, true));
        begun.dismiss();
        forbidden.dismiss();
        assert_eq!((begun.is_dismissed(), begun.forbid(), forbidden.is_dismissed()), (true, false, false));
        board.retire(1);
        assert!(forbidden.begin());
    }

    #[test]
    fn what_a_worker_writes_an_observer_reads() {
        let board = Scoreboard::create(4, 2).unwrap();
        let observer = Scoreboard::open(board.fd().try_clone_to_owned().unwrap(), false).unwrap();
        let slot = board.slot(3).unwrap();
        slot.set(Field::Requests, 7);
        slot.core(1).unwrap().set(CoreField::InRequest, 1);
        slot.core(1).unwrap().set(CoreField::DeadlineMs, 99);
        for path in ["/", "/a/path", &"/x".repeat(400)] {
            slot.core(1).unwrap().set_text(b"GET", path.as_bytes());
            let seen = observer.slot(3).unwrap().core(1).unwrap().text().unwrap();
            let mut expected = format!("GET {path}").into_bytes();
            expected.truncate(TEXT_BYTES);
            assert_eq!(seen, expected);
        }
        assert_eq!(observer.slot(3).unwrap().deadline_ms(), Some(99));
        assert!(observer.slot(3).unwrap().is_busy());
        assert!(!observer.slot(2).unwrap().is_busy());
        assert!(observer.slot(4).is_none());
    }

    #[test]
    fn retiring_a_slot_keeps_its_counters_in_the_total() {
        let board = Scoreboard::create(2, 1).unwrap();
        board.slot(0).unwrap().set(Field::Requests, 5);
        board.slot(1).unwrap().set(Field::Requests, 6);
        board.retire(0);
        assert_eq!(board.requests(), 11);
        assert_eq!(board.slot(0).unwrap().get(Field::Requests), 0);
    }

    #[test]
    fn what_is_shared_again_can_be_opened_again() {
        let board = Scoreboard::create(2, 1).unwrap();
        board.memory.words().iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        let open = |fd: BorrowedFd<'_>| Scoreboard::open(fd.try_clone_to_owned().unwrap(), false);
        assert!(open(board.fd()).is_err());
        assert_eq!(open(board.share()).unwrap().slots(), 2);
    }

    #[test]
    fn an_observer_gives_a_hostile_scoreboard_few_of_its_addresses() {
        for (cores, seen) in [(1, true), (100, false)] {
            // Nothing but holes: it costs its sender nothing.
            let board = Scoreboard::create(16_000, cores).unwrap();
            let open =
                |writable| Scoreboard::open(board.fd().try_clone_to_owned().unwrap(), writable).is_ok();
            assert_eq!((open(true), open(false)), (true, seen), "{cores} cores");
        }
    }

    #[test]
    fn garbage_is_not_a_scoreboard() {
        let words = SharedWords::create("garbage", 100).unwrap();
        let open = || Scoreboard::open(words.fd().try_clone_to_owned().unwrap(), false);
        assert!(open().is_err());
        words.words()[0].store(MAGIC, Ordering::Relaxed);
        for (slots, cores) in [(0, 1), (1, 0), (1, 5000), (100, 100), (u64::MAX, u64::MAX)] {
            words.words()[1].store(slots, Ordering::Relaxed);
            words.words()[2].store(cores, Ordering::Relaxed);
            assert!(open().is_err(), "{slots} slots of {cores} cores in 100 words");
        }
    }
}
