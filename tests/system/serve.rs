//! The command lines that people type, and what HTTP and uwsgi clients get.

use std::collections::BTreeSet;

use crate::support::apps::{TOOLS, says};
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege, serve_app};
use crate::support::wait::{eventually, until};
use crate::support::{free_port, uwsgi};

/// A folder with `app.py`, served by these arguments, in which `PORT` becomes a free port.
fn serve(app: &str, arguments: &str) -> (Family, Door, Folder) {
    let folder = Folder::new();
    folder.write("app.py", app);
    let port = free_port();
    let arguments = arguments.replace("PORT", &port.to_string());
    let family = liege(&folder, &arguments.split(' ').collect::<Vec<_>>());
    (family, Door::Port(port), folder)
}

#[test]
fn the_command_line_of_the_quickstart_serves() {
    let stats = free_port();
    let line = format!(
        "--http 127.0.0.1:PORT --wsgi-file app.py --master --processes 4 --threads 2 --stats 127.0.0.1:{stats}"
    );
    let (_family, door, _folder) = serve(&says("hello"), &line);
    door.wait_for("/", "hello");
    let document = Door::Port(stats).connect().unwrap().rest().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    assert_eq!(document["workers"].as_array().unwrap().len(), 4);
    assert_eq!(document["workers"][0]["cores"].as_array().unwrap().len(), 2);
}

#[test]
fn an_ini_file_serves() {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", says("from a file"));
    folder.write("yourfile.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\n"));
    let _family = liege(&folder, &["yourfile.ini"]);
    Door::Port(port).wait_for("/", "from a file");
}

#[test]
fn a_uwsgi_socket_serves_over_tcp() {
    let (_family, door, _folder) = serve(&says("packed"), "--socket 127.0.0.1:PORT --wsgi-file app.py");
    until("an answer", || {
        uwsgi::ask(&door, &uwsgi::get("/"), b"").is_ok_and(|text| text.ends_with("\r\n\r\npacked"))
    });
    let answer = uwsgi::ask(&door, &uwsgi::get("/"), b"").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn a_uwsgi_socket_serves_over_a_unix_socket_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    folder.write("app.py", says("packed"));
    let line = "--socket app.sock --chmod-socket=660 --wsgi-file app.py";
    let mut family = liege(&folder, &line.split(' ').chain(["--vacuum"]).collect::<Vec<_>>());
    let path = folder.path().join("app.sock");
    let door = Door::Unix(path.clone());
    until("an answer", || {
        uwsgi::ask(&door, &uwsgi::get("/"), b"").is_ok_and(|text| text.ends_with("packed"))
    });
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    family.signal(nix::sys::signal::Signal::SIGTERM);
    family.wait_until_empty();
    assert!(!path.exists(), "vacuum removes the socket");
}

#[test]
fn connections_are_kept_on_http_and_http_socket() {
    for option in ["--http", "--http-socket"] {
        let (_family, door, _folder) = serve(TOOLS, &format!("{option} 127.0.0.1:PORT --wsgi-file app.py"));
        door.wait_for("/", "hello");
        let mut connection = door.connect().unwrap();
        for _ in 0..3 {
            let answer = connection.ask("GET", "/", &[], b"").unwrap();
            assert_eq!(
                (answer.status, answer.text().as_str(), answer.closes()),
                (200, "hello", false),
                "{option}"
            );
        }
        let answer = connection.ask("GET", "/", &["Connection: close"], b"").unwrap();
        assert!(answer.closes());
        assert_eq!(connection.rest().unwrap(), b"");
    }
}

