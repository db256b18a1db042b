//! A worker and its router, which the test plays: the central queue, and what does not fit into it.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use liege::sys::seqpacket;
use liege::wire::lane::{Frames, HELLO_BYTES, Kind, Pull, hello, to_header};
use liege::wire::packed::{Packed, to_response};
use liege::wire::queue::{LaneState, Lease, SharedQueue, State};

use crate::master::{LIMIT, Master, greenlets, interpreter, read_response, until, with_gevent};

const APP: &str = r#"
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/remote":
        start_response("200 OK", [])
        words = environ["REMOTE_ADDR"], environ["wsgi.url_scheme"], environ["SERVER_PORT"]
        return [" ".join(words).encode()]
    if path == "/echo":
        body = environ["wsgi.input"].read()
        start_response("200 Fine", [("X-Head", str(len(environ.get("HTTP_X_LONG", ""))))])
        return [body]
    start_response("200 OK", [])
    return stream(path)

def stream(path):
    yield b"first"
    if path == "/broken":
        raise ValueError("broken")
    try:
        while path == "/endless":
            yield b"x" * 1000
    finally:
        print("closed", path, flush=True)
    yield b" last"
"#;

/// A router with one lane.
struct Router {
    queue: SharedQueue,
    socket: UnixStream,
    frames: Frames,
    sequence: u64,
}

/// An answer: in the cell or over the lane.
struct Answer {
    reason: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
    is_complete: bool,
    pulls: usize,
}

impl Router {
    fn start(socket: UnixStream) -> Self {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let queue = SharedQueue::create(8, 2).unwrap();
        let lease = Lease { lane: 1, number: 7 };
        queue.give(lease);
        let hello = [&to_header(Kind::Hello, HELLO_BYTES)[..], &hello(lease)].concat();
        seqpacket::send(&socket, &hello, &[queue.fd()]).unwrap();
        Self { queue, socket, frames: Frames::default(), sequence: 0 }
    }

    fn lay(
        &mut self,
        cell: usize,
        target: &str,
        fields: &[(&str, &str)],
        body: Option<&[u8]>,
        length: usize,
    ) {
        let mut head = Packed::request("POST", target);
        for (name, value) in fields {
            head.field(name, value.as_bytes());
        }
        self.sequence += 1;
        self.queue.place(cell).put(&head.into_bytes(), body, length as u64);
        self.queue.lay(cell, self.sequence, 8);
        self.queue.look_at_lanes();
        if self.queue.rouse(1) {
            self.socket.write_all(&to_header(Kind::Ring, 0)).unwrap();
        }
    }

    fn ask(&mut self, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = Packed::request("POST", target);
        for (name, value) in fields {
            head.field(name, value.as_bytes());
        }
        let whole = [&head.into_bytes(), body].concat();
        self.lay(3, target, fields, Some(body), body.len());
        self.answer(3, &whole)
    }

