//! `/metrics`: the fleet for Prometheus. Names and labels are bounded: a vassal's name, its sockets, its caches, and
//! words of ours.

mod uwsgi;

pub use uwsgi::uwsgi;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, OwnedFd};

use super::counters;
use super::exposition::{Exposition, Kind};
use super::show::{self, Moment};
use super::views::{State, Totals};
use crate::config::address::Protocol;
use crate::emperor::events::EventOutcome;
use crate::emperor::fleet::{Fleet, Vassal};
use crate::stats::cache::ShownCache;
use crate::stats::classes::CLASSES_US;
use crate::stats::scoreboard::Total;
use crate::sys::{own, socket};
use crate::wire::death::Cause;

/// What `liege_requests` counts.
const REQUESTS: &str = "Requests that were answered by the application, a file or a rule, or at a server of http-to: \
    each once, when it is over. Not those that were refused before, nor those whose worker died in them.";

/// A vassal and what its scoreboard says.
struct Row<'a> {
    vassal: &'a Vassal,
    state: String,
    totals: Totals,
    harakiris: u64,
    generation: u64,
}

/// Writes all metrics.
pub fn liege(out: &mut Exposition, fleet: &Fleet, moment: &Moment<'_>) {
    let rows: Vec<Row<'_>> = fleet.vassals.values().map(|vassal| row(vassal, moment)).collect();
    emperor(out, fleet, moment, &rows);
    states(out, &rows);
    traffic(out, &rows);
    history(out, &rows, moment);
    resources(out, &rows);
    caches(out, &rows);
}

fn row<'a>(vassal: &'a Vassal, moment: &Moment<'_>) -> Row<'a> {
    let boards = vassal.boards();
    Row {
        vassal,
        state: show::state_word(vassal),
        totals: boards.map(|boards| counters::totals(boards, vassal.pid(), moment)).unwrap_or_default(),
        harakiris: vassal.past.deaths.get(&Cause::Harakiri).copied().unwrap_or_default(),
        generation: boards.map_or(0, |boards| boards.newest().total(Total::Generation)),
    }
}

fn emperor(out: &mut Exposition, fleet: &Fleet, moment: &Moment<'_>, rows: &[Row<'_>]) {
    out.family("liege_build_info", Kind::Gauge, "The version of the emperor; always 1.");
    out.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.family("liege_emperor_start_time_seconds", Kind::Gauge, "When the emperor started, since the epoch.");
    out.sample(&[], seconds_of_ms(fleet.started_epoch_ms));
    out.family("liege_emperor_reexecutions", Kind::Counter, "How often the emperor re-executed itself.");
    out.sample(&[], fleet.reexecutions);
    out.family("liege_emperor_events", Kind::Counter, "Events that happened.");
    out.sample(&[], fleet.last_event());
    out.family("liege_emperor_resident_memory_bytes", Kind::Gauge, "Resident memory of the emperor.");
    out.sample(&[], own::size_of(moment.pid).unwrap_or_default().1);
    out.family("liege_vassals", Kind::Gauge, "Vassals by state.");
    for state in State::ALL.map(show::word) {
        out.sample(&[("state", &state)], rows.iter().filter(|row| row.state == state).count());
    }
    out.family(
        "liege_files_not_started",
        Kind::Gauge,
        "Files in the watched directories that are not started.",
    );
    out.sample(&[], fleet.not_started.len());
    out.family("liege_directories_unreadable", Kind::Gauge, "Watched directories that cannot be read.");
    out.sample(&[], fleet.directories.iter().filter(|directory| directory.problem.is_some()).count());
    for (name, what, value) in [
        ("liege_sockets_stored", "Sockets that outlast the emperor.", fleet.stored.kept),
        ("liege_sockets_storable", "How many may; 0: none.", fleet.stored.most),
        (
            "liege_vassals_unstored",
            "Vassals whose sockets do not, while those of others do.",
            fleet.vassals.values().filter(|vassal| vassal.unkept.is_some()).count(),
        ),
    ] {
        out.family(name, Kind::Gauge, what);
        out.sample(&[], value);
    }
    out.family("liege_operations_running", Kind::Gauge, "Operations that have not ended.");
    out.sample(&[], fleet.operations.iter().filter(|operation| operation.ending.is_none()).count());
}

