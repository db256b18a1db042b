//! The metrics as a scraper reads them: every line obeys the format, no series comes twice, histograms add up.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

#[path = "door/api.rs"]
#[expect(dead_code, reason = "it is shared, and not every test uses all of it")]
mod api;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use api::{Api, converse};
use liege::stats::cache::ShownCache;
use liege::stats::scoreboard::{CoreField, Field, Scoreboard, Total};
use liege::stats::shown::Shown;
use liege::stats::tally::{Tally, ThreadTally};
use liege::sys::shared::SharedWords;

/// The samples by series, once everything about the text has been found right.
fn read(text: &str, open: bool) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut families = BTreeSet::new();
    let (mut family, mut kind) = ("", "");
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            match (words.next().unwrap(), words.next(), words.next()) {
                ("TYPE", Some(name), Some(word)) => {
                    assert!(families.insert(name), "{name} twice");
                    (family, kind) = (name, word);
                }
                ("HELP" | "UNIT", Some(name), Some(_)) => assert_eq!(name, family),
                ("EOF", None, None) => assert!(open && text.ends_with("# EOF\n")),
                other => panic!("{other:?}"),
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{name} in {family}"));
        match kind {
            "counter" => assert_eq!(suffix, if open { "_total" } else { "" }, "{line}"),
            "gauge" | "unknown" => assert_eq!(suffix, "", "{line}"),
            "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
            other => panic!("{other}"),
        }
        let named_so = name.ends_with("_total") || PLAIN.contains(&name);
        assert!(open || kind != "counter" || named_so, "{line}");
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            let inner = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}')).unwrap();
            assert!(inner.split("\",").all(|label| label.contains("=\"")), "{line}");
        }
        assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} twice");
    }
    samples
}

fn scrape(api: &Api, path: &str, accept: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: {accept}\r\n\r\n");
    let answer = converse(api.unix(), request.as_bytes());
    assert_eq!(answer.status, 200);
    (answer.head, answer.body)
}

#[test]
fn both_formats_tell_the_same() {
    let api = Api::start();
    for path in ["/metrics", "/metrics/uwsgi"] {
        let (head, body) = scrape(&api, path, "application/openmetrics-text;version=1.0.0,*/*;q=0.1");
        assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
        let open = read(&body, true);
        let (head, body) = scrape(&api, path, "*/*");
        assert!(head.contains("text/plain; version=0.0.4"), "{head}");
        let text = read(&body, false);
        assert_eq!(open.keys().collect::<Vec<_>>(), text.keys().collect::<Vec<_>>());
    }
}

