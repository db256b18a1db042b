//! The router as a process, with workers, clients and a master that the tests play.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "router/client.rs"]
mod client;
#[path = "router/deaths.rs"]
mod deaths;
#[path = "router/lives.rs"]
mod lives;
#[path = "router/master.rs"]
mod master;
#[path = "router/proxied.rs"]
mod proxied;
#[path = "router/secure.rs"]
mod secure;
#[path = "router/slowness.rs"]
mod slowness;
#[path = "support/tls.rs"]
mod tls;
#[path = "router/worker.rs"]
mod worker;

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};

use client::Client;
use liege::config::address::{Address, Listen, Protocol};
use master::{Master, listen};

#[test]
fn a_worker_gets_the_request_with_the_facts_and_the_client_its_answer() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::connect(master.address);
    client.send(
        "POST /a%20b?c=d HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\nx-odd: \u{e9}\r\n\r\nhello",
    );
    let got = worker.receive();
    assert!(got.head.starts_with("POST /a%20b?c=d HTTP/1.1\r\n"), "{}", got.head);
    assert_eq!(got.body, b"hello");
    assert_eq!(got.field("host"), Some("a.example"));
    assert_eq!(got.field("x-odd"), Some("\u{e9}"));
    let (from, port) = (client.local_address(), master.address.port());
    assert_eq!(got.field("x-liege-peer"), Some(&*format!("http {port} 127.0.0.1 {}", from.port())));
    worker.respond(
        "404 Nichts da",
        &[("Content-Length", "2"), ("X-A", "1"), ("Set-Cookie", "a"), ("Set-Cookie", "b")],
        b"no",
    );
    let answer = client.answer();
    assert_eq!((answer.status, &*answer.body, answer.is_last()), (404, "no", false));
    assert_eq!(answer.field("x-a"), Some("1"));
    assert_eq!(answer.head.matches("set-cookie: ").count(), 2);
    assert_eq!(answer.head.matches("date: ").count(), 1);
}

#[test]
fn what_a_client_says_of_itself_is_not_believed() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::connect(master.address);
    client.send(
        "GET / HTTP/1.1\r\nHost: h\r\nX-Liege-Peer: https 443 10.0.0.1 1\r\nx_liege_peer: https\r\n\
         X-LIEGE-remote: a\r\nConnection: x-liege-peer, keep-alive\r\nUpgrade: websocket\r\n\r\n",
    );
    let got = worker.receive();
    assert!(got.field("x-liege-peer").is_some_and(|peer| peer.starts_with("http ")), "{}", got.head);
    for name in ["x_liege_peer", "x-liege-remote", "connection", "upgrade"] {
        assert_eq!(got.field(name), None, "{name}");
    }
}

#[test]
fn an_application_has_the_connection_closed_and_says_nothing_else_of_it() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::connect(master.address);
    for (value, said) in [("upgrade", None), ("keep-alive", None), ("close", Some("close"))] {
        client.send_get("/");
        worker.receive();
        worker.respond("200 OK", &[("Content-Length", "1"), ("Connection", value)], b"a");
        assert_eq!(client.answer().field("connection"), said, "{value}");
    }
    client.assert_closed();
}

#[test]
fn requests_on_one_connection_are_answered_in_their_order() {
    let master = Master::start();
    let mut workers = master.workers(0, 2);
    let mut client = Client::connect(master.address);
    let pipelined: String = (0..4).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(&pipelined);
    for n in 0..4 {
        let worker = &mut workers[n % 2];
        assert_eq!(worker.answer(&format!("answer {n}")), format!("/{n}"));
        assert_eq!(client.answer().body, format!("answer {n}"));
    }
    client.send("HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n");
    workers[0].receive();
    workers[0].respond("200 OK", &[("Content-Length", "1000")], b"");
    assert_eq!(client.head().field("content-length"), Some("1000"));
    client.send_get("/after");
    assert_eq!(workers[1].answer("x"), "/after");
    assert_eq!(client.answer().body, "x");
}

