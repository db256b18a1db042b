//! Facts about the host and its processes, from the kernel.

use super::views;
use crate::emperor::fleet::Vassal;
use crate::stats::scoreboard::Field;
use crate::sys::{host, own};
use crate::trace::escaped;

/// How many companions of a vassal are listed.
const COMPANIONS: usize = 100;

/// The host as it is now.
#[must_use]
pub fn host() -> views::Host {
    let memory = host::memory();
    views::Host {
        name: escaped(&host::name()),
        cpus: host::cpus(),
        memory_bytes: memory.total_bytes,
        memory_available_bytes: memory.available_bytes,
        load: host::load(),
        uptime_s: host::uptime_s(),
    }
}

/// The processes of an instance that are neither its master nor a worker.
#[must_use]
pub fn companions(vassal: &Vassal) -> Vec<views::Companion> {
    let Some(master) = vassal.pid() else { return Vec::new() };
    let workers: Vec<u64> =
        vassal.scoreboard.iter().flat_map(|board| board.iter()).map(|slot| slot.get(Field::Pid)).collect();
    let others = own::children_of(master).into_iter().filter(|pid| !workers.contains(&u64::from(*pid)));
    let mut companions: Vec<_> = others
        .take(COMPANIONS)
        .filter_map(|pid| {
            let (vsz_bytes, rss_bytes) = own::size_of(pid)?;
            Some(views::Companion { pid, name: escaped(&own::name_of(pid)?), rss_bytes, vsz_bytes })
        })
        .collect();
    companions.sort_by_key(|companion| companion.pid);
    companions
}
