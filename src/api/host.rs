//! Facts about the host and its processes, from the kernel.

use super::views;
use crate::emperor::fleet::Vassal;
use crate::stats::boards::Boards;
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
        vassal.boards().into_iter().flat_map(Boards::slots).map(|slot| slot.get(Field::Pid)).collect();
    let others = own::children_of(master).into_iter().filter(|pid| !workers.contains(&u64::from(*pid)));
    let mut companions: Vec<_> = others
        .take(COMPANIONS)
        .filter_map(|pid| {
            let (vsz_bytes, rss_bytes) = own::size_of(pid)?;
            Some(views::Companion { pid, name: escaped(&companion(pid, &vassal.id)?), rss_bytes, vsz_bytes })
        })
        .collect();
    companions.sort_by_key(|companion| companion.pid);
    companions
}

/// What it is, from its title. Of a program that is none of ours only the short name: its arguments may hold secrets.
fn companion(pid: u32, vassal: &str) -> Option<String> {
    let title = own::title_of(pid);
    let ours = title.as_deref().and_then(|title| title.strip_prefix("liege "));
    match ours {
        Some(what) => Some(what.strip_suffix(vassal).unwrap_or(what).trim_end().to_owned()),
        None => own::name_of(pid),
    }
}
