//! What a dead worker was doing, read from its place on the scoreboard before that is cleared.

use super::children::WorkerProcess;
use crate::stats::scoreboard::{Core, CoreField, Field};
use crate::sys::process::Exit;
use crate::wire::death::{Cause, Death, LastRequest, REQUESTS};

/// The death of a worker.
pub(super) fn death(slot: usize, worker: &WorkerProcess, exit: Exit) -> Death {
    let entry = worker.board.slot(slot);
    let get = |field| entry.map_or(0, |entry| entry.get(field));
    let cores = || entry.into_iter().flat_map(|entry| entry.iter_cores().zip(0_u32..));
    let running = cores().filter(|(core, _)| core.get(CoreField::InRequest) == 1);
    let mut last: Vec<LastRequest> = running.take(REQUESTS).filter_map(|core| request(core, true)).collect();
    if last.is_empty() {
        let latest = cores().max_by_key(|(core, _)| core.get(CoreField::StartedUs));
        last.extend(latest.and_then(|core| request(core, false)));
    }
    Death {
        worker: worker.number,
        pid: worker.process.pid().unwrap_or(0),
        generation: worker.generation,
        cause: match exit {
            Exit::Signal(_) => worker.killed.unwrap_or(Cause::Signal),
            Exit::Status(_) => worker.killed.unwrap_or(Cause::Exit),
        },
        how: exit.to_string(),
        born_epoch_s: get(Field::LastSpawnEpochS),
        requests: get(Field::Requests),
        last,
    }
}

/// What a core does or did; `None`: nothing yet.
fn request((core, number): (Core<'_>, u32), running: bool) -> Option<LastRequest> {
    let started_epoch_s = core.get(CoreField::StartedEpochS);
    // A text that was being written when the worker died is lost.
    let text = core.text().unwrap_or_default();
    (started_epoch_s > 0).then(|| LastRequest {
        core: number,
        running,
        started_epoch_s,
        request: String::from_utf8_lossy(&text).into_owned(),
    })
}