    fn answer(&mut self, cell: usize, request: &[u8]) -> Answer {
        let (mut head, mut body, mut pulls) = (Vec::new(), Vec::new(), 0);
        loop {
            self.queue.fall_asleep();
            if matches!(self.queue.state(cell), Some(State::Done(1, _))) {
                let contents = self.queue.place(cell).get().unwrap();
                self.queue.free(cell);
                return Answer::new(contents.head, contents.body, true, pulls);
            }
            match self.next_frame().expect("the worker's frame") {
                (Kind::Ring, _) => {}
                (Kind::Pull, bytes) => {
                    let pull = Pull::from_bytes(&bytes).unwrap();
                    assert_eq!(pull.cell, cell as u64);
                    let at = usize::try_from(pull.at).unwrap();
                    let part = &request[at..at + usize::try_from(pull.length).unwrap()];
                    self.socket.write_all(&to_header(Kind::Piece, part.len())).unwrap();
                    self.socket.write_all(part).unwrap();
                    pulls += 1;
                }
                (Kind::Begin, bytes) => assert_eq!(*bytes, (cell as u64).to_le_bytes()),
                (Kind::Head, bytes) => head = bytes,
                (Kind::Data, bytes) => {
                    body.extend(bytes);
                    if body.len() > 1_000_000 && request.is_empty() {
                        self.queue.place(cell).give_up();
                    }
                }
                (kind @ (Kind::End | Kind::Abort), _) => {
                    self.queue.free(cell);
                    return Answer::new(head, body, kind == Kind::End, pulls);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn next_frame(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            if let Some((kind, bytes)) = self.frames.take().unwrap() {
                return Some((kind, bytes.to_vec()));
            }
            let mut space = [0; 64 * 1024];
            match self.socket.read(&mut space).unwrap() {
                0 => return None,
                length => self.frames.add(&space[..length]),
            }
        }
    }
}

impl Answer {
    fn new(head: Vec<u8>, body: Vec<u8>, is_complete: bool, pulls: usize) -> Self {
        let head = to_response(head, |_| false).unwrap();
        let reason = head.extensions.get::<hyper::ext::ReasonPhrase>();
        Self {
            reason: reason
                .map(|reason| String::from_utf8(reason.as_bytes().to_vec()).unwrap())
                .unwrap_or_default(),
            fields: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                .collect(),
            body,
            is_complete,
            pulls,
        }
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }
}

#[test]
fn the_router_is_believed_and_clients_are_not() {
    let (master, worker, mut router) = start(1);
    let peer = [("host", "x"), ("x-liege-peer", "https 443 192.0.2.1 999")];
    for _ in 0..40 {
        assert_eq!(router.ask("/remote", &peer, b"").body, b"192.0.2.1 https 443");
    }
    let mut client = master.connect();
    client
        .write_all(b"GET /remote HTTP/1.1\r\nHost: x\r\nx-liege-peer: https 443 192.0.2.1 999\r\n\r\n")
        .unwrap();
    assert!(read_response(&mut client).ends_with(&format!("\r\n\r\n127.0.0.1 http {}", master.http.port())));
    drop(client);
    until(|| router.queue.lane(1) == LaneState::Idle, || "a thread that sleeps".to_owned());
    assert!(router.queue.close(1));
    router.socket.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(router.next_frame(), None, "the worker says that nothing comes any more");
    worker.drain();
    assert!(worker.wait().is_success(), "{}", master.log());
}

#[test]
fn requests_and_answers_of_every_size_arrive_whole() {
    let threads = [1, 2].map(|threads| Some(start(threads)));
    for (_master, _worker, mut router) in threads.into_iter().chain([start_greenlets()]).flatten() {
        for length in [0, 1, 7, 8, 9, 15_000, 16_300, 16_400, 70_000, 3_000_000] {
            let body: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
            for long in [10, 40_000] {
                let field = "y".repeat(long);
                let answer = router.ask("/echo", &[("host", "x"), ("x-long", &field)], &body);
                assert!(answer.body == body && answer.is_complete, "{length} {long}");
                assert_eq!((&*answer.reason, answer.field("x-head")), ("Fine", Some(&*long.to_string())));
                assert_eq!(answer.pulls > 0, long + body.len() > 16_200, "{length} {long}");
            }
        }
        // A body that the application leaves alone costs nothing, not even its way.
        router.lay(2, "/remote", &[("host", "x")], None, 900_000);
        assert_eq!(router.answer(2, &[]).pulls, 0);
    }
}

#[test]
fn an_answer_that_breaks_off_or_is_unwanted_costs_no_worker() {
    for (master, _worker, router) in [Some(start(1)), start_greenlets()].into_iter().flatten() {
        breaks_off(&master, router);
    }
}

fn breaks_off(master: &Master, mut router: Router) {
    for _ in 0..3 {
        let answer = router.ask("/stream", &[("host", "x")], b"");
        assert!(answer.is_complete && answer.body == b"first last");
        let answer = router.ask("/broken", &[("host", "x")], b"");
        assert!(!answer.is_complete && answer.body == b"first");
    }
    master.wait_log("ValueError: broken");
    router.lay(5, "/endless", &[("host", "x")], None, 0);
    assert!(!router.answer(5, &[]).is_complete);
    master.wait_log("closed /endless");
    assert_eq!(router.ask("/remote", &[("host", "x")], b"").body, b" http 80");
}

#[test]
fn every_request_waits_for_whichever_thread_is_free() {
    let (_master, _worker, mut router) = start(2);
    // Only one of its threads has a lane here; it takes all of them, one after the other.
    for cell in 0..8 {
        router.lay(cell, "/remote", &[("host", "x")], Some(b""), 0);
    }
    let done =
        |router: &Router| (0..8).all(|cell| matches!(router.queue.state(cell), Some(State::Done(1, _))));
    until(|| done(&router), || "eight answers".to_owned());
    // It sleeps again.
    until(|| router.queue.lane(1) == LaneState::Idle, || "a thread that sleeps".to_owned());
}

#[test]
fn a_busy_thread_closes_its_lane_after_its_request() {
    let (master, worker, mut router) = start(1);
    router.lay(0, "/endless", &[("host", "x")], None, 0);
    until(|| matches!(router.queue.state(0), Some(State::Claimed(..))), || "a claim".to_owned());
    assert!(!router.queue.close(1));
    router.lay(1, "/remote", &[("host", "x")], Some(b""), 0);
    assert!(!router.answer(0, &[]).is_complete);
    assert_eq!(router.next_frame(), None);
    assert_eq!(router.queue.lane(1), LaneState::Closed);
    assert!(matches!(router.queue.state(1), Some(State::Ready(_))), "it takes nothing more");
    drop(router);
    worker.drain();
    assert!(worker.wait().is_success(), "{}", master.log());
}

fn start(threads: u32) -> (Master, crate::master::Worker, Router) {
    connect(Master::start(&interpreter(), APP, |spec| spec["workers"]["threads"] = threads.into()))
}

fn start_greenlets() -> Option<(Master, crate::master::Worker, Router)> {
    Some(connect(Master::start(&with_gevent()?, APP, |spec| greenlets(spec, 2))))
}

fn connect(master: Master) -> (Master, crate::master::Worker, Router) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let worker = master.fork(1, 0, &[OwnedFd::from(theirs)]);
    master.wait_ready(&worker);
    let router = Router::start(ours);
    (master, worker, router)
}
