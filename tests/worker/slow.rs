//! Clients that send or read slowly, or not at all: they hold no worker, whatever they ask for.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use liege::sys::process::Exit;

use super::master::{LIMIT, Master, greenlets, interpreter, read_all, read_response, until, with_gevent};

const STALLED: usize = 20;
const BIG: usize = 13_000_000;

const APP: &str = r#"
import os, time
BIG = 13_000_000
with open("plain", "wb") as plain:
    plain.write(b"x" * BIG)

class Item:
    """An iterable that is no list, as a framework's response."""
    def __init__(self, body):
        self.body = body
    def __iter__(self):
        return iter([self.body])

def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = environ["wsgi.input"].read()
    if path == "/wait":
        print("waiting")
        while not os.path.exists(environ["QUERY_STRING"] or "go"):
            time.sleep(0.005)
    if path == "/big":
        start_response("200 OK", [])
        return [b"x" * BIG]
    if path == "/item":
        start_response("200 OK", [("Content-Length", str(BIG))])
        return Item(b"x" * BIG)
    if path == "/made":
        start_response("200 OK", [])
        return (b"x" * 100_000 for _ in range(BIG // 100_000))
    if path == "/file":
        start_response("200 OK", [("Content-Length", str(BIG))])
        return environ["wsgi.file_wrapper"](open("plain", "rb"))
    start_response("200 OK", [])
    return [f"{len(body)} {environ.get('CONTENT_LENGTH')} {'HTTP_TRANSFER_ENCODING' in environ}".encode()]
"#;

fn send(master: &Master, bytes: &[u8]) -> TcpStream {
    let mut socket = master.connect();
    socket.set_write_timeout(Some(LIMIT)).unwrap();
    socket.write_all(bytes).unwrap();
    socket
}

/// The data of a chunked body.
fn unframed(mut rest: &str) -> String {
    let mut data = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let (chunk, after) = after.split_at(usize::from_str_radix(size, 16).unwrap());
        data.push_str(chunk);
        rest = &after[2..];
    }
    data
}

fn with_threads(threads: u32, test: impl FnOnce(&Master)) {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |spec| {
        *spec.pointer_mut("/workers/threads").unwrap() = threads.into()
    });
    test(&master);
}

fn with_greenlets(test: impl FnOnce(&Master)) {
    let Some(python) = with_gevent() else { return };
    let (master, _worker) = Master::with_worker(&python, APP, |spec| greenlets(spec, 2));
    test(&master);
}

#[test]
fn stalled_uploads_of_every_kind_hold_no_worker_and_arrive_whole() {
    const HEADS: [&str; 3] = [
        "Content-Length: 5000000\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\nContent-Length: 5000000\r\n",
    ];
    let test = |master: &Master| {
        let mut stalled: Vec<(usize, TcpStream)> = (0..STALLED)
            .map(|n| {
                let kind = n % HEADS.len();
                let head = format!("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", HEADS[kind]);
                let mut socket = send(master, head.as_bytes());
                if kind == 2 {
                    assert_eq!(read_response(&mut socket), "HTTP/1.1 100 Continue\r\n\r\n");
                }
                if kind == 1 {
                    socket.write_all(b"4c4b40\r\n").unwrap();
                }
                socket.write_all(&vec![b'x'; 2_000_000]).unwrap();
                (kind, socket)
            })
            .collect();
        assert!(master.get("/").ends_with("\r\n\r\n0 None False"));
        for (kind, socket) in &mut stalled {
            socket.write_all(&vec![b'x'; 3_000_000]).unwrap();
            if *kind == 1 {
                socket.write_all(b"\r\n0\r\n\r\n").unwrap();
            }
            let answer = read_all(socket);
            assert!(answer.ends_with("\r\n\r\n5000000 5000000 False"), "{answer}\n{}", master.log());
        }
    };
    with_threads(1, test);
    with_threads(2, test);
    with_greenlets(test);
}

