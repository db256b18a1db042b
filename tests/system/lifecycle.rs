//! The life of a fleet: hooks around it, uWSGI's statistics of it, and stops that reach everybody at once.

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::apps::TOOLS;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::{Connection, Door};
use crate::support::server::{Folder, liege, serve_app};
use crate::support::wait::{eventually, until};

fn vassal(port: u16) -> String {
    format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n")
}

#[test]
fn hooks_run_around_every_vassal_and_the_statistics_are_those_of_uwsgi() {
    let arguments = [
        "--vassals-start-hook=/bin/sh ../hook started",
        "--vassals-stop-hook=/bin/sh hook stopped",
        "--emperor-stats=stats.sock",
        "--emperor-procname=the emperor",
    ];
    let hook = "echo $@ in ${UWSGI_VASSALS_DIR##*/} >> \"$(dirname \"$0\")\"/hooks\n";
    let host = Host::start_with(&[("../hook", hook)], &arguments);
    host.folder().write("app.py", TOOLS);
    let name = "a $(touch x) b.ini";
    let port = free_port();
    host.write(name, vassal(port));
    host.write("broken.ini", "[uwsgi]\nhttp-socket = no such host:1\n");
    Door::Port(port).wait_for("/", "hello");
    let hooks = || std::fs::read_to_string(host.folder().path().join("hooks")).unwrap_or_default();
    assert!(hooks().contains(&format!("started {name} in vassals\n")), "{}", hooks());

    let told = eventually("both vassals in the statistics", || {
        let mut text = String::new();
        let mut stats = UnixStream::connect(host.folder().path().join("stats.sock")).ok()?;
        stats.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stats.read_to_string(&mut text).ok()?;
        let told: Value = serde_json::from_str(&text).unwrap();
        let both = told["vassals"][0]["ready"] == 1 && told["blacklist"][0]["id"] == "broken.ini";
        both.then_some(told)
    });
    assert_eq!(told["vassals"][0]["id"], name);
    assert_eq!(told["vassals"][0]["accepting"], 1);
    assert_eq!(told["pid"], host.emperor.pid());
    assert!(told["emperor"][0].as_str().unwrap().ends_with("/vassals"));
    // A client that does not read holds up nobody.
    let _silent: Vec<_> =
        (0..30).map(|_| UnixStream::connect(host.folder().path().join("stats.sock")).unwrap()).collect();
    let title = std::fs::read_to_string(format!("/proc/{}/comm", host.emperor.pid())).unwrap();
    assert_eq!(title, "the emperor\n");

    host.remove(name);
    until("the stop hook", || hooks().contains(&format!("stopped {name} in vassals\n")));
    assert!(!host.folder().path().join("x").exists() && !host.file("x").exists());
}

#[test]
fn statistics_are_told_in_the_form_and_to_those_that_the_emperor_was_told() {
    let port = free_port();
    let address = format!("--emperor-stats=127.0.0.1:{port}");
    let host = Host::start_with(&[], &[&address, "--stats-http", "--stats-minified"]);
    // Those who are silent hold up nobody, and who sends a request that nobody reads gets the whole answer.
    let _silent: Vec<_> =
        (0..8).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let answer = Door::Port(port).get(&format!("/{}", "x".repeat(50_000))).unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert!(
        answer.text().starts_with("{\"version\":\"") && !answer.text().contains('\n'),
        "{}",
        answer.text()
    );
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(told["pid"], host.emperor.pid());
    for (said, expected) in [("--chmod-socket=666", 0o666), ("--emperor-freq=60", 0o660)] {
        let host = Host::start_with(&[], &["--emperor-stats=stats.sock", said]);
        let mode = std::fs::metadata(host.folder().path().join("stats.sock")).unwrap().mode();
        assert_eq!(mode & 0o777, expected, "{said}");
    }
}

