//! Workers that die: what is lost with them, what is repeated, what the client sees.

use crate::client::Client;
use crate::master::Master;

#[test]
fn a_request_waits_where_the_only_worker_died_idle() {
    let master = Master::start();
    master.worker(0).die();
    master.assert_lost(0);
    let mut client = Client::get(master.address, "/waits");
    master.settle();
    assert_eq!(master.worker(1).answer("served"), "/waits");
    assert_eq!(client.answer().body, "served");
}

#[test]
fn what_no_worker_read_is_sent_again_whatever_it_is() {
    for method in ["GET", "POST"] {
        let master = Master::start();
        let worker = master.worker(0);
        let mut client = Client::connect(master.address);
        client.send(&format!("{method} /again HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody"));
        worker.wait_for_request();
        drop(worker);
        master.assert_lost(0);
        let mut second = master.worker(1);
        let got = second.receive();
        assert_eq!((got.target(), &*got.body), ("/again", &b"body"[..]));
        second.reply("served");
        assert_eq!(client.answer().body, "served", "{method}");
    }
}

#[test]
fn what_was_inside_a_worker_is_lost_with_it_and_never_repeated() {
    for method in ["GET", "PUT", "POST"] {
        let master = Master::start();
        let mut worker = master.worker(0);
        let mut client = Client::connect(master.address);
        client.send(&format!("{method} / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx"));
        worker.receive();
        let mut second = master.worker(1);
        worker.die();
        let answer = client.answer();
        assert_eq!((answer.status, &*answer.body), (502, "Bad Gateway"), "{method}");
        second.assert_idle();
        // The client's connection goes on.
        client.send_get("/next");
        assert_eq!(second.answer("next"), "/next");
        assert_eq!(client.answer().body, "next");
    }
}

#[test]
fn a_long_body_that_was_read_in_part_is_repeated_where_that_is_harmless() {
    for (method, status) in [("PUT", 200), ("POST", 502)] {
        let master = Master::start();
        let mut worker = master.worker(0);
        let mut client = Client::connect(master.address);
        let body = "x".repeat(3_000_000);
        client.send(&format!("{method} /long HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n{body}"));
        worker.receive_head();
        worker.wait_for_request();
        drop(worker);
        master.assert_lost(0);
        let mut second = master.worker(1);
        if status == 200 {
            assert_eq!(second.receive().body.len(), body.len());
            second.reply("served");
        }
        assert_eq!(client.answer().status, status, "{method}");
        second.assert_idle();
    }
}

#[test]
fn an_answer_that_breaks_off_looks_broken() {
    for (answer, whole) in [
        ("Content-Length: 10\r\n\r\nhalf", false),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false),
    ] {
        let master = Master::start();
        let mut worker = master.worker(0);
        let mut client = Client::get(master.address, "/");
        worker.receive();
        worker.write(format!("HTTP/1.1 200 OK\r\n{answer}").as_bytes());
        let head = client.head();
        assert_eq!(head.status, 200);
        worker.die();
        let rest = client.rest();
        assert!(rest.contains("half"), "{rest}");
        assert_eq!(rest.ends_with("0\r\n\r\n") || rest.len() == 10, whole, "{rest}");
    }
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    for answer in [
        "SMTP ready\r\n\r\n",
        "HTTP/1.1 200 OK\r\nBad Name: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ] {
        let master = Master::start();
        let mut worker = master.worker(0);
        let mut client = Client::get(master.address, "/");
        worker.receive();
        worker.write(answer.as_bytes());
        assert_eq!(client.answer().status, 502, "{answer}");
        master.assert_lost(0);
    }
}

#[test]
fn a_worker_that_closes_after_its_answer_gets_nothing_more() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::get(master.address, "/");
    worker.receive();
    worker.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    let answer = client.answer();
    assert_eq!((&*answer.body, answer.is_last()), ("ok", false));
    master.assert_lost(0);
    client.send_get("/next");
    assert_eq!(master.worker(1).answer("next"), "/next");
    assert_eq!(client.answer().body, "next");
}
