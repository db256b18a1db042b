//! `/metrics/uwsgi`: the names that timonwong/uwsgi_exporter gives to uWSGI's statistics, for dashboards that know them.
//! What liege does not have (signals, offloading, shared sockets) is there as 0, as in uWSGI without it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use super::seconds;
use crate::api::counters;
use crate::api::exposition::{Exposition, Kind};
use crate::api::show::Moment;
use crate::emperor::fleet::{Fleet, Vassal};
use crate::stats::boards::Whole;
use crate::stats::cache::ShownCache;
use crate::stats::scoreboard::{CoreField, Field, Scoreboard, Slot, Total};
use crate::stats::tally::{Tally, ThreadTally};
use crate::sys::socket;

/// How many threads of each worker are shown.
const CORES: usize = 64;

/// A worker's number with the labels that name it.
struct Place<'a> {
    vassal: &'a Vassal,
    /// `None`: it has no process, because there is little to do.
    slot: Option<Slot<'a>>,
    /// What all its lives have counted, those that go on included.
    counted: Tally,
    cores: usize,
    id: String,
    sizes: (u64, u64),
}

/// Writes them.
pub fn uwsgi(out: &mut Exposition, fleet: &Fleet, moment: &Moment<'_>) {
    out.family("uwsgi_up", Kind::Gauge, "Whether the uWSGI server is up.");
    for vassal in fleet.vassals.values() {
        out.sample(&[("stats_uri", &vassal.id)], u8::from(vassal.serves()));
    }
    let all: Vec<Place<'_>> = fleet.vassals.values().flat_map(|vassal| places(vassal, moment)).collect();
    out.family("uwsgi_workers", Kind::Gauge, "Number of workers.");
    for vassal in fleet.vassals.values() {
        let count = all.iter().filter(|place| place.vassal.id == vassal.id).count();
        out.sample(&[("stats_uri", &vassal.id)], count);
    }
    for (name, help) in [
        ("uwsgi_listen_queue_errors", "Number of listen queue errors."),
        ("uwsgi_signal_queue_length", "Length of signal queue."),
    ] {
        out.family(name, Kind::Gauge, help);
        for vassal in fleet.vassals.values() {
            out.sample(&[("stats_uri", &vassal.id)], 0);
        }
    }
    sockets(out, fleet);
    workers(out, &all);
    statuses(out, &all);
    apps(out, &all);
    cores(out, &all);
    caches(out, fleet);
}