#[test]
fn who_served_just_before_a_stop_is_known_to_the_next_start() {
    let port = free_port();
    let mut host = Host::start_with(&[], &["--emperor-served-file=served"]);
    host.folder().write("app.py", TOOLS);
    host.write("app.ini", vassal(port));
    host.write("idle.ini", vassal(free_port()));
    Door::Port(port).wait_for("/", "hello");
    host.wait_for_vassal("idle.ini", "serves", |vassal| vassal["state"] == "up");
    host.emperor.signal(Signal::SIGTERM);
    assert!(host.emperor.wait().success());
    let known = std::fs::read_to_string(host.folder().path().join("served")).unwrap();
    assert!(known.contains("\"app.ini\":") && !known.contains("idle.ini"), "{known}");
}

#[test]
fn a_stop_that_everybody_hears_twice_is_one_orderly_stop() {
    let mut host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    let ports = [free_port(), free_port()];
    for (name, port) in ["a.ini", "b.ini"].into_iter().zip(ports) {
        host.write(name, vassal(port) + "processes = 2\n");
        Door::Port(port).wait_for("/", "hello");
    }
    let requests = ports.map(|port| {
        let mut connection = Door::Port(port).connect().unwrap();
        connection.send(b"GET /sleep?2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        connection
    });
    for name in ["a.ini", "b.ini"] {
        host.wait_for_vassal(name, "is up and busy", |vassal| {
            vassal["state"] == "up" && vassal["totals"]["busy"] == 1
        });
    }
    // A container runtime, or a service manager with KillMode=control-group, signals every process.
    for _ in 0..2 {
        for pid in host.emperor.members() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
    for mut connection in requests {
        let answer = connection.answer(false).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "slept"));
    }
    assert!(host.emperor.wait().success());
    host.emperor.wait_until_empty();
    let log = host.emperor.log();
    assert!(!log.contains("patience ends") && !log.contains("SIGKILL"), "{log}");
    for name in ["a.ini", "b.ini"] {
        let starts = log.matches(&format!("[{name}] up")).count();
        assert_eq!(starts, 1, "{name} is not started again on the way out: {log}");
    }
}

#[test]
fn signals_without_a_meaning_end_neither_emperor_nor_master() {
    let host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    let port = free_port();
    host.write("app.ini", vassal(port));
    Door::Port(port).wait_for("/", "hello");
    let pid = || host.vassal("app.ini").unwrap()["pid"].as_i64().unwrap();
    let master = pid();
    for signal in [Signal::SIGUSR2, Signal::SIGALRM, Signal::SIGURG, Signal::SIGWINCH] {
        kill(Pid::from_raw(i32::try_from(master).unwrap()), signal).unwrap();
        host.emperor.signal(signal);
    }
    assert_eq!(pid(), master);
    assert_eq!(Door::Port(port).get("/").unwrap().text(), "hello");
}

#[test]
fn programs_that_an_application_starts_ignore_no_signal_that_liege_ignores() {
    const APP: &str = "
import subprocess
def application(environ, start_response):
    start_response('200 OK', [])
    return [subprocess.run(['cat', '/proc/self/status'], stdout=subprocess.PIPE).stdout]
";
    let ignored = |status: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        // What is beyond belongs to the C library.
        u64::from_str_radix(mask.trim(), 16).unwrap() & 0x7fff_ffff
    };
    let host = Host::start(&[]);
    host.folder().write("app.py", APP);
    let port = free_port();
    host.write("app.ini", vassal(port));
    let status = eventually("an answer", || Door::Port(port).get("/").ok()).text();
    let ours = ignored(&std::fs::read_to_string("/proc/self/status").unwrap());
    // Rust's runtime ignores SIGPIPE, in this process too.
    assert_eq!(ignored(&status) & !ours, 0, "{status}");
}

/// `/hold` is answered once there is a file `go`, and says by files `held…` how many wait.
const HOLDS: &str = r#"
import os, threading, time
HERE = os.path.dirname(os.path.abspath(__file__))
def application(environ, start_response):
    if environ["PATH_INFO"] == "/hold":
        open(os.path.join(HERE, "held%d" % threading.get_ident()), "w").close()
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"hello"]
"#;

fn held(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("held")).count()
}

