//! Scoreboards as views. The memory is written by a vassal, so it is untrusted: bounded, clamped, escaped.

use super::show::{Moment, rfc3339};
use super::views::{Request, Running, Totals, Worker, WorkerState};
use crate::stats::boards::{Boards, Whole};
use crate::stats::scoreboard::{CoreField, Field, Scoreboard, Slot, Total};
use crate::trace::escaped;

/// How many threads of one vassal are looked at, so that a hostile scoreboard costs the emperor no time.
const CORES_LIMIT: usize = 16_384;
/// For how many processes of one vassal the kernel is asked how large they are.
const SIZES_LIMIT: usize = 512;

/// The counters of the instance of this master, workers that are gone included.
#[must_use]
pub fn totals(boards: &Boards, master: Option<u32>, moment: &Moment<'_>) -> Totals {
    boards.whole(|whole| totals_now(whole, master, moment))
}

fn totals_now(whole: Whole<'_>, master: Option<u32>, moment: &Moment<'_>) -> Totals {
    let board = whole.newest();
    let kept = whole.kept();
    let gone = Totals {
        requests: kept.requests,
        exceptions: kept.exceptions,
        tx_bytes: kept.tx_bytes,
        running_us: kept.running_us,
        queued_us: kept.queued_us,
        durations: kept.classes,
        log_lines_dropped: board.total(Total::LogLinesDropped),
        ..Totals::default()
    };
    let mut totals = sum(&gone, &board.attic().map(of_attic).unwrap_or_default());
    for (number, slot) in in_use(whole.slots()).enumerate() {
        let one = Totals {
            workers: 1,
            busy: u64::from(slot.is_busy()),
            requests: slot.get(Field::Requests),
            exceptions: slot.get(Field::Exceptions),
            tx_bytes: slot.get(Field::TxBytes),
            running_us: slot.get(Field::RunningUs),
            rss_bytes: size(number, slot, master, moment).1,
            ..times(slot)
        };
        totals = sum(&totals, &one);
    }
    totals
}

/// What the router has counted.
fn of_attic(attic: Slot<'_>) -> Totals {
    Totals {
        requests: attic.get(Field::Requests),
        tx_bytes: attic.get(Field::TxBytes),
        running_us: attic.get(Field::RunningUs),
        router_errors: attic.get(Field::RouterErrors),
        forwarding: attic.get(Field::Forwarding),
        ..times(attic)
    }
}

/// What a slot says of how long requests took and waited.
fn times(slot: Slot<'_>) -> Totals {
    Totals { queued_us: slot.get(Field::QueuedUs), durations: slot.classes(), ..Totals::default() }
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
        queued_us: a.queued_us.saturating_add(b.queued_us),
        durations: std::array::from_fn(|class| {
            let of = |totals: &Totals| totals.durations.get(class).copied().unwrap_or_default();
            of(a).saturating_add(of(b))
        }),
        rss_bytes: a.rss_bytes.saturating_add(b.rss_bytes),
        forwarding: a.forwarding.saturating_add(b.forwarding),
        router_errors: a.router_errors.saturating_add(b.router_errors),
        log_lines_dropped: a.log_lines_dropped.saturating_add(b.log_lines_dropped),
    }
}

/// The workers of this master of a vassal, by number and generation.
#[must_use]
pub fn workers(boards: &Boards, vassal: &str, master: Option<u32>, moment: &Moment<'_>) -> Vec<Worker> {
    let all = slots(boards).enumerate();
    let mut workers: Vec<Worker> =
        all.map(|(number, slot)| worker(slot, vassal, size(number, slot, master, moment), moment)).collect();
    workers.sort_by_key(|worker| (worker.id, worker.generation));
    workers
}

