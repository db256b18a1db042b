//! The PROXY protocol: where it is asked for, a proxy says who its client is; nowhere else.

use liege::config::address::Protocol;
use liege::config::instance::RouterSpec;
use liege::proto::tls::Material;

use crate::client::Client;
use crate::master::Master;
use crate::tls::Authority;

const BEHIND_PROXY: fn() -> RouterSpec = || RouterSpec { proxy_protocol: true, ..RouterSpec::default() };
const LINE: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n";

#[test]
fn the_client_is_who_the_proxy_says() {
    let master = Master::start();
    master.speak(Protocol::Router, None, BEHIND_PROXY());
    let mut worker = master.worker(0);
    let block = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\x0a\0\0\x01\x12\x67\x01\xbb";
    let health = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, pieces, expected) in [
        (LINE.as_bytes(), 1, Some("192.0.2.7 4711")),
        (LINE.as_bytes(), 5, Some("192.0.2.7 4711")),
        (block, 1, Some("192.0.2.7 4711")),
        (block, 3, Some("192.0.2.7 4711")),
        (b"PROXY TCP6 2001:db8::1 ::1 4711 443\r\n", 1, Some("2001:db8::1 4711")),
        (b"PROXY UNKNOWN\r\n", 1, None),
        (health, 1, None),
        (b"", 1, None),
    ] {
        let mut client = Client::connect(master.address);
        let request = b"GET /one HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n";
        let all = [header, request].concat();
        for piece in all.chunks(all.len().div_ceil(pieces)) {
            client.try_send(piece);
            master_saw(&master, pieces);
        }
        let own = format!("127.0.0.1 {}", client.local_address().port());
        for target in ["/one", "/two"] {
            let got = worker.receive();
            assert_eq!(got.target(), target);
            let expected = format!("http {} {}", master.address.port(), expected.unwrap_or(&own));
            assert_eq!(got.field("x-liege-peer"), Some(&*expected), "{header:?}");
            worker.reply("seen");
            assert_eq!(client.answer().body, "seen");
        }
    }
}

/// Lets what was sent arrive before more is sent.
fn master_saw(master: &Master, pieces: usize) {
    if pieces > 1 {
        master.settle();
    }
}

#[test]
fn what_is_malformed_ends_the_connection() {
    let master = Master::start();
    master.speak(Protocol::Router, None, BEHIND_PROXY());
    let mut worker = master.worker(0);
    for header in
        [&b"PROXY TCP4 192.0.2.7 10.0.0.1 4711\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x11\0\0\0", b"PROXY "]
    {
        let mut client = Client::connect(master.address);
        client.try_send(header);
        if header.ends_with(b" ") {
            client.stop_sending();
        }
        client.try_send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(client.rest(), "", "{header:?}");
    }
    worker.assert_idle();
}

#[test]
fn nobody_is_believed_where_no_proxy_is() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let mut client = Client::connect(master.address);
    client.send(&format!("{LINE}GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(client.rest().starts_with("HTTP/1.1 400 "));
    worker.assert_idle();
}

#[test]
fn the_header_comes_before_tls() {
    let (master, authority) = (Master::start(), Authority::new("tests"));
    let identity = authority.sign("localhost");
    let material =
        Material { certificate: identity.certificate, key: identity.key, ciphers: None, client_ca: None };
    master.speak(Protocol::Https, Some(&material), BEHIND_PROXY());
    let mut worker = master.worker(0);
    for header in [LINE, ""] {
        let mut client = Client::connect(master.address);
        client.send(header);
        let mut client = client.secure(&authority.client(None)).unwrap();
        client.send_get("/");
        let own = format!("127.0.0.1 {}", client.local_address().port());
        let expected = if header.is_empty() { &own } else { "192.0.2.7 4711" };
        let got = worker.receive();
        let told = format!("https {} {expected}", master.address.port());
        assert_eq!(got.field("x-liege-peer"), Some(&*told));
        worker.reply("seen");
        assert_eq!(client.answer().body, "seen");
    }
}
