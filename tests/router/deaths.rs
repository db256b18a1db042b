//! Workers that die: what is lost with them, what is repeated, what the client sees.

use liege::wire::lane::Kind;

use crate::client::Client;
use crate::master::Master;
use crate::worker;

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
        let mut worker = master.worker(0);
        worker.rest();
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
fn a_long_body_that_was_read_in_part_was_inside_too() {
    for method in ["PUT", "POST"] {
        let master = Master::start();
        let mut worker = master.worker(0);
        let mut client = Client::connect(master.address);
        let body = "x".repeat(3_000_000);
        client.send(&format!("{method} /long HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n{body}"));
        let (_, head, length) = worker.receive_head();
        assert_eq!(length, 3_000_000);
        assert_eq!(worker.pull(head, 100_000).len(), 100_000);
        worker.die();
        master.assert_lost(0);
        let mut second = master.worker(1);
        assert_eq!(client.answer().status, 502, "{method}");
        second.assert_idle();
    }
}

#[test]
fn an_answer_that_breaks_off_looks_broken_and_costs_no_worker() {
    for (fields, dies) in [
        (&[("Content-Length", "10")][..], false),
        (&[], false),
        (&[("Content-Length", "10")], true),
        (&[], true),
    ] {
        let master = Master::start();
        let mut worker = master.worker(0);
        let mut client = Client::get(master.address, "/");
        worker.receive();
        worker.begin("200 OK", fields);
        worker.data(b"half");
        let head = client.head();
        assert_eq!(head.status, 200);
        if dies {
            worker.die();
            master.assert_lost(0);
            worker = master.worker(1);
        } else {
            worker.abort();
        }
        let rest = client.rest();
        assert!(rest.contains("half"), "{rest}");
        assert!(!rest.ends_with("0\r\n\r\n") && rest.len() != 10, "{rest}");
        let mut next = Client::get(master.address, "/next");
        assert_eq!(worker.answer("next"), "/next");
        assert_eq!(next.answer().body, "next");
    }
}

#[test]
fn what_came_before_a_break_is_sent() {
    let master = Master::start();
    let mut worker = master.worker(0);
    for fields in [&[("Content-Length", "10")][..], &[]] {
        let mut client = Client::get(master.address, "/");
        worker.receive();
        worker.break_off(fields, b"half");
        assert_eq!(client.head().status, 200);
        let rest = client.rest();
        assert!(rest.contains("half") && !rest.ends_with("0\r\n\r\n"), "{rest}");
    }
}

#[test]
fn what_is_no_answer_is_a_bad_gateway() {
    let twice: &[(&str, &str)] = &[("Content-Length", "1")];
    let twice = [worker::head("200 OK", twice), worker::head("200 OK", twice).split_off(10)].concat();
    let switching = {
        let mut head = worker::head("200 OK", &[]);
        head[4] = 101;
        head
    };
    let master = Master::start();
    let mut worker = master.worker(0);
    for (head, body) in [
        (b"SMTP ready".to_vec(), &b""[..]),
        (Vec::new(), b""),
        (twice, b"a"),
        (switching, b""),
        (worker::head("200 OK", &[("Content-Length", "3")]), b"longer"),
    ] {
        for over_lane in [false, true] {
            if over_lane && !body.is_empty() {
                continue;
            }
            let mut client = Client::get(master.address, "/");
            worker.receive();
            if over_lane {
                worker.send_head(&head);
                worker.data(b"unwanted");
                worker.end();
            } else {
                worker.finish(&head, body);
            }
            assert_eq!(client.answer().status, 502, "{}", head.escape_ascii());
        }
    }
    let mut client = Client::get(master.address, "/");
    worker.receive();
    worker.write(b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(client.answer().status, 502);
    master.assert_lost(0);
}

#[test]
fn a_worker_speaks_of_its_own_requests_only() {
    let master = Master::start();
    let mut one = master.worker(0);
    let mut client = Client::get(master.address, "/");
    one.receive();
    let mut other = master.worker(1);
    other.rest();
    other.send(Kind::Begin, &0_u64.to_le_bytes());
    other.send(Kind::Head, &worker::head("200 OK", &[]));
    master.assert_lost(1);
    one.reply("mine");
    assert_eq!(client.answer().body, "mine");
}

#[test]
fn an_answer_is_given_whatever_becomes_of_its_worker() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::get(master.address, "/");
    worker.receive();
    worker.reply("ok");
    worker.die();
    let answer = client.answer();
    assert_eq!((&*answer.body, answer.is_last()), ("ok", false));
    master.assert_lost(0);
    client.send_get("/next");
    assert_eq!(master.worker(1).answer("next"), "/next");
    assert_eq!(client.answer().body, "next");
}
