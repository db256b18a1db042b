//! Kept-alive connections that pass from a worker that finishes to one that serves on.

use std::io::Write as _;
use std::net::TcpStream;

use liege::stats::scoreboard::Field;
use liege::sys::process::Exit;
use liege::wire::channel;
use liege::wire::message::FromWorker;

use super::master::{Master, Worker, interpreter, interpreters, is_read, read_all, read_response, until};

/// Says who answers whom; `/slow` waits for the file `go`.
const APP: &str = r#"
import os, time
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/slow":
        print("begun")
        while not os.path.exists("go"):
            time.sleep(0.005)
    start_response("200 OK", [])
    return [f"pid {os.getpid()} client {environ['REMOTE_PORT']} port {environ['SERVER_PORT']} {len(body)}".encode()]
"#;

fn get(socket: &mut TcpStream, target: &str) {
    socket.write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
}

fn post(socket: &mut TcpStream) {
    socket.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").unwrap();
}

/// Reads an answer that keeps the connection, and checks who gave it.
fn answered_by(worker: &Worker, master: &Master, socket: &mut TcpStream, body_bytes: usize) {
    let answer = read_response(socket);
    let port = socket.local_addr().unwrap().port();
    let expected = format!("pid {} client {port} port {} {body_bytes}", worker.pid, master.http.port());
    assert!(answer.ends_with(&expected), "{answer} is not {expected}\n{}", master.log());
    assert!(!answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
}

/// A worker with a passage, and one that can follow it.
fn two_workers(master: &Master) -> (Worker, Worker) {
    let passage = channel::pair().unwrap();
    let old = master.fork(1, 0, &[]);
    master.wait_ready(&old);
    old.open_passage(&passage);
    // Only the old one is there to accept what the test connects first.
    let new = || {
        let new = master.fork(2, 1, &[]);
        master.wait_ready(&new);
        new.open_passage(&passage);
        new
    };
    let mut probe = master.connect();
    get(&mut probe, "/");
    answered_by(&old, master, &mut probe, 0);
    drop(probe);
    (old, new())
}

/// A connection that this worker has, whoever else listens.
fn connection_to(worker: &Worker, master: &Master) -> TcpStream {
    loop {
        let mut socket = master.connect();
        get(&mut socket, "/");
        if read_response(&mut socket).contains(&format!("pid {} ", worker.pid)) {
            return socket;
        }
    }
}

#[test]
fn idle_connections_pass_on_and_the_old_worker_ends_at_once() {
    for python in interpreters() {
        for threads in [1, 2] {
            let master = Master::start(&python, APP, |spec| spec["workers"]["threads"] = threads.into());
            let (old, new) = two_workers(&master);
            let mut kept: Vec<_> = (0..20).map(|_| connection_to(&old, &master)).collect();
            old.drain();
            assert_eq!(old.wait(), Exit::Status(0), "{}", master.log());
            for socket in &mut kept {
                post(socket);
                answered_by(&new, &master, socket, 3);
            }
            let slot = master.board.slot(1).unwrap();
            until(|| slot.get(Field::Connections) >= 20, || "the connections to be counted".to_owned());
        }
    }
}

#[test]
fn a_connection_with_a_request_under_way_passes_on_after_its_answer() {
    let master = Master::start(&interpreter(), APP, |spec| spec["workers"]["threads"] = 2.into());
    let (old, new) = two_workers(&master);
    let [mut running, mut begun, mut piped] = [(); 3].map(|()| connection_to(&old, &master));
    get(&mut running, "/slow");
    master.wait_log("begun");
    // The old worker has read a part of this head, and must answer it.
    begun.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nConte").unwrap();
    let two = ["/slow", "/"].map(|path| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    piped.write_all(two.concat().as_bytes()).unwrap();
    for sent in [&begun, &piped] {
        until(|| is_read(sent), || "the old worker to read".into());
    }
    old.drain();
    assert!(matches!(old.receive(), Some(FromWorker::Draining)));
    begun.write_all(b"nt-Length: 3\r\n\r\nabc").unwrap();
    std::fs::write(master.directory.path().join("go"), "").unwrap();
    answered_by(&old, &master, &mut running, 0);
    answered_by(&old, &master, &mut begun, 3);
    answered_by(&old, &master, &mut piped, 0);
    answered_by(&old, &master, &mut piped, 0);
    for socket in [&mut running, &mut begun, &mut piped] {
        post(socket);
    }
    assert_eq!(old.wait(), Exit::Status(0), "{}", master.log());
    for socket in [&mut running, &mut begun, &mut piped] {
        answered_by(&new, &master, socket, 3);
    }
}

#[test]
fn connections_stay_where_nobody_takes_them() {
    let master = Master::start(&interpreter(), APP, |_| {});
    let old = master.fork(1, 0, &[]);
    master.wait_ready(&old);
    // Two ends that do not belong together, and whose others are closed.
    let [entrance, exit] = [(); 2].map(|()| channel::pair().unwrap().0);
    old.open_passage(&(entrance, exit));
    let mut kept = connection_to(&old, &master);
    old.drain();
    assert!(matches!(old.receive(), Some(FromWorker::Draining)));
    post(&mut kept);
    let answer = read_all(&mut kept);
    assert!(answer.contains(&format!("pid {} ", old.pid)), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
    assert_eq!(old.wait(), Exit::Status(0));
}
