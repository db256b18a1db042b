//! Workers that come and go with the load (`cheaper`, `cheap`, `idle`), and those that have too much memory.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::apps::says;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::until;
use crate::support::{free_port, uwsgi};

/// Answers after so many seconds; the path `/grow` keeps 64 MiB, `/who` tells the worker.
pub(crate) const SLOW: &str = "
import time, uwsgi
kept = []
def application(environ, start_response):
    environ['wsgi.input'].read()
    if environ['PATH_INFO'] == '/grow':
        kept.append(b'x' * (64 << 20))
    time.sleep(0.03)
    start_response('200 OK', [])
    return [str(uwsgi.worker_id()).encode() if environ['PATH_INFO'] == '/who' else b'hello']
";

/// An instance of which the statistics are asked.
pub(crate) struct Adaptive {
    pub(crate) family: Family,
    pub(crate) door: Door,
    stats: Door,
    pub(crate) folder: Folder,
}

impl Adaptive {
    pub(crate) fn start(app: &str, lines: &str) -> Self {
        let folder = Folder::new();
        let (port, stats) = (free_port(), free_port());
        folder.write("app.py", app);
        let lines = lines.replace(", ", "\n").replace("PORT", &format!("127.0.0.1:{port}"));
        folder
            .write("app.ini", format!("[uwsgi]\nwsgi-file = %dapp.py\nstats = 127.0.0.1:{stats}\n{lines}\n"));
        let family = liege(&folder, &["app.ini"]);
        let adaptive = Self { family, door: Door::Port(port), stats: Door::Port(stats), folder };
        adaptive.family.wait_for_log("WSGI app 0");
        adaptive
    }

    fn document(&self) -> Value {
        serde_json::from_slice(&self.stats.connect().unwrap().rest().unwrap()).unwrap()
    }

    /// How many workers there are, as uWSGI's tools count them.
    pub(crate) fn workers(&self) -> usize {
        let document = self.document();
        document["workers"].as_array().unwrap().iter().filter(|worker| worker["status"] != "cheap").count()
    }

    pub(crate) fn wait_for_workers(&self, count: usize) {
        until(&format!("{count} workers\n{}", self.family.log()), || self.workers() == count);
    }
}

#[test]
fn workers_come_under_load_and_go_after_it_and_no_request_is_lost() {
    for (socket, manner) in
        [("http", Manner::Fresh), ("http", Manner::KeptPost), ("http-socket", Manner::Fresh)]
    {
        let lines = format!("{socket} = PORT, processes = 3, cheaper = 1, cheaper-overload = 1");
        let adaptive = Adaptive::start(SLOW, &lines);
        adaptive.wait_for_workers(1);
        let load = Load::start(&adaptive.door, manner);
        adaptive.wait_for_workers(3);
        // A new generation has as many from its first moment on.
        adaptive.family.signal(Signal::SIGHUP);
        adaptive.family.wait_for_log("reload done: generation 2");
        assert_eq!(adaptive.workers(), 3, "{}", adaptive.family.log());
        load.go_on();
        load.stop().nothing_failed();
        adaptive.wait_for_workers(1);
        // The edges, once more, met by requests.
        for _ in 0..2 {
            let load = Load::start(&adaptive.door, manner);
            // A busy machine may bring the third before the load has stopped.
            until("a second worker", || adaptive.workers() > 1);
            load.stop().nothing_failed();
        }
        let log = adaptive.family.log();
        for line in
            ["workers: 1 → 2: the only worker is busy for 1 s", "workers: 2 → 1: 2 of 2 workers are idle"]
        {
            assert!(log.contains(line), "{line}\n{log}");
        }
    }
}

#[test]
fn every_algorithm_brings_workers() {
    for lines in [
        "cheaper-algo = spare2, cheaper-idle = 1",
        "cheaper-algo = busyness, cheaper-busyness-multiplier = 1",
        "cheaper-algo = backlog",
        "cheaper-busyness-verbose = true, cheaper-algo = busyness, cheaper-busyness-max = 20, cheaper-busyness-multiplier = 1",
    ] {
        let common = "http = PORT, processes = 3, cheaper = 1, cheaper-overload = 1";
        let adaptive = Adaptive::start(SLOW, &format!("{common}, {lines}"));
        let load = Load::start(&adaptive.door, Manner::Fresh);
        adaptive.wait_for_workers(3);
        load.stop().nothing_failed();
        adaptive.wait_for_workers(1);
    }
}

