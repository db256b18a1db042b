//! FastCGI and SCGI as a front end speaks them, byte by byte: kept connections, reloads, what is refused.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::apps::TOOLS;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::{environment, free_port};

const BEGIN: u8 = 1;
const ABORT: u8 = 2;
const END: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// An instance with a door of HTTP, for looking, and one for front ends.
fn start(option: &str, lines: &str) -> (Family, Door, u16, Folder) {
    let folder = Folder::new();
    let (http, port) = (free_port(), free_port());
    folder.write("app.py", TOOLS);
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{http}\n{option} = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{lines}\n"
        ),
    );
    let family = liege(&folder, &["--ini", "app.ini"]);
    let door = Door::Port(http);
    door.wait_for("/", "hello");
    (family, door, port, folder)
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind, 0, 1, high, low, 5, 0], content, b"nopad"].concat()
}

/// The records of a request until its body.
fn request(method: &str, path: &str, length: Option<usize>, keeps: bool) -> Vec<u8> {
    let length = length.map_or_else(String::new, |length| length.to_string());
    let mut params = Vec::new();
    for (name, value) in
        [("REQUEST_METHOD", method), ("PATH_INFO", path), ("QUERY_STRING", ""), ("CONTENT_LENGTH", &length)]
    {
        params.extend([u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap()]);
        params.extend([name.as_bytes(), value.as_bytes()].concat());
    }
    [
        record(BEGIN, &[0, 1, u8::from(keeps), 0, 0, 0, 0, 0]),
        record(PARAMS, &params[..7]),
        record(PARAMS, &params[7..]),
        record(PARAMS, b""),
    ]
    .concat()
}

/// One answer; `Err` with what came of it when the connection ends before its end.
fn answer(stream: &mut TcpStream) -> Result<String, String> {
    let mut text = Vec::new();
    loop {
        let mut head = [0; 8];
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        if stream.read_exact(&mut head).is_err() {
            return Err(shown(&text));
        }
        let mut content = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) + usize::from(head[6])];
        stream.read_exact(&mut content).map_err(|_| shown(&text))?;
        assert_eq!((head[0], head[2], head[3]), (1, 0, 1));
        match head[1] {
            STDOUT => text.extend(content),
            END => return Ok(shown(&text)),
            other => panic!("record {other}"),
        }
    }
}

/// In a process of one thread, of several, and in greenlets where they can be had.
fn engines() -> impl Iterator<Item = String> {
    let greenlets =
        environment("gevent").map(|place| format!("gevent = 5\nvirtualenv = {}", place.display()));
    ["", "threads = 3"].map(str::to_owned).into_iter().chain(greenlets)
}

#[test]
fn a_kept_connection_serves_one_request_after_the_other() {
    for lines in engines() {
        let (_family, door, port, _folder) = start("fastcgi-socket", &lines);
        let mut stream = connect(port);
        for number in 0..20 {
            stream.write_all(&request("GET", "/", None, true)).unwrap();
            stream.write_all(&record(STDIN, b"")).unwrap();
            let text = answer(&mut stream).unwrap();
            assert!(
                text.starts_with("Status: 200 OK\r\n") && text.ends_with("\r\n\r\nhello"),
                "{number} {text}"
            );
        }
        // Bodies: short, long, of a length that nobody said, and one that is not read.
        let long = vec![b'x'; 50_000];
        for (path, length, parts) in [
            ("/echo", Some(4), vec![&b"body"[..]]),
            ("/echo", Some(150_000), vec![&long, &long, &long]),
            ("/echo", None, vec![&b"bo"[..], b"dy"]),
            ("/echo", None, vec![&long, &long, &long]),
            ("/", Some(150_000), vec![&long, &long, &long]),
        ] {
            let total: Vec<u8> = parts.concat();
            stream.write_all(&request("POST", path, length, true)).unwrap();
            for part in parts {
                stream.write_all(&record(STDIN, part)).unwrap();
            }
            stream.write_all(&record(STDIN, b"")).unwrap();
            let text = answer(&mut stream).unwrap();
            let body = if path == "/" { "hello" } else { std::str::from_utf8(&total).unwrap() };
            assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{path} {length:?}: {}", text.len());
        }
        stream.write_all(&request("HEAD", "/", None, true)).unwrap();
        stream.write_all(&record(STDIN, b"")).unwrap();
        assert!(answer(&mut stream).unwrap().ends_with("Content-Length: 5\r\n\r\n"));
        // The second one comes before the first is answered.
        let both = [request("GET", "/", None, true), record(STDIN, b"")].concat().repeat(2);
        stream.write_all(&both).unwrap();
        assert!(answer(&mut stream).unwrap().ends_with("hello"));
        assert!(answer(&mut stream).unwrap().ends_with("hello"));
        // Without the flag it ends with the answer.
        stream.write_all(&request("GET", "/stream", None, false)).unwrap();
        stream.write_all(&record(STDIN, b"")).unwrap();
        assert!(answer(&mut stream).unwrap().ends_with("part 0\npart 1\npart 2\n"));
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        assert_eq!(door.get("/").unwrap().text(), "hello");
    }
}

