//! Sockets that come with a reload: what the running master may not or must not do itself is done all the same.

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::adaptive::{Adaptive, SLOW};
use crate::support::apps::says;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::until;

#[test]
fn a_reload_listens_on_the_name_of_a_host_and_says_when_there_is_none() {
    let (first, second) = (free_port(), free_port());
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    let vassal = |lines: &str| {
        host.write(
            "a.ini",
            format!("[uwsgi]\nhttp-socket = 127.0.0.1:{first}\nwsgi-file = %d../app.py\n{lines}"),
        );
    };
    vassal("");
    Door::Port(first).wait_for("/", "v1");
    vassal(&format!("http-socket = localhost:{second}\n"));
    Door::Port(second).wait_for("/", "v1");
    host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    vassal(&format!("http-socket = localhost:{second}\nhttp-socket = no-such-host.invalid:80\n"));
    let told = host.wait_for_vassal("a.ini", "says why not", |vassal| {
        vassal["reason"].as_str().is_some_and(|reason| reason.contains("no-such-host.invalid:80"))
    });
    assert_eq!(told["state"], "up", "{told:#}");
    assert_eq!(Door::Port(second).get("/").unwrap().text(), "v1");
}

#[test]
fn a_socket_that_only_root_may_make_comes_with_a_replacement() {
    let Some(open) = Folder::for_nobody() else { return };
    open.write("app.py", says("v1"));
    let place = open.path().display();
    let options = format!(
        "[uwsgi]\nuid = nobody\ngid = nogroup\nchown-socket = nobody:nogroup\npython = /usr/bin/python3\n\
         extension = {place}/libliege.so\nwsgi-file = {place}/app.py\nhttp-socket = {place}/a.sock\n"
    );
    let host = Host::start(&[("a.ini", &options)]);
    let door = |name: &str| Door::Unix(open.path().join(name));
    door("a.sock").wait_for("/", "v1");
    let before = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    host.write("a.ini", format!("{options}http-socket = {place}/b.sock\n"));
    door("b.sock").wait_for("/", "v1");
    let after = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    assert_ne!(before["pid"], after["pid"]);
    assert_eq!(door("a.sock").get("/").unwrap().text(), "v1");
}

#[test]
fn a_replacement_has_the_sockets_of_the_statistics_too() {
    let (port, stats) = (free_port(), free_port());
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    host.write(
        "a.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nstats = 127.0.0.1:{stats}\nstats-http = true\n\
             exit-on-reload = true\nwsgi-file = %d../app.py\n"
        ),
    );
    Door::Port(port).wait_for("/", "v1");
    let told = || -> serde_json::Value {
        serde_json::from_slice(&Door::Port(stats).get("/").unwrap().body).unwrap()
    };
    let before = told()["pid"].clone();
    let operation = host.reload("a.ini");
    assert_eq!(operation["outcome"], "swapped", "{operation:#}");
    until("the statistics of the replacement", || told()["pid"] != before);
    assert_eq!(Door::Port(port).get("/").unwrap().text(), "v1");
}

#[test]
fn with_an_owner_of_sockets_root_binds_low_ports_too() {
    let Some(open) = Folder::for_nobody() else { return };
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let Some(port) = (600..1024).rev().find(is_free) else { return };
    open.write("app.py", says("v1"));
    let place = open.path().display();
    let options = format!(
        "[uwsgi]\nuid = nobody\ngid = nogroup\npython = /usr/bin/python3\nextension = {place}/libliege.so\n\
         wsgi-file = {place}/app.py\nhttp-socket = 127.0.0.1:{port}\n"
    );
    let host = Host::start(&[("a.ini", &options)]);
    host.wait_for_vassal("a.ini", "may not bind it", |vassal| {
        vassal["reason"].as_str().is_some_and(|reason| reason.contains("Permission denied"))
    });
    host.write("a.ini", format!("{options}chown-socket = nobody:nogroup\n"));
    Door::Port(port).wait_for("/", "v1");
}

#[test]
fn a_port_is_shared_where_both_say_so_and_an_address_may_come_later() {
    let port = free_port();
    let lines = format!("http-socket = 127.0.0.1:{port}\nreuse-port = true\nso-keepalive = true\n");
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    let vassal = |name: &str, lines: &str| {
        host.write(name, format!("[uwsgi]\nwsgi-file = %d../app.py\nsocket-rcvbuf = 65536\n{lines}"));
        host.wait_for_vassal(name, "is up", |vassal| vassal["state"] == "up");
    };
    vassal("a.ini", &lines);
    vassal("b.ini", &lines);
    assert_eq!(Door::Port(port).get("/").unwrap().text(), "v1");
    // An address that is for documents: no host has it.
    vassal("c.ini", "socket = 192.0.2.1:0\nfreebind = true\n");
    host.remove("a.ini");
    host.wait_for_vassal("b.ini", "is up", |vassal| vassal["state"] == "up");
    host.reload("b.ini");
    assert_eq!(Door::Port(port).get("/").unwrap().text(), "v1");
}

/// Tells the number of the worker.
const WHO: &str = "
import uwsgi
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(uwsgi.worker_id()).encode()]
";

/// Who answers behind a door, asked often enough that everybody who may has a chance.
fn who(door: &Door) -> Vec<String> {
    let mut answers: Vec<String> = (0..20).map(|_| door.get("/").unwrap().text()).collect();
    answers.sort_unstable();
    answers.dedup();
    answers
}

