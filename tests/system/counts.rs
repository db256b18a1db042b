//! Counts that a scraper reads never go back, whatever is done to a vassal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use nix::sys::signal::Signal;

use crate::support::apps::TOOLS;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::wait::until;

/// Takes a while to load, so that the earlier workers serve on meanwhile; does not load where the file says so.
const APP: &str = r#"
import os, time
time.sleep(0.4)
if os.path.exists("broken"):
    raise RuntimeError("broken")

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"#;

/// Scrapes without a pause, and keeps what went back.
struct Scraper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Scraper {
    fn start(api: Door) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut scrapes, mut wrong, mut last) = (0, Vec::new(), BTreeMap::new());
            while !until.load(Ordering::Relaxed) {
                for path in ["/metrics", "/metrics/uwsgi"] {
                    // While the emperor executes itself one may fail.
                    let Ok(answer) = api.get(path) else { continue };
                    scrapes += 1;
                    for (series, now) in counts(&answer.text()) {
                        let before = last.insert(series.clone(), now).unwrap_or_default();
                        if now < before {
                            wrong.push(format!("{series}: {before} {now}"));
                        }
                    }
                }
            }
            (scrapes, wrong)
        });
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let (scrapes, wrong) = self.thread.join().unwrap();
        assert!(scrapes > 10 && wrong.is_empty(), "{scrapes} scrapes, {}: {wrong:#?}", wrong.len());
    }
}

/// The samples that only grow.
fn counts(text: &str) -> Vec<(String, f64)> {
    let mut only_grows = false;
    let mut counts = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ").and_then(|line| line.split(' ').nth(1)) {
            only_grows = ["counter", "histogram"].contains(&kind);
        } else if let Some((series, value)) =
            line.rsplit_once(' ').filter(|_| only_grows && !line.starts_with('#'))
        {
            counts.push((series.to_owned(), value.parse().unwrap()));
        }
    }
    counts
}

#[test]
fn counts_go_on_over_reloads_with_other_numbers_of_workers() {
    let port = free_port();
    let text = |lines: &str| {
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nchdir = %d..\nneed-app = true\ndisable-logging = true\n{lines}\n"
        )
    };
    let host = Host::start(&[]);
    host.folder().write("app.py", APP);
    host.write("app.ini", text("processes = 2"));
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    let load = Load::start(&door, Manner::Fresh);
    let scraper = Scraper::start(host.api());
    let reload = |lines: &str, outcome: &str| {
        host.write("app.ini", text(lines));
        assert_eq!(host.reload("app.ini")["outcome"], outcome, "{lines}");
        load.go_on();
    };
    for (lines, outcome) in [
        // More workers than the scoreboard has places for, more threads, and both down again.
        ("processes = 9", "swapped"),
        ("processes = 9\nthreads = 3", "swapped"),
        ("processes = 1", "swapped"),
        ("processes = 20\nlazy-apps = true", "swapped"),
        ("processes = 2", "swapped"),
        ("processes = 24\ncheaper = 1\ncheaper-initial = 2", "swapped"),
        ("processes = 3\nstats-min = true", "swapped"),
    ] {
        reload(lines, outcome);
    }
    // One that is rolled back has made room for workers that never came: those that serve count on elsewhere.
    host.folder().write("broken", "");
    reload("processes = 40", "rolled-back");
    std::fs::remove_file(host.folder().path().join("broken")).unwrap();
    let counted = |text: &str, name: &str| {
        let of = |(series, count): (String, f64)| series.starts_with(name).then_some(count);
        counts(text).into_iter().filter_map(of).sum::<f64>()
    };
    let requests = || {
        [("/metrics", "liege_requests_total{"), ("/metrics/uwsgi", "uwsgi_worker_requests_total{")]
            .map(|(path, name)| counted(&host.api().get(path).unwrap().text(), name))
    };
    let before = requests();
    load.go_on();
    let after = requests();
    assert!(before.iter().zip(after).all(|(before, after)| after > *before), "{before:?} {after:?}");
    assert_eq!(host.ask("/v1/vassals/app.ini/workers")["workers"].as_array().unwrap().len(), 3);
    let answer = host.post("/v1/upgrade");
    let operation: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(host.wait_for_operation(&operation["id"])["outcome"], "done");
    load.go_on();
    assert_eq!(host.ask("/v1/vassals/app.ini/workers")["workers"].as_array().unwrap().len(), 3);
    host.emperor.signal(Signal::SIGHUP);
    until("the emperor's next image", || host.ask("/v1/emperor")["reexecutions"] == 2);
    reload("processes = 5", "swapped");
    scraper.stop();
    load.stop().nothing_failed();
}

#[test]
fn a_request_is_counted_once_when_it_ends_and_not_if_its_worker_died_in_it() {
    let port = free_port();
    let text = |lines: &str| {
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nchdir = %d..\n{lines}\n")
    };
    let host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    host.write("app.ini", text("processes = 2"));
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    let metric = |path: &str, series: &str| {
        let text = host.api().get(path).unwrap().text();
        let of = text.lines().filter(|line| line.starts_with(series));
        of.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum::<f64>()
    };
    let counted = || {
        [
            metric("/metrics", "liege_requests_total{"),
            metric("/metrics", "liege_request_duration_seconds_count{"),
        ]
    };
    until("the first one to be counted", || counted() != [0.0; 2]);
    let before = counted();
    let mut ended = 0.0;
    let mut serve = || {
        for path in ["/", "/raise", "/stream"] {
            door.get(path).unwrap();
            ended += 1.0;
        }
    };
    for _ in 0..2 {
        serve();
        // Its client gets no answer.
        assert!(door.get("/exit").is_err());
    }
    let died = "liege_exits_total{vassal=\"app.ini\",role=\"worker\",reason=\"exit\"}";
    until("both deaths to be known", || metric("/metrics", died) == 2.0);
    // More workers and threads than the scoreboard has places for, and fewer again.
    for (lines, threads) in [("processes = 9\nthreads = 3", 3.0), ("processes = 1", 1.0)] {
        host.write("app.ini", text(lines));
        assert_eq!(host.reload("app.ini")["outcome"], "swapped", "{lines}");
        serve();
        until("the earlier workers to go", || {
            let cores = metric("/metrics/uwsgi", "uwsgi_worker_cores{");
            cores == threads * metric("/metrics/uwsgi", "uwsgi_workers{")
        });
    }
    // An answer is there before it is counted.
    let expected = before.map(|before| before + ended);
    until("all that ended to be counted", || counted() == expected);
    assert_eq!(host.reload("app.ini")["outcome"], "swapped");
    assert_eq!(counted(), expected);
}
