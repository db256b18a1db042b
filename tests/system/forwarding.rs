//! `http-to`: the router before other servers, a real uWSGI among them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};
use crate::support::{environment, free_port};

/// Tells what it was asked, and who it is.
const APP: &str = r#"
import os

def application(environ, start_response):
    path = environ["PATH_INFO"]
    headers = [("Content-Type", "text/plain"), ("Connection", "keep-alive")]
    if path == "/echo":
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        start_response("201 Made", headers + [("Content-Length", str(len(body)))])
        return [body]
    if path == "/parts":
        start_response("200 OK", headers)
        return (b"part " * 10000 for _ in range(100))
    if path == "/none":
        start_response("204 No Content", headers)
        return []
    if path == "/pid":
        names = [str(os.getppid())]
    else:
        names = ["REQUEST_METHOD", "REQUEST_URI", "PATH_INFO", "QUERY_STRING", "SERVER_NAME", "HTTP_HOST", "HTTP_X_A",
                 "SITE", "REMOTE_ADDR", "UWSGI_ROUTER", "wsgi.url_scheme", "SERVER_PROTOCOL"]
        names = [str(environ.get(name, "-")) for name in names]
    body = " ".join(names).encode()
    start_response("200 OK", headers + [("Content-Length", str(len(body)))])
    return [body]
"#;

/// A file for each server, and one of a router before them; gives the router's door.
fn serve(sockets: &[&str], lines: &str) -> (Folder, Vec<Family>, Door) {
    let (folder, port) = (Folder::new(), free_port());
    folder.write("app.py", APP);
    let mut families = Vec::new();
    for name in sockets {
        let text = format!("[uwsgi]\nmaster = true\nsocket = {name}.sock\nwsgi-file = %dapp.py\n");
        folder.write(format!("{name}.ini"), text);
        let uwsgi = if name.starts_with("uwsgi") { environment("uwsgi") } else { None };
        families.push(match uwsgi {
            Some(uwsgi) => Family::start(
                Command::new(uwsgi.join("bin/uwsgi"))
                    .args(["--ini", &format!("{name}.ini")])
                    .current_dir(folder.path()),
                &folder.path().join("uwsgi.log"),
            ),
            None => liege(&folder, &["--ini", &format!("{name}.ini")]),
        });
    }
    for name in sockets {
        until(name, || UnixStream::connect(folder.path().join(format!("{name}.sock"))).is_ok());
    }
    folder.write("router.ini", format!("[uwsgi]\nhttp = 127.0.0.1:{port}\n{lines}\n"));
    families.push(liege(&folder, &["--ini", "router.ini"]));
    let door = Door::Port(port);
    until("the router", || door.connect().is_ok());
    (folder, families, door)
}

#[test]
fn requests_reach_another_server_as_they_are() {
    for server in ["liege", "uwsgi"] {
        let lines =
            format!("http-to = {server}.sock\nhttp-var = SITE=a\nhttp-server-name-as-http-host = true");
        let (_folder, _families, door) = serve(&[server], &lines);
        let mut connection = door.connect().unwrap();
        let answer = connection.ask("GET", "/a%20b/%2e?c=d", &["X-A: 1", "X-A: 2"], b"").unwrap();
        let expected = "GET /a%20b/%2e?c=d /a b/. c=d localhost localhost 1,2 a 127.0.0.1 http http HTTP/1.1";
        assert_eq!(answer.text(), expected, "{server}");
        // The connections that end after each answer are not the client's.
        assert!(!answer.closes(), "{server}");
        let large = vec![b'x'; 3_000_000];
        let answer = connection.ask("POST", "/echo", &[], &large).unwrap();
        assert_eq!((answer.status, answer.body.len()), (201, large.len()), "{server}");
        let chunks = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        connection.send(chunks).unwrap();
        assert_eq!(connection.answer(false).unwrap().text(), "abcde", "{server}");
        let answer = connection.ask("GET", "/parts", &[], b"").unwrap();
        assert_eq!(answer.body, b"part ".repeat(1_000_000), "{server}");
        let answer = connection.ask("HEAD", "/", &[], b"").unwrap();
        assert!(answer.header("content-length").is_some_and(|length| length != "0"), "{server}");
        assert_eq!(connection.ask("GET", "/none", &[], b"").unwrap().status, 204, "{server}");
        assert_eq!(connection.ask("GET", "/pid", &[], b"").unwrap().status, 200, "{server}");
        // Who says that nothing more comes waits for the answer still.
        let Door::Port(port) = door else { panic!("a port") };
        let mut half = TcpStream::connect(("127.0.0.1", port)).unwrap();
        half.write_all(b"GET /pid HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        half.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        half.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{server}: {answer}");
    }
}

