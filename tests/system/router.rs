//! Options of the router that the application or a slow client notices.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};

/// Tells some of its environ.
const MIRROR: &str = r#"
def application(environ, start_response):
    names = ["SERVER_NAME", "SITE", "HTTP_PROXY", "REMOTE_ADDR"]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(environ.get(name, "-") for name in names).encode()]
"#;

/// An instance that tells it behind the router, with this line besides.
fn mirror(line: &str) -> (Family, Door, Folder) {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", MIRROR);
    folder.write("app.ini", format!("[uwsgi]\nhttp = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{line}\n"));
    let family = liege(&folder, &["--ini", "app.ini"]);
    let door = Door::Port(port);
    until("the app", || door.get("/").is_ok_and(|answer| answer.status == 200));
    (family, door, folder)
}

#[test]
fn requests_of_the_routers_clients_bear_its_variables() {
    let folder = Folder::new();
    let (http, socket) = (free_port(), free_port());
    folder.write("app.py", MIRROR);
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp = 127.0.0.1:{http}\nhttp-socket = 127.0.0.1:{socket}\nwsgi-file = %dapp.py\n\
             http-var = SITE=a=b\nhttp-var = HTTP_PROXY=evil\nhttp-server-name-as-http-host = true\n"
        ),
    );
    let _family = liege(&folder, &["--ini", "app.ini"]);
    let ask = |port: u16, host: &str| {
        let mut connection = Door::Port(port).connect().unwrap();
        connection.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
        connection.answer(false).unwrap().text()
    };
    crate::support::wait::until("the app", || Door::Port(http).get("/").is_ok_and(|a| a.status == 200));
    for host in ["one.example:81", "two.example", "two.example"] {
        assert_eq!(ask(http, host), format!("{host} a=b - 127.0.0.1"));
    }
    assert!(ask(socket, "one.example").ends_with(" - - 127.0.0.1"));
    assert!(!ask(socket, "one.example").starts_with("one.example"));
}

#[test]
fn a_head_that_is_not_sent_in_time_is_refused() {
    let (_family, door, _folder) = mirror("http-headers-timeout = 1");
    let mut slow = door.connect_for(std::time::Duration::from_secs(12)).unwrap();
    slow.send(b"GET / HTTP/1.1\r\nHo").unwrap();
    // Sooner than without the option.
    assert_eq!(slow.answer(false).unwrap().status, 408);
    assert_eq!(door.get("/").unwrap().status, 200);
}

#[test]
fn a_router_that_hangs_is_replaced_and_the_sockets_stay() {
    let (family, door, _folder) = mirror("http-harakiri = 2");
    let pid = || {
        let log = family.log();
        let text = log.rsplit("spawned uWSGI http 1 (pid: ").next().unwrap();
        text.split(')').next().unwrap().parse::<i32>().unwrap()
    };
    let first = pid();
    kill(Pid::from_raw(first), Signal::SIGSTOP).unwrap();
    // Whoever comes meanwhile waits in the queue of the socket.
    let mut waiting = door.connect().unwrap();
    waiting.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    eventually("another router", || (pid() != first).then_some(()));
    assert!(family.log().contains("HARAKIRI ON THE ROUTER"), "{}", family.log());
    assert_eq!(waiting.answer(false).unwrap().status, 200);
    assert_eq!(door.get("/").unwrap().status, 200);
}

/// Writes over the router's queue when it is asked to.
const HOSTILE: &str = r#"
import mmap, os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    path = environ["PATH_INFO"].split("/")
    if path[1] == "scribble":
        for fd in map(int, os.listdir("/proc/self/fd")):
            try:
                if "memfd:liege-queue" in os.readlink("/proc/self/fd/%d" % fd):
                    with mmap.mmap(fd, 0) as memory:
                        memory[:] = bytes([int(path[2])]) * len(memory) if path[2] else os.urandom(len(memory))
            except OSError:
                pass
    return [str(os.getpid()).encode()]
"#;

#[test]
fn a_queue_that_the_application_has_written_over_is_put_right() {
    let port = free_port();
    let text = format!(
        "[uwsgi]\nmaster = true\nprocesses = 2\nhttp = 127.0.0.1:{port}\nhttp-timeout = 5\nwsgi-file = %d../app.py\n"
    );
    let host = Host::start(&[]);
    host.folder().write("app.py", HOSTILE);
    host.write("a.ini", &text);
    host.wait_for_vassal("a.ini", "serves", |vassal| vassal["state"] == "up");
    let door = Door::Port(port);
    let pids = || {
        let workers = host.ask("/v1/vassals/a.ini/workers")["workers"].as_array().unwrap().clone();
        workers.iter().filter_map(|one| one["pid"].as_u64()).collect::<std::collections::BTreeSet<u64>>()
    };
    // It is up with the first of them.
    until("both workers", || pids().len() == 2 && !pids().contains(&0));
    let before = pids();
    for byte in ["255", "0", "1", "2", ""] {
        // Its own answer was in that memory, too.
        let status = door.get(&format!("/scribble/{byte}")).unwrap().status;
        assert!([200, 502].contains(&status), "{byte}: {status}");
        // It may still be writing when the next one comes.
        until(byte, || (0..20).all(|_| door.get("/").unwrap().status == 200));
    }
    assert_eq!(pids(), before, "nobody had to be replaced");
    assert_eq!(host.reload("a.ini")["outcome"], "swapped");
    until("new workers alone", || pids().is_disjoint(&before));
    assert_eq!(door.get("/").unwrap().status, 200);
    let told = |event: &serde_json::Value| {
        event["message"].as_str().is_some_and(|message| message.contains("written over the memory"))
    };
    let events = host.ask("/v1/events?vassal=a.ini");
    let events = events["events"].as_array().unwrap();
    let count = events.iter().filter(|event| told(event)).count();
    assert!((1..4).contains(&count), "{events:#?}");
}
