//! Instances as real processes, without an emperor: start, serve, reload, survive, stop.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "support/port.rs"]
mod port;
#[path = "instance/stage.rs"]
mod stage;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stage::{Clients, Instance, app, get};

#[test]
fn it_serves_shows_itself_and_stops_after_the_running_request() {
    let options =
        "processes = 2\nstats = DIR/stats\npidfile = DIR/pid\nsafe-pidfile = DIR/safe\nvacuum = true";
    let mut instance = Instance::serving("http-socket", options, &app("v1", ""));
    let pid = fs::read_to_string(instance.path("pid")).unwrap();
    // It comes once the instance is ready, of which a client may know first.
    while fs::read_to_string(instance.path("safe")).unwrap_or_default() != pid {}
    // A request is counted when its answer is out, which is when its client has it.
    let workers = || {
        let stats: serde_json::Value = serde_json::from_str(&stats_of(&instance)).unwrap();
        stats["workers"].as_array().unwrap().clone()
    };
    assert_eq!(workers().len(), 2);
    while workers().iter().all(|worker| worker["requests"] == 0) {}
    let port = instance.port;
    let running = std::thread::spawn(move || get(port, "/sleep?1"));
    while !stats_of(&instance).contains("\"status\":\"busy\"") {}
    instance.signal(Signal::SIGTERM);
    assert!(running.join().unwrap().unwrap().starts_with("v1 "));
    assert_eq!(instance.end().code(), Some(0));
    assert!(instance.is_silent());
    for name in ["pid", "safe", "stats"] {
        assert!(!instance.path(name).exists(), "{name} was left");
    }
}

#[test]
fn no_reload_loses_a_request_and_broken_code_never_takes_over() {
    for socket in ["http-socket", "http"] {
        let options = "processes = 2\nneed-app = true\ntouch-reload = DIR/touch";
        let mut instance = Instance::serving(socket, options, &app("v1", ""));
        let clients = Clients::start(instance.port);
        instance.install(&app("v2", "time.sleep(0.3)"));
        fs::write(instance.path("touch"), "").unwrap();
        instance.hear("reload done: generation 2 serves");
        instance.wait_for("v2");
        instance.install(&app("v3", ""));
        instance.signal(Signal::SIGHUP);
        instance.hear("(RE)spawned uWSGI master");
        instance.hear("reload done: generation 3 serves");
        instance.wait_for("v3");
        instance.install(&app("v4", "1/0"));
        instance.signal(Signal::SIGHUP);
        instance.hear("reload failed");
        assert_eq!(instance.get("/").0, "v3");
        let ini = fs::read_to_string(instance.path("app.ini")).unwrap();
        fs::write(instance.path("app.ini"), format!("{ini}processes = many\n")).unwrap();
        instance.signal(Signal::SIGHUP);
        instance.hear("reload failed");
        fs::write(instance.path("app.ini"), format!("{ini}processes = 5\nthreads = 2\n")).unwrap();
        instance.install(&app("v5", ""));
        instance.signal(Signal::SIGHUP);
        instance.hear("generation 5 serves");
        assert_eq!(instance.get("/").0, "v5");
        clients.end();
        instance.signal(Signal::SIGINT);
        assert_eq!(instance.end().code(), Some(0), "{}", instance.log());
    }
}

#[test]
fn a_burst_of_signals_ends_with_the_newest_code_serving() {
    let mut instance = Instance::serving("http-socket", "processes = 1", &app("v1", ""));
    let clients = Clients::start(instance.port);
    instance.install(&app("v2", "time.sleep(0.1)"));
    for _ in 0..20 {
        instance.signal(Signal::SIGHUP);
        instance.get("/");
    }
    while instance.get("/").0 != "v2" {}
    clients.end();
    instance.signal(Signal::SIGTERM);
    assert_eq!(instance.end().code(), Some(0));
}

#[test]
fn a_killed_worker_is_replaced_at_once() {
    let mut instance = Instance::serving("http-socket", "processes = 1", &app("v1", ""));
    let (_, pid) = instance.get("/");
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    instance.hear("DAMN ! worker 1");
    assert_ne!(instance.get("/").1, pid);
    instance.hear("Respawned uWSGI worker 1");
}

#[test]
fn harakiri_ends_the_worker_whose_request_runs_too_long() {
    let mut instance = Instance::serving("http-socket", "processes = 1\nharakiri = 1", &app("v1", ""));
    let (_, pid) = instance.get("/");
    assert!(get(instance.port, "/sleep?600").is_err());
    instance.hear("*** HARAKIRI ON WORKER 1");
    instance.hear("HARAKIRI triggered by worker 1 core 0 !!!");
    assert_ne!(instance.get("/").1, pid);
}

