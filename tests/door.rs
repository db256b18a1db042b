//! The API as its clients meet it: a hand-made fleet, real sockets, well-behaved and other clients.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

#[path = "door/api.rs"]
mod api;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use api::{Api, PATIENCE, TOKEN, converse};
use liege::api::connection::CONNECTIONS;
use liege::api::gate::BODY_LIMIT_BYTES;

fn liege(api: &Api, arguments: &str) -> std::process::Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_liege"));
    command.args(arguments.split_whitespace()).env("LIEGE_API", api.socket()).output().unwrap()
}

#[test]
fn commands_tell_people_and_scripts() {
    let api = Api::start();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    for (arguments, exit, parts) in [
        (
            "status",
            0,
            &["1 of 1 vassals serve", "a b%.ini  up", "1/1", "41", "not started: /w/other.ini: shadowed"][..],
        ),
        ("status --json", 0, &["\"name\":\"a b%.ini\""]),
        ("status none", 1, &["there is no vassal \"none\"; there are a b%.ini"]),
        ("upgrade", 1, &["it is not running"]),
        ("status --api /nowhere", 3, &["no emperor answers at /nowhere (no such socket)"]),
        ("reload", 2, &["needs a vassal's name", "--help"]),
        ("--version", 0, &["liege "]),
        ("--help", 0, &["liege status"]),
    ] {
        let output = liege(&api, arguments);
        let all = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments}: {all}");
        for part in parts {
            assert!(all.contains(part), "{arguments}: {part:?} is not in {all}");
        }
    }
    let act = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_liege"));
        command.args(["reload", "a b%"]).args(more).env("LIEGE_API", api.socket());
        command.output().unwrap()
    };
    let waited = act(&["--wait"]);
    assert_eq!(waited.status.code(), Some(4));
    let told = text(&waited.stdout);
    let expected = "reload of a b%.ini: rolled back, the old one serves on\n  no module named 'x'\n    Traceback: here\n";
    assert_eq!(told, expected);
}

#[test]
fn the_fleet_is_seen() {
    let api = Api::start();
    let answer = api.ask("GET /v1/vassals");
    assert_eq!(answer.status, 200);
    for header in ["x-content-type-options: nosniff", "cache-control: no-store"] {
        assert!(answer.head.contains(header), "{answer:?}");
    }
    assert!(!answer.head.contains("access-control"));
    let list = answer.json();
    assert_eq!(list["vassals"][0]["name"], "a b%.ini");
    assert_eq!(list["vassals"][0]["state"], "up");
    assert_eq!(list["vassals"][0]["totals"]["requests"], 41);
    assert_eq!(list["not_started"][0]["path"], "/w/other.ini");
    let link = list["vassals"][0]["link"].as_str().unwrap().to_owned();
    assert_eq!(link, "/v1/vassals/a%20b%25.ini");
    let detail = api.ask(&format!("GET {link}")).json();
    assert_eq!(detail["workers"][0]["running"][0]["request"], "GET /path");
    assert_eq!(detail["log"][0]["text"], "GET /?secret=1");
    assert_eq!(api.ask("GET /v1/stats").json()["totals"]["busy"], 1);
    assert_eq!(api.ask("GET /v1").json()["links"][4], "/v1/vassals");
}

#[test]
fn a_reader_without_the_right_to_act_sees_no_request_data() {
    let api = Api::start();
    for path in ["/v1/vassals/a%20b%25.ini", "/v1/stats", "/v1/vassals"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = api.tcp(api.open, &request);
        assert_eq!(answer.status, 200);
        assert!(!answer.body.contains("/path") && !answer.body.contains("secret"), "{answer:?}");
    }
}

