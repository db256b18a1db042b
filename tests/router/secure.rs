//! TLS: who is let in with it, what workers hear of it, and that those who only begin delay nobody.

use std::sync::Arc;

use liege::config::address::Protocol;
use liege::config::instance::RouterSpec;
use liege::config::router::RedirectSpec;
use liege::proto::tls::{Authorities, Material};

use crate::client::Client;
use crate::master::{Master, listen};
use crate::tls::{Authority, Identity};

fn material(identity: &Identity) -> Material {
    let Identity { certificate, key } = identity.clone();
    Material { certificate, key, ciphers: None, client_ca: None }
}

/// A router that speaks TLS, and who signed its certificate.
fn start() -> (Master, Authority) {
    let (master, authority) = (Master::start(), Authority::new("tests"));
    master.speak(Protocol::Https, Some(&material(&authority.sign("localhost"))), RouterSpec::default());
    (master, authority)
}

#[test]
fn a_worker_hears_of_tls_and_the_client_gets_its_answer() {
    let (master, authority) = start();
    let mut worker = master.worker(0);
    let mut client = Client::connect(master.address).secure(&authority.client(None)).unwrap();
    let body = "x".repeat(300_000);
    for n in 0..3 {
        client.send(&format!(
            "POST /{n} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        client.send(&body);
        let got = worker.receive();
        assert_eq!((got.target(), got.body.len()), (&*format!("/{n}"), body.len()));
        let (port, from) = (master.address.port(), client.local_address().port());
        assert_eq!(got.field("x-liege-peer"), Some(&*format!("https {port} 127.0.0.1 {from}")));
        assert_eq!(got.field("x-liege-client-name"), None);
        worker.reply(&body);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    }
    client.send("GET / HTTP/1.1\nHost: a\n\n");
    assert_eq!(client.answer().status, 400);
    // With an end that the client can tell from one that somebody else made.
    client.assert_closed();
}

#[test]
fn nothing_but_http_1_1_is_agreed_on() {
    let (master, authority) = start();
    let _worker = master.worker(0);
    for (offered, agreed) in
        [(&["h2", "http/1.1"][..], Some(Some("http/1.1"))), (&[], Some(None)), (&["h2"], None)]
    {
        let mut config = Arc::unwrap_or_clone(authority.client(None));
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let client = Client::connect(master.address).secure(&Arc::new(config));
        let found = client.ok().map(|client| client.tls().agreed().1);
        assert_eq!(found, agreed.map(|name| name.map(|name| name.as_bytes().to_vec())), "{offered:?}");
    }
}

#[test]
fn clients_show_certificates_where_they_are_asked_to() {
    let (master, authority, own) = (Master::start(), Authority::new("tests"), Authority::new("clients"));
    let ask = |is_mandatory, exported| {
        let client_ca = Some(Authorities { certificates: own.certificate(), is_mandatory });
        let material = Material { client_ca, ..material(&authority.sign("localhost")) };
        let spec = RouterSpec { export_certificate: exported, ..RouterSpec::default() };
        master.speak(Protocol::Https, Some(&material), spec);
    };
    let (known, unknown) = (own.sign("roberto"), Authority::new("others").sign("mallory"));
    let mut worker = master.worker(0);
    for (is_mandatory, identity, expected) in [
        (false, None, Some(None)),
        (false, Some(&known), Some(Some("/CN=roberto"))),
        (false, Some(&unknown), None),
        (true, None, None),
        (true, Some(&known), Some(Some("/CN=roberto"))),
        (true, Some(&unknown), None),
    ] {
        ask(is_mandatory, expected.is_some());
        let mut client = match Client::connect(master.address).secure(&authority.client(identity)) {
            Ok(client) => client,
            Err(error) => {
                assert_eq!(expected, None, "{error}");
                continue;
            }
        };
        client.try_send(b"GET / HTTP/1.1\r\nHost: h\r\nX-Liege-Client-Name: /CN=root\r\n\r\n");
        let Some(name) = expected else {
            // In TLS 1.3 the client only hears of it when it reads.
            assert_eq!(client.rest(), "");
            continue;
        };
        let got = worker.receive();
        assert_eq!(got.field("x-liege-client-name"), name);
        assert_eq!(got.field("x-liege-client-certificate").is_some(), name.is_some());
        worker.reply("known");
        assert_eq!(client.answer().body, "known");
    }
    worker.assert_idle();
}

#[test]
fn who_only_begins_a_handshake_or_speaks_otherwise_delays_nobody() {
    let (master, authority) = start();
    let mut worker = master.worker(0);
    let mut silent: Vec<Client> = (0..50).map(|_| Client::connect(master.address)).collect();
    for client in silent.iter_mut().step_by(2) {
        client.try_send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03");
    }
    for garbage in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], &[0; 100], &[255; 20_000]] {
        let mut client = Client::connect(master.address);
        client.try_send(garbage);
        // At most an alert.
        assert!(client.rest().len() < 20, "{garbage:?}");
    }
    let mut client = Client::connect(master.address).secure(&authority.client(None)).unwrap();
    client.send_get("/quick");
    assert_eq!(worker.answer("quick"), "/quick");
    assert_eq!(client.answer().body, "quick");
    silent[0].assert_silent();
    worker.assert_idle();
}