#[test]
fn a_deadline_that_the_application_sets_ends_the_worker_too() {
    let limit = "uwsgi.set_user_harakiri(int(environ['QUERY_STRING'] == '600'))";
    let text = app("v1", "import uwsgi").replace("time.sleep(", &format!("{limit}; time.sleep("));
    let mut instance = Instance::serving("http-socket", "processes = 1", &text);
    let (_, pid) = instance.get("/");
    // Taken away again: a limit of 0 seconds is none.
    assert_eq!(instance.get("/sleep?0").1, pid);
    assert!(get(instance.port, "/sleep?600").is_err());
    instance.hear("*** HARAKIRI ON WORKER 1");
    assert_ne!(instance.get("/").1, pid);
}

#[test]
fn a_worker_without_a_master_ends_in_time() {
    let text = app("v1", "").replace("time.sleep(", "print('asleep', flush=True); time.sleep(");
    let mut instance = Instance::serving("http-socket", "processes = 1\nworker-reload-mercy = 1", &text);
    let port = instance.port;
    let asleep = std::thread::spawn(move || get(port, "/sleep?600"));
    instance.hear("asleep");
    instance.signal(Signal::SIGKILL);
    assert!(asleep.join().unwrap().is_err());
    // Its interpreter holds the socket a little longer.
    instance.wait_for_silence();
}

#[test]
fn a_stop_does_not_wait_long_for_idle_connections() {
    let mut instance = Instance::serving("http-socket", "processes = 1", &app("v1", ""));
    let mut idle = TcpStream::connect(("127.0.0.1", instance.port)).unwrap();
    write!(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(idle.read(&mut [0; 8]).unwrap(), 8);
    let before = Instant::now();
    instance.signal(Signal::SIGTERM);
    assert!(instance.end().success());
    // Half a second, where a reload would give it 15 s.
    assert!(before.elapsed().as_secs() < 12, "{:?}", before.elapsed());
}

#[test]
fn an_application_that_does_not_load_is_needed_or_answered_with_errors() {
    let mut needed = Instance::start("http-socket", "need-app = true", &app("v1", "1/0"));
    needed.hear("ZeroDivisionError");
    assert_eq!(needed.end().code(), Some(22));
    let mut without = Instance::start("http-socket", "", &app("v1", "1/0"));
    without.hear("no app loaded");
    assert!(get(without.port, "/").unwrap_err().contains(" 500 "));
    without.install(&app("v2", ""));
    without.signal(Signal::SIGHUP);
    without.hear("reload done");
    without.wait_for("v2");
}

#[test]
fn an_import_that_never_returns_blocks_neither_reload_nor_stop() {
    let hangs = app("v1", "print('importing', flush=True)\nwhile True: time.sleep(600)");
    let mut instance = Instance::start("http-socket", "processes = 1", &hangs);
    instance.hear("importing");
    instance.install(&app("v2", ""));
    instance.signal(Signal::SIGHUP);
    instance.hear("reload done");
    assert_eq!(instance.get("/").0, "v2");
    instance.install(&hangs);
    instance.signal(Signal::SIGHUP);
    instance.hear("importing");
    instance.signal(Signal::SIGTERM);
    assert_eq!(instance.end().code(), Some(0));
}

#[test]
fn a_process_that_the_application_left_behind_ends_with_the_instance() {
    let first = "import subprocess\nsubprocess.Popen('sleep 1000 & echo left $!', shell=True)";
    let mut instance = Instance::serving("http-socket", "", &app("v1", first));
    instance.signal(Signal::SIGTERM);
    // The log ends only when the last process that holds it is gone.
    assert_eq!(instance.end().code(), Some(0), "{}", instance.log());
}

#[test]
fn a_unix_socket_has_its_mode_and_is_made_only_where_nothing_else_is() {
    let mut instance =
        Instance::serving("http-socket", "socket = DIR/app.sock\nchmod-socket = 660", &app("v1", ""));
    let mode = fs::metadata(instance.path("app.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    instance.signal(Signal::SIGQUIT);
    assert_eq!(instance.end().code(), Some(0));
    let mut refused = Instance::start("http-socket", "socket = DIR/app.py", &app("v1", ""));
    refused.hear("not a socket");
    assert_eq!(refused.end().code(), Some(1));
    assert!(fs::read_to_string(refused.path("app.py")).unwrap().contains("application"));
}

#[test]
fn a_configuration_with_mistakes_is_refused_with_their_lines() {
    let mut instance = Instance::start("http-socket", "processes = many\nharakiri = soon", &app("v1", ""));
    instance.hear("app.ini:4:");
    instance.hear("app.ini:5:");
    assert_eq!(instance.end().code(), Some(1));
}

fn stats_of(instance: &Instance) -> String {
    let mut document = String::new();
    UnixStream::connect(instance.path("stats")).unwrap().read_to_string(&mut document).unwrap();
    document
}