#[test]
fn a_reload_is_an_operation_to_wait_for() {
    let api = Api::start();
    let answer = api.ask("POST /v1/vassals/a%20b%25.ini/reload");
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(answer.head.contains("location: /v1/operations/7"), "{answer:?}");
    assert_eq!(answer.json()["outcome"], "running");
    let answer = api.ask("GET /v1/operations/7?wait=10");
    assert_eq!(answer.json()["outcome"], "rolled-back");
    assert_eq!(answer.json()["failure"]["traceback"], "Traceback: here");
    assert!(answer.json()["why"].as_str().unwrap().starts_with("API uid "));

    let api = Api::start();
    let request = "POST /v1/vassals/a%20b%25.ini/reload HTTP/1.1\r\nhost: x\r\nprefer: wait=10\r\n\
                   content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    let answer = converse(api.unix(), request.as_bytes());
    assert_eq!((answer.status, answer.json()["outcome"].as_str().unwrap()), (200, "rolled-back"));
}

#[test]
fn a_token_is_for_a_role_and_for_some_vassals() {
    let api = Api::start();
    let ask = |method: &str, path: &str, token: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let answer = api.tcp(api.guarded, &request);
        if answer.status < 400 { (answer.status, String::new()) } else { (answer.status, answer.code()) }
    };
    // Read anew for each request; the hash is that of "a-token-for-reading".
    let hash = "sha256:b4e1c7ae0c42bb01297270dbab447c2ad40471364df5856db660bc3c7af7908e";
    let file = format!(
        "read {hash}\noperate a-token-for-some a*.ini\nadmin a-token-for-all-of-it\noperate a-token-for-others x*\n"
    );
    std::fs::write(api.socket().with_file_name("token"), file).unwrap();
    let vassal = "/v1/vassals/a%20b%25.ini";
    let sees_requests = |token: &str| {
        ["/v1/requests", "/v1/vassals/a%20b%25.ini", "/v1/vassals/a%20b%25.ini/workers"].map(|path| {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
            );
            api.tcp(api.guarded, &request).body.contains("GET /path")
        })
    };
    for (token, logs, reload, upgrade) in [
        ("a-token-for-reading", 403, 403, 403),
        ("a-token-for-some", 200, 202, 403),
        ("a-token-for-others", 403, 403, 403),
        ("a-token-for-all-of-it", 200, 202, 409),
        (TOKEN, 401, 401, 401),
    ] {
        assert_eq!(sees_requests(token), [logs == 200; 3], "{token}");
        assert_eq!(ask("GET", &format!("{vassal}/logs"), token).0, logs, "{token}");
        assert_eq!(ask("POST", &format!("{vassal}/reload"), token).0, reload, "{token}");
        assert_eq!(ask("POST", "/v1/upgrade", token).0, upgrade, "{token}");
        assert_eq!(ask("GET", "/v1/vassals", token).0, if token == TOKEN { 401 } else { 200 });
    }
    assert_eq!(ask("POST", "/v1/upgrade", "a-token-for-some").1, "not-allowed");
    let why = api.ask("GET /v1/operations/7").json()["why"].as_str().unwrap().to_owned();
    assert!(why.contains(" token "), "{why}");
}

#[test]
fn the_page_is_for_everybody_and_tells_what_one_may_do() {
    let api = Api::start();
    let ask = |address, path: &str, lines: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}connection: close\r\n\r\n");
        api.tcp(address, &request)
    };
    let wrong = "authorization: Bearer something-else-entirely\r\n";
    for answer in [ask(api.open, "/", ""), ask(api.guarded, "/", wrong), api.ask("GET /")] {
        assert_eq!(answer.status, 200);
        for header in [
            "content-type: text/html",
            "content-security-policy: default-src 'none'; script-src 'sha256-",
            "x-frame-options: deny",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{}", answer.head);
        }
        assert!(
            answer.body.starts_with("<!doctype html>") && !answer.body.contains("a b%"),
            "nothing of the fleet"
        );
    }
    let evil = "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(api.tcp(api.open, evil).code(), "unknown-host");
    assert_eq!(converse(api.unix(), evil.as_bytes()).code(), "unknown-host");
    assert_eq!(api.ask("POST /").status, 405);
    let access = |answer: api::Answer| {
        let access = answer.json()["access"].clone();
        (access["role"].as_str().unwrap().to_owned(), access["tokens"].as_bool().unwrap())
    };
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(access(ask(api.open, "/v1", "")), ("read".into(), false));
    assert_eq!(ask(api.guarded, "/v1", "").status, 401);
    assert_eq!(access(ask(api.guarded, "/v1", &token)), ("operate".into(), true));
    assert_eq!(access(api.ask("GET /v1")), ("admin".into(), false));
}