#[test]
fn a_new_certificate_is_for_new_connections() {
    let (master, authority) = start();
    let mut worker = master.worker(0);
    let mut old = Client::connect(master.address).secure(&authority.client(None)).unwrap();
    let other = Authority::new("other");
    master.speak(Protocol::Https, Some(&material(&other.sign("localhost"))), RouterSpec::default());
    let mut new = Client::connect(master.address).secure(&other.client(None)).unwrap();
    assert!(Client::connect(master.address).secure(&authority.client(None)).is_err());
    assert_ne!(old.tls().agreed().0, new.tls().agreed().0);
    for client in [&mut old, &mut new] {
        client.send_get("/");
        worker.answer("served");
        assert_eq!(client.answer().body, "served");
    }
    // As is what changes of the protocol.
    master.speak(Protocol::Router, None, RouterSpec::default());
    let mut plain = Client::get(master.address, "/plain");
    assert_eq!(worker.answer("plain"), "/plain");
    assert_eq!(plain.answer().body, "plain");
    old.send_get("/");
    worker.answer("still");
    assert_eq!(old.answer().body, "still");
}

#[test]
fn a_drained_router_finishes_with_tls_too() {
    let (master, authority) = start();
    let config = authority.client(None);
    let connect = || Client::connect(master.address).secure(&config).unwrap();
    let mut worker = master.worker(0);
    let (mut idle, mut running, mut queued, mut silent) = (connect(), connect(), connect(), connect());
    for client in [&mut idle, &mut silent] {
        client.send_get("/first");
        worker.answer("first");
        assert!(!client.answer().is_last());
    }
    let mut begun = Client::connect(master.address);
    running.send_get("/running");
    assert_eq!(worker.receive().target(), "/running");
    queued.send_get("/queued");
    idle.send_get("/again");
    master.drain();
    worker.reply("ran");
    assert_eq!(running.answer().body, "ran");
    let mut answered = [worker.answer("one"), worker.answer("two")];
    answered.sort();
    assert_eq!(answered, ["/again", "/queued"]);
    for client in [&mut queued, &mut idle] {
        let answer = client.answer();
        assert_eq!((answer.status, answer.is_last()), (200, true));
        client.assert_closed();
    }
    silent.assert_closed();
    assert_eq!(begun.rest(), "");
    master.assert_ends_well();
}

#[test]
fn clients_are_sent_to_https() {
    let master = Master::start();
    let mut worker = master.worker(0);
    let redirects = vec![RedirectSpec { address: listen(master.address).address, port: Some(8443) }];
    master.speak(Protocol::Redirect, None, RouterSpec { redirects, ..RouterSpec::default() });
    let mut client = Client::connect(master.address);
    client.send("POST /a?b HTTP/1.1\r\nHost: x.example:80\r\nContent-Length: 3\r\n\r\nabc");
    let answer = client.answer();
    assert_eq!((answer.status, answer.is_last()), (301, true));
    assert_eq!(answer.field("location"), Some("https://x.example:8443/a?b"));
    worker.assert_idle();
}

#[test]
fn no_connection_is_kept_where_that_is_said() {
    let master = Master::start();
    let mut worker = master.worker(0);
    master.speak(Protocol::Router, None, RouterSpec { keepalive_s: 0, ..RouterSpec::default() });
    let mut client = Client::get(master.address, "/");
    worker.answer("once");
    let answer = client.answer();
    assert_eq!((&*answer.body, answer.is_last()), ("once", true));
    client.assert_closed();
}
