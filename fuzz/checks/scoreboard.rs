//! Shared memory that a vassal's workers write: whatever stands in it, the emperor's reader ends soon, stays inside,
//! and shows nothing that a terminal obeys.

use std::sync::atomic::Ordering;

use liege::api::counters::{totals, workers};
use liege::api::guard::{Access, Grant};
use liege::api::show::Moment;
use liege::api::sizes::Sizes;
use liege::stats::boards::Boards;
use liege::stats::scoreboard::Scoreboard;
use liege::sys::shared::SharedWords;
use liege::tick::Tick;

/// The words as they stand in the memory, which is so long that a small scoreboard fits.
const WORDS: usize = 1024;

/// Opens the memory as the emperor does, and shows all of it.
pub(crate) fn check(input: &[u8]) {
    let Ok(memory) = SharedWords::create("scoreboard", WORDS) else { return };
    for (word, bytes) in memory.words().iter().zip(input.chunks(8)) {
        let mut whole = [0; 8];
        whole.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
        word.store(u64::from_le_bytes(whole), Ordering::Relaxed);
    }
    let Ok(file) = memory.fd().try_clone_to_owned() else { return };
    let Ok(board) = Scoreboard::open(file, false) else { return };
    assert!(board.slots() * board.cores() <= WORDS);
    let boards = Boards::from(board);
    let sizes = Sizes::new();
    let moment = Moment {
        now: Tick::from_ms(0),
        now_us: u64::MAX,
        epoch_ms: 0,
        pid: 0,
        root: false,
        reader: &Access::from(Grant::Operate),
        sizes: &sizes,
        countdown: true,
    };
    let shown = workers(&boards, "a.ini", None, &moment);
    let totals = totals(&boards, None, &moment);
    assert_eq!(totals.workers, shown.len() as u64);
    assert_eq!(totals.busy, shown.iter().filter(|worker| !worker.running.is_empty()).count() as u64);
    let requests = shown.iter().flat_map(|worker| &worker.running).filter_map(|core| core.request.as_ref());
    for request in requests {
        assert!(!request.contains(char::is_control), "{request:?}");
    }
}
