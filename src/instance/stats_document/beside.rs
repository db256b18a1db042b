//! What the document says of caches, daemons, crons and the router.

use serde::Serialize;

use super::Count;
use crate::instance::companions::{Companion, Standing, Task};
use crate::stats::scoreboard::{Field, Slot};
use crate::wire::cache::Cache;

#[derive(Serialize)]
pub(super) struct CacheFacts {
    name: String,
    hash: &'static str,
    hashsize: u64,
    keysize: u64,
    max_items: u64,
    blocks: u64,
    blocksize: u64,
    items: Count,
    hits: Count,
    miss: Count,
    full: Count,
    last_modified_at: Count,
}

impl CacheFacts {
    pub(super) fn of(cache: &Cache) -> Self {
        let (spec, counts) = (cache.spec(), cache.counts());
        Self {
            name: spec.name.clone(),
            hash: "djb33x",
            hashsize: spec.buckets,
            keysize: spec.key_bytes,
            max_items: spec.items,
            blocks: spec.blocks,
            blocksize: spec.block_bytes,
            items: counts.items.into(),
            hits: counts.hits.into(),
            miss: counts.misses.into(),
            full: counts.full.into(),
            last_modified_at: counts.modified_epoch_s.into(),
        }
    }
}

/// Not in uWSGI, whose router has a document of its own.
#[derive(Serialize)]
pub(super) struct Router {
    pid: u32,
    requests: Count,
    tx: Count,
    running_time: Count,
    in_request: Count,
    errors: Count,
}

impl Router {
    pub(super) fn of(pid: u32, counted: Option<Slot<'_>>) -> Self {
        let get = |field| Count::from(counted.map_or(0, |slot| slot.get(field)));
        Self {
            pid,
            requests: get(Field::Requests),
            tx: get(Field::TxBytes),
            running_time: get(Field::RunningUs),
            in_request: get(Field::Forwarding),
            errors: get(Field::RouterErrors),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Daemon {
    cmd: String,
    pid: u32,
    /// uWSGI means this, and always prints 0.
    respawns: u64,
}

impl Daemon {
    pub(super) fn of(companion: &Companion) -> Option<Self> {
        let Task::Daemon(daemon) = &companion.task else { return None };
        let stranger = match companion.standing {
            Standing::Stranger(pid) => Some(pid),
            _ => None,
        };
        let pid = companion.runs.last().map_or(stranger, |run| run.pid).unwrap_or(0);
        Some(Self { cmd: daemon.command.clone(), pid, respawns: companion.starts.saturating_sub(1) })
    }
}

#[derive(Serialize)]
pub(super) struct Cron {
    minute: i32,
    hour: i32,
    day: i32,
    month: i32,
    week: i32,
    command: String,
    unique: u8,
    legion: &'static str,
    pid: i64,
    started_at: u64,
}

impl Cron {
    pub(super) fn of(companion: &Companion) -> Option<Self> {
        let Task::Cron(cron) = &companion.task else { return None };
        let run = companion.runs.last();
        Some(Self {
            minute: cron.minute,
            hour: cron.hour,
            day: cron.day,
            month: cron.month,
            week: cron.week,
            command: cron.command.clone(),
            unique: u8::from(cron.unique),
            legion: "",
            pid: run.and_then(|run| run.pid).map_or(-1, i64::from),
            started_at: run.map_or(0, |run| run.since_epoch_s),
        })
    }
}
