//! `gevent`: requests as greenlets, through every door, over reloads, and without gevent in the virtualenv.

use std::process::Command;

use crate::support::apps::says;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::server::{Folder, liege};
use crate::support::wait::until;
use crate::support::{LIEGE, environment, free_port, uwsgi};

/// Answers `/meet` when as many requests as the query says are inside, and tells what it sees.
const MEETING: &str = r#"
import socket, sys, time, gevent, gevent.event
from gevent import monkey
at_import = monkey.is_module_patched("socket")
meeting, inside = gevent.event.Event(), []

def application(environ, start_response):
    body = b"hello"
    if environ["PATH_INFO"] == "/meet":
        inside.append(1)
        if len(inside) == int(environ["QUERY_STRING"]):
            inside.clear()
            meeting.set()
            meeting.clear()
        else:
            meeting.wait()
        body = b"met"
    elif environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (gevent.sleep(0.001) or b"part" for _ in range(100))
    elif environ["PATH_INFO"] == "/patched":
        body = f"{at_import} {monkey.is_module_patched('socket')}".encode()
    elif environ["REQUEST_METHOD"] == "POST":
        body = b"%d" % len(environ["wsgi.input"].read())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
"#;

#[test]
fn as_many_requests_as_gevent_says_run_at_once_through_every_door() {
    let Some(virtualenv) = environment("gevent") else { return };
    const NUMBER: usize = 12;
    let (router, http, packets) = (free_port(), free_port(), free_port());
    let folder = Folder::new();
    folder.write("app.py", MEETING);
    let lines = format!(
        "[uwsgi]\nhttp = 127.0.0.1:{router}\nhttp-socket = 127.0.0.1:{http}\nsocket = 127.0.0.1:{packets}\n\
         wsgi-file = app.py\ngevent = {NUMBER}\nthreads = 4\nvirtualenv = {}\n",
        virtualenv.display()
    );
    folder.write("app.ini", lines);
    let family = liege(&folder, &["--ini", "app.ini"]);
    Door::Port(http).wait_for("/", "hello");
    Door::Port(router).wait_for("/", "hello");
    assert!(family.log().contains("threads: has no effect with `gevent`"), "{}", family.log());
    assert!(family.log().contains("*** Operational MODE: async ***"), "{}", family.log());
    let meet = format!("/meet?{NUMBER}");
    let by_http = |port: u16| Door::Port(port).get(&meet).map(|answer| answer.text());
    let by_packet = || {
        let mut variables = uwsgi::get("/meet");
        let number = NUMBER.to_string();
        variables.retain(|(name, _)| *name != "QUERY_STRING");
        variables.push(("QUERY_STRING", &number));
        uwsgi::ask(&Door::Port(packets), &variables, b"")
    };
    for way in ["http", "http-socket", "socket", "all"] {
        std::thread::scope(|scope| {
            let met: Vec<_> = (0..NUMBER)
                .map(|n| {
                    scope.spawn(move || match (way, n % 3) {
                        ("http", _) | ("all", 0) => by_http(router),
                        ("http-socket", _) | ("all", 1) => by_http(http),
                        _ => by_packet(),
                    })
                })
                .collect();
            for met in met {
                let answer = met.join().unwrap().unwrap();
                assert!(answer.ends_with("met"), "{way}: {answer}\n{}", family.log());
            }
        });
    }
    for port in [router, http] {
        let mut connection = Door::Port(port).connect().unwrap();
        assert_eq!(connection.ask("GET", "/stream", &[], b"").unwrap().text(), "part".repeat(100));
        let large = vec![b'x'; 3_000_000];
        assert_eq!(connection.ask("POST", "/", &[], &large).unwrap().text(), "3000000");
    }
}

fn reloads_lose_nothing(option: &str, manner: Manner) {
    let Some(virtualenv) = environment("gevent") else { return };
    let app = |text: &str| {
        let wait = "import gevent\n    gevent.sleep(0.02)\n    environ[\"wsgi.input\"]";
        says(text).replace("environ[\"wsgi.input\"]", wait)
    };
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", app("v1"));
    let lines = format!(
        "[uwsgi]\n{option} = 127.0.0.1:{port}\nprocesses = 2\nwsgi-file = %d../app.py\ngevent = 10\n\
         gevent-early-monkey-patch = true\nvirtualenv = {}\n",
        virtualenv.display()
    );
    host.write("green.ini", lines);
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    let load = Load::start(&door, manner);
    for version in ["v2", "v3", "v4"] {
        host.folder().write("app.py", app(version));
        host.touch("green.ini");
        door.wait_for("/", version);
        load.go_on();
    }
    let report = load.stop();
    report.nothing_failed();
    assert_eq!(report.bodies.into_iter().collect::<Vec<_>>(), ["v1", "v2", "v3", "v4"]);
}

#[test]
fn reloads_lose_no_request_of_greenlets_on_their_own_socket() {
    reloads_lose_nothing("http-socket", Manner::KeptPost);
}

#[test]
fn reloads_lose_no_request_of_greenlets_behind_the_router() {
    reloads_lose_nothing("http", Manner::Fresh);
}

#[test]
fn the_library_is_patched_when_it_was_asked_for() {
    let Some(virtualenv) = environment("gevent") else { return };
    for (lines, expected) in [
        ("gevent = 2", "False False"),
        ("gevent = 2\ngevent-monkey-patch = true", "False True"),
        ("gevent = 2\ngevent-early-monkey-patch = true\ngevent-wait-for-hub = true", "True True"),
        ("gevent = 2\ngevent-early-monkey-patch = true\nlazy-apps = true", "True True"),
        ("gevent-early-monkey-patch = true", "True True"),
    ] {
        let (folder, port) = (Folder::new(), free_port());
        folder.write("app.py", MEETING);
        let door = format!("http-socket = 127.0.0.1:{port}\nvirtualenv = {}", virtualenv.display());
        folder.write("app.ini", format!("[uwsgi]\n{door}\nwsgi-file = app.py\n{lines}\n"));
        let mut family = liege(&folder, &["--ini", "app.ini"]);
        Door::Port(port).wait_for("/patched", expected);
        family.signal(nix::sys::signal::Signal::SIGINT);
        assert!(family.wait().success(), "{lines}: {}", family.log());
    }
}

#[test]
fn without_gevent_the_file_says_how_to_get_it() {
    let Some(virtualenv) = environment("plain") else { return };
    let folder = Folder::new();
    folder.write("app.py", says("hello"));
    let lines = format!("gevent = 10\nwsgi-file = app.py\nvirtualenv = {}", virtualenv.display());
    folder.write("app.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{}\n{lines}\n", free_port()));
    let python = virtualenv.join("bin/python");
    let hint = format!("install it: {} -m pip install gevent", python.display());
    let family = liege(&folder, &["--ini", "app.ini"]);
    until("the reason", || family.log().contains("`gevent` needs the package gevent"));
    until("the hint", || family.log().contains(&hint));
    let check =
        Command::new(LIEGE).args(["check", "--import", "app.ini"]).current_dir(folder.path()).output();
    let told = String::from_utf8_lossy(&check.unwrap().stdout).into_owned();
    assert!(told.contains("`gevent` needs the package gevent") && told.contains(&hint), "{told}");
}
