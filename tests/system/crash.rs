//! What dies is replaced, and nobody else notices.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::{TOOLS, says};
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::is_gone;
use crate::support::wait::{eventually, until};

/// A host with `tools.ini` (these lines) and an innocent `other.ini`.
fn two_vassals(lines: &str) -> (Host, Door, Door) {
    let (port, other) = (free_port(), free_port());
    let host = Host::start(&[]);
    host.folder().write("tools.py", TOOLS);
    host.folder().write("other.py", says("other"));
    host.write(
        "tools.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../tools.py\n{lines}"),
    );
    host.write("other.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{other}\nwsgi-file = %d../other.py\n"));
    let (door, other) = (Door::Port(port), Door::Port(other));
    door.wait_for("/", "hello");
    other.wait_for("/", "other");
    (host, door, other)
}

fn pid_of_worker(door: &Door) -> i32 {
    door.get("/pid").unwrap().text().parse().unwrap()
}

#[test]
fn a_killed_worker_is_replaced_and_its_sibling_serves_on() {
    let (host, door, other) = two_vassals("processes = 2\n");
    let load = Load::start(&other, Manner::Fresh);
    let pid = pid_of_worker(&door);
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    until("the dead worker to be reaped", || is_gone(pid));
    host.wait_for_vassal("tools.ini", "has two workers", |vassal| {
        vassal["workers"].as_array().is_some_and(|workers| {
            workers
                .iter()
                .filter(|worker| {
                    worker["pid"].as_i64().is_some_and(|other| other != i64::from(pid) && other > 0)
                })
                .count()
                == 2
        })
    });
    assert_eq!(door.get("/").unwrap().text(), "hello");
    load.stop().nothing_failed();
}

#[test]
fn an_app_that_closes_what_is_not_its_own_or_is_killed_is_told_apart() {
    let host = Host::start(&[]);
    for (name, app, reason) in [
        (
            "closes",
            "import os, time\nos.closerange(3, 256)\ntime.sleep(600)",
            "it closed its channel to the master",
        ),
        ("killed", "import os\nos.kill(os.getpid(), 9)", "signal 9 (SIGKILL)"),
    ] {
        host.folder().write(format!("{name}.py"), app);
        let port = free_port();
        let file = format!("{name}.ini");
        host.write(&file, format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../{name}.py\n"));
        host.wait_for_vassal(&file, reason, |vassal| {
            let message = vassal["last_failure"]["message"].as_str().unwrap_or_default();
            message.contains("the interpreter ended while it loaded") && message.contains(reason)
        });
    }
}

#[test]
fn a_killed_master_comes_back_on_the_same_port_without_a_refused_connection() {
    let (host, door, other) = two_vassals("processes = 2\n");
    let load = Load::start(&other, Manner::Fresh);
    let vassal = host.wait_for_vassal("tools.ini", "has a pid", |vassal| vassal["pid"].is_u64());
    let master = i32::try_from(vassal["pid"].as_u64().unwrap()).unwrap();
    let mut running = door.connect().unwrap();
    running.send(b"GET /sleep?1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    host.wait_for_vassal("tools.ini", "is busy", |vassal| {
        vassal["totals"]["busy"].as_u64().is_some_and(|busy| busy > 0)
    });
    kill(Pid::from_raw(master), Signal::SIGKILL).unwrap();
    // Every connection is accepted, now or by the next master: the emperor holds the listener.
    until("the next master", || {
        door.connect().expect("no connection is refused");
        host.vassal("tools.ini")
            .is_some_and(|vassal| vassal["pid"].as_i64().is_some_and(|pid| pid != i64::from(master)))
    });
    assert_eq!(running.answer(false).unwrap().text(), "slept", "the old worker finishes its request");
    door.wait_for("/", "hello");
    load.stop().nothing_failed();
    let mut host = host;
    host.emperor.signal(Signal::SIGTERM);
    host.emperor.wait_until_empty();
}

#[test]
fn an_app_that_crashes_its_worker_serves_on_with_the_next() {
    let (host, door, other) = two_vassals("");
    let load = Load::start(&other, Manner::Fresh);
    for path in ["/segfault", "/exit", "/segfault"] {
        assert!(door.get(path).is_err(), "{path}: the connection breaks");
        door.wait_for("/", "hello");
    }
    load.stop().nothing_failed();
    assert!(host.emperor.log().contains("signal 11"), "{}", host.emperor.log());
    let deaths = deaths(&host);
    let told: Vec<(&str, &str)> = deaths.iter().map(|(how, why)| (how.as_str(), why.as_str())).collect();
    let signal = ("signal 11 (SIGSEGV)", "a signal that liege did not send");
    assert_eq!(told, [signal, ("exit status 0", "it ended by itself"), signal]);
}

