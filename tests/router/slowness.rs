//! Slow clients delay nobody, and hold no worker.

use std::time::Duration;

use crate::client::Client;
use crate::master::Master;

#[test]
fn clients_that_send_slowly_or_nothing_delay_nobody() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut slow: Vec<Client> = Vec::new();
    for n in 0..60 {
        let mut client = Client::connect(master.address);
        client.send(["", "GET / HT", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab"][n % 3]);
        slow.push(client);
    }
    master.settle();
    let mut client = Client::get(master.address, "/quick");
    assert_eq!(worker.answer("quick"), "/quick");
    assert_eq!(client.answer().body, "quick");
    // None of them had to be sent away for it.
    slow[0].assert_silent();
    slow[1].assert_silent();
    // A slow body gets its worker when it is complete.
    slow[2].send("cdefghi");
    assert_eq!(worker.receive().body, b"abcdefghi");
    worker.reply("slow");
    assert_eq!(slow[2].answer().body, "slow");
}

#[test]
fn a_client_that_does_not_read_frees_its_worker_at_once() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut lazy: Vec<Client> = (0..4).map(|n| Client::get(master.address, &format!("/big{n}"))).collect();
    let big = "x".repeat(1_000_000);
    for _ in &lazy {
        worker.answer(&big);
    }
    let mut client = Client::get(master.address, "/quick");
    assert_eq!(worker.answer("quick"), "/quick");
    assert_eq!(client.answer().body, "quick");
    for client in &mut lazy {
        assert_eq!(client.answer().body.len(), big.len());
    }
}

#[test]
fn clients_that_do_not_read_a_long_answer_hold_no_worker() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let big: Vec<u8> = (0..13_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let mut lazy: Vec<Client> = Vec::new();
    for n in 0..20 {
        lazy.push(Client::get(master.address, &format!("/big{n}")));
        worker.receive();
        worker.respond("200 OK", &[("Content-Length", "13000000")], &big);
    }
    let mut client = Client::get(master.address, "/quick");
    assert_eq!(worker.answer("quick"), "/quick");
    assert_eq!(client.answer().body, "quick");
    for client in lazy.iter_mut().step_by(7) {
        assert_eq!(client.head().status, 200);
        assert!(client.take(big.len()) == big);
    }
}

#[test]
fn a_client_that_leaves_an_answer_leaves_the_worker_useful() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::get(master.address, "/left");
    worker.receive();
    worker.begin("200 OK", &[]);
    worker.data(b"some");
    assert_eq!(client.head().status, 200);
    assert!(worker.is_wanted());
    drop(client);
    // Whatever it still sends is thrown away, and it hears that nobody wants it.
    while worker.is_wanted() {
        worker.data(&[b'x'; 100_000]);
    }
    worker.data(&[b'x'; 3_000_000]);
    worker.abort();
    let mut client = Client::get(master.address, "/next");
    assert_eq!(worker.answer("next"), "/next");
    assert_eq!(client.answer().body, "next");
    let client = Client::get(master.address, "/gone");
    assert_eq!(worker.receive().target(), "/gone");
    drop(client);
    while worker.is_wanted() {
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.reply("for nobody");
    let mut client = Client::get(master.address, "/last");
    assert_eq!(worker.answer("last"), "/last");
    assert_eq!(client.answer().body, "last");
}
