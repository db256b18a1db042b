//! Scoreboards as views. The memory is written by a vassal, so it is untrusted: bounded, clamped, escaped.

use super::guard::Grant;
use super::show::rfc3339;
use super::views::{Running, Totals, Worker, WorkerState};
use crate::stats::scoreboard::{CoreField, Field, Scoreboard, Slot, Total};
use crate::sys::own;
use crate::trace::escaped;

/// How many threads of one vassal are looked at, so that a hostile scoreboard costs the emperor no time.
const CORES_LIMIT: usize = 16_384;
/// For how many processes of one vassal the kernel is asked how large they are.
const SIZES_LIMIT: usize = 512;

/// The counters of the instance of this master, workers that are gone included.
#[must_use]
pub fn totals(board: &Scoreboard, master: Option<u32>) -> Totals {
    let mut totals = Totals {
        requests: board.total(Total::Requests),
        exceptions: board.total(Total::Exceptions),
        tx_bytes: board.total(Total::TxBytes),
        running_us: board.total(Total::RunningUs),
        log_lines_dropped: board.total(Total::LogLinesDropped),
        ..Totals::default()
    };
    for (number, slot) in slots(board).enumerate() {
        let one = Totals {
            workers: 1,
            busy: u64::from(slot.is_busy()),
            requests: slot.get(Field::Requests),
            exceptions: slot.get(Field::Exceptions),
            tx_bytes: slot.get(Field::TxBytes),
            running_us: slot.get(Field::RunningUs),
            rss_bytes: size(number, slot, master).1,
            log_lines_dropped: 0,
        };
        totals = sum(&totals, &one);
    }
    totals
}

/// Both together.
#[must_use]
pub fn sum(a: &Totals, b: &Totals) -> Totals {
    Totals {
        workers: a.workers.saturating_add(b.workers),
        busy: a.busy.saturating_add(b.busy),
        requests: a.requests.saturating_add(b.requests),
        exceptions: a.exceptions.saturating_add(b.exceptions),
        tx_bytes: a.tx_bytes.saturating_add(b.tx_bytes),
        running_us: a.running_us.saturating_add(b.running_us),
        rss_bytes: a.rss_bytes.saturating_add(b.rss_bytes),
        log_lines_dropped: a.log_lines_dropped.saturating_add(b.log_lines_dropped),
    }
}

/// The workers of this master, by number and generation.
#[must_use]
pub fn workers(board: &Scoreboard, master: Option<u32>, now_us: u64, grant: Grant) -> Vec<Worker> {
    let all = slots(board).enumerate();
    let mut workers: Vec<Worker> =
        all.map(|(number, slot)| worker(slot, size(number, slot, master), now_us, grant)).collect();
    workers.sort_by_key(|worker| (worker.id, worker.generation));
    workers
}

/// The slots in use, as far as they are looked at.
fn slots(board: &Scoreboard) -> impl Iterator<Item = Slot<'_>> {
    let limit = CORES_LIMIT / board.cores().max(1);
    board.iter().take(limit.max(1)).filter(|slot| slot.get(Field::WorkerId) != 0)
}

/// Virtual and resident size of a worker, by the kernel. The pid is the vassal's word: only processes of the master's
/// group are asked for.
fn size(number: usize, slot: Slot<'_>, master: Option<u32>) -> (u64, u64) {
    let pid = u32::try_from(slot.get(Field::Pid)).ok().filter(|pid| *pid > 0 && number < SIZES_LIMIT);
    let own = pid.filter(|pid| master.is_some() && own::group_of(*pid) == master);
    own.and_then(own::size_of).unwrap_or_default()
}

