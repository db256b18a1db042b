//! The rules of PEP 3333 as rows of requests and what must come back, over HTTP and over the uwsgi protocol.

use super::master::{Master, Worker, greenlets, interpreters, with_gevent};

const APP: &str = include_str!("rules.py");

/// What a response must be.
enum Answer {
    /// This status with exactly this body.
    Is(u16, &'static str),
    /// Our own page for a failed application, and this text in the log.
    Failed(&'static str),
    /// This body with status 200, and this text in the log.
    Told(&'static str, &'static str),
    /// A response that begins with this body, and visibly breaks, with this text in the log.
    Broken(&'static str, &'static str),
}
use Answer::{Broken, Failed, Is, Told};

const ROWS: &[(&str, Answer)] = &[
    ("/list", Is(200, "listed")),
    ("/bytes", Is(200, "whole")),
    ("/empty", Is(200, "")),
    ("/generator", Is(200, "one two")),
    ("/late_start", Is(404, "changed")),
    ("/writer", Is(200, "written twice and returned")),
    ("/kept_write", Is(200, "refused: write of a request that is over")),
    ("/kept_input", Is(200, "kept")),
    ("/kept_input", Is(200, "refused: wsgi.input of a request that is over")),
    ("/twice", Is(200, "raised")),
    ("/exc_info_before", Is(503, "replaced")),
    ("/exc_info_after", Broken("output", "KeyError: 'the original'")),
    ("/never_started", Failed("start_response was not called")),
    ("/returns_none", Failed("TypeError")),
    ("/status_int", Failed("status must be str, not int")),
    ("/status_split", Failed("status is not three digits")),
    ("/name_split", Failed("header name is not a token")),
    ("/value_split", Failed("header value has control characters")),
    (
        "/value_long",
        Failed(
            "control characters: ('X', '1\\néééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééééé…\n",
        ),
    ),
    ("/value_nul", Failed("header value has control characters")),
    ("/value_bytes", Failed("header value must be str, not bytes")),
    ("/value_unicode", Failed("header value is not Latin-1")),
    ("/value_surrogate", Failed("header value is not Latin-1")),
    ("/headers_tuple", Failed("headers must be a list")),
    ("/header_of_three", Failed("a header must be a tuple of two str")),
    ("/hop_by_hop", Is(200, "body")),
    ("/says_close", Is(200, "body")),
    ("/raises", Failed("RuntimeError: a secret")),
    ("/system_exit", Failed("SystemExit: 3")),
    ("/keyboard_interrupt", Failed("KeyboardInterrupt")),
    ("/generator_exit", Failed("GeneratorExit")),
    ("/memory_error", Failed("MemoryError")),
    ("/unprintable", Failed("Unprintable")),
    ("/recursion", Failed("RecursionError")),
    ("/raises_late", Broken("begun", "RuntimeError: the middle of it")),
    ("/raises_first", Failed("RuntimeError: before output")),
    ("/closed", Is(200, "late,first")),
    ("/str_item", Failed("the response must consist of bytes, not str")),
    ("/none_item", Failed("the response must consist of bytes, not NoneType")),
    ("/long_length", Is(200, "ab")),
    ("/short_length", Broken("abc", "")),
    ("/odd_length", Failed("Content-Length is not one plain number")),
    ("/endless", Is(200, "ababa")),
    ("/endless_file", Is(200, "\0\0")),
    ("/204", Is(204, "")),
    ("/304", Is(304, "")),
    ("/counted", Is(200, "ab")),
    ("/closed", Is(200, "items,items,length,length,endless,204 No Content,304 Not Modified,items")),
    ("/closing_fails", Told("sent", "RuntimeError: close failed")),
    ("/errors", Is(200, "logged")),
];

#[test]
fn applications_keep_the_rules_or_get_a_500() {
    let threads = interpreters().into_iter().map(|python| (python, 0));
    for (python, number) in threads.chain(with_gevent().map(|python| (python, 2))) {
        let (master, worker) = Master::with_worker(&python, APP, |spec| greenlets(spec, number));
        for (target, answer) in ROWS {
            check(&master, target, answer, &Seen::of_http(&master.get(target)));
        }
        for (target, answer) in ROWS {
            // What was kept over HTTP is there already.
            if *target == "/kept_input" {
                continue;
            }
            check(&master, target, answer, &Seen::of_packet(&get_packet(&master, target), answer));
        }
        for text in ["to errors \\udc80\n", "several lines\n", "to stdout\n"] {
            master.wait_log(text);
        }
        end(worker);
    }
}

#[test]
fn a_head_gets_the_fields_and_no_body() {
    let (master, worker) = Master::with_worker(&super::master::interpreter(), APP, |_| {});
    for (target, field) in
        [("/list", "content-length: 6"), ("/long_length", "content-length: 2"), ("/generator", "")]
    {
        let answer =
            master.http(format!("HEAD {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.to_ascii_lowercase().contains(field), "{target}: {head}");
        assert_eq!(body, "", "{target}");
        let answer = master.uwsgi(&[("REQUEST_METHOD", "HEAD"), ("PATH_INFO", target)], b"");
        assert!(answer.ends_with("\r\n\r\n"), "{target}: {answer}");
    }
    end(worker);
}

#[test]
fn bodies_are_read_in_every_way() {
    let (master, worker) = Master::with_worker(&super::master::interpreter(), APP, |_| {});
    let end_of_body = " then [b'', b'', b'']";
    for (how, parts) in [
        ("all", "ab\ncd\ne"),
        ("size", "ab\n|cd\n|e"),
        ("negative", "ab\ncd\ne"),
        ("none", "ab\ncd\ne"),
        ("line", "ab\n|cd\n|e"),
        ("line_size", "ab|\n|cd|\n|e"),
        ("lines", "ab\n|cd\n|e"),
        ("hint", "ab\n|cd\ne"),
        ("iterate", "ab\n|cd\n|e"),
    ] {
        let expected = format!("{parts}{end_of_body}");
        let head = format!("POST /echo?{how} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        let sized = master.http(format!("{head}Content-Length: 7\r\n\r\nab\ncd\ne").as_bytes());
        assert_eq!(Seen::of_http(&sized).body, expected, "{how}");
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n4\r\nab\nc\r\n3\r\nd\ne\r\n0\r\n\r\n");
        assert_eq!(Seen::of_http(&master.http(chunked.as_bytes())).body, expected, "{how}, chunked");
        let variables = [
            ("REQUEST_METHOD", "POST"),
            ("PATH_INFO", "/echo"),
            ("QUERY_STRING", how),
            ("CONTENT_LENGTH", "7"),
        ];
        let packet = master.uwsgi(&variables, b"ab\ncd\ne and what is too much");
        assert!(packet.ends_with(&format!("\r\n\r\n{expected}")), "{how}: {packet}");
    }
    end(worker);
}

#[test]
fn files_are_sent_from_where_they_stand_and_closed() {
    let (master, worker) = Master::with_worker(&super::master::interpreter(), APP, |_| {});
    for kind in ["disk", "raw", "memory", "temporary"] {
        for (options, expected) in [("", APP), ("&seek", &APP[2..]), ("&length", &APP[..10])] {
            let target = format!("/file?{kind}{options}");
            assert_eq!(Seen::of_http(&master.get(&target)).body, expected, "{target}");
            assert_eq!(Seen::of_http(&master.get("/file_is_closed")).body, "True", "{target}");
            let variables = [
                ("REQUEST_METHOD", "GET"),
                ("PATH_INFO", "/file"),
                ("QUERY_STRING", target.trim_start_matches("/file?")),
            ];
            let packet = master.uwsgi(&variables, b"");
            assert_eq!(packet.split_once("\r\n\r\n").unwrap().1, expected, "{target}");
        }
    }
    end(worker);
}

#[test]
fn the_environ_tells_the_truth() {
    let (master, worker) = Master::with_worker(&super::master::interpreter(), APP, |spec| {
        spec["workers"]["processes"] = 2.into();
    });
    let answer = master.http(
        b"GET /%65nviron?a=%20 HTTP/1.1\r\nHost: x\r\nCookie: a\r\nCookie: b\r\nX-A: 1\r\nX-A: 2\r\nX_B: evil\r\n\
          Proxy: evil\r\nX-L: \xfc\r\nConnection: close\r\n\r\n",
    );
    let body = Seen::of_http(&answer).body;
    for line in [
        "HTTP_COOKIE='a; b'",
        "HTTP_X_A='1,2'",
        "HTTP_X_L='\u{fc}'",
        "PATH_INFO='/environ'",
        "QUERY_STRING='a=%20'",
        "REQUEST_URI='/%65nviron?a=%20'",
        "REMOTE_ADDR='127.0.0.1'",
        "SCRIPT_NAME=''",
        "SERVER_PROTOCOL='HTTP/1.1'",
        &format!("SERVER_PORT='{}'", master.http.port()),
        "wsgi.version=(1, 0)",
        "wsgi.url_scheme='http'",
        "wsgi.multithread=False",
        "wsgi.multiprocess=True",
        "wsgi.run_once=False",
        "uwsgi.version=b'2.0.31'",
    ] {
        assert!(body.lines().any(|shown| shown == line), "{line} in\n{body}");
    }
    assert!(!body.contains("evil"), "{body}");
    let variables =
        [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/environ"), ("HTTPS", "on"), ("wsgi.input", "evil")];
    let answer = master.uwsgi(&variables, b"");
    assert!(answer.contains("\nwsgi.url_scheme='https'\n") && !answer.contains("evil"), "{answer}");
    end(worker);
}

/// A response as a client sees it.
struct Seen {
    status: u16,
    body: String,
    is_whole: bool,
}

impl Seen {
    fn of_http(answer: &str) -> Self {
        let (status, head, body) = split(answer);
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        if head.contains("transfer-encoding: chunked") {
            assert!(length.is_none(), "{head}");
            return Self { status, body: unchunk(body), is_whole: body.ends_with("0\r\n\r\n") };
        }
        let length: Option<usize> = length.map(|length| length.parse().unwrap());
        Self { status, body: body.to_owned(), is_whole: length.is_none_or(|length| length == body.len()) }
    }

    /// The protocol has no framing: a break shows only where a length was announced.
    fn of_packet(answer: &str, expected: &Answer) -> Self {
        let seen = Self::of_http(answer);
        Self { is_whole: seen.is_whole && !matches!(expected, Broken(..)), ..seen }
    }

    fn assert_is(&self, status: u16, body: &str, context: impl Fn() -> String) {
        assert_eq!((self.status, self.body.as_str(), self.is_whole), (status, body, true), "{}", context());
    }
}

fn check(master: &Master, target: &str, expected: &Answer, seen: &Seen) {
    let context = || format!("{target}: {} {:?}\n{}", seen.status, seen.body, master.log());
    match expected {
        Is(status, body) => seen.assert_is(*status, body, context),
        Told(body, text) => {
            seen.assert_is(200, body, context);
            master.wait_log(text);
        }
        Failed(text) => {
            assert_eq!((seen.status, seen.body.as_str()), (500, "Internal Server Error"), "{}", context());
            master.wait_log(text);
        }
        Broken(body, text) => {
            assert_eq!((seen.body.as_str(), seen.is_whole), (*body, false), "{}", context());
            master.wait_log(text);
        }
    }
}

fn get_packet(master: &Master, target: &str) -> String {
    master.uwsgi(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", target)], b"")
}

fn split(answer: &str) -> (u16, &str, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no response: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, body)
}

fn unchunk(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        body.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    body
}

fn end(worker: Worker) {
    worker.drain();
    assert!(worker.wait().is_success());
}