#[test]
fn the_numbers_are_those_of_the_fleet() {
    let api = Api::start();
    let boards = api.handle.fleet().vassals["a b%.ini"].boards().cloned().unwrap();
    let board = boards.newest();
    board.slot(0).unwrap().classify(4_000);
    board.slot(0).unwrap().classify(60_000_000);
    let samples = read(&scrape(&api, "/metrics", "*/*").1, false);
    for (series, value) in [
        ("liege_vassals{state=\"up\"}", 1.0),
        ("liege_vassals{state=\"broken\"}", 0.0),
        ("liege_vassal_up{vassal=\"a b%.ini\"}", 1.0),
        ("liege_vassal_state{vassal=\"a b%.ini\",state=\"up\"}", 1.0),
        ("liege_requests_total{vassal=\"a b%.ini\"}", 41.0),
        ("liege_workers_busy{vassal=\"a b%.ini\"}", 1.0),
        ("liege_request_duration_seconds_bucket{vassal=\"a b%.ini\",le=\"0.0025\"}", 0.0),
        ("liege_request_duration_seconds_bucket{vassal=\"a b%.ini\",le=\"0.005\"}", 1.0),
        ("liege_request_duration_seconds_bucket{vassal=\"a b%.ini\",le=\"10\"}", 1.0),
        ("liege_request_duration_seconds_bucket{vassal=\"a b%.ini\",le=\"+Inf\"}", 41.0),
        ("liege_reloads_total{vassal=\"a b%.ini\",outcome=\"rolled-back\"}", 0.0),
        ("liege_exits_total{vassal=\"a b%.ini\",role=\"worker\",reason=\"harakiri\"}", 0.0),
        ("liege_files_not_started", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    let samples = read(&scrape(&api, "/metrics/uwsgi", "*/*").1, false);
    for (series, value) in [
        ("uwsgi_worker_requests_total{stats_uri=\"a b%.ini\",worker_id=\"1\"}", 41.0),
        ("uwsgi_worker_busy{stats_uri=\"a b%.ini\",worker_id=\"1\"}", 1.0),
        ("uwsgi_worker_core_busy{stats_uri=\"a b%.ini\",worker_id=\"1\",core_id=\"0\"}", 1.0),
        ("uwsgi_workers{stats_uri=\"a b%.ini\"}", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series}");
    }
    assert!(!samples.keys().any(|series| series.contains("/path")), "no request shows in a metric");
}

#[test]
fn workers_without_a_process_are_there_and_counts_go_on() {
    let api = Api::start();
    // It has places for more threads than there are any more.
    let board = Scoreboard::create(4, 5).unwrap();
    board.set_total(Total::Threads, 2);
    let thread = ThreadTally { requests: 60, write_errors: 2, ..ThreadTally::default() };
    let earlier = Tally {
        spawns: 3,
        harakiri: 1,
        requests: 100,
        exceptions: 7,
        tx: 9,
        running_us: 2_000_000,
        threads: vec![thread; 2],
    };
    board.set_tallied(3);
    board.set_tally(1, &earlier);
    board.set_tally(2, &earlier);
    // Of the first number an old and a new life, of the second none, and the third has never been.
    for (slot, generation, requests) in [(0, 1, 20), (1, 2, 5)] {
        let slot = board.slot(slot).unwrap();
        slot.set(Field::WorkerId, 1);
        slot.set(Field::Generation, generation);
        slot.set(Field::Requests, requests);
        slot.set(Field::RunningUs, 500_000);
        slot.core(0).unwrap().set(CoreField::Requests, generation);
    }
    api.handle.fleet().vassals.get_mut("a b%.ini").unwrap().shown = Some(Arc::new(board.into()));
    let samples = read(&scrape(&api, "/metrics/uwsgi", "*/*").1, false);
    let of = |name: &str, worker: u32| {
        let labels = format!("{{stats_uri=\"a b%.ini\",worker_id=\"{worker}\"");
        let series =
            samples.iter().find(|(series, _)| series.starts_with(&format!("uwsgi_worker_{name}{labels}")));
        series.map(|(_, value)| *value)
    };
    for (name, first, second) in [
        ("cheap", 0.0, 1.0),
        ("idle", 1.0, 0.0),
        ("busy", 0.0, 0.0),
        ("accepting", 0.0, 0.0),
        ("requests_total", 125.0, 100.0),
        ("delta_requests", 5.0, 0.0),
        ("exceptions_total", 7.0, 7.0),
        ("transmitted_bytes_total", 9.0, 9.0),
        ("running_time_seconds", 3.0, 2.0),
        ("respawn_count_total", 3.0, 3.0),
        ("harakiri_count_total", 1.0, 1.0),
        ("cores", 2.0, 2.0),
        ("apps", 1.0, 1.0),
        ("app_requests_total", 125.0, 100.0),
        ("core_requests_total", 63.0, 60.0),
        ("core_write_errors_total", 2.0, 2.0),
    ] {
        assert_eq!((of(name, 1), of(name, 2)), (Some(first), Some(second)), "{name}");
        assert_eq!(of(name, 3), None, "{name}");
    }
    assert_eq!(samples["uwsgi_workers{stats_uri=\"a b%.ini\"}"], 2.0);
    let threads = samples.keys().filter(|series| series.starts_with("uwsgi_worker_core_busy{"));
    assert_eq!(threads.filter(|series| series.contains("worker_id=\"1\"")).count(), 2);
}

#[test]
fn what_a_vassal_writes_over_its_caches_is_shown_by_the_rules() {
    let api = Api::start();
    let caches = ["a\"b\\\n", "other"].map(|name| {
        let memory = SharedWords::create("cache", 100).unwrap();
        memory.words().iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        let memory = memory.fd().try_clone_to_owned().unwrap();
        Arc::new(ShownCache::open(name.to_owned(), 7, memory).unwrap())
    });
    let boards = Scoreboard::create(1, 1).unwrap().into();
    let shown = Shown { boards, caches: caches.to_vec() };
    api.handle.fleet().vassals.get_mut("a b%.ini").unwrap().shown = Some(Arc::new(shown));
    let most = 9_223_372_036_854_775_807.0;
    for (path, own, rows) in [
        (
            "/metrics",
            "vassal=\"a b%.ini\",cache",
            [("liege_cache_hits_total", most), ("liege_cache_items_limit", 7.0)],
        ),
        (
            "/metrics/uwsgi",
            "stats_uri=\"a b%.ini\",name",
            [("uwsgi_cache_hits", most), ("uwsgi_cache_max_items", 7.0)],
        ),
    ] {
        for (accept, open) in [("*/*", false), ("application/openmetrics-text", true)] {
            let samples = read(&scrape(&api, path, accept).1, open);
            for ((family, value), name) in
                rows.iter().flat_map(|row| ["a\\\"b\\\\\\n", "other"].map(|name| (row, name)))
            {
                assert_eq!(
                    samples.get(&format!("{family}{{{own}=\"{name}\"}}")),
                    Some(value),
                    "{family} {name}"
                );
            }
        }
    }
}

#[test]
fn boards_alerts_and_pages_name_only_what_there_is() {
    let api = Api::start();
    let text = scrape(&api, "/metrics", "*/*").1;
    let families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut named = 0;
    for folder in [docs.join("grafana"), docs] {
        for file in std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
        {
            let text = std::fs::read_to_string(&file).unwrap();
            let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
            for name in
                text.split(|character| !is_of_name(character)).filter(|name| name.starts_with("liege_"))
            {
                let of_histogram =
                    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                let begins = name.ends_with('_') && families.iter().any(|family| family.starts_with(name));
                let is_there =
                    families.contains(name) || of_histogram.is_some_and(|name| families.contains(name));
                assert!(is_there || begins, "{name} in {}", file.display());
                named += 1;
            }
        }
    }
    assert!(named > 40, "{named}");
}

/// Its counters whose names do not end in `_total`.
const PLAIN: [&str; 3] = ["uwsgi_cache_hits", "uwsgi_cache_misses", "uwsgi_cache_full"];

/// What timonwong/uwsgi_exporter names, besides its own scrapes.
const EXPORTED: &str = "up listen_queue_length listen_queue_errors signal_queue_length workers \
    socket_queue_length socket_max_queue_length socket_shared socket_can_offload worker_accepting \
    worker_delta_requests worker_signal_queue_length worker_rss_bytes worker_vsz_bytes worker_running_time_seconds \
    worker_last_spawn_time_seconds worker_average_response_time_seconds worker_apps worker_cores \
    worker_requests_total worker_exceptions_total worker_harakiri_count_total worker_signals_total \
    worker_respawn_count_total worker_transmitted_bytes_total worker_busy worker_idle worker_cheap \
    worker_app_startup_time_seconds worker_app_requests_total worker_app_exceptions_total worker_core_busy \
    worker_core_requests_total worker_core_static_requests_total worker_core_routed_requests_total \
    worker_core_offloaded_requests_total worker_core_write_errors_total worker_core_read_errors_total \
    cache_hits cache_misses cache_full cache_items cache_max_items";

#[test]
fn every_name_of_the_exporter_is_there() {
    let api = Api::start();
    let text = scrape(&api, "/metrics/uwsgi", "*/*").1;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE uwsgi_")?.split(' ').next());
    assert_eq!(types.collect::<BTreeSet<_>>(), EXPORTED.split_whitespace().collect());
}