#[test]
fn a_key_acts_once() {
    let api = Api::start();
    let post = |action: &str, key: &str| {
        let request = format!(
            "POST /v1/vassals/a%20b%25.ini/{action} HTTP/1.1\r\nhost: x\r\nidempotency-key: {key}\r\n\
             connection: close\r\n\r\n"
        );
        converse(api.unix(), request.as_bytes())
    };
    let operations = || api.handle.fleet().operations.len();
    assert_eq!(post("reload", "one").json()["id"], 7);
    assert_eq!(post("reload", "one").json()["id"], 7);
    assert_eq!(operations(), 1);
    assert_eq!(post("stop", "one").code(), "key-reused");
    assert_eq!(post("reload", "two").status, 202);
    assert_eq!(operations(), 2);
    assert_eq!(post("stop", "three").code(), "conflict");
    assert_eq!(post("reload", "three").status, 202, "what was refused used no key up");
    assert_eq!(post("reload", "").code(), "bad-key");
    assert_eq!(post("reload", &"x".repeat(256)).code(), "bad-key");
}

#[test]
fn every_mistake_is_a_problem_document() {
    let api = Api::start();
    for (head, status, code) in [
        ("GET /nothing", 404, "not-found"),
        ("GET /v1/vassals/none.ini", 404, "no-such-vassal"),
        ("GET /v1/vassals/%ff", 404, "not-found"),
        ("GET /v1/vassals/..%2f..%2fetc%2fpasswd", 404, "no-such-vassal"),
        ("POST /v1/vassals/none.ini/reload", 404, "no-such-vassal"),
        ("POST /v1/vassals/a%20b%25.ini/stop", 409, "conflict"),
        ("GET /v1/vassals/a%20b%25.ini/reload", 405, "wrong-method"),
        ("HEAD /v1/upgrade", 405, ""),
        ("DELETE /v1/vassals/a%20b%25.ini", 405, "wrong-method"),
        ("POST /v1/vassals", 405, "wrong-method"),
        ("GET http://other.example/v1", 400, "bad-host"),
        ("GET /v1/operations/99", 404, "no-such-operation"),
        ("GET /v1/operations/x", 404, "not-found"),
        ("GET /v1/operations/7?wait=-1", 400, "bad-query"),
        ("GET /v1/operations/7?weight=1", 400, "bad-query"),
        ("POST /v1/vassals/a%20b%25.ini/reload?force=1", 400, "bad-query"),
    ] {
        let answer = api.ask(head);
        assert_eq!(answer.status, status, "{head}: {answer:?}");
        if code.is_empty() {
            assert_eq!(answer.body, "");
        } else {
            assert_eq!(answer.code(), code, "{head}");
        }
        assert_eq!(status == 405, answer.head.contains("allow: "), "{answer:?}");
    }
    let suggestion = api.ask("GET /v1/vassals/a%20b%25").json()["suggestion"].clone();
    assert_eq!(suggestion, "did you mean \"a b%.ini\"?");
    let suggestion = api.ask("GET /v1/vassals/other.ini").json()["suggestion"].clone();
    assert!(suggestion.as_str().unwrap().contains("shadowed"));
}