fn worker(slot: Slot<'_>, (vsz_bytes, rss_bytes): (u64, u64), now_us: u64, grant: Grant) -> Worker {
    let running = running(slot, now_us, grant);
    Worker {
        id: slot.get(Field::WorkerId),
        pid: slot.get(Field::Pid),
        generation: slot.get(Field::Generation),
        state: match (running.is_empty(), slot.get(Field::Accepting)) {
            (false, _) => WorkerState::Busy,
            (true, 1) => WorkerState::Idle,
            (true, _) => WorkerState::NotAccepting,
        },
        since: rfc3339(slot.get(Field::LastSpawnEpochS).saturating_mul(1000)),
        requests: slot.get(Field::Requests),
        exceptions: slot.get(Field::Exceptions),
        tx_bytes: slot.get(Field::TxBytes),
        running_us: slot.get(Field::RunningUs),
        average_us: slot.get(Field::AverageUs),
        rss_bytes,
        vsz_bytes,
        connections: slot.get(Field::Connections),
        startup_ms: slot.get(Field::StartupMs),
        spawns: slot.get(Field::RespawnCount),
        harakiris: slot.get(Field::HarakiriCount),
        running,
    }
}

fn running(slot: Slot<'_>, now_us: u64, grant: Grant) -> Vec<Running> {
    (0_u64..)
        .zip(slot.iter_cores())
        .filter(|(_, core)| core.get(CoreField::InRequest) == 1)
        .map(|(number, core)| Running {
            core: number,
            for_ms: now_us.saturating_sub(core.get(CoreField::StartedUs)) / 1000,
            request: match grant {
                Grant::Read => None,
                Grant::Operate => core.text().map(|text| escaped(&String::from_utf8_lossy(&text))),
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Scoreboard {
        let board = Scoreboard::create(6, 2).unwrap();
        board.set_total(Total::Requests, 100);
        for (slot, worker, generation, accepting) in [(0, 1, 1, 0), (2, 2, 2, 1), (3, 1, 2, 1)] {
            let slot = board.slot(slot).unwrap();
            slot.set(Field::WorkerId, worker);
            slot.set(Field::Generation, generation);
            slot.set(Field::Accepting, accepting);
            slot.set(Field::Requests, 10);
        }
        let core = board.slot(3).unwrap().core(1).unwrap();
        core.set(CoreField::InRequest, 1);
        core.set(CoreField::StartedUs, 5_000_000);
        core.set_text(b"GET", b"/a\x1b\xff");
        board
    }

    #[test]
    fn counters_are_those_of_all_workers_there_ever_were() {
        let totals = totals(&board(), None);
        assert_eq!((totals.workers, totals.busy, totals.requests), (3, 1, 130));
        assert_eq!(sum(&totals, &totals).requests, 260);
        let full = Totals { requests: u64::MAX, ..totals };
        assert_eq!(sum(&full, &totals).requests, u64::MAX);
    }

    #[test]
    fn sizes_are_those_of_processes_that_are_the_vassals() {
        let board = Scoreboard::create(1, 1).unwrap();
        let slot = board.slot(0).unwrap();
        slot.set(Field::WorkerId, 1);
        slot.set(Field::Pid, std::process::id().into());
        let group = own::group_of(std::process::id());
        assert!(totals(&board, group).rss_bytes > 0);
        assert!(workers(&board, group, 0, Grant::Read)[0].vsz_bytes > 0);
        assert_eq!(totals(&board, Some(u32::MAX)).rss_bytes, 0);
        slot.set(Field::Pid, 0);
        assert_eq!(totals(&board, group).rss_bytes, 0);
    }

    #[test]
    fn workers_are_sorted_and_show_requests_to_operators_only() {
        let board = board();
        let workers = workers(&board, None, 5_250_000, Grant::Operate);
        let brief: Vec<_> = workers.iter().map(|w| (w.id, w.generation, w.state)).collect();
        assert_eq!(
            brief,
            [(1, 1, WorkerState::NotAccepting), (1, 2, WorkerState::Busy), (2, 2, WorkerState::Idle)]
        );
        let expected = Running { core: 1, for_ms: 250, request: Some("GET /a\\x1b\u{fffd}".into()) };
        assert_eq!(workers[1].running, [expected]);
        assert_eq!(super::workers(&board, None, 0, Grant::Read)[1].running[0].request, None);
    }
}