#[test]
fn a_kept_connection_survives_a_reload() {
    for lines in engines() {
        let (family, door, port, _folder) = start("fastcgi-socket", &format!("processes = 2\n{lines}"));
        let mut stream = connect(port);
        let mut ask = |path: &str| {
            stream.write_all(&request("GET", path, None, true)).unwrap();
            stream.write_all(&record(STDIN, b"")).unwrap();
            answer(&mut stream).unwrap().rsplit("\r\n\r\n").next().unwrap().to_owned()
        };
        let before = ask("/pid");
        family.signal(Signal::SIGHUP);
        // Whoever answers next by HTTP is not of the generation before for long.
        crate::support::wait::until("other workers", || {
            let pid = ask("/pid");
            pid != before && door.get("/pid").unwrap().text() != before
        });
    }
}

#[test]
fn a_stop_finishes_the_request_and_ends_kept_connections() {
    for lines in engines() {
        let (mut family, door, port, _folder) = start("fastcgi-socket", &format!("processes = 2\n{lines}"));
        let (mut idle, mut running) = (connect(port), connect(port));
        idle.write_all(&[request("GET", "/", None, true), record(STDIN, b"")].concat()).unwrap();
        assert!(answer(&mut idle).unwrap().ends_with("hello"));
        running.write_all(&[request("POST", "/echo", Some(4), true), record(STDIN, b"bo")].concat()).unwrap();
        assert_eq!(door.get("/").unwrap().text(), "hello");
        family.signal(Signal::SIGTERM);
        running.write_all(&[record(STDIN, b"dy"), record(STDIN, b"")].concat()).unwrap();
        assert!(answer(&mut running).unwrap().ends_with("body"));
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        assert_eq!(family.wait().code(), Some(0));
    }
}

#[test]
fn what_is_no_request_is_refused_or_broken_off() {
    // It takes its time.
    for lines in engines().filter(|lines| !lines.contains("threads")) {
        let (_family, door, port, _folder) = start("fastcgi-socket", &format!("socket-timeout = 2\n{lines}"));
        let ends = |bytes: &[u8]| {
            let mut stream = connect(port);
            stream.write_all(bytes).unwrap();
            answer(&mut stream)
        };
        assert_eq!(ends(b"GET / HTTP/1.1\r\n\r\n"), Err(String::new()));
        assert!(ends(&request("", "/", None, true)).unwrap().starts_with("Status: 400 "));
        assert_eq!(ends(&[request("GET", "/", None, false), record(ABORT, b"")].concat()), Ok(String::new()));
        assert_eq!(ends(&request("GET", "/", None, false)), Err(String::new()), "it stays incomplete");
        // The application waits for the body that its front end gives up.
        let long = record(STDIN, &[b'x'; 60_000]);
        let given_up =
            [request("POST", "/echo", Some(900_000), true), long.clone(), long, record(ABORT, b"")].concat();
        assert!(ends(&given_up).unwrap().starts_with("Status: 500 "));
        let short =
            [request("POST", "/echo", Some(9), true), record(STDIN, b"short"), record(STDIN, b"")].concat();
        assert!(ends(&short).unwrap().starts_with("Status: 500 "));
        // What it asks before its first request.
        let mut stream = connect(port);
        let mut values = record(9, b"\x0f\x00FCGI_MPXS_CONNS");
        values[3] = 0;
        stream.write_all(&values).unwrap();
        let mut told = [0; 26];
        stream.read_exact(&mut told).unwrap();
        assert_eq!(told[8..], *b"\x0f\x01FCGI_MPXS_CONNS0");
        stream.write_all(&[request("GET", "/", None, false), record(STDIN, b"")].concat()).unwrap();
        assert!(answer(&mut stream).unwrap().ends_with("hello"));
        assert_eq!(door.get("/").unwrap().text(), "hello");
    }
}

#[test]
fn scgi_is_a_netstring_and_a_body() {
    for lines in engines() {
        let (_family, _door, port, _folder) = start("scgi-socket", &lines);
        let ask = |method: &str, path: &str, length: usize, body: &[u8]| {
            let pairs =
                format!("CONTENT_LENGTH\0{length}\0SCGI\x001\0REQUEST_METHOD\0{method}\0PATH_INFO\0{path}\0");
            let mut stream = connect(port);
            stream.write_all(format!("{}:{pairs},", pairs.len()).as_bytes()).unwrap();
            stream.write_all(body).unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).unwrap();
            text
        };
        let text = ask("GET", "/", 0, b"");
        assert!(text.starts_with("Status: 200 OK\r\n") && text.ends_with("\r\n\r\nhello"), "{text}");
        assert!(ask("POST", "/echo", 4, b"body").ends_with("\r\n\r\nbody"));
        let long = "x".repeat(300_000);
        assert!(ask("POST", "/echo", long.len(), long.as_bytes()).ends_with(&long));
        assert!(ask("HEAD", "/", 0, b"").ends_with("Content-Length: 5\r\n\r\n"));
        assert!(ask("", "/", 0, b"").starts_with("Status: 400 "));
        assert!(ask("GET", "/raise", 0, b"").starts_with("Status: 500 "));
    }
}