#[test]
fn bodies_are_small_and_say_nothing_unknown() {
    let api = Api::start();
    let post = |kind: &str, body: &str| {
        let request = format!(
            "POST /v1/vassals/a%20b%25.ini/reload HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        converse(api.unix(), request.as_bytes())
    };
    for (kind, body, status) in [
        ("application/json", "{}".to_owned(), 202),
        ("text/plain", "{}".to_owned(), 415),
        ("application/json", "{\"force\":true}".to_owned(), 400),
        ("application/json", "[]".to_owned(), 400),
        ("application/json", "[".repeat(100_000), 400),
        ("application/json", "\u{0}".to_owned(), 400),
        ("application/json", " ".repeat(BODY_LIMIT_BYTES + 1), 413),
    ] {
        assert_eq!(post(kind, &body).status, status, "{kind} {} bytes", body.len());
    }
}

#[test]
fn who_is_refused_before_sending_a_body_sees_why() {
    let api = Api::start();
    let mut stream = api.unix();
    let head =
        "POST /v1/upgrade HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // An answer that does not wait for the body would come now, and the connection end.
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut early = [0; 4096];
    let early = stream.read(&mut early).map_or("", |count| std::str::from_utf8(&early[..count]).unwrap());
    stream.write_all(b"{}").unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = b"GET /v1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(next).unwrap();
    let mut answers = early.to_owned();
    stream.read_to_string(&mut answers).unwrap();
    assert!(answers.starts_with("HTTP/1.1 415 ") && answers.contains("HTTP/1.1 200 "), "{answers}");
}

#[test]
fn over_tcp_only_the_token_acts() {
    let api = Api::start();
    let post = |address, more: &str| {
        let request = format!(
            "POST /v1/vassals/a%20b%25.ini/reload HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/json\r\ncontent-length: 0\r\nconnection: close\r\n{more}\r\n"
        );
        api.tcp(address, &request).status
    };
    let token = format!("authorization: Bearer {TOKEN}\r\n");
    assert_eq!(post(api.open, ""), 403);
    assert_eq!(post(api.open, &token), 403);
    assert_eq!(post(api.guarded, ""), 401);
    assert_eq!(post(api.guarded, "authorization: Bearer something-else-entirely\r\n"), 401);
    assert_eq!(post(api.guarded, &format!("{token}origin: http://evil.example\r\n")), 403);
    assert_eq!(post(api.guarded, &token), 202);
    let bare = "POST /v1/upgrade HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(api.tcp(api.open, bare).code(), "read-only");
    assert_eq!(api.tcp(api.guarded, bare).code(), "unauthorized");
    let foreign = "GET /v1 HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
    assert_eq!(api.tcp(api.open, foreign).status, 421);
}

const BODY_WITHOUT_END: &[u8] = b"POST /v1/upgrade HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
    content-length: 1000\r\n\r\n{";

/// Sends nothing, or half a request, or reads nothing.
fn nuisances(socket: &Path, count: usize) -> Vec<UnixStream> {
    (0..count)
        .map(|n| {
            let mut stream = UnixStream::connect(socket).unwrap();
            match n % 4 {
                0 => {}
                1 => stream.write_all(b"GET /v1 HTTP/1.1\r\nho").unwrap(),
                2 => stream.write_all(BODY_WITHOUT_END).unwrap(),
                _ => stream.write_all("GET /v1 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20).as_bytes()).unwrap(),
            }
            stream
        })
        .collect()
}

#[test]
fn clients_that_hang_delay_nobody() {
    let api = Api::start();
    let hanging = nuisances(&api.socket(), CONNECTIONS * 3);
    let start = Instant::now();
    assert_eq!(api.ask("GET /v1/vassals").status, 200);
    // Well below the limits that they are cut off at.
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    drop(hanging);
}

#[test]
fn one_who_waits_is_not_sent_away_by_those_who_hang() {
    let api = Api::start();
    assert_eq!(api.ask("POST /v1/vassals/a%20b%25.ini/reload").status, 202);
    let mut waiting = api.unix();
    waiting
        .write_all(b"GET /v1/operations/7?wait=20 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let hanging = nuisances(&api.socket(), CONNECTIONS * 2);
    let answer = converse(waiting, b"");
    assert_eq!(answer.json()["outcome"], "rolled-back");
    drop(hanging);
}
