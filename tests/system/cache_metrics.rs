//! What caches count, as the emperor shows it: the numbers of the vassal's own statistics.

use std::collections::BTreeMap;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, free_port};

const APP: &str = r#"
import uwsgi

def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    if name:
        uwsgi.cache_get(name, "one")
        uwsgi.cache_get("none", "one")
        for n in range(5):
            uwsgi.cache_set(f"{name}{n}", "x", 0, "two")
        uwsgi.cache_set(name, "x", 0, "one")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"#;

/// By name: hits, misses, full, items, most items.
type Caches = BTreeMap<String, [u64; 5]>;

fn of_statistics(stats: &Door) -> Option<Caches> {
    let told: Value = serde_json::from_slice(&stats.connect().ok()?.rest().ok()?).ok()?;
    let caches = told["caches"].as_array()?.iter().map(|cache| {
        let number = |key: &str| cache[key].as_u64().unwrap();
        let name = cache["name"].as_str().unwrap().to_owned();
        (name, ["hits", "miss", "full", "items", "max_items"].map(number))
    });
    Some(caches.collect())
}

/// The same from metrics: what stands before and behind the name of a cache in a series, and how the families end.
fn of_metrics(host: &Host, path: &str, name: &str, families: [&str; 5]) -> Caches {
    let text = host.api().get(path).unwrap().text();
    let mut caches = Caches::new();
    for (at, family) in families.into_iter().enumerate() {
        let before = format!("{family}{{{name}=\"");
        for (cache, value) in text.lines().filter_map(|line| line.strip_prefix(&before)?.split_once("\"} ")) {
            caches.entry(cache.to_owned()).or_default()[at] = value.parse().unwrap();
        }
    }
    caches
}

fn of_api(host: &Host) -> Caches {
    let vassal = host.vassal("app.ini").unwrap();
    let caches = vassal["caches"].as_array().unwrap().iter().map(|cache| {
        let number = |key: &str| cache[key].as_u64().unwrap();
        let name = cache["name"].as_str().unwrap().to_owned();
        (name, ["hits", "misses", "full", "items", "max_items"].map(number))
    });
    caches.collect()
}

/// What a command says of the vassal.
fn said(host: &Host, command: &str) -> String {
    let folder = host.folder().path();
    let output = Command::new(LIEGE).args([command, "app", "--api", "api.sock"]).current_dir(folder).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

/// All that the emperor shows is what the vassal's statistics say.
fn agree(host: &Host, stats: &Door) -> Caches {
    let theirs = eventually("the statistics", || of_statistics(stats));
    let exporter = of_metrics(
        host,
        "/metrics/uwsgi",
        "stats_uri=\"app.ini\",name",
        [
            "uwsgi_cache_hits",
            "uwsgi_cache_misses",
            "uwsgi_cache_full",
            "uwsgi_cache_items",
            "uwsgi_cache_max_items",
        ],
    );
    let ours = of_metrics(
        host,
        "/metrics",
        "vassal=\"app.ini\",cache",
        [
            "liege_cache_hits_total",
            "liege_cache_misses_total",
            "liege_cache_full_total",
            "liege_cache_items",
            "liege_cache_items_limit",
        ],
    );
    assert_eq!((&exporter, &ours, &of_api(host)), (&theirs, &theirs, &theirs));
    theirs
}

#[test]
fn the_emperor_shows_what_caches_count_over_reloads_and_its_own_death() {
    let (port, stats) = (free_port(), free_port());
    let text = |lines: &str| {
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nstats = 127.0.0.1:{stats}\nchdir = %d..\nwsgi-file = app.py\n\
             processes = 2\ncache2 = name=one,items=9\n{lines}\n"
        )
    };
    let mut host = Host::start(&[]);
    host.folder().write("app.py", APP);
    host.write("app.ini", text("cache2 = name=two,items=3"));
    let (door, stats) = (Door::Port(port), Door::Port(stats));
    door.wait_for("/", "hello");
    until("the caches", || of_api(&host).len() == 2);
    let first = agree(&host, &stats);
    assert_eq!(first["one"], [0, 0, 0, 0, 9]);
    assert_eq!(door.get("/a").unwrap().status, 200);
    assert_eq!(door.get("/a").unwrap().status, 200);
    assert_eq!(
        agree(&host, &stats),
        Caches::from([
            ("one".into(), [1, 3, 0, 1, 9]),
            // Two of five find no room, and the second time as well.
            ("two".into(), [0, 0, 4, 3, 3]),
        ])
    );

    let status = said(&host, "status");
    let mut lines = status.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let line = lines.find(|words| words.first() == Some(&"two")).unwrap_or_default();
    assert_eq!(line.get(1..6), Some(&["3", "3", "0", "0", "4"][..]), "{status}");

    assert_eq!(host.reload("app.ini")["outcome"], "swapped");
    door.get("/b").unwrap();
    let kept = agree(&host, &stats);
    assert_eq!((kept["one"], kept["two"][2]), ([1, 5, 0, 2, 9], 9));

    // Another cache of the same name, and one less.
    host.write("app.ini", text("cache2 = name=three,items=3"));
    assert_eq!(host.reload("app.ini")["outcome"], "swapped");
    until("the other caches", || of_api(&host).contains_key("three"));
    assert_eq!(
        agree(&host, &stats),
        Caches::from([("one".into(), [1, 5, 0, 2, 9]), ("three".into(), [0, 0, 0, 0, 3]),])
    );

    // A master that executes itself, and an emperor that does and reloads all.
    let operation: Value = serde_json::from_slice(&host.post("/v1/upgrade").body).unwrap();
    assert_eq!(host.wait_for_operation(&operation["id"])["outcome"], "done");
    door.get("/a").unwrap();
    assert_eq!(agree(&host, &stats)["one"], [2, 6, 0, 2, 9]);
    host.emperor.signal(Signal::SIGHUP);
    until("the reload", || host.emperor.log().contains("generation 4"));
    host.wait_for_vassal("app.ini", "up", |vassal| vassal["state"] == "up");
    door.get("/a").unwrap();
    assert_eq!(agree(&host, &stats)["one"], [3, 7, 0, 2, 9]);

    host.emperor.signal(Signal::SIGKILL);
    host.emperor.wait();
    door.get("/a").unwrap();
    let _before = host.start_another();
    until("the caches at the next emperor", || host.vassal("app.ini").is_some() && of_api(&host).len() == 2);
    assert_eq!(agree(&host, &stats)["one"], [4, 8, 0, 2, 9]);

    assert_eq!(host.post("/v1/vassals/app.ini/stop").status / 100, 2);
    until("no caches", || of_api(&host).is_empty());
    assert!(!host.api().get("/metrics/uwsgi").unwrap().text().contains("name=\"one\""));
}