/// How and why workers died, as the events tell it.
fn deaths(host: &Host) -> Vec<(String, String)> {
    let list = host.ask("/v1/events");
    let died = list["events"].as_array().unwrap().iter().filter(|event| event["kind"] == "worker-died");
    let brief = |event: &serde_json::Value| {
        let message = event["message"].as_str().unwrap();
        assert!(message.starts_with("worker 1 (pid ") || message.starts_with("worker 2 (pid "), "{message}");
        (message.split_once(" died: ").unwrap().1.to_owned(), event["reason"].as_str().unwrap().to_owned())
    };
    died.map(brief).collect()
}

#[test]
fn a_request_that_takes_too_long_is_killed_alone() {
    let (host, door, _other) = two_vassals("harakiri = 1\nprocesses = 2\n");
    assert!(door.get("/sleep?60").is_err());
    door.wait_for("/", "hello");
    until("the death to be told", || !deaths(&host).is_empty());
    let why = "harakiri: a request ran too long";
    assert_eq!(deaths(&host), [("signal 9 (SIGKILL)".to_owned(), why.to_owned())]);
}

#[test]
fn a_template_that_comes_after_its_vassal_is_found() {
    let host = Host::start(&[]);
    let port = free_port();
    host.folder().write("app.py", says("v1"));
    host.write("a.ini", "[uwsgi]\ninherit = ../base.ini\nwsgi-file = %d../app.py\n");
    let rests =
        |vassal: &serde_json::Value| vassal["state"] == "resting" && vassal["config_error"].is_object();
    let told = host.wait_for_vassal("a.ini", "waits for it", rests);
    let reason = told["reason"].as_str().unwrap();
    assert!(
        reason.contains("realpath() of ../base.ini failed") && reason.contains("; next try in "),
        "{reason}"
    );
    host.folder().write("base.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\n"));
    Door::Port(port).wait_for("/", "v1");
}

#[test]
fn a_crash_loop_backs_off_and_ends_when_the_file_is_mended() {
    let (host, _door, other) = two_vassals("");
    let load = Load::start(&other, Manner::Fresh);
    let port = free_port();
    host.folder().write("loop.py", "import os\nos._exit(7)\n");
    let file =
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../loop.py\nneed-app = true\n");
    host.write("loop.ini", &file);
    host.wait_for_vassal("loop.ini", "rests", |vassal| vassal["state"] == "resting");
    host.folder().write("loop.py", says("mended"));
    host.touch("loop.ini");
    Door::Port(port).wait_for("/", "mended");
    load.stop().nothing_failed();
}

#[test]
fn an_import_that_never_returns_harms_nobody_and_is_ended_with_its_file() {
    let (host, _door, other) = two_vassals("");
    host.folder().write("stuck.py", "import time\ntime.sleep(3600)\n");
    let port = free_port();
    host.write("stuck.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../stuck.py\n"));
    host.wait_for_vassal("stuck.ini", "starts", |vassal| vassal["state"] == "starting");
    assert_eq!(other.get("/").unwrap().text(), "other");
    host.remove("stuck.ini");
    until("the vassal to be forgotten", || host.vassal("stuck.ini").is_none());
    until("its port to be free", || Door::Port(port).connect().is_err());
}

#[test]
fn an_app_that_does_not_load_answers_500_and_says_why() {
    let (host, ..) = two_vassals("");
    host.folder().write("broken.py", crate::support::apps::BROKEN);
    for (name, lines) in [("broken.ini", ""), ("lazy.ini", "lazy-apps = true\n")] {
        let port = free_port();
        host.write(
            name,
            format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../broken.py\n{lines}"),
        );
        let answer = eventually("an answer", || Door::Port(port).get("/").ok());
        assert_eq!(answer.status, 500);
        let vassal = host.wait_for_vassal(name, "says why", |vassal| vassal["last_failure"].is_object());
        assert!(
            vassal["last_failure"]["traceback"].as_str().unwrap().contains("no luck today"),
            "{vassal:#}"
        );
        assert_eq!(host.emperor.log().matches(&format!("[{name}] RuntimeError: no luck today")).count(), 1);
    }
}

#[test]
fn a_killed_emperor_that_none_follows_leaves_nothing_behind() {
    let port = free_port();
    let mut host = Host::start_with(&[], &["--orphan-grace=1"]);
    host.folder().write("app.py", TOOLS);
    let options = "processes = 2\nwsgi-file = %d../app.py\n";
    host.write("a.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\n{options}"));
    Door::Port(port).wait_for("/", "hello");
    host.emperor.signal(Signal::SIGKILL);
    host.emperor.wait_until_empty();
}
