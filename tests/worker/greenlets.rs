//! Requests as greenlets: what waits lets the others run, and what the application does with greenlets and threads of its
//! own harms nobody.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use liege::stats::scoreboard::{CoreField, Field};
use liege::sys::process::Exit;

use super::master::{Master, Worker, greenlets, packet, read_all, until, with_gevent};

const APP: &str = r#"
import gevent, gevent.event, gevent.local, uwsgi
meeting, arrived, local = gevent.event.Event(), [], gevent.local.local()
gone = []

def application(environ, start_response):
    path, read = environ["PATH_INFO"], environ["wsgi.input"].read
    body = b"hello"
    if path == "/meet":
        local.name = environ["QUERY_STRING"]
        arrived.append(local.name)
        meeting.wait(20)
        body = f"{local.name} {environ['uwsgi.core']} {environ['wsgi.multithread']}".encode()
    elif path == "/go":
        body = str(len(arrived)).encode()
        meeting.set()
    elif path == "/impatient":
        gevent.spawn_later(0.02, print, "time is over")
        with gevent.Timeout(0.01, False):
            body = read()
            body = b"in time"
        body = b"%s, then %d" % (body, len(read()))
    elif path == "/together":
        body = b"%d" % sum(len(g.get()) for g in [gevent.spawn(read, 50_000) for _ in range(4)])
    elif path == "/thread":
        body = b"%d" % len(gevent.get_hub().threadpool.apply(read))
    elif path == "/deadline":
        uwsgi.set_user_harakiri(1000)
        meeting.wait(20)
    elif path == "/exit":
        gevent.spawn(exit, 3).join()
    elif path == "/left":
        gevent.spawn(lambda: (gevent.sleep(0.2), print("what was left is done")))
    elif path == "/writes":
        write = start_response("200 OK", [])
        gevent.joinall([gevent.spawn(write, b"x" * 300_000) for _ in range(4)])
        return [b""]
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;

fn start(number: u32) -> Option<(Master, Worker)> {
    Some(Master::with_worker(&with_gevent()?, APP, |spec| greenlets(spec, number)))
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}")).1
}

#[test]
fn as_many_run_at_once_as_were_asked_for_and_each_knows_itself() {
    let Some((master, worker)) = start(5) else { return };
    std::thread::scope(|scope| {
        let master = &master;
        let met: Vec<_> = (0..4)
            .map(|n| {
                scope.spawn(move || {
                    let name = format!("name{n}");
                    let answer = match n % 2 {
                        0 => master.get(&format!("/meet?{name}")),
                        _ => master.uwsgi(
                            &[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/meet"), ("QUERY_STRING", &name)],
                            b"",
                        ),
                    };
                    let (said, rest) = body(&answer).split_once(' ').unwrap();
                    assert_eq!(said, name);
                    rest.to_owned()
                })
            })
            .collect();
        let cores = || master.board.slot(0).unwrap().iter_cores().collect::<Vec<_>>();
        let busy = || cores().iter().filter(|core| core.get(CoreField::InRequest) == 1).count();
        until(|| busy() == 4, || format!("four busy cores, not {}", busy()));
        assert_eq!(body(&master.get("/go")), "4");
        let mut rest: Vec<_> = met.into_iter().map(|met| met.join().unwrap()).collect();
        rest.sort();
        rest.dedup();
        assert_eq!(rest.len(), 4, "each had a core of its own: {rest:?}");
        assert!(rest.iter().all(|rest| rest.ends_with("False")), "{rest:?}");
    });
    worker.drain();
    assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
    assert_eq!(master.board.slot(0).unwrap().get(Field::Requests), 5);
}

/// A request whose body comes only in part, over the uwsgi protocol.
fn post(master: &Master, path: &str, length: usize, now: usize) -> UnixStream {
    let mut socket = UnixStream::connect(&master.uwsgi).unwrap();
    let length = length.to_string();
    let variables = [("REQUEST_METHOD", "POST"), ("PATH_INFO", path), ("CONTENT_LENGTH", &*length)];
    socket.write_all(&packet(&variables)).unwrap();
    socket.write_all(&vec![b'x'; now]).unwrap();
    socket
}

#[test]
fn a_wait_for_a_body_lets_the_others_run() {
    let Some((master, _worker)) = start(5) else { return };
    let mut waiting: Vec<_> = ["/impatient", "/together", "/thread"]
        .into_iter()
        .map(|path| (path, post(&master, path, 200_000, 100_000)))
        .collect();
    let slot = || master.board.slot(0).unwrap();
    let busy = || slot().iter_cores().filter(|core| core.get(CoreField::InRequest) == 1).count();
    until(|| busy() == 3, || "three requests that wait".to_owned());
    assert_eq!(body(&master.get("/")), "hello");
    master.wait_log("time is over");
    for (path, socket) in &mut waiting {
        socket.write_all(&vec![b'x'; 100_000]).unwrap();
        let answer = read_all(socket);
        let expected = match *path {
            "/impatient" => "hello, then 0",
            _ => "200000",
        };
        assert_eq!(body(&answer), expected, "{path}\n{}", master.log());
    }
    assert_eq!(body(&master.get("/writes")).matches('x').count(), 1_200_000, "{}", master.log());
}

#[test]
fn what_greenlets_of_the_application_do_ends_no_request() {
    let Some((master, worker)) = start(3) else { return };
    assert_eq!(body(&master.get("/exit")), "hello");
    master.wait_log("SystemExit: 3");
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| master.get("/deadline"));
        let any = || {
            let slot = master.board.slot(0).unwrap();
            slot.iter_cores().any(|core| core.get(CoreField::DeadlineMs) > 0)
        };
        until(any, || "the deadline that a request set".to_owned());
        assert_eq!(body(&master.get("/go")), "0");
        assert_eq!(body(&answer.join().unwrap()), "hello");
        // Its client may have the answer before the worker has written down that it is done.
        until(|| !any(), || "the end of the deadline with its request".to_owned());
    });
    assert_eq!(body(&master.get("/left")), "hello");
    worker.drain();
    assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
    assert!(!master.log().contains("what was left is done"), "nobody waits for it");
}

#[test]
fn who_waits_for_the_hub_ends_with_the_last_greenlet() {
    let Some(python) = with_gevent() else { return };
    let (master, worker) = Master::with_worker(&python, APP, |spec| {
        greenlets(spec, 3);
        spec["workers"]["gevent"]["wait_for_hub"] = true.into();
    });
    assert_eq!(body(&master.get("/left")), "hello");
    worker.drain();
    assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
    master.wait_log("what was left is done");
}

#[test]
fn requests_that_run_when_a_worker_finishes_are_answered() {
    let Some((master, worker)) = start(2) else { return };
    std::thread::scope(|scope| {
        let met = scope.spawn(|| master.get("/meet?a"));
        let slot = master.board.slot(0).unwrap();
        until(|| slot.is_busy(), || "a request".to_owned());
        // This one is inside; its connection was accepted before the worker finishes.
        let mut kept = master.connect();
        kept.write_all(b"GET /go HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        worker.drain();
        assert_eq!(body(&read_all(&mut kept)), "1");
        assert!(body(&met.join().unwrap()).starts_with("a "));
    });
    assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
}
