//! The statistics of an instance as Telegraf's `inputs.uwsgi` decodes them: in Go, where a number of another kind than the
//! field's ends the reading of the whole document. The fields and their types are those of its source; it is not run.

use serde_json::Value;

use crate::support::apps::TOOLS;
use crate::support::free_port;
use crate::support::http::Door;
use crate::support::server::{Folder, liege};
use crate::support::wait::eventually;

const OVERVIEW: &[&str] =
    &["pid", "uid", "gid", "listen_queue", "listen_queue_errors", "signal_queue", "load"];
const WORKER: &[&str] = &[
    "id",
    "pid",
    "accepting",
    "requests",
    "delta_requests",
    "exceptions",
    "harakiri_count",
    "signals",
    "signal_queue",
    "rss",
    "vsz",
    "running_time",
    "last_spawn",
    "respawn_count",
    "tx",
    "avg_rt",
];
const APP: &[&str] = &["id", "modifier1", "requests", "startup_time", "exceptions"];
const CORE: &[&str] = &[
    "id",
    "requests",
    "static_requests",
    "routed_requests",
    "offloaded_requests",
    "write_errors",
    "read_errors",
    "in_request",
];

/// Go takes a key for another that differs in case only; the last one in the document wins.
fn member<'a>(object: &'a Value, name: &str) -> &'a Value {
    let named = object.as_object().unwrap().iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let named: Vec<_> = named.collect();
    assert_eq!(named.len(), 1, "{name}: {object}");
    named[0].1
}

/// Its `int` has 64 bits on every host that liege runs on.
fn integers(object: &Value, names: &[&str]) {
    for name in names {
        let value = member(object, name);
        // The text counts: a float is none, however whole it is.
        assert!(value.to_string().parse::<i64>().is_ok(), "{name}: {value}");
    }
}

fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    member(object, name).as_array().unwrap_or_else(|| panic!("{name}: {object}"))
}

fn check(document: &Value) {
    integers(document, OVERVIEW);
    assert!(member(document, "version").is_string());
    let workers = list(document, "workers");
    assert_eq!(workers.len(), 2);
    for worker in workers {
        integers(worker, WORKER);
        assert!(member(worker, "status").is_string());
        assert!(!list(worker, "apps").is_empty());
        list(worker, "apps").iter().for_each(|app| integers(app, APP));
        assert_eq!(list(worker, "cores").len(), 2);
        list(worker, "cores").iter().for_each(|core| integers(core, CORE));
    }
}

#[test]
fn telegraf_can_decode_the_statistics_by_tcp_unix_and_http() {
    for scheme in ["tcp", "unix", "http"] {
        let folder = Folder::new();
        let (port, stats) = (free_port(), free_port());
        let unix = folder.path().join("stats.sock");
        let (line, from) = match scheme {
            "tcp" => (format!("stats = 127.0.0.1:{stats}"), Door::Port(stats)),
            "unix" => (format!("stats = {}", unix.display()), Door::Unix(unix)),
            _ => (format!("stats = 127.0.0.1:{stats}\nstats-http = true"), Door::Port(stats)),
        };
        folder.write("app.py", TOOLS);
        folder.write(
            "app.ini",
            format!(
                "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nprocesses = 2\nthreads = 2\n\
                 stats-request-vars = true\n{line}\n"
            ),
        );
        let _family = liege(&folder, &["app.ini"]);
        let door = Door::Port(port);
        door.wait_for("/", "hello");
        let document = || -> Option<Value> {
            let bytes = match scheme {
                "http" => {
                    let answer = from.get("/").ok()?;
                    assert_eq!(
                        (answer.status, answer.header("content-type")),
                        (200, Some("application/json"))
                    );
                    answer.body
                }
                _ => from.connect().ok()?.rest().ok()?,
            };
            Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{scheme}: {error}")))
        };
        let has_begun = |worker: &Value| !list(worker, "cores").is_empty();
        check(&eventually("the document", || {
            document().filter(|document| list(document, "workers").iter().all(has_begun))
        }));
        // While a request runs, too.
        let mut running = door.connect().unwrap();
        running.send(b"GET /sleep?2 HTTP/1.1\r\nHost: a\r\nX-Quote: \"\\\r\n\r\n").unwrap();
        let busy = eventually("a running request", || {
            document().filter(|document| list(document, "workers").iter().any(|one| one["status"] == "busy"))
        });
        check(&busy);
        assert_eq!(running.answer(false).unwrap().text(), "slept");
    }
}
