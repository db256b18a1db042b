//! What a request and its response may cost, as options of a file say.

use crate::support::http::{Answer, Door};
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::until;
use crate::support::{free_port, uwsgi};

/// `/head`: a header as long as the query says; `/buffers`; `/write`: until it is told that the client is gone, and `/big`:
/// more than any socket holds. Anything else: how long the body is.
const APP: &str = "
import sys
def application(environ, start_response):
    path, query = environ['PATH_INFO'], environ['QUERY_STRING']
    if path == '/head':
        start_response('200 OK', [('X-Long', 'x' * int(query))])
        return [b'long']
    if path == '/buffers':
        start_response('200 OK', [])
        return [bytearray(b'a'), memoryview(b'b'), b'c']
    if path == '/write':
        write, count = start_response('200 OK', []), 0
        try:
            while True:
                write(b'x' * 65536)
                count += 1
        except OSError as error:
            print('told after', count, 'of', error, file=sys.stderr)
        return []
    if path == '/big':
        start_response('200 OK', [])
        return [b'x' * (64 << 20)]
    length = len(environ['wsgi.input'].read())
    start_response('200 OK', [])
    return [str(length).encode()]
";

/// An instance with a door for each protocol: `http-socket`, `http`, `socket`.
fn start(lines: &str) -> (Family, [Door; 2], Door, Folder) {
    let (folder, ports) = (Folder::new(), [free_port(), free_port()]);
    folder.write("app.py", APP);
    let [own, routed] = ports;
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{own}\nhttp = 127.0.0.1:{routed}\nsocket = %da.sock\n\
             wsgi-file = %dapp.py\n{lines}\n"
        ),
    );
    let family = liege(&folder, &["app.ini"]);
    let doors = ports.map(Door::Port);
    doors.iter().for_each(|door| door.wait_for("/", "0"));
    let socket = Door::Unix(folder.path().join("a.sock"));
    (family, doors, socket, folder)
}

/// A request by the uwsgi protocol.
fn ask(socket: &Door, path: &str, query: &str, body: &[u8]) -> String {
    let length = body.len().to_string();
    let mut variables = uwsgi::get(path);
    variables.retain(|(name, _)| *name != "QUERY_STRING");
    variables.extend([("QUERY_STRING", query), ("CONTENT_LENGTH", length.as_str())]);
    uwsgi::ask(socket, &variables, body).unwrap()
}

fn post_chunks(door: &Door, chunks: &str) -> Answer {
    let mut connection = door.connect().unwrap();
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(format!("{head}{chunks}").as_bytes()).unwrap();
    connection.answer(false).unwrap()
}

#[test]
fn the_head_of_a_response_is_as_long_as_the_limit_says() {
    let (family, doors, socket, _folder) = start("response-headers-limit = 150000");
    for door in &doors {
        let answer = door.get("/head?100000").unwrap();
        assert_eq!((answer.status, answer.header("x-long").map(str::len)), (200, Some(100_000)), "{door:?}");
        assert_eq!(door.get("/head?150000").unwrap().status, 500, "{door:?}");
    }
    let answer = ask(&socket, "/head", "100000", b"");
    assert!(answer.len() > 100_000 && answer.ends_with("long"));
    family.wait_for_log("ValueError");
    drop(family);
    let (_family, doors, _socket, _folder) = start("");
    assert_eq!(doors[0].get("/head?70000").unwrap().status, 500);
}

#[test]
fn chunks_have_their_length_and_their_time() {
    let (_family, doors, _socket, _folder) = start("chunked-input-limit = 10\nchunked-input-timeout = 1");
    for door in &doors {
        assert_eq!(post_chunks(door, "a\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n").text(), "20");
        assert_eq!(post_chunks(door, "b\r\n01234567890\r\n0\r\n\r\n").status, 413, "{door:?}");
        // Without the option it would be longer than the client waits.
        assert_eq!(post_chunks(door, "a\r\n01234").status, 408, "{door:?}");
    }
}

#[test]
fn who_reads_much_of_a_body_at_once_is_warned_of() {
    let (family, doors, socket, _folder) = start("body-read-warning = 1\nthreads = 2");
    let body = vec![b'x'; 3 << 20];
    let post = |door: &Door| door.connect().unwrap().ask("POST", "/", &["Connection: close"], &body);
    assert_eq!(doors[0].get("/").unwrap().text(), "0");
    assert!(!family.log().contains("[uwsgi-warning]"), "{}", family.log());
    for door in &doors {
        assert_eq!(post(door).unwrap().text(), (3 << 20).to_string());
    }
    assert!(ask(&socket, "/", "", &body).ends_with("3145728"));
    until("three warnings", || {
        family.log().matches("you are using read() on request body allocating over than 3 MB").count() == 3
    });
}

#[test]
fn an_application_is_told_of_a_client_that_is_gone_after_as_many_writes_as_it_says() {
    for (lines, least) in [("", 0), ("write-errors-tolerance = 100000", 100_000)] {
        let (family, doors, _socket, _folder) = start(lines);
        for door in &doors {
            let mut connection = door.connect().unwrap();
            connection.send(b"GET /write HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            // It began.
            let _ = connection.line().unwrap();
        }
        until("both are told", || family.log().matches("told after").count() == 2);
        for told in family.log().lines().filter(|line| line.contains("told after")) {
            let count: u64 =
                told.split("told after ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
            assert!(count >= least, "{told}");
        }
    }
}

#[test]
fn items_with_bytes_are_taken_where_that_is_allowed() {
    let (_family, doors, _socket, _folder) = start("wsgi-accept-buffers = true");
    assert!(doors.iter().all(|door| door.get("/buffers").unwrap().text() == "abc"));
    let (family, doors, _socket, _folder) = start("");
    assert_eq!(doors[0].get("/buffers").unwrap().status, 500);
    family.wait_for_log("the response must consist of bytes, not bytearray");
}

#[test]
fn a_client_that_does_not_read_is_given_up_after_the_time_for_sending() {
    // The time for a read is not that for a write: its default would be longer than the test waits.
    let (family, _doors, socket, _folder) = start("so-send-timeout = 1\nsocket-timeout = 600");
    let mut connection = socket.connect().unwrap();
    connection.send(&uwsgi::packet(&uwsgi::get("/big"))).unwrap();
    family.wait_for_log("GET /big");
}
