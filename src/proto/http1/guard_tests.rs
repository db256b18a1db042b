//! The guard under hyper, over real sockets.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Guard, server_builder};
use crate::proto::limits::Limits;

const DEADLINE: Duration = Duration::from_secs(10);

/// Short enough for a test to wait for, long enough for a slow machine not to meet by accident.
fn limits() -> Limits {
    Limits {
        head_time: Duration::from_millis(400),
        body_idle: Duration::from_millis(400),
        keep_alive_idle: Duration::from_millis(400),
        write_stall: Duration::from_millis(400),
        ..Limits::default()
    }
}

/// Serves one connection: `/close` closes, `/early` answers without reading, `/big` is long, others echo the body or
/// answer with the status of the refusal that broke it.
async fn serve(listener: TcpListener, limits: Limits) -> bool {
    let (stream, _) = listener.accept().await.unwrap();
    let guard = Guard::new(stream, limits);
    let watch = guard.watch();
    let service = service_fn(move |request: Request<Incoming>| {
        let watch = watch.clone();
        async move {
            let path = request.uri().path().to_owned();
            let response = match path.as_str() {
                "/early" => Response::new(Full::<Bytes>::from("early")),
                "/big" => Response::new(Full::from(vec![b'x'; 30_000_000])),
                _ => match request.into_body().collect().await {
                    Ok(body) => {
                        Response::new(Full::from(Bytes::from([path.as_bytes(), &body.to_bytes()].concat())))
                    }
                    Err(_) => {
                        let status = watch.refusal().map_or(599, |refusal| refusal.status);
                        Response::builder().status(status).body(Full::from("")).unwrap()
                    }
                },
            };
            let (mut parts, body) = response.into_parts();
            if path == "/close" {
                parts.headers.insert("connection", http::HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(Response::from_parts(parts, body))
        }
    });
    server_builder(&limits).serve_connection(TokioIo::new(guard), service).await.is_ok()
}

/// Sends the pieces with pauses, gives all that comes back until the server closes, and whether it ended in a reset.
async fn exchange(pieces: &[&[u8]], half_close: bool) -> (String, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let talk = async {
        for (n, piece) in pieces.iter().enumerate() {
            if n > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            client.write_all(piece).await.unwrap();
        }
        if half_close {
            client.shutdown().await.unwrap();
        }
        let mut answer = Vec::new();
        let end = client.read_to_end(&mut answer).await;
        drop(client);
        (answer, end.is_err())
    };
    let ((answer, reset), _) =
        timeout(DEADLINE, async { tokio::join!(talk, serve(listener, limits())) }).await.unwrap();
    (String::from_utf8(answer).unwrap(), reset)
}

/// The statuses and bodies of the answers in `text`.
fn answers(text: &str) -> Vec<String> {
    let mut rest = text;
    let mut all = Vec::new();
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let status = head.split(' ').nth(1).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("Content-Length: "))
            .map_or(0, |n| n.parse().unwrap());
        all.push(format!("{status} {}", &after[..length]));
        rest = &after[length..];
    }
    assert_eq!(rest, "");
    all
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const LAST: &str = "GET /z HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const CHUNKED: &str = "POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

#[tokio::test]
async fn every_request_gets_one_answer_and_every_mistake_ends_it() {
    let rows: &[(&str, String, &[&str])] = &[
        ("one", LAST.into(), &["200 /z"]),
        ("pipelined", [GET, GET, LAST].concat(), &["200 /a", "200 /a", "200 /z"]),
        ("mistake", "GET / HTTP/1.1\r\n\r\n".into(), &["400 Bad Request"]),
        (
            "mistake after good ones",
            [GET, GET, "GET  / HTTP/1.1\r\n", GET].concat(),
            &["200 /a", "200 /a", "400 Bad Request"],
        ),
        ("garbage after the last", [LAST, "garbage\n"].concat(), &["200 /z"]),
        (
            "garbage after a close of the response",
            ["GET /close HTTP/1.1\r\nHost: x\r\n\r\n", "garbage\n"].concat(),
            &["200 /close"],
        ),
        ("only hyper objects", "GET /< HTTP/1.1\r\nHost: x\r\n\r\n".into(), &["400 "]),
        (
            "an upgrade is ignored",
            ["GET /u HTTP/1.1\r\nHost: x\r\nConnection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n\r\n", LAST].concat(),
            &["200 /u", "200 /z"],
        ),
        (
            "HTTP/1.0 kept alive",
            "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\nGET /c HTTP/1.0\r\n\r\n".into(),
            &["200 /a", "200 /b"],
        ),
        ("empty lines at the end", [GET, "\r\n\r\n"].concat(), &["200 /a"]),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), &["505 HTTP Version Not Supported"]),
        ("chunked", [CHUNKED, "3\r\nabc\r\n0\r\n\r\n", LAST].concat(), &["200 /cabc", "200 /z"]),
        ("malformed chunk", [CHUNKED, "3\r\nabcd\r\n0\r\n\r\n", LAST].concat(), &["400 "]),
        (
            "unread body",
            ["POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", LAST].concat(),
            &["200 early", "200 /z"],
        ),
        (
            "unread malformed body",
            ["POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "x", LAST].concat(),
            &["200 early"],
        ),
        (
            "long head",
            format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}", "a".repeat(20_000)),
            &["431 Request Header Fields Too Large"],
        ),
        ("HEAD", ["HEAD /early HTTP/1.1\r\nHost: x\r\n\r\n"].concat(), &[]),
    ];
    for (name, request, expected) in rows {
        let bytes = request.as_bytes();
        let (first, second) = bytes.split_at(bytes.len() / 3);
        for pieces in [&[bytes][..], &[first, second]] {
            let (text, reset) = exchange(pieces, false).await;
            assert!(!reset, "{name}: the client saw a reset");
            if expected.is_empty() {
                assert!(text.ends_with("\r\n\r\n") && text.contains("Content-Length: 5\r\n"), "{text}");
            } else {
                assert_eq!(answers(&text), *expected, "{name} in {} pieces", pieces.len());
            }
        }
    }
}