#[test]
fn servers_have_turns_and_one_that_is_gone_is_left_out() {
    let lines = "http-to = one.sock\nhttp-to = gone.sock\nhttp-to = two.sock";
    let (folder, mut families, door) = serve(&["one", "two"], lines);
    let pid = || {
        let answer = door.get("/pid").unwrap();
        assert_eq!(answer.status, 200);
        answer.text()
    };
    let all: std::collections::BTreeSet<String> = (0..12).map(|_| pid()).collect();
    assert_eq!(all.len(), 2, "{all:?}");
    let router = families.pop().unwrap();
    router.wait_for_log("http-to: cannot connect to");
    // What is sent to nobody is tried elsewhere; without anybody it is a 502.
    let mut two = families.pop().unwrap();
    two.signal(nix::sys::signal::Signal::SIGTERM);
    two.wait_until_empty();
    let last = pid();
    assert!((0..5).all(|_| pid() == last));
    let mut one = families.pop().unwrap();
    one.signal(nix::sys::signal::Signal::SIGTERM);
    one.wait_until_empty();
    assert_eq!(door.get("/pid").unwrap().status, 502);
    router.wait_for_log("no server of http-to can be reached");
    // One that is back is found at once where there is no other.
    families.push(liege(&folder, &["--ini", "one.ini"]));
    until("the server again", || door.get("/pid").is_ok_and(|answer| answer.status == 200));
}

#[test]
fn a_server_that_fails_is_told_to_the_client() {
    let (folder, _families, door) = serve(&[], "http-to = fake.sock\nhttp-timeout = 1");
    let listener = UnixListener::bind(folder.path().join("fake.sock")).unwrap();
    let head = |stream: &mut UnixStream| {
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let length = usize::from(u16::from_le_bytes([head[1], head[2]]));
        stream.read_exact(&mut vec![0; length]).unwrap();
    };
    let (stay, stays) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        for answer in [
            Some(&b""[..]),
            Some(b"nonsense\r\n\r\n"),
            Some(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort"),
            Some(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"),
            Some(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"),
            None,
        ] {
            let (mut stream, _) = listener.accept().unwrap();
            head(&mut stream);
            match answer {
                Some(answer) => stream.write_all(answer).unwrap(),
                None => stay.send(stream).unwrap(),
            }
        }
    });
    for (expected, text) in
        [(502, None), (502, None), (200, None), (502, None), (200, Some("ab")), (504, None)]
    {
        let mut connection = door.connect().unwrap();
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let rest = connection.rest();
        let answer = String::from_utf8_lossy(&rest.unwrap_or_default()).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{expected}: {answer}");
        if let Some(text) = text {
            assert!(answer.contains(text) && answer.ends_with("0\r\n\r\n"), "{answer}");
        }
    }
    server.join().unwrap();
    drop(stays);
}

#[test]
fn a_websocket_passes_through() {
    let (folder, _families, door) = serve(&[], "http-to = fake.sock\nhttp-websockets = true");
    let listener = UnixListener::bind(folder.path().join("fake.sock")).unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut packet = vec![0; 4096];
        let length = stream.read(&mut packet).unwrap();
        let text = String::from_utf8_lossy(&packet[..length]).into_owned();
        // What follows the head at once is the client's, too.
        stream.write_all(b"HTTP/1.1 101 Web Socket\r\nUpgrade: WebSocket\r\nX-A: b\r\n\r\nearly").unwrap();
        let mut word = [0; 5];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
        text
    });
    let mut connection = door.connect().unwrap();
    let request = b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    connection.send(request).unwrap();
    let answer = connection.answer(false).unwrap();
    assert_eq!((answer.status, answer.header("x-a")), (101, Some("b")));
    connection.send(b"hello").unwrap();
    assert_eq!(connection.rest().unwrap(), b"earlyhello");
    assert!(server.join().unwrap().contains("HTTP_SEC_WEBSOCKET_KEY"));
}

