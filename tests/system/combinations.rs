//! Options that meet: threads, greenlets, hooks and `harakiri` with workers that come and go.

use std::thread;

use nix::sys::signal::Signal;

use crate::adaptive::{Adaptive, SLOW};
use crate::support::environment;
use crate::support::http::Answer;
use crate::support::load::{Load, Manner};
use crate::support::wait::until;

/// As [`SLOW`], but `/stuck` and `/held` are answered when there is a file of that name.
fn with_stuck(sleep: &str) -> String {
    SLOW.replace(
        "    time.sleep(0.03)\n",
        &format!(
            "    import os\n    place = os.path.dirname(os.path.abspath(__file__))\n    path = environ['PATH_INFO']\n    \
             while path in ('/stuck', '/held') and not os.path.exists(place + path):\n        {sleep}\n    time.sleep(0.03)\n"
        ),
    )
}

fn ask(adaptive: &Adaptive, path: &'static str) -> thread::JoinHandle<std::io::Result<Answer>> {
    let door = adaptive.door.clone();
    thread::spawn(move || door.get(path))
}

#[test]
fn workers_with_threads_come_and_go_and_no_request_is_lost() {
    for (socket, manner) in [("http", Manner::Fresh), ("http-socket", Manner::KeptPost)] {
        let lines = format!("{socket} = PORT, processes = 3, threads = 2, cheaper = 1, cheaper-overload = 1");
        let adaptive = Adaptive::start(SLOW, &lines);
        adaptive.wait_for_workers(1);
        let load = Load::start(&adaptive.door, manner);
        until("more workers", || adaptive.workers() > 1);
        adaptive.family.signal(Signal::SIGHUP);
        adaptive.family.wait_for_log("reload done: generation 2");
        load.go_on();
        load.stop().nothing_failed();
        adaptive.wait_for_workers(1);
    }
}

#[test]
fn harakiri_takes_its_worker_alone_and_their_number_goes_on_with_the_load() {
    for graceful in ["", ", harakiri-graceful-timeout = 1"] {
        let lines =
            format!("http = PORT, processes = 3, cheaper = 1, cheaper-overload = 1, harakiri = 2{graceful}");
        let adaptive = Adaptive::start(&with_stuck("time.sleep(0.01)"), &lines);
        adaptive.wait_for_workers(1);
        // The only worker is lost first, then one of several.
        let stuck = ask(&adaptive, "/stuck");
        adaptive.family.wait_for_log("HARAKIRI ON WORKER 1");
        assert_ne!(stuck.join().unwrap().map_or(502, |answer| answer.status), 200);
        let load = Load::start(&adaptive.door, Manner::KeptPost);
        until("more workers", || adaptive.workers() > 1);
        let stuck = ask(&adaptive, "/stuck");
        let struck = || adaptive.family.log().matches("try: 1, graceful").count();
        until("the second", || struck() == 2);
        assert_ne!(stuck.join().unwrap().map_or(502, |answer| answer.status), 200);
        load.go_on();
        load.stop().nothing_failed();
        adaptive.wait_for_workers(1);
    }
}

#[test]
fn harakiri_ends_a_worker_of_greenlets_and_those_with_time_finish() {
    let Some(virtualenv) = environment("gevent") else { return };
    let virtualenv = virtualenv.display();
    for (sleep, graceful) in [
        ("import gevent; gevent.sleep(0.01)", "harakiri-graceful-timeout = 30"),
        ("time.sleep(0.01)", "harakiri-graceful-timeout = 0"),
    ] {
        let lines =
            format!("http-socket = PORT, gevent = 8, harakiri = 2, virtualenv = {virtualenv}, {graceful}");
        let adaptive = Adaptive::start(&with_stuck(sleep), &lines);
        adaptive.door.wait_for("/", "hello");
        let (stuck, held) = (ask(&adaptive, "/stuck"), ask(&adaptive, "/held"));
        adaptive.family.wait_for_log("HARAKIRI ON WORKER 1");
        adaptive.door.wait_for("/", "hello");
        if graceful.ends_with("30") {
            adaptive.folder.write("held", "");
            assert_eq!(held.join().unwrap().unwrap().text(), "hello");
            adaptive.folder.write("stuck", "");
            assert_eq!(stuck.join().unwrap().unwrap().text(), "hello");
        } else {
            assert!(stuck.join().unwrap().is_err() && held.join().unwrap().is_err());
        }
    }
}

#[test]
fn hooks_are_done_by_every_worker_that_comes() {
    let hooks = "hook-post-fork = appendn:%ddid fork, hook-accepting = appendn:%ddid accepting, \
        hook-accepting-once = appendn:%ddid once, hook-accepting1-once = appendn:%ddid first";
    let lines = format!("http = PORT, processes = 3, cheaper = 1, cheaper-overload = 1, {hooks}");
    let adaptive = Adaptive::start(SLOW, &lines);
    let did = |what: &str| {
        let text = std::fs::read_to_string(adaptive.folder.path().join("did")).unwrap_or_default();
        text.lines().filter(|line| *line == what).count()
    };
    adaptive.wait_for_workers(1);
    for _ in 0..2 {
        let load = Load::start(&adaptive.door, Manner::Fresh);
        adaptive.wait_for_workers(3);
        load.stop().nothing_failed();
        adaptive.wait_for_workers(1);
    }
    let born = adaptive.family.log().matches("pawned uWSGI worker ").count();
    assert!(born >= 5, "{}", adaptive.family.log());
    let counts = [did("fork"), did("accepting"), did("once"), did("first")];
    assert_eq!(counts, [born, born, 3, 1], "{}", adaptive.family.log());
}

#[test]
fn a_hook_that_hangs_in_a_worker_that_comes_is_ended_and_loses_no_request() {
    // The first worker goes through, the second does not, those after it do.
    let hook = "hook-accepting = exec:echo >> %dcount; test $(wc -l < %dcount) != 2 || sleep 1000";
    let lines =
        format!("http = PORT, processes = 3, cheaper = 1, cheaper-overload = 1, startup-timeout = 2, {hook}");
    let adaptive = Adaptive::start(SLOW, &lines);
    adaptive.wait_for_workers(1);
    let load = Load::start(&adaptive.door, Manner::KeptPost);
    adaptive.family.wait_for_log("workers: 1 → 2");
    adaptive.family.wait_for_log("hook-accepting");
    adaptive.wait_for_workers(3);
    load.stop().nothing_failed();
    adaptive.wait_for_workers(1);
}