/// The requests that run in this vassal.
pub fn requests<'a>(
    boards: &'a Boards,
    vassal: &'a str,
    moment: &'a Moment<'_>,
) -> impl Iterator<Item = Request> + 'a {
    slots(boards).flat_map(move |slot| {
        running(slot, vassal, moment).into_iter().map(move |running| Request {
            vassal: vassal.to_owned(),
            worker: slot.get(Field::WorkerId),
            pid: slot.get(Field::Pid),
            id: running.id,
            core: running.core,
            for_ms: running.for_ms,
            request: running.request,
        })
    })
}

/// A number that is another one when any counter on the boards is; `sum` is that of others.
#[must_use]
pub fn fingerprint(boards: &Boards, sum: u64) -> u64 {
    const SEEN: [Field; 12] = [
        Field::WorkerId,
        Field::Pid,
        Field::Generation,
        Field::Accepting,
        Field::Requests,
        Field::TxBytes,
        Field::Exceptions,
        Field::RunningUs,
        Field::Connections,
        Field::HarakiriCount,
        Field::RouterErrors,
        Field::Forwarding,
    ];
    let [generation, lines] =
        [Total::Generation, Total::LogLinesDropped].map(|total| boards.newest().total(total));
    let totals = [boards.newest().kept().requests, generation, lines];
    let of_slots = slots(boards)
        .chain(boards.newest().attic())
        .flat_map(|slot| SEEN.map(|field| slot.get(field)).into_iter().chain([u64::from(slot.is_busy())]));
    // FNV-1a, by words.
    let add = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
    totals.into_iter().chain(of_slots).fold(sum, add)
}

/// All slots in use, as far as they are looked at.
pub fn slots(boards: &Boards) -> impl Iterator<Item = Slot<'_>> {
    in_use(boards.slots())
}

/// Those in use of these, as far as they are looked at.
pub fn in_use<'a>(slots: impl Iterator<Item = Slot<'a>>) -> impl Iterator<Item = Slot<'a>> {
    let mut left = CORES_LIMIT;
    let looked_at = slots.take_while(move |slot| {
        let rest = left.checked_sub(slot.cores());
        left = rest.unwrap_or_default();
        rest.is_some()
    });
    looked_at.filter(|slot| slot.get(Field::WorkerId) != 0)
}

/// How many of its slots are looked at at most.
#[must_use]
pub fn slots_limit(board: &Scoreboard) -> usize {
    (CORES_LIMIT / board.cores().max(1)).max(1)
}

/// Virtual and resident size of a worker, by the kernel. The pid is the vassal's word: only processes of the master's
/// group are asked for.
fn size(number: usize, slot: Slot<'_>, master: Option<u32>, moment: &Moment<'_>) -> (u64, u64) {
    let pid = u32::try_from(slot.get(Field::Pid)).ok().filter(|pid| *pid > 0 && number < SIZES_LIMIT);
    pid.zip(master).map_or((0, 0), |(pid, master)| moment.sizes.of(pid, master, moment.now))
}