#[test]
fn clients_that_do_not_read_hold_no_worker_and_get_everything_later() {
    for (path, threads) in
        [("/big", 1), ("/item", 1), ("/made", 1), ("/made", 2), ("/file", 1), ("/big", 0), ("/made", 0)]
    {
        let test = |master: &Master| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            let mut stalled: Vec<TcpStream> =
                (0..STALLED).map(|_| send(master, request.as_bytes())).collect();
            // Each has been begun when the first bytes are there.
            for socket in &mut stalled {
                let mut first = [0; 15];
                socket.read_exact(&mut first).unwrap();
                assert_eq!(&first, b"HTTP/1.1 200 OK", "{}", master.log());
            }
            assert!(master.get("/").starts_with("HTTP/1.1 200 OK"));
            for socket in stalled.iter_mut().take(3) {
                let answer = read_all(socket);
                let (head, body) = answer.split_once("\r\n\r\n").unwrap();
                // Chunks have frames between them.
                let body = if head.contains("chunked") { unframed(body) } else { body.to_owned() };
                assert!(body == "x".repeat(BIG), "{path}: {} bytes", body.len());
            }
        };
        match threads {
            0 => with_greenlets(test),
            threads => with_threads(threads, test),
        }
    }
}

#[test]
fn a_client_that_goes_away_leaves_nothing_behind() {
    let (master, worker) = Master::with_worker(&interpreter(), APP, |_| {});
    let held = || {
        let links = std::fs::read_dir(format!("/proc/{}/fd", worker.pid)).unwrap().flatten();
        links
            .filter(|link| {
                std::fs::read_link(link.path()).is_ok_and(|to| to.to_string_lossy().ends_with("(deleted)"))
            })
            .count()
    };
    let before = held();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n";
    let mut uploading = send(&master, head.as_bytes());
    uploading.write_all(&vec![b'x'; 3_000_000]).unwrap();
    let reading: Vec<TcpStream> =
        (0..8).map(|_| send(&master, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")).collect();
    until(|| held() > before + 1, || "temporary files".to_owned());
    drop((uploading, reading));
    until(|| held() == before, || format!("{before} files, not {}", held()));
}

#[test]
fn slow_clients_go_on_while_the_only_thread_is_inside_the_application() {
    let (master, worker) = Master::with_worker(&interpreter(), APP, |_| {});
    let mut reading = send(&master, b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    reading.read_exact(&mut [0; 15]).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n";
    let mut sending = send(&master, head.as_bytes());
    sending.write_all(&[b'x'; 100_000]).unwrap();
    assert!(master.get("/").ends_with("\r\n0 None False"));
    let mut inside = send(&master, b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
    master.wait_log("waiting");
    // More than the buffers of the kernel hold.
    sending.write_all(&vec![b'x'; 29_900_000]).unwrap();
    let (mut read, mut buffer) = (15, vec![0; 1_000_000]);
    while read < BIG {
        let length = reading.read(&mut buffer).unwrap();
        assert!(length > 0, "ended after {read}");
        read += length;
    }
    std::fs::write(master.directory.path().join("go"), "").unwrap();
    assert!(read_response(&mut inside).ends_with("\r\n0 None False"));
    assert!(read_response(&mut sending).ends_with("\r\n30000000 30000000 False"));
    worker.drain();
    drop((reading, inside, sending));
    assert_eq!(worker.wait(), Exit::Status(0));
}

#[test]
fn an_answer_does_not_wait_for_the_next_call_of_the_application() {
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |_| {});
    let go = |name: &str| std::fs::write(master.directory.path().join(name), "").unwrap();
    let request = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes();
    let mut kept: Vec<TcpStream> = (0..4).map(|_| send(&master, &request("/"))).collect();
    kept.iter_mut().for_each(|socket| assert!(read_response(socket).starts_with("HTTP/1.1 200 OK")));
    kept[0].write_all(&request("/wait")).unwrap();
    master.wait_log("waiting");
    // All of these are there when the application is called again.
    for socket in &mut kept[1..3] {
        socket.write_all(&request("/")).unwrap();
    }
    kept[3].write_all(&request("/wait?later")).unwrap();
    go("go");
    kept[..3].iter_mut().for_each(|socket| assert!(read_response(socket).ends_with("\r\n0 None False")));
    go("later");
    assert!(read_response(&mut kept[3]).ends_with("\r\n0 None False"));
}
