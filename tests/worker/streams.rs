//! Requests and responses in time: laziness, clients that are slow or gone, bodies that break off.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::master::{Master, interpreter, packet, read_all, read_response, until};

const APP: &str = r#"
import itertools, os, time
asked = 0
closed = 0

class Endless:
    def __iter__(self):
        return self
    def __next__(self):
        global asked
        asked += 1
        return b"x" * 100000
    def close(self):
        global closed
        closed += 1

def steps(start_response):
    start_response("200 OK", [])
    for step in range(3):
        while not os.path.exists(f"step{step}"):
            time.sleep(0.005)
        yield b"step %d\n" % step

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/endless":
        start_response("200 OK", [])
        return Endless()
    if path == "/steps":
        return steps(start_response)
    if path == "/big":
        start_response("200 OK", [])
        return [b"y" * 30_000_000]
    if path == "/read":
        try:
            return_body = environ["wsgi.input"].read()
        except OSError as error:
            print("OSError:", error)
            raise
        start_response("200 OK", [])
        return [b"%d" % len(return_body)]
    start_response("200 OK", [])
    if path == "/counts":
        return [b"%d %d" % (asked, closed)]
    return [b"plain"]
"#;

#[test]
fn each_item_is_on_the_wire_before_the_next_is_asked_for() {
    for threads in [1, 2] {
        let (master, _worker) =
            Master::with_worker(&interpreter(), APP, |spec| spec["workers"]["threads"] = threads.into());
        let mut http = master.connect();
        http.write_all(b"GET /steps HTTP/1.0\r\n\r\n").unwrap();
        let mut seen = String::new();
        for step in 0..3 {
            std::fs::write(master.directory.path().join(format!("step{step}")), "").unwrap();
            while !seen.contains(&format!("step {step}\n")) {
                let mut bytes = [0; 1000];
                let length = http.read(&mut bytes).unwrap();
                assert!(length > 0, "ended after {seen:?}");
                seen.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
            }
            assert!(!seen.contains(&format!("step {}", step + 1)));
        }
    }
}

#[test]
fn a_server_never_runs_far_ahead_of_a_client_and_stops_when_it_is_gone() {
    for threads in [1, 2] {
        let (master, _worker) =
            Master::with_worker(&interpreter(), APP, |spec| spec["workers"]["threads"] = threads.into());
        let mut http = master.connect();
        http.write_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut unix = UnixStream::connect(&master.uwsgi).unwrap();
        if threads == 2 {
            unix.write_all(&packet(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/endless")])).unwrap();
        }
        let mut first = [0; 100];
        http.read_exact(&mut first).unwrap();
        if threads == 2 {
            unix.read_exact(&mut first).unwrap();
        }
        // Time in which a server without a bound would fill the memory.
        std::thread::sleep(Duration::from_millis(300));
        drop((http, unix));
        let counts = master.get("/counts");
        let counts = counts.rsplit("\r\n").next().unwrap();
        let (asked, _) = counts.split_once(' ').unwrap();
        let asked: u32 = asked.parse().unwrap();
        assert!((1..400).contains(&asked), "{asked} items of 100 kB each were asked for");
        until(|| master.get("/counts").ends_with(&format!(" {threads}")), || "each to be closed once".into());
    }
}

#[test]
fn a_big_response_arrives_whole_at_a_slow_client() {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |_| {});
    let mut http = master.connect();
    http.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let answer = read_all(&mut http);
    assert_eq!(answer.bytes().filter(|&byte| byte == b'y').count(), 30_000_000);
    let answer = master.uwsgi(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/big")], b"");
    assert_eq!(answer.bytes().filter(|&byte| byte == b'y').count(), 30_000_000);
}

#[test]
fn a_body_that_breaks_off_is_an_error_and_never_short() {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |_| {});
    for request in [
        // Small enough to be read before the application is called: it never is.
        &b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"[..],
        b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc",
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
    ] {
        let mut socket = master.connect();
        socket.write_all(request).unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let answer = read_all(&mut socket);
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    let mut unix = UnixStream::connect(&master.uwsgi).unwrap();
    let variables = [("REQUEST_METHOD", "POST"), ("PATH_INFO", "/read"), ("CONTENT_LENGTH", "100000")];
    unix.write_all(&packet(&variables)).unwrap();
    unix.write_all(b"abc").unwrap();
    unix.shutdown(Shutdown::Write).unwrap();
    assert!(read_all(&mut unix).starts_with("HTTP/1.1 500 "));
    master.wait_log("OSError: cannot read the request's body");
    assert!(master.get("/").ends_with("plain"));
}

#[test]
fn large_bodies_stream_and_unread_ones_do_not_cost_the_answer() {
    for threads in [1, 2] {
        let (master, _worker) =
            Master::with_worker(&interpreter(), APP, |spec| spec["workers"]["threads"] = threads.into());
        let body = vec![b'z'; 3_000_000];
        for (target, expected) in [("/read", "3000000"), ("/", "plain")] {
            let head = format!(
                "POST {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let mut http = master.connect();
            http.write_all(head.as_bytes()).unwrap();
            // A client may be told to stop while it still sends.
            let _ = http.write_all(&body);
            assert!(read_all(&mut http).ends_with(expected), "{target}");
            let length = body.len().to_string();
            let variables =
                [("REQUEST_METHOD", "POST"), ("PATH_INFO", target), ("CONTENT_LENGTH", length.as_str())];
            let mut unix = UnixStream::connect(&master.uwsgi).unwrap();
            unix.write_all(&packet(&variables)).unwrap();
            let _ = unix.write_all(&body);
            assert!(read_all(&mut unix).ends_with(expected), "{target}");
        }
    }
}

#[test]
fn who_expects_100_continue_gets_it() {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |_| {});
    let mut socket = master.connect();
    socket
        .write_all(b"POST /read HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .unwrap();
    assert_eq!(read_response(&mut socket), "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(b"abc").unwrap();
    assert!(read_response(&mut socket).ends_with("\r\n\r\n3"));
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |spec| {
        spec["workers"]["threads"] = 4.into();
    });
    let mut socket = master.connect();
    socket
        .write_all(
            b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHost: x\r\n\r\n\
              POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na",
        )
        .unwrap();
    for expected in ["2", "plain", "1"] {
        assert!(read_response(&mut socket).ends_with(&format!("\r\n\r\n{expected}")));
    }
}

#[test]
fn stalled_clients_hold_no_worker() {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |_| {});
    let stalled: Vec<_> = (0..200)
        .map(|n| {
            let mut socket = master.connect();
            socket
                .write_all(&b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab"[..n % 49 + 1])
                .unwrap();
            let mut unix = UnixStream::connect(&master.uwsgi).unwrap();
            unix.write_all(&packet(&[("REQUEST_METHOD", "GET")])[..n % 10 + 1]).unwrap();
            (socket, unix)
        })
        .collect();
    assert!(master.get("/").ends_with("plain"));
    assert!(master.uwsgi(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/")], b"").ends_with("plain"));
    drop(stalled);
}