#[test]
fn bodies_are_read_and_sent_in_chunks() {
    for option in ["--http", "--http-socket"] {
        let (_family, door, _folder) = serve(TOOLS, &format!("{option} 127.0.0.1:PORT --wsgi-file app.py"));
        door.wait_for("/", "hello");
        let mut connection = door.connect().unwrap();
        let head = b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
        connection.send(&[head, b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"].concat()).unwrap();
        assert_eq!(connection.answer(false).unwrap().text(), "abcdefg", "{option}");
        let answer = connection.ask("GET", "/stream", &[], b"").unwrap();
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{option}");
        assert_eq!(answer.text(), "part 0\npart 1\npart 2\n", "{option}");
        let large = vec![b'x'; 3_000_000];
        assert_eq!(connection.ask("POST", "/echo", &[], &large).unwrap().body, large, "{option}");
    }
}

#[test]
fn a_client_that_expects_100_continue_gets_it_when_the_app_reads() {
    for option in ["--http", "--http-socket"] {
        let (_family, door, _folder) = serve(TOOLS, &format!("{option} 127.0.0.1:PORT --wsgi-file app.py"));
        door.wait_for("/", "hello");
        let mut connection = door.connect().unwrap();
        let head = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
        connection.send(head.as_bytes()).unwrap();
        assert_eq!(connection.answer(true).unwrap().status, 100, "{option}");
        connection.send(b"body").unwrap();
        assert_eq!(connection.answer(false).unwrap().text(), "body", "{option}");
    }
}

#[test]
fn head_has_the_headers_and_no_body() {
    let (_family, door, _folder) = serve(TOOLS, "--http-socket 127.0.0.1:PORT --wsgi-file app.py");
    door.wait_for("/", "hello");
    let mut connection = door.connect().unwrap();
    let answer = connection.ask("HEAD", "/", &[], b"").unwrap();
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("5")));
    assert_eq!(connection.ask("GET", "/", &[], b"").unwrap().text(), "hello");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_family, door, _folder) = serve(TOOLS, "--http-socket 127.0.0.1:PORT --wsgi-file app.py");
    door.wait_for("/", "hello");
    let mut connection = door.connect().unwrap();
    let post = |body: &str| {
        format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    connection.send((post("one") + &post("two") + &post("three")).as_bytes()).unwrap();
    for expected in ["one", "two", "three"] {
        assert_eq!(connection.answer(false).unwrap().text(), expected);
    }
}

#[test]
fn an_exception_is_a_500_with_its_traceback_in_the_log_only() {
    let (family, door, _folder) = serve(TOOLS, "--http-socket 127.0.0.1:PORT --wsgi-file app.py");
    door.wait_for("/", "hello");
    let answer = door.get("/raise").unwrap();
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("raised on purpose"), "{}", answer.text());
    family.wait_for_log("ValueError: raised on purpose");
    assert_eq!(door.get("/").unwrap().text(), "hello");
}

#[test]
fn a_slow_client_does_not_hold_a_worker_behind_the_router() {
    let (_family, door, _folder) = serve(TOOLS, "--http 127.0.0.1:PORT --wsgi-file app.py --processes 1");
    door.wait_for("/", "hello");
    let mut stalled: Vec<_> = (0..20).map(|_| door.connect().unwrap()).collect();
    for connection in &mut stalled {
        connection.send(b"GET / HTTP/1.1\r\nHost:").unwrap();
    }
    assert_eq!(door.get("/").unwrap().text(), "hello");
}

#[test]
fn an_unknown_option_is_named_with_a_suggestion() {
    let folder = Folder::new();
    folder.write("app.ini", "[uwsgi]\nstrict = true\nhtpt-socket = 127.0.0.1:1\nwsgi-file = app.py\n");
    let mut family = liege(&folder, &["app.ini"]);
    assert!(!family.wait().success());
    let log = family.log();
    assert!(log.contains("app.ini:3") && log.contains("htpt-socket") && log.contains("http-socket"), "{log}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = Folder::new();
    let port = free_port();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    folder.write("app.py", says("hello"));
    let mut family =
        liege(&folder, &["--http-socket", &format!("127.0.0.1:{port}"), "--wsgi-file", "app.py"]);
    assert!(!family.wait().success());
    assert!(family.log().contains(&port.to_string()), "{}", family.log());
}

#[test]
fn who_connects_while_another_is_silent_is_let_in_where_nobody_waits() {
    let app = "import os, time\ndef application(environ, start_response):\n    \
        if environ['PATH_INFO'] == '/slow':\n        time.sleep(0.05)\n    \
        start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";
    let (_family, door, _folder) = serve_app(app, "processes = 2");
    let workers = || {
        let mut clients = [door.connect().unwrap(), door.connect().unwrap()];
        for client in &mut clients {
            client.send(b"GET /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        }
        clients
            .map(|mut client| client.answer(false).unwrap().text())
            .into_iter()
            .collect::<BTreeSet<_>>()
            .len()
    };
    eventually("an answer", || door.get("/").ok());
    until("both workers", || workers() == 2);
    // On a busy machine the other one may be too late now and then.
    let apart = (0..40).filter(|_| workers() == 2).count();
    assert!(apart >= 30, "{apart} of 40");
}