fn ask(door: &Door, path: &str) -> Connection {
    let mut connection = door.connect().unwrap();
    connection
        .send(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .unwrap();
    connection
}

#[test]
fn who_waits_at_a_stop_is_served_and_who_comes_later_is_refused_at_once() {
    let places =
        ["http-socket", "http", "on-demand"].into_iter().flat_map(|option| [(option, true), (option, false)]);
    for ((option, is_unix), threads) in places.flat_map(|place| [(place, 1), (place, 2)]) {
        let mut host = Host::start(&[]);
        host.folder().write("app.py", HOLDS);
        let (port, path) = (free_port(), host.folder().path().join("app.sock"));
        let (address, door) = match is_unix {
            true => (path.display().to_string(), Door::Unix(path)),
            false => (format!("127.0.0.1:{port}"), Door::Port(port)),
        };
        let text = match option {
            // The emperor's own, which it holds over every life of the vassal.
            "on-demand" => format!(
                "[uwsgi]\nprotocol = http\nwsgi-file = %d../app.py\nthreads = {threads}\n[emperor]\non-demand = {address}\n"
            ),
            _ => format!("[uwsgi]\n{option} = {address}\nwsgi-file = %d../app.py\nthreads = {threads}\n"),
        };
        host.write("app.ini", &text);
        door.wait_for("/", "hello");
        let mut clients: Vec<_> = (0..threads).map(|_| ask(&door, "/hold")).collect();
        until("the requests", || held(host.folder().path()) == threads);
        clients.extend((0..5).map(|_| ask(&door, "/")));
        host.remove("app.ini");
        until(&format!("a refusal ({option} = {address})"), || door.connect().is_err());
        // Who is wanted again comes back, on sockets of its own.
        host.write("app.ini", &text);
        host.folder().write("go", "");
        for mut client in clients {
            let answer = client.answer(false).unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello"), "{option} = {address}");
        }
        door.wait_for("/", "hello");
        host.emperor.signal(Signal::SIGTERM);
        assert!(host.emperor.wait().success());
    }
}

#[test]
fn who_waits_for_a_worker_that_is_busy_when_an_instance_stops_is_served() {
    let folder = Folder::new();
    folder.write("app.py", HOLDS);
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let mut instance = liege(&folder, &["--http-socket", &address, "--wsgi-file", "app.py"]);
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    let mut clients = vec![ask(&door, "/hold")];
    until("the request", || held(folder.path()) == 1);
    clients.extend((0..5).map(|_| ask(&door, "/")));
    instance.signal(Signal::SIGTERM);
    instance.wait_for_log("graceful shutdown triggered");
    folder.write("go", "");
    for mut client in clients {
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert!(instance.wait().success());
}

#[test]
fn a_worker_that_is_at_rest_at_a_unix_socket_ends_when_its_sockets_go_away() {
    for round in 0..10 {
        let folder = Folder::new();
        folder.write("app.py", crate::support::apps::says("hello"));
        let mut family = liege(&folder, &["--http-socket", "app.sock", "--wsgi-file", "app.py"]);
        Door::Unix(folder.path().join("app.sock")).wait_for("/", "hello");
        family.signal(Signal::SIGTERM);
        assert!(family.wait().success(), "round {round}");
    }
}

#[test]
fn a_worker_whose_master_has_not_heard_of_it_yet_finishes_its_request_at_a_stop() {
    // The master stands still from before the first worker accepts until a request runs in it, and is told to stop.
    let app = "import os, signal, time, uwsgi\nos.kill(uwsgi.masterpid(), signal.SIGSTOP)\n\
        def application(environ, start_response):\n    start_response('200 OK', [])\n    yield b'first, '\n    \
        time.sleep(1)\n    yield b'last'\n";
    for _ in 0..3 {
        let (mut family, door, _folder) = serve_app(app, "lazy-apps = true");
        let mut client = eventually("a connection", || door.connect().ok());
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let head = client.line().unwrap();
        assert_eq!(head, "HTTP/1.1 200 OK");
        family.signal(Signal::SIGTERM);
        family.signal(Signal::SIGCONT);
        let rest = String::from_utf8(client.rest().unwrap()).unwrap();
        assert!(rest.contains("last"), "{rest}");
        assert_eq!(family.wait().code(), Some(0));
    }
}