#[test]
fn a_change_of_servers_loses_no_request() {
    let (folder, families, door) = serve(&["one", "two"], "http-to = one.sock");
    let before = door.get("/pid").unwrap().text();
    let text = std::fs::read_to_string(folder.path().join("router.ini")).unwrap();
    folder.write("router.ini", text.replace("one.sock", "two.sock"));
    families.last().unwrap().signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the other server", || {
        let answer = door.get("/pid").unwrap();
        assert_eq!(answer.status, 200);
        (answer.text() != before).then_some(())
    });
}

#[test]
fn a_router_alone_has_no_worker_and_is_counted() {
    let folder = Folder::new();
    let listener = UnixListener::bind(folder.path().join("fake.sock")).unwrap();
    let port = free_port();
    let text = format!(
        "[uwsgi]\nmaster = true\nprocesses = 2\nhttp = 127.0.0.1:{port}\nhttp-to = {}/fake.sock\n\
         http-to = {}/gone.sock\nstats = %dstats.sock\n",
        folder.path().display(),
        folder.path().display()
    );
    let host = Host::start(&[("front.ini", &text)]);
    host.wait_for_vassal("front.ini", "serves", |vassal| vassal["state"] == "up");
    // The emperor, the master and the router: no interpreter.
    assert_eq!(host.emperor.members().len(), 3);
    let answer = |status: &str| {
        let mut connection = Door::Port(port).connect().unwrap();
        connection.send(b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let vassal =
            host.wait_for_vassal("front.ini", "forwards", |vassal| vassal["totals"]["forwarding"] == 1);
        assert_eq!(vassal["totals"]["workers"], 0);
        stream.read_exact(&mut [0; 4]).unwrap();
        stream.write_all(format!("HTTP/1.1 {status}\r\n\r\nhello").as_bytes()).unwrap();
        drop(stream);
        String::from_utf8(connection.rest().unwrap()).unwrap()
    };
    assert!(answer("200 OK").contains("hello"));
    assert!(answer("404 Not Found").starts_with("HTTP/1.1 404"));
    drop(listener);
    assert_eq!(Door::Port(port).get("/b").unwrap().status, 502);
    host.emperor.wait_for_log("no server of http-to can be reached");
    let is_counted = |totals: &serde_json::Value| {
        (totals["requests"] == 2 && totals["router_errors"] == 1 && totals["forwarding"] == 0)
            && totals["tx_bytes"].as_u64().is_some_and(|bytes| bytes > 40)
            && totals["running_us"].as_u64().is_some_and(|us| us > 0)
    };
    let vassal = host.wait_for_vassal("front.ini", "is counted", |vassal| is_counted(&vassal["totals"]));
    assert_eq!((&vassal["state"], &vassal["reason"]), (&"up".into(), &serde_json::Value::Null));
    let metrics = host.api().get("/metrics").unwrap().text();
    for sample in
        ["liege_requests_total{vassal=\"front.ini\"} 2", "liege_router_errors_total{vassal=\"front.ini\"} 1"]
    {
        assert!(metrics.contains(sample), "{metrics}");
    }
    let document = Door::Unix(host.file("stats.sock")).connect().unwrap().rest().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!((&document["workers"], &document["router"]["requests"]), (&serde_json::json!([]), &2.into()));
    assert_eq!((&document["router"]["errors"], &document["router"]["in_request"]), (&1.into(), &0.into()));
    // One that has something to do gets workers, and the counts stay.
    host.folder().write("app.py", APP);
    host.write("front.ini", format!("{text}wsgi-file = {}/app.py\n", host.folder().path().display()));
    let more = host.wait_for_vassal("front.ini", "has workers", |vassal| vassal["totals"]["workers"] == 2);
    assert!(is_counted(&more["totals"]), "{more}");
}