fn worker(slot: Slot<'_>, vassal: &str, (vsz_bytes, rss_bytes): (u64, u64), moment: &Moment<'_>) -> Worker {
    let running = running(slot, vassal, moment);
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

fn running(slot: Slot<'_>, vassal: &str, moment: &Moment<'_>) -> Vec<Running> {
    (0_u64..)
        .zip(slot.iter_cores())
        .filter(|(_, core)| core.get(CoreField::InRequest) == 1)
        .map(|(number, core)| Running {
            id: format!("{}-{number}-{}", slot.get(Field::Pid), core.get(CoreField::StartedUs)),
            core: number,
            for_ms: moment.now_us.saturating_sub(core.get(CoreField::StartedUs)) / 1000,
            request: moment
                .shows_requests_of(vassal)
                .then(|| core.text().map(|text| escaped(&String::from_utf8_lossy(&text))))
                .flatten(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::guard::{Access, Grant, READER};
    use crate::api::sizes::Sizes;
    use crate::sys::own;
    use crate::tick::Tick;
    use glob::Pattern;

    static SIZES: Sizes = Sizes::new();

    fn moment(now_us: u64, reader: &Access) -> Moment<'_> {
        let now = Tick::from_ms(1);
        Moment { now, now_us, epoch_ms: 0, pid: 7, root: false, reader, sizes: &SIZES, countdown: true }
    }

    fn board() -> Boards {
        let board = Scoreboard::create(6, 2).unwrap();
        let gone = board.slot(1).unwrap();
        gone.set(Field::Requests, 100);
        board.retire(1);
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
        board.into()
    }

    #[test]
    fn counters_are_those_of_all_workers_there_ever_were() {
        let board = board();
        board.newest().count_forwarded(10, 3000);
        board.newest().count_router_error();
        board.newest().set_forwarding(2);
        let totals = totals(&board, None, &moment(0, &READER));
        assert_eq!((totals.workers, totals.busy, totals.requests), (3, 1, 131));
        assert_eq!((totals.tx_bytes, totals.forwarding, totals.router_errors), (10, 2, 1));
        assert_eq!((totals.running_us, totals.durations[2]), (3000, 1));
        assert_eq!(sum(&totals, &totals).requests, 262);
        let full = Totals { requests: u64::MAX, ..totals };
        assert_eq!(sum(&full, &totals).requests, u64::MAX);
    }

    #[test]
    fn sizes_are_those_of_processes_that_are_the_vassals() {
        let board = Boards::from(Scoreboard::create(1, 1).unwrap());
        let slot = board.newest().slot(0).unwrap();
        slot.set(Field::WorkerId, 1);
        slot.set(Field::Pid, std::process::id().into());
        let group = own::group_of(std::process::id());
        let moment = moment(0, &READER);
        assert!(totals(&board, group, &moment).rss_bytes > 0);
        assert!(workers(&board, "a.ini", group, &moment)[0].vsz_bytes > 0);
        assert_eq!(totals(&board, Some(u32::MAX), &moment).rss_bytes, 0);
        slot.set(Field::Pid, 0);
        assert_eq!(totals(&board, group, &moment).rss_bytes, 0);
    }

    #[test]
    fn workers_are_sorted_and_show_requests_to_operators_of_the_vassal_only() {
        let board = board();
        let operator = Access { scope: vec![Pattern::new("a*").unwrap()], ..Grant::Operate.into() };
        let workers = workers(&board, "a.ini", None, &moment(5_250_000, &operator));
        let brief: Vec<_> = workers.iter().map(|w| (w.id, w.generation, w.state)).collect();
        assert_eq!(
            brief,
            [(1, 1, WorkerState::NotAccepting), (1, 2, WorkerState::Busy), (2, 2, WorkerState::Idle)]
        );
        let expected = Running {
            id: "0-1-5000000".into(),
            core: 1,
            for_ms: 250,
            request: Some("GET /a\\x1b\u{fffd}".into()),
        };
        assert_eq!(workers[1].running, [expected]);
        for (vassal, reader) in [("a.ini", &READER), ("b.ini", &operator)] {
            let workers = super::workers(&board, vassal, None, &moment(0, reader));
            assert_eq!(workers[1].running[0].request, None, "{vassal}");
        }
    }
    #[test]
    fn any_counter_makes_another_fingerprint() {
        let (one, other) = (board(), board());
        assert_eq!(fingerprint(&one, 0), fingerprint(&other, 0));
        for change in [
            |board: &Boards| board.newest().slot(2).unwrap().set(Field::Requests, 11),
            |board: &Boards| board.newest().slot(3).unwrap().core(1).unwrap().set(CoreField::InRequest, 0),
            |board: &Boards| board.newest().set_total(Total::Generation, 3),
            |board: &Boards| board.newest().set_forwarding(1),
            |board: &Boards| board.newest().count_router_error(),
        ] {
            let before = fingerprint(&other, 0);
            change(&other);
            assert_ne!(fingerprint(&other, 0), before);
        }
    }
}