fn caches(out: &mut Exposition, fleet: &Fleet) {
    type Value = fn(&ShownCache) -> u64;
    let families: [(&'static str, Kind, &str, Value); 5] = [
        ("uwsgi_cache_hits", Kind::PlainCounter, "Total number of hits.", |cache| cache.counts().hits),
        ("uwsgi_cache_misses", Kind::PlainCounter, "Total number of misses.", |cache| cache.counts().misses),
        ("uwsgi_cache_full", Kind::PlainCounter, "Total Number of times cache full was hit.", |cache| {
            cache.counts().full
        }),
        ("uwsgi_cache_items", Kind::Gauge, "Items in cache.", |cache| cache.counts().items),
        ("uwsgi_cache_max_items", Kind::Gauge, "Max items for this cache.", ShownCache::max_items),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        for vassal in fleet.vassals.values() {
            for cache in vassal.caches() {
                out.sample(&[("stats_uri", &vassal.id), ("name", cache.name())], value(cache));
            }
        }
    }
}

fn places<'a>(vassal: &'a Vassal, moment: &Moment<'_>) -> Vec<Place<'a>> {
    let Some(boards) = vassal.boards() else { return Vec::new() };
    let cores = cores_of(boards.newest());
    let place = |(number, (slot, counted)): (u64, (Option<Slot<'a>>, Tally))| {
        let pid = slot.and_then(|slot| u32::try_from(slot.get(Field::Pid)).ok());
        let sizes = pid.zip(vassal.pid()).map(|(pid, master)| moment.sizes.of(pid, master, moment.now));
        let (id, sizes) = (number.to_string(), sizes.unwrap_or_default());
        Place { vassal, slot, counted, cores, id, sizes }
    };
    boards.whole(by_number).into_iter().map(place).collect()
}

/// The threads of each worker: a scoreboard that has room for more keeps it over reloads.
fn cores_of(board: &Scoreboard) -> usize {
    let told = usize::try_from(board.total(Total::Threads)).unwrap_or(usize::MAX);
    if told == 0 { board.cores() } else { told.min(board.cores()) }
}

/// What each number that has ever been counts over all its lives, and the worker that stands for it: of two the one that
/// accepts, of the newest generation.
fn by_number(whole: Whole<'_>) -> BTreeMap<u64, (Option<Slot<'_>>, Tally)> {
    let board = whole.newest();
    let numbers = (1..).take(board.tallied().min(counters::slots_limit(board)));
    let tallies = numbers.filter_map(|number| Some((number, (None, whole.tally(number)?))));
    let mut found: BTreeMap<_, (Option<Slot<'_>>, Tally)> =
        tallies.filter(|(_, (_, tally))| tally.spawns > 0).collect();
    let rank = |slot: Slot<'_>| (slot.get(Field::Accepting), slot.get(Field::Generation));
    for slot in counters::in_use(whole.slots()) {
        let number = slot.get(Field::WorkerId);
        // Of a number that is not wanted any more the last worker may still finish.
        let earlier = || (None, whole.tally(number).unwrap_or_default());
        let (best, counted) = found.entry(number).or_insert_with(earlier);
        counted.add(slot);
        counted.spawns = counted.spawns.max(slot.get(Field::RespawnCount));
        counted.harakiri = counted.harakiri.max(slot.get(Field::HarakiriCount));
        if best.is_none_or(|other| rank(other) < rank(slot)) {
            *best = Some(slot);
        }
    }
    found
}

fn sockets(out: &mut Exposition, fleet: &Fleet) {
    let queue = |vassal: &Vassal| {
        let queues = vassal.doors().filter_map(|(_, listener)| socket::tcp_queue(listener.as_fd()));
        queues.map(|(queue, _)| queue).max().unwrap_or_default()
    };
    out.family("uwsgi_listen_queue_length", Kind::Gauge, "Length of listen queue.");
    for vassal in fleet.vassals.values() {
        out.sample(&[("stats_uri", &vassal.id)], queue(vassal));
    }
    type Value = fn((u32, u32)) -> u32;
    let families: [(&'static str, &str, Value); 4] = [
        ("uwsgi_socket_queue_length", "Length of socket queue.", |queue| queue.0),
        ("uwsgi_socket_max_queue_length", "Max length of socket queue.", |queue| queue.1),
        ("uwsgi_socket_shared", "Is shared socket?", |_| 0),
        ("uwsgi_socket_can_offload", "Can socket offload?", |_| 0),
    ];
    for (name, help, value) in families {
        out.family(name, Kind::Gauge, help);
        for vassal in fleet.vassals.values() {
            for (address, protocol, listener) in super::doors(vassal) {
                let (id, proto) = (vassal.id.as_str(), protocol.spoken());
                let labels = [("stats_uri", id), ("name", &address), ("proto", proto)];
                out.sample(&labels, value(socket::tcp_queue(listener.as_fd()).unwrap_or_default()));
            }
        }
    }
}

fn workers(out: &mut Exposition, all: &[Place<'_>]) {
    type Value = fn(&Place<'_>) -> f64;
    let families: [(&'static str, Kind, &str, Value); 16] = [
        ("uwsgi_worker_accepting", Kind::Gauge, "Is this worker accepting requests?", |p| {
            p.get(Field::Accepting)
        }),
        ("uwsgi_worker_delta_requests", Kind::Gauge, "Number of delta requests", |p| p.get(Field::Requests)),
        ("uwsgi_worker_rss_bytes", Kind::Gauge, "Worker RSS bytes.", |p| float(p.sizes.1)),
        ("uwsgi_worker_vsz_bytes", Kind::Gauge, "Worker VSZ bytes.", |p| float(p.sizes.0)),
        ("uwsgi_worker_running_time_seconds", Kind::Gauge, "Worker running time in seconds.", |p| {
            seconds(p.counted.running_us)
        }),
        (
            "uwsgi_worker_last_spawn_time_seconds",
            Kind::Gauge,
            "Last spawn time in seconds since epoch.",
            |p| p.get(Field::LastSpawnEpochS),
        ),
        (
            "uwsgi_worker_average_response_time_seconds",
            Kind::Gauge,
            "Average response time in seconds.",
            |p| p.get(Field::AverageUs) / 1e6,
        ),
        ("uwsgi_worker_cores", Kind::Gauge, "Number of cores.", |p| {
            float(u64::try_from(p.cores).unwrap_or_default())
        }),
        ("uwsgi_worker_cheap", Kind::Gauge, "Is core in cheap mode?", |p| float(p.slot.is_none().into())),
        ("uwsgi_worker_signal_queue_length", Kind::Gauge, "Length of signal queue.", |_| 0.0),
        ("uwsgi_worker_signals", Kind::Counter, "Total number of signals.", |_| 0.0),
        ("uwsgi_worker_requests", Kind::Counter, "Total number of requests.", |p| float(p.counted.requests)),
        ("uwsgi_worker_exceptions", Kind::Counter, "Total number of exceptions.", |p| {
            float(p.counted.exceptions)
        }),
        ("uwsgi_worker_harakiri_count", Kind::Counter, "Total number of harakiri count.", |p| {
            float(p.counted.harakiri)
        }),
        ("uwsgi_worker_respawn_count", Kind::Counter, "Total number of respawn count.", |p| {
            float(p.counted.spawns)
        }),
        ("uwsgi_worker_transmitted_bytes", Kind::Counter, "Worker transmitted bytes.", |p| {
            float(p.counted.tx)
        }),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        for place in all {
            out.sample(&place.labels(), value(place));
        }
    }
}

fn statuses(out: &mut Exposition, all: &[Place<'_>]) {
    for (name, help, is_busy) in
        [("uwsgi_worker_busy", "Is core in busy?", true), ("uwsgi_worker_idle", "Is core in idle?", false)]
    {
        out.family(name, Kind::Gauge, help);
        for place in all {
            out.sample(&place.labels(), u8::from(place.slot.is_some_and(|slot| slot.is_busy() == is_busy)));
        }
    }
}

fn apps(out: &mut Exposition, all: &[Place<'_>]) {
    out.family("uwsgi_worker_apps", Kind::Gauge, "Number of apps.");
    for place in all {
        out.sample(&place.labels(), 1);
    }
    type Value = fn(&Place<'_>) -> f64;
    let families: [(&'static str, Kind, &str, Value); 3] = [
        ("uwsgi_worker_app_startup_time_seconds", Kind::Gauge, "How long this app took to start.", |p| {
            p.get(Field::StartupMs) / 1000.0
        }),
        ("uwsgi_worker_app_requests", Kind::Counter, "Total number of requests.", |p| {
            float(p.counted.requests)
        }),
        ("uwsgi_worker_app_exceptions", Kind::Counter, "Total number of exceptions.", |p| {
            float(p.counted.exceptions)
        }),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        for place in all {
            let [uri, worker] = place.labels();
            out.sample(&[uri, worker, ("app_id", "0"), ("mountpoint", ""), ("chdir", "")], value(place));
        }
    }
}

fn cores(out: &mut Exposition, all: &[Place<'_>]) {
    type Value = fn(ThreadTally) -> u64;
    let families: [(&'static str, Kind, &str, Option<Value>); 7] = [
        ("uwsgi_worker_core_busy", Kind::Gauge, "Is core busy", None),
        ("uwsgi_worker_core_requests", Kind::Counter, "Total number of requests.", Some(|t| t.requests)),
        (
            "uwsgi_worker_core_static_requests",
            Kind::Counter,
            "Total number of static requests.",
            Some(|t| t.static_requests),
        ),
        (
            "uwsgi_worker_core_routed_requests",
            Kind::Counter,
            "Total number of routed requests.",
            Some(|t| t.routed_requests),
        ),
        (
            "uwsgi_worker_core_offloaded_requests",
            Kind::Counter,
            "Total number of offloaded requests.",
            Some(|_| 0),
        ),
        (
            "uwsgi_worker_core_write_errors",
            Kind::Counter,
            "Total number of write errors.",
            Some(|t| t.write_errors),
        ),
        (
            "uwsgi_worker_core_read_errors",
            Kind::Counter,
            "Total number of read errors.",
            Some(|t| t.read_errors),
        ),
    ];
    for (name, kind, help, value) in families {
        out.family(name, kind, help);
        for place in all {
            for number in 0..place.cores.min(CORES) {
                let [uri, worker] = place.labels();
                let counted = place.counted.threads.get(number).copied().unwrap_or_default();
                let core = place.slot.and_then(|slot| slot.core(number));
                let busy = || core.map_or(0, |core| core.get(CoreField::InRequest));
                let value = value.map_or_else(busy, |value| value(counted));
                out.sample(&[uri, worker, ("core_id", &number.to_string())], value);
            }
        }
    }
}

impl Place<'_> {
    fn get(&self, field: Field) -> f64 {
        float(self.slot.map_or(0, |slot| slot.get(field)))
    }

    fn labels(&self) -> [(&str, &str); 2] {
        [("stats_uri", &self.vassal.id), ("worker_id", &self.id)]
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counters beyond 2^53 lose their last digits, as in every exporter"
)]
fn float(number: u64) -> f64 {
    number as f64
}