#[test]
fn connections_that_wait_on_a_unix_socket_are_a_backlog() {
    let lines = "socket = %da.sock, processes = 2, cheaper = 1, cheaper-algo = backlog, cheaper-overload = 1, worker-reload-mercy = 1";
    let adaptive = Adaptive::start("import time\n\ndef application(e, s):\n    time.sleep(1000)\n", lines);
    adaptive.wait_for_workers(1);
    let path = adaptive.folder.path().join("a.sock");
    let clients: Vec<UnixStream> = (0..5)
        .map(|_| {
            let mut client = UnixStream::connect(&path).unwrap();
            client.write_all(&uwsgi::packet(&uwsgi::get("/"))).unwrap();
            client
        })
        .collect();
    adaptive.wait_for_workers(2);
    until("two are busy", || adaptive.document()["listen_queue"] == 3);
    drop(clients);
}

#[test]
fn a_cheap_instance_begins_with_the_first_connection_and_ends_its_workers_when_idle() {
    for socket in ["http", "http-socket"] {
        let lines = format!("{socket} = PORT, processes = 2, cheap = true, idle = 1");
        let adaptive = Adaptive::start(&says("hello"), &lines);
        assert_eq!(adaptive.workers(), 0);
        for _ in 0..2 {
            let mut connection = adaptive.door.connect().unwrap();
            assert_eq!(connection.ask("GET", "/", &[], b"").unwrap().text(), "hello");
            adaptive.wait_for_workers(2);
            drop(connection);
            adaptive.wait_for_workers(0);
        }
        let log = adaptive.family.log();
        for line in
            ["cheap mode enabled: waiting for socket connection...", "workers: 0 → 2: somebody connects"]
        {
            assert!(log.contains(line), "{line}\n{log}");
        }
    }
}

#[test]
fn nobody_waits_in_vain_on_a_connection_that_outlives_the_last_worker() {
    for socket in ["http", "http-socket"] {
        let adaptive = Adaptive::start(&says("hello"), &format!("{socket} = PORT, cheap = true, idle = 1"));
        let mut kept = adaptive.door.connect().unwrap();
        assert_eq!(kept.ask("GET", "/", &[], b"").unwrap().text(), "hello");
        adaptive.wait_for_workers(0);
        match kept.ask("GET", "/", &[], b"") {
            Ok(answer) => assert_eq!(answer.text(), "hello"),
            // It was closed, and the client knows.
            Err(error) => {
                let is_silence = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!is_silence, "{socket}: {error}\n{}", adaptive.family.log());
            }
        }
        assert_eq!(adaptive.door.get("/").unwrap().text(), "hello");
    }
}

#[test]
fn the_api_tells_of_every_change_and_an_operators_number_spares_busy_workers() {
    let port = free_port();
    let lines =
        "processes = 4\ncheaper = 1\ncheaper-initial = 3\ncheaper-algo = manual\nwsgi-file = %d../app.py\n";
    let host = Host::start(&[]);
    host.folder().write("app.py", SLOW);
    host.write("a.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\n{lines}"));
    Door::Port(port).wait_for("/", "hello");
    let workers = || {
        let list = host.ask("/v1/vassals/a.ini/workers");
        list["workers"].as_array().unwrap().len()
    };
    until("three workers", || workers() == 3);
    let mut connection = host.api().connect().unwrap();
    let answer = connection
        .ask(
            "POST",
            "/v1/vassals/a.ini/scale",
            &["Connection: close", "Content-Type: application/json"],
            b"{\"workers\":2}",
        )
        .unwrap();
    assert!(answer.status < 300, "{}", answer.text());
    until("two workers", || workers() == 2);
    until("the event", || {
        let events = host.ask("/v1/events?vassal=a.ini").to_string();
        events.contains("workers: 3 → 2: an operator wants it")
    });
}

#[test]
fn a_worker_with_too_much_memory_is_killed_and_the_reason_is_kept() {
    let port = free_port();
    let lines = "evil-reload-on-rss = 150\nmem-collector-freq = 1\nwsgi-file = %d../app.py\n";
    let host = Host::start(&[]);
    host.folder().write("app.py", SLOW);
    host.write("a.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\n{lines}"));
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    until("the end of a worker that grows", || {
        let _ = door.get("/grow");
        let boxes = host.ask("/v1/vassals/a.ini/black-boxes");
        boxes["black_boxes"][0]["cause"] == "memory"
    });
    door.wait_for("/", "hello");
    let events = host.ask("/v1/events?vassal=a.ini").to_string();
    assert!(events.contains("EVIL RELOAD ON WORKER 1 RSS"), "{events}");
    let metrics = host.api().get("/metrics").unwrap().text();
    assert!(metrics.contains("vassal=\"a.ini\",role=\"worker\",reason=\"memory\"} 1"), "{metrics}");
}