#[test]
fn workers_serve_only_the_sockets_that_they_are_mapped_to() {
    let (folder, ports) = (Folder::new(), [free_port(), free_port()]);
    folder.write("app.py", WHO);
    let ini = |map: &str| {
        let [first, second] = ports;
        folder.write(
            "app.ini",
            format!(
                "[uwsgi]\nhttp-socket = 127.0.0.1:{first}\nhttp-socket = 127.0.0.1:{second}\nprocesses = 3\n\
                 wsgi-file = %dapp.py\nmaster-fifo = %dm.fifo\nmax-requests = 30\nmin-worker-lifetime = 0\n{map}"
            ),
        );
    };
    ini("map-socket = 0:2\nmap-socket = 1:1,3\n");
    let family = liege(&folder, &["app.ini"]);
    let [first, second] = ports.map(Door::Port);
    first.wait_for("/", "2");
    assert_eq!(who(&first), ["2"]);
    assert!(who(&second).iter().all(|worker| worker == "1" || worker == "3"));
    family.wait_for_log("mapped socket 0 (127.0.0.1:");
    // The one that replaces it has its number, and its sockets.
    until("another worker 2", || {
        assert_eq!(who(&first), ["2"]);
        family.log().matches("spawned uWSGI worker 2").count() > 1
    });
    ini("map-socket = 0:3\n");
    family.signal(Signal::SIGHUP);
    first.wait_for("/", "3");
    // The one before may answer beside it until it drains.
    until("that it serves alone", || who(&first) == ["3"]);
    // Nobody may serve nothing.
    ini("map-socket = 0:4\n");
    family.signal(Signal::SIGHUP);
    family.wait_for_log("invalid worker num: 4");
    assert_eq!(who(&first), ["3"]);
}

#[test]
fn cheaper_keeps_whom_a_mapped_socket_needs() {
    let second = free_port();
    let lines = format!(
        "http-socket = PORT, http-socket = 127.0.0.1:{second}, processes = 4, cheaper = 2, cheaper-overload = 1, \
         map-socket = 1:2"
    );
    let adaptive = Adaptive::start(SLOW, &lines.replace("         ", ""));
    let load = crate::support::load::Load::start(&adaptive.door, crate::support::load::Manner::Fresh);
    adaptive.wait_for_workers(4);
    load.stop().nothing_failed();
    adaptive.wait_for_workers(2);
    assert_eq!(Door::Port(second).get("/who").unwrap().text(), "2");
}

/// An instance with one worker that takes its time.
fn busy(lines: &str) -> (Family, Door, Folder) {
    let (folder, port) = (Folder::new(), free_port());
    folder.write("app.py", SLOW);
    let lines = lines.replace("PORT", &format!("127.0.0.1:{port}")).replace(", ", "\n");
    folder.write("app.ini", format!("[uwsgi]\nwsgi-file = %dapp.py\npidfile = %dapp.pid\n{lines}\n"));
    let family = liege(&folder, &["app.ini"]);
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    (family, door, folder)
}

#[test]
fn kept_connections_that_always_ask_do_not_starve_new_ones() {
    for lines in ["http-socket = PORT", "http-socket = PORT, threads = 2"] {
        let (_family, door, _folder) = busy(lines);
        let mut kept: Vec<_> = (0..12).map(|_| door.connect().unwrap()).collect();
        // One after the other, so that each is accepted before there is a crowd.
        for connection in &mut kept {
            assert_eq!(connection.ask("GET", "/", &[], b"").unwrap().text(), "hello");
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let crowd: Vec<_> = kept
                .into_iter()
                .map(|mut connection| {
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut answers = 0;
                        while !stop.load(Ordering::Relaxed) {
                            assert_eq!(connection.ask("GET", "/", &[], b"").unwrap().text(), "hello");
                            answers += 1;
                        }
                        answers
                    })
                })
                .collect();
            let news: Vec<_> = (0..8).map(|_| door.get("/").map(|answer| answer.text())).collect();
            stop.store(true, Ordering::Relaxed);
            let answers: Vec<u32> = crowd.into_iter().map(|client| client.join().unwrap()).collect();
            assert!(news.iter().all(|new| new.as_deref().is_ok_and(|text| text == "hello")), "{news:?}");
            assert!(answers.iter().all(|count| *count > 0), "{answers:?}");
        });
    }
}

#[test]
fn a_pause_by_signal_lets_connections_wait_and_is_a_toggle() {
    for socket in ["http-socket", "http"] {
        let (family, door, folder) = busy(&format!("{socket} = PORT, processes = 2"));
        let mut running = door.connect().unwrap();
        running.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(liege(&folder, &["--pause", "app.pid"]).wait().code(), Some(0));
        assert_eq!(running.answer(false).unwrap().text(), "hello", "{socket}");
        family.wait_for_log("*** PAUSE");
        family.wait_for_log("cheap mode enabled");
        let mut waits = door.connect().unwrap();
        waits.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(liege(&folder, &["--resume", "app.pid"]).wait().code(), Some(0));
        assert_eq!(waits.answer(false).unwrap().text(), "hello", "{socket}");
        family.wait_for_log("*** resuming workers ***");
    }
}
