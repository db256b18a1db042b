//! Options of the router that the application or a slow client notices.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::free_port;
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
