//! `uwsgi.lock` and its like, between workers, threads, greenlets and generations.

use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::http::{Answer, Door};
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};
use crate::support::{environment, free_port};

/// `/hold` keeps lock 1 until there is a file `go`, `/die` ends its worker while it has it, `/add` counts in a file.
const APP: &str = r#"
import os, signal, time, uwsgi

here = os.path.dirname(os.path.abspath(__file__))
count = os.path.join(here, "count")

def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = "v1"
    if path == "/hold":
        uwsgi.lock(1)
        while not os.path.exists(os.path.join(here, "go")):
            time.sleep(0.005)
        uwsgi.unlock(1)
    elif path == "/wait":
        uwsgi.lock(1)
        body = str(os.path.exists(os.path.join(here, "go")))
        uwsgi.unlock(1)
    elif path == "/die":
        uwsgi.lock(1)
        os.kill(os.getpid(), signal.SIGKILL)
    elif path == "/is":
        body = f"{uwsgi.is_locked()} {uwsgi.is_locked(1)}"
    elif path == "/add":
        uwsgi.lock()
        with open(count, "a+") as file:
            file.seek(0)
            number = int(file.read() or 0) + 1
        time.sleep(0.002)
        with open(count, "w") as file:
            file.write(str(number))
        uwsgi.unlock()
    elif path == "/foreign":
        uwsgi.unlock(1)
    elif path == "/wrong":
        for number in (-1, 3):
            for function in (uwsgi.lock, uwsgi.unlock, uwsgi.is_locked):
                try:
                    function(number)
                except ValueError as error:
                    assert str(error) == "Invalid lock number"
                else:
                    assert False
    start_response("200 OK", [])
    return [body.encode()]
"#;

fn start(lines: &str) -> (Family, Door, Door, Folder) {
    let folder = Folder::new();
    let (port, stats) = (free_port(), free_port());
    folder.write("app.py", APP);
    let lines = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nstats = 127.0.0.1:{stats}\nwsgi-file = %dapp.py\nlocks = 2\n{lines}\n"
    );
    folder.write("app.ini", lines);
    let family = liege(&folder, &["--ini", "app.ini"]);
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    (family, door, Door::Port(stats), folder)
}

/// Asks in a thread of its own.
fn ask(door: &Door, path: &'static str) -> thread::JoinHandle<std::io::Result<Answer>> {
    let door = door.clone();
    thread::spawn(move || door.get(path))
}

fn holder(stats: &Door) -> u64 {
    let document: Value = serde_json::from_slice(&stats.connect().unwrap().rest().unwrap()).unwrap();
    document["locks"][1]["user 1"].as_u64().unwrap()
}

#[test]
fn a_lock_holds_between_workers_and_over_reloads() {
    let (family, door, stats, folder) = start("processes = 3\nthreads = 2");
    assert_eq!(door.get("/wrong").unwrap().text(), "v1", "{}", family.log());
    assert_eq!((holder(&stats), door.get("/is").unwrap().text().as_str()), (0, "False False"));
    let holding = ask(&door, "/hold");
    until("the lock", || door.get("/is").is_ok_and(|answer| answer.text() == "False True"));
    let pid = i32::try_from(holder(&stats)).unwrap();
    assert!(family.members().contains(&pid), "{pid}");
    let waiting = ask(&door, "/wait");
    // Whoever has it not frees nothing.
    assert_eq!(door.get("/foreign").unwrap().text(), "v1");

    // Neither another image of the master nor another generation of workers makes others of them.
    folder.write("app.py", APP.replace("\"v1\"", "\"v2\""));
    family.signal(Signal::SIGHUP);
    door.wait_for("/", "v2");
    assert_eq!(door.get("/is").unwrap().text(), "False True");
    assert_eq!(i32::try_from(holder(&stats)).unwrap(), pid);
    let newer = ask(&door, "/wait");
    folder.write("go", "");
    assert_eq!(holding.join().unwrap().unwrap().text(), "v1");
    assert_eq!(waiting.join().unwrap().unwrap().text(), "True");
    assert_eq!(newer.join().unwrap().unwrap().text(), "True");
    until("nobody has it", || holder(&stats) == 0);
}

#[test]
fn the_lock_of_a_worker_that_dies_is_free() {
    let (family, door, stats, _folder) = start("processes = 2");
    for _ in 0..3 {
        assert!(door.get("/die").is_err());
        assert_eq!(door.get("/wait").unwrap().text(), "False", "{}", family.log());
        assert_eq!(holder(&stats), 0);
    }
}

#[test]
fn only_one_at_a_time_has_a_lock_whoever_they_are() {
    let virtualenv = environment("gevent");
    let greenlets =
        virtualenv.map(|place| format!("gevent = 4\nprocesses = 2\nvirtualenv = {}", place.display()));
    let kinds = ["processes = 4".to_owned(), "processes = 2\nthreads = 3".to_owned()];
    for lines in kinds.into_iter().chain(greenlets) {
        const REQUESTS: usize = 60;
        let (family, door, _stats, folder) = start(&lines);
        let clients: Vec<_> = (0..REQUESTS).map(|_| ask(&door, "/add")).collect();
        for client in clients {
            assert_eq!(client.join().unwrap().unwrap().text(), "v1", "{lines}\n{}", family.log());
        }
        let count = eventually("the count", || std::fs::read_to_string(folder.path().join("count")).ok());
        assert_eq!(count, REQUESTS.to_string(), "{lines}");
    }
}
