//! Those who listen: events, log lines and snapshots as they come, from many clients, some of whom do not read.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

#[path = "door/api.rs"]
mod api;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use api::{Api, converse};
use liege::api::stream::LISTENERS;
use liege::emperor::fleet::LogLine;
use serde_json::Value;

const VASSAL: &str = "/v1/vassals/a%20b%25.ini";

/// Opens a stream and reads its head.
fn listen(api: &Api, head: &str, more: &str) -> BufReader<UnixStream> {
    let mut stream = api.unix();
    stream.write_all(format!("GET {head} HTTP/1.1\r\nhost: x\r\n{more}\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.contains(" 200 "), "{line}");
    while line.trim() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    reader
}

/// The next line of the stream that is a JSON document, without what stands before it.
fn next(reader: &mut BufReader<UnixStream>) -> Value {
    loop {
        let mut line = String::new();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the stream ended");
        let line = line.trim().strip_prefix("data: ").unwrap_or(line.trim()).to_owned();
        if line.starts_with('{') {
            return serde_json::from_str(&line).unwrap();
        }
    }
}

fn happen(api: &Api, message: &str) {
    happen_to(api, "a b%.ini", message);
}

fn happen_to(api: &Api, vassal: &str, message: &str) {
    let mut fleet = serde_json::to_value(&*api.handle.fleet()).unwrap();
    let id = fleet["last_event"].as_u64().unwrap() + 1;
    let event = serde_json::json!({"id": id, "at_epoch_ms": 0, "vassal": vassal, "message": message});
    fleet["events"].as_array_mut().unwrap().push(event);
    fleet["last_event"] = id.into();
    let fleet: liege::emperor::fleet::Fleet = serde_json::from_value(fleet).unwrap();
    let mut here = api.handle.fleet();
    let shown: Vec<_> = here.vassals.values().map(|vassal| vassal.shown.clone()).collect();
    *here = fleet;
    for (vassal, shown) in here.vassals.values_mut().zip(shown) {
        vassal.shown = shown;
    }
    drop(here);
    api.handle.changed();
}

#[test]
fn events_are_heard_resumed_and_listed() {
    let api = Api::start();
    happen(&api, "one");
    let mut live = listen(&api, "/v1/events", "accept: text/event-stream\r\n");
    let one = next(&mut live);
    assert_eq!(one["message"], "one");
    happen(&api, "two");
    assert_eq!(next(&mut live)["message"], "two");
    let id = one["id"].as_str().unwrap();
    let resumed = format!("accept: application/x-ndjson\r\nlast-event-id: {id}\r\n");
    assert_eq!(next(&mut listen(&api, "/v1/events", &resumed))["message"], "two");
    let from_another_time = "accept: application/x-ndjson\r\nlast-event-id: 1-7\r\n";
    let mut late = listen(&api, "/v1/events", from_another_time);
    assert_eq!(next(&mut late), serde_json::json!({"gap": null}));
    assert_eq!(next(&mut late)["message"], "one");
    let list = api.ask(&format!("GET /v1/events?after={id}")).json();
    assert_eq!(list["events"].as_array().unwrap().len(), 1);
    let newest = |limit: &str| {
        let list = api.ask(&format!("GET /v1/events?limit={limit}")).json();
        list["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|event| event["message"].to_string())
            .collect::<String>()
    };
    assert_eq!(
        (newest("0"), newest("1"), newest("9")),
        (String::new(), "\"two\"".into(), "\"one\"\"two\"".into())
    );
    assert_eq!(api.ask("GET /v1/events?limit=-1").code(), "bad-query");
    let mut from_now = listen(&api, "/v1/events?limit=0", "accept: application/x-ndjson\r\n");
    happen(&api, "three");
    assert_eq!(next(&mut from_now)["message"], "three");
    let list = api.ask("GET /v1/events?vassal=none").json();
    assert!(list["events"].as_array().unwrap().is_empty());
}

#[test]
fn lines_are_heard_as_they_come() {
    let api = Api::start();
    let page = api.ask(&format!("GET {VASSAL}/logs")).json();
    assert_eq!(page["lines"][0]["text"], "GET /?secret=1");
    let mut live = listen(&api, &format!("{VASSAL}/logs?follow&lines=0"), "");
    let line = LogLine { number: 2, at_epoch_ms: 0, text: "hello".into() };
    api.handle.fleet().vassals.get_mut("a b%.ini").unwrap().log.push_back(line);
    api.handle.logged();
    assert_eq!(next(&mut live)["text"], "hello");
    assert_eq!(api.ask("GET /v1/vassals/none/logs?follow").code(), "no-such-vassal");
    assert_eq!(api.ask(&format!("GET {VASSAL}/logs?follow=maybe")).code(), "bad-query");
    let unasked = format!("GET {VASSAL}/logs HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(api.tcp(api.open, &unasked).code(), "not-allowed");
}

#[test]
fn who_goes_on_with_lines_misses_none_unsaid() {
    let api = Api::start();
    let push = |number: u64| {
        let line = LogLine { number, at_epoch_ms: 0, text: format!("line {number}") };
        api.handle.fleet().vassals.get_mut("a b%.ini").unwrap().log.push_back(line);
    };
    (2..=5).for_each(push);
    let page = api.ask(&format!("GET {VASSAL}/logs")).json();
    let id = page["lines"][1]["id"].as_str().unwrap().to_owned();
    let (era, number) = id.split_once('-').unwrap();
    assert_eq!((number, &page["lines"][1]["number"]), ("2", &2.into()), "{page}");
    let numbers = |query: &str| {
        let page = api.ask(&format!("GET {VASSAL}/logs?{query}")).json();
        let lines = page["lines"].as_array().unwrap().iter();
        lines.map(|line| line["number"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("lines=2".to_owned(), &[4, 5][..]),
        (format!("after={id}&lines=1"), &[3, 4, 5]),
        ("after=3&lines=1".to_owned(), &[4, 5]),
        (format!("after={era}-5"), &[]),
        ("after=f1-5".to_owned(), &[1, 2, 3, 4, 5]),
    ] {
        assert_eq!(numbers(&query), expected, "{query}");
    }
    // A client that connects again says the same query, and the last id that it has seen.
    let again = format!("{VASSAL}/logs?follow&lines=1");
    let mut stream = listen(&api, &again, &format!("accept: text/event-stream\r\nlast-event-id: {id}\r\n"));
    assert_eq!(next(&mut stream)["number"], 3);
    let mut stream = listen(&api, &again, "last-event-id: f1-4\r\n");
    assert_eq!(next(&mut stream)["gap"], Value::Null);
    assert_eq!(next(&mut stream)["number"], 1);
}

#[test]
fn what_a_client_wants_less_it_does_not_get() {
    let api = Api::start();
    let kind = |accept: &str| {
        let head = "GET /v1/events?limit=0 HTTP/1.1\r\nhost: x\r\n";
        let mut stream = api.unix();
        stream.write_all(format!("{head}accept: {accept}\r\n\r\n").as_bytes()).unwrap();
        let lines = BufReader::new(stream).lines().map(Result::unwrap);
        lines
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix("content-type: ").map(str::to_owned))
    };
    for (accept, expected) in [
        ("text/event-stream", "text/event-stream"),
        ("text/event-stream;q=0.2, application/x-ndjson;q=0.3", "application/x-ndjson"),
        ("text/event-stream;q=0.2, application/json", "application/json"),
        ("text/event-stream;q=0", "application/json"),
    ] {
        assert_eq!(kind(accept).as_deref(), Some(expected), "{accept}");
    }
}

#[test]
fn a_token_that_is_taken_back_hears_nothing_more() {
    let api = Api::start();
    let mut stream = std::net::TcpStream::connect(api.guarded).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let head = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n";
    let token = api::TOKEN;
    stream.write_all(format!("{head}authorization: Bearer {token}\r\n\r\n").as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("heartbeat") {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the stream ended");
    }
    std::fs::write(api.socket().with_file_name("token"), "another-token-of-some-length").unwrap();
    while reader.read_line(&mut line).unwrap() > 0 {}
}

#[test]
fn a_snapshot_is_sent_once_and_its_change_is_waited_for() {
    let api = Api::start();
    let first = api.ask("GET /v1/snapshot");
    assert_eq!(first.json()["vassals"][0]["totals"]["requests"], 41);
    let revision = first.json()["revision"].as_str().unwrap().to_owned();
    assert!(first.head.contains(&format!("etag: \"{revision}\"")), "{first:?}");
    let ask = |api: &Api, query: &str| {
        let head = format!("GET /v1/snapshot{query} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        converse(api.unix(), format!("{head}if-none-match: \"{revision}\"\r\n\r\n").as_bytes())
    };
    let same = ask(&api, "");
    assert_eq!((same.status, same.body.as_str()), (304, ""));
    assert_eq!(ask(&api, "?wait=1").status, 304);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(&api, "?wait=60"));
        happen(&api, "news");
        assert_eq!(waiting.join().unwrap().status, 200);
    });
    assert_eq!(ask(&api, "").status, 200);
}

#[test]
fn a_thousand_listeners_hear_and_those_who_do_not_read_hold_up_nobody() {
    let api = Api::start();
    let accept = "accept: text/event-stream\r\n";
    let hearing = "/v1/events?vassal=quiet.ini";
    let mut all: Vec<_> = (0..900).map(|_| listen(&api, hearing, accept)).collect();
    let deaf: Vec<_> = (0..100).map(|_| listen(&api, "/v1/events", accept)).collect();
    let long = "x".repeat(10_000);
    for round in 0..100 {
        // More than the kernel keeps for a socket.
        happen_to(&api, "loud.ini", &long);
        happen_to(&api, "quiet.ini", &round.to_string());
    }
    for listener in &mut all {
        for round in 0..100 {
            assert_eq!(next(listener)["message"], round.to_string());
        }
    }
    assert_eq!(api.ask("GET /v1/vassals").status, 200, "those who ask still have their places");
    drop(deaf);
}

#[test]
fn there_is_a_limit_to_listeners() {
    let api = Api::start();
    let accept = "accept: text/event-stream\r\n";
    let all: Vec<_> = (0..LISTENERS).map(|_| listen(&api, "/v1/events", accept)).collect();
    let request = format!("GET /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{accept}\r\n");
    assert_eq!(converse(api.unix(), request.as_bytes()).code(), "too-many-listeners");
    drop(all);
}