#[test]
fn requests_wait_for_a_worker_and_the_oldest_goes_first() {
    let master = Master::start();
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..5 {
        clients.push(Client::get(master.address, &format!("/{n}")));
        master.settle();
    }
    let mut worker = master.worker(0);
    for (n, client) in clients.iter_mut().enumerate() {
        assert_eq!(worker.answer("late"), format!("/{n}"));
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn clients_that_gave_up_are_not_served() {
    let master = Master::start();
    let gone: Vec<Client> = (0..3).map(|n| Client::get(master.address, &format!("/gone{n}"))).collect();
    let mut pipelining = Client::connect(master.address);
    pipelining.send("GET /one HTTP/1.1\r\nHost: h\r\n\r\n");
    master.settle();
    pipelining.send("GET /two HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut patient = Client::get(master.address, "/patient");
    master.settle();
    drop(gone);
    drop(pipelining);
    master.settle();
    let mut worker = master.worker(0);
    assert_eq!(worker.answer("you"), "/patient");
    assert_eq!(patient.answer().body, "you");
    worker.assert_idle();
}

#[test]
fn bodies_of_every_size_and_coding_arrive_whole() {
    let master = Master::start();
    let mut worker = master.worker(0);
    for length in [1, 100, 70_000, 1_048_576, 1_048_577, 5_000_000] {
        let body: Vec<u8> = (0..length).map(|n: usize| u8::try_from(n % 251).unwrap()).collect();
        for chunked in [false, true] {
            let mut client = Client::connect(master.address);
            let mut request = format!("POST /{length} HTTP/1.1\r\nHost: h\r\n");
            request += &if chunked {
                "Transfer-Encoding: chunked\r\n\r\n".to_owned()
            } else {
                format!("Content-Length: {length}\r\n\r\n")
            };
            let mut bytes = request.into_bytes();
            for chunk in body.chunks(60_000) {
                if chunked {
                    bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                }
                bytes.extend(chunk);
                if chunked {
                    bytes.extend(b"\r\n");
                }
            }
            if chunked {
                bytes.extend(b"0\r\nX-Trailer: dropped\r\n\r\n");
            }
            let sending = std::thread::spawn(move || {
                client.try_send(&bytes);
                client
            });
            let got = worker.receive();
            assert!(got.body == body, "{length} {chunked}");
            assert_eq!(got.field("x-trailer"), None);
            assert_eq!(got.field("transfer-encoding"), None);
            worker.reply("ok");
            assert_eq!(sending.join().unwrap().answer().body, "ok");
        }
    }
}

#[test]
fn who_asks_before_sending_a_body_is_told_to_go_on() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::connect(master.address);
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_eq!(client.head().status, 100);
    client.send("ab");
    let got = worker.receive();
    assert_eq!((&*got.body, got.field("expect")), (&b"ab"[..], None));
    worker.reply("ok");
    assert_eq!(client.answer().body, "ok");
    // Too long to be wanted: no 100, an answer at once.
    let mut client = Client::connect(master.address);
    client.send("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.is_last()), (413, true));
    worker.assert_idle();
}

#[test]
fn a_body_that_breaks_off_reaches_nobody() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut half = Client::connect(master.address);
    half.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
    half.stop_sending();
    let rest = half.rest();
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
    let mut malformed = Client::connect(master.address);
    malformed.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nXY\r\n");
    assert!(malformed.rest().starts_with("HTTP/1.1 400 "));
    worker.assert_idle();
}

#[test]
fn requests_with_two_readings_are_refused_and_reach_nobody() {
    let master = Master::start();
    let mut worker = master.worker(0);
    for request in [
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX : 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nX: 1\r\n folded\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "GET http://evil/ HTTP/1.1\r\nHost: h\r\n\r\n",
        "CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut client = Client::connect(master.address);
        client.send(request);
        client.try_send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
        let answer = client.answer();
        assert!((400..=505).contains(&answer.status) && answer.is_last(), "{request:?}: {answer:?}");
        client.assert_closed();
    }
    worker.assert_idle();
}

#[test]
fn listeners_come_and_go_while_their_clients_stay() {
    let master = Master::start();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let socket = UnixListener::bind(&path).unwrap();
    let unix = Listen { address: Address::Unix(path.clone()), protocol: Protocol::Router };
    let mut worker = master.worker(0);
    let mut old = Client::connect(master.address);
    master.settle_on(&mut old, &mut worker);
    master.serve(vec![(unix, socket.try_clone().unwrap().into())]);
    let mut local = UnixStream::connect(&path).unwrap();
    local.write_all(b"GET /unix HTTP/1.0\r\n\r\n").unwrap();
    let got = worker.receive();
    assert_eq!((got.field("x-liege-peer"), got.field("host")), (Some("http 80   old"), None));
    worker.reply("x");
    // The port is the master's still, but nobody accepts there now; who is connected is served.
    let mut ignored = Client::get(master.address, "/ignored");
    master.settle_on(&mut old, &mut worker);
    worker.assert_idle();
    ignored.assert_silent();
    master.serve(vec![(listen(master.address), master.listener())]);
    assert_eq!(worker.answer("y"), "/ignored");
    assert_eq!(ignored.answer().body, "y");
}