#[tokio::test]
async fn a_half_closed_client_gets_its_answers() {
    assert_eq!(answers(&exchange(&[GET.as_bytes()], true).await.0), ["200 /a"]);
    let cut = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc";
    assert_eq!(answers(&exchange(&[cut.as_bytes()], true).await.0), ["599 "], "a cut body is never complete");
    assert_eq!(answers(&exchange(&[b"GET / HTTP/1.1\r\n"], true).await.0), ["400 Bad Request"]);
    assert_eq!(exchange(&[], true).await.0, "");
}

#[tokio::test]
async fn silence_has_its_limits() {
    let rows: [(&[&[u8]], &[&str]); 5] = [
        (&[], &[]),
        (&[b"GET / HT"], &["408 Request Timeout"]),
        (&[GET.as_bytes()], &["200 /a"]),
        (&[GET.as_bytes(), b"GET"], &["200 /a", "408 Request Timeout"]),
        (&[CHUNKED.as_bytes(), b"3\r\nab"], &["408 "]),
    ];
    for (pieces, expected) in rows {
        let (text, reset) = exchange(pieces, false).await;
        assert_eq!(answers(&text), expected, "{pieces:?}");
        assert!(!reset);
    }
}

#[tokio::test]
async fn bytes_now_and_then_do_not_prolong_a_head() {
    let dribble: Vec<&[u8]> = b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".chunks(1).collect();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let talk = async {
        for piece in dribble {
            if client.write_all(piece).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let (answer, _) =
        timeout(DEADLINE, async { tokio::join!(talk, serve(listener, limits())) }).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", answer.escape_ascii());
}

#[tokio::test]
async fn a_client_that_does_not_read_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(!timeout(DEADLINE, serve(listener, limits())).await.unwrap());
}

#[tokio::test]
async fn an_early_answer_to_a_long_upload_arrives() {
    let body = vec![b'x'; 600_000];
    let head = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 600001\r\n\r\n";
    let (text, reset) = exchange(&[head, &body], false).await;
    assert_eq!(answers(&text), ["200 early"]);
    assert!(!reset);
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_the_body_is_read() {
    let post = |path: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    };
    let (text, _) = exchange(&[post("/e").as_bytes(), b"hi", LAST.as_bytes()], false).await;
    assert_eq!(answers(&text), ["100 ", "200 /ehi", "200 /z"]);
    // Without a 100, what comes is the body or nothing.
    let (text, _) = exchange(&[post("/early").as_bytes(), LAST.as_bytes()], false).await;
    assert_eq!(answers(&text), ["200 early"]);
}
