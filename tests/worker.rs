//! Zygotes and workers under the real interpreters of this machine: the test plays the master.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "worker/master.rs"]
mod master;
#[path = "worker/rules.rs"]
mod rules;

use liege::stats::scoreboard::Field;
use liege::sys::process::Exit;
use master::{Master, interpreter, interpreters, read_response, until};
use std::io::Write as _;

const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello " + environ["PATH_INFO"].encode("latin-1")]
"#;

#[test]
fn every_interpreter_serves_both_protocols_and_drains() {
    for python in interpreters() {
        let (master, worker) = Master::with_worker(&python, HELLO, |_| {});
        let answer = master.get("/there");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}\n{}", master.log());
        assert!(answer.ends_with("\r\n\r\nhello /there"), "{answer}");
        let answer = master.uwsgi(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/packet")], b"");
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello /packet"
        );
        worker.drain();
        assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
    }
}

#[test]
fn the_scoreboard_and_the_log_show_each_request() {
    let (master, _worker) = Master::with_worker(&interpreter(), HELLO, |_| {});
    let mut socket = master.connect();
    for _ in 0..3 {
        socket.write_all(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(read_response(&mut socket).ends_with("hello /a"));
    }
    let slot = master.board.slot(0).unwrap();
    until(|| slot.get(Field::Requests) == 3, || "three requests".to_owned());
    assert_eq!(slot.core(0).unwrap().text().unwrap(), b"GET /a");
    assert_eq!(slot.get(Field::Accepting), 1);
    assert_eq!(slot.get(Field::Connections), 1);
    master.wait_log("GET /a?b=c => generated 8 bytes in ");
    master.wait_log("(HTTP/1.1 200) 1 headers in 45 bytes");
}