fn states(out: &mut Exposition, rows: &[Row<'_>]) {
    each(out, rows, "liege_vassal_up", Kind::Gauge, "1 while the vassal answers requests.", |row| {
        u8::from(row.vassal.serves())
    });
    out.family("liege_vassal_state", Kind::Gauge, "1 for the state that the vassal is in.");
    for row in rows {
        out.sample(&[("vassal", &row.vassal.id), ("state", &row.state)], 1);
    }
    each(
        out,
        rows,
        "liege_vassal_config_valid",
        Kind::Gauge,
        "0 while the file as it is does not work.",
        |row| u8::from(row.vassal.config_error.is_none()),
    );
    each(out, rows, "liege_vassal_generation", Kind::Gauge, "The generation that serves.", |row| {
        row.generation
    });
    each(
        out,
        rows,
        "liege_vassal_start_time_seconds",
        Kind::Gauge,
        "When the master was launched; 0: none runs.",
        |row| row.vassal.current.as_ref().map_or(0.0, |life| seconds_of_ms(life.started_epoch_ms)),
    );
    each(out, rows, "liege_workers", Kind::Gauge, "Workers that exist.", |row| row.totals.workers);
    each(out, rows, "liege_workers_busy", Kind::Gauge, "Workers that are inside a request.", |row| {
        row.totals.busy
    });
    out.family("liege_listen_queue", Kind::Gauge, "Connections that wait to be accepted, for TCP sockets.");
    for (vassal, address, queue) in queues(rows) {
        out.sample(&[("vassal", vassal), ("socket", &address)], queue.0);
    }
    out.family("liege_listen_queue_limit", Kind::Gauge, "How many connections may wait to be accepted.");
    for (vassal, address, queue) in queues(rows) {
        out.sample(&[("vassal", vassal), ("socket", &address)], queue.1);
    }
}

/// The queues of the TCP listeners, which the emperor holds too.
fn queues<'a>(rows: &'a [Row<'_>]) -> impl Iterator<Item = (&'a str, String, (u32, u32))> {
    rows.iter().flat_map(|row| {
        doors(row.vassal).filter_map(|(address, _, listener)| {
            Some((row.vassal.id.as_str(), address, socket::tcp_queue(listener.as_fd())?))
        })
    })
}

/// Where the requests of a vassal come in, each address once: it says itself what they are.
fn doors(vassal: &Vassal) -> impl Iterator<Item = (String, Protocol, &OwnedFd)> {
    let mut known = BTreeSet::new();
    let all =
        vassal.doors().map(|(listen, listener)| (listen.address.to_string(), listen.protocol, listener));
    all.filter(move |(address, ..)| known.insert(address.clone()))
}

fn traffic(out: &mut Exposition, rows: &[Row<'_>]) {
    each(out, rows, "liege_requests", Kind::Counter, REQUESTS, |row| row.totals.requests);
    each(out, rows, "liege_exceptions", Kind::Counter, "Requests that ended in an exception.", |row| {
        row.totals.exceptions
    });
    each(out, rows, "liege_sent_bytes", Kind::Counter, "Bytes sent to clients.", |row| row.totals.tx_bytes);
    each(out, rows, "liege_busy_seconds", Kind::Counter, "Time spent in requests, by all threads.", |row| {
        seconds(row.totals.running_us)
    });
    let help = "Errors that the router answered in place of a worker, or of a server of http-to.";
    each(out, rows, "liege_router_errors", Kind::Counter, help, |row| row.totals.router_errors);
    let help = "Requests that are at servers of http-to.";
    each(out, rows, "liege_requests_forwarding", Kind::Gauge, help, |row| row.totals.forwarding);
    each(
        out,
        rows,
        "liege_queue_seconds",
        Kind::Counter,
        "Time that requests waited in a worker for a thread.",
        |row| seconds(row.totals.queued_us),
    );
    out.family(
        "liege_request_duration_seconds",
        Kind::Histogram,
        "Time that requests took in the application, or at a server of http-to.",
    );
    for row in rows {
        let classes: Vec<(f64, u64)> =
            CLASSES_US.iter().map(|end| seconds(*end)).zip(row.totals.durations).collect();
        let (count, sum) = (row.totals.requests, seconds(row.totals.running_us));
        out.histogram(&[("vassal", &row.vassal.id)], &classes, count, sum);
    }
}

fn history(out: &mut Exposition, rows: &[Row<'_>], moment: &Moment<'_>) {
    out.family("liege_exits", Kind::Counter, "Processes that ended: workers unasked, masters in any case.");
    for row in rows {
        let past = &row.vassal.past;
        let died = |cause| past.deaths.get(&cause).copied().unwrap_or_default();
        for (role, reason, count) in [
            ("worker", "harakiri", row.harakiris),
            ("worker", "memory", died(Cause::Memory)),
            ("worker", "out-of-memory", died(Cause::OutOfMemory)),
            ("worker", "signal", died(Cause::Signal)),
            ("worker", "operator", died(Cause::Operator)),
            ("worker", "exit", died(Cause::Exit)),
            ("master", "signal", past.masters_killed),
            ("master", "exit", past.masters_exited),
        ] {
            out.sample(&[("vassal", &row.vassal.id), ("role", role), ("reason", reason)], count);
        }
    }
    each(
        out,
        rows,
        "liege_restarts",
        Kind::Counter,
        "Instances started because one had died unasked.",
        |row| row.vassal.restarts,
    );
    out.family("liege_reloads", Kind::Counter, "Reloads that ended, by outcome.");
    for row in rows {
        for (outcome, word) in [
            (EventOutcome::Swapped, "swapped"),
            (EventOutcome::RolledBack, "rolled-back"),
            (EventOutcome::TimedOut, "timed-out"),
            (EventOutcome::Superseded, "superseded"),
            (EventOutcome::Failed, "failed"),
        ] {
            let count = row.vassal.past.outcomes.get(&outcome).copied().unwrap_or_default();
            out.sample(&[("vassal", &row.vassal.id), ("outcome", word)], count);
        }
    }
    each(
        out,
        rows,
        "liege_back_off_failures",
        Kind::Gauge,
        "Failures in a row; the back-off grows with them.",
        |row| row.vassal.attempts,
    );
    each(
        out,
        rows,
        "liege_back_off_seconds",
        Kind::Gauge,
        "Time until a resting vassal is tried again.",
        |row| row.vassal.next_try().map_or(0.0, |at| at.since(moment.now).as_secs_f64()),
    );
}

fn resources(out: &mut Exposition, rows: &[Row<'_>]) {
    let help = "Resident memory of all workers; what they share counts more than once.";
    each(out, rows, "liege_workers_resident_memory_bytes", Kind::Gauge, help, |row| row.totals.rss_bytes);
    let help = "Lines of the application's output that nobody took.";
    each(out, rows, "liege_log_lines_dropped", Kind::Counter, help, |row| row.totals.log_lines_dropped);
}

fn caches(out: &mut Exposition, rows: &[Row<'_>]) {
    type Value = fn(&ShownCache) -> u64;
    let families: [(&'static str, Kind, &str, Value); 5] = [
        ("liege_cache_hits", Kind::Counter, "Keys that were found.", |cache| cache.counts().hits),
        ("liege_cache_misses", Kind::Counter, "Keys that were not found.", |cache| cache.counts().misses),
        ("liege_cache_full", Kind::Counter, "How often there was no room.", |cache| cache.counts().full),
        ("liege_cache_items", Kind::Gauge, "Items in the cache.", |cache| cache.counts().items),
        ("liege_cache_items_limit", Kind::Gauge, "How many items there may be.", ShownCache::max_items),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        for vassal in rows.iter().map(|row| row.vassal) {
            for cache in vassal.caches() {
                out.sample(&[("vassal", &vassal.id), ("cache", cache.name())], value(cache));
            }
        }
    }
}

/// A family with one sample for each vassal.
fn each<T: std::fmt::Display>(
    out: &mut Exposition,
    rows: &[Row<'_>],
    name: &'static str,
    kind: Kind,
    help: &str,
    value: impl Fn(&Row<'_>) -> T,
) {
    out.family(name, kind, help);
    for row in rows {
        out.sample(&[("vassal", &row.vassal.id)], value(row));
    }
}

#[expect(clippy::cast_precision_loss, reason = "a microsecond in 285 years does not matter")]
fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn seconds_of_ms(ms: u64) -> f64 {
    seconds(ms.saturating_mul(1000))
}
