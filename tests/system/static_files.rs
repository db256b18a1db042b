//! Static files: sent by workers instead of the application's answers, on every kind of socket.

use std::os::unix::fs::symlink;

use crate::support::apps::says;
use crate::support::free_port;
use crate::support::http::{Answer, Door};
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::uwsgi;

/// An app that says `app`, a folder `files` beside it, and these lines.
fn start(lines: &str) -> (Family, Door, Folder) {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", says("app"));
    for (name, text) in [
        ("files/a.css", "body {}"),
        ("files/a.css.gz", "compressed"),
        ("files/sub/index.html", "<index>"),
        ("files/with space.txt", "spaced"),
        ("files/page.php", "<?php"),
        ("secret", "secret"),
        ("files-of-others/b", "secret"),
        ("safe/c", "safe"),
        ("types", "text/x-own css\n"),
    ] {
        std::fs::create_dir_all(folder.path().join(name).parent().unwrap()).unwrap();
        folder.write(name, text);
    }
    folder.write("files/large.bin", large());
    symlink("../secret", folder.path().join("files/out")).unwrap();
    symlink("../safe", folder.path().join("files/safe")).unwrap();
    folder.write(
        "app.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{lines}\n"),
    );
    let family = liege(&folder, &["--ini", "app.ini"]);
    (family, Door::Port(port), folder)
}

fn large() -> Vec<u8> {
    (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect()
}

fn ask(door: &Door, method: &str, path: &str, fields: &[&str]) -> Answer {
    door.connect().unwrap().ask(method, path, fields, b"").unwrap()
}

#[test]
fn a_map_sends_what_lies_below_its_folder_and_nothing_else() {
    let lines = "static-map = /static=%dfiles\nstatic-map2 = /files=%d\nstatic-map = /icon=%dfiles/a.css\n\
        static-index = none\nstatic-index = index.html\nstatic-safe = %dsafe\nstatic-skip-ext = .php\n\
        add-header = X-Added: yes";
    let (family, door, _folder) = start(lines);
    door.wait_for("/", "app");
    for (path, expected) in [
        ("/static/a.css", "body {}"),
        ("/static//a.css", "body {}"),
        ("/static/a.css?v=2", "body {}"),
        ("/static/with%20space.txt", "spaced"),
        ("/static/sub", "<index>"),
        ("/static/sub/", "<index>"),
        ("/static/sub/../a.css", "body {}"),
        ("/static/safe/c", "safe"),
        ("/files/a.css", "body {}"),
        ("/icon", "body {}"),
        ("/static", "app"),
        ("/static/none", "app"),
        ("/static/page.php", "app"),
        ("/static/out", "app"),
        ("/static/..%2fsecret", "app"),
        ("/static/%2e%2e/secret", "app"),
        ("/static/%2fetc/passwd", "app"),
        ("/static-of-others/b", "app"),
        ("/static/a.css%00.css", "app"),
        ("/secret", "app"),
    ] {
        assert_eq!(door.get(path).unwrap().text(), expected, "{path}");
    }
    let answer = ask(&door, "GET", "/static/a.css", &[]);
    let field = |name| answer.header(name).unwrap_or_default();
    assert_eq!((field("content-type"), field("content-length"), field("x-added")), ("text/css", "7", "yes"));
    let head = ask(&door, "HEAD", "/static/large.bin", &[]);
    assert_eq!((head.status, head.header("content-length")), (200, Some("3000000")));
    let since = format!("If-Modified-Since: {}", field("last-modified"));
    assert_eq!(ask(&door, "GET", "/static/a.css", &[&since]).status, 304);
    assert_eq!(door.connect().unwrap().ask("POST", "/static/a.css", &[], b"x").unwrap().text(), "app");
    // One connection serves both, and its lines are in the log.
    let mut connection = door.connect().unwrap();
    for (path, length) in [("/static/large.bin", 3_000_000), ("/", 3), ("/static/a.css", 7)] {
        assert_eq!(connection.ask("GET", path, &[], b"").unwrap().body.len(), length);
    }
    family.wait_for_log("GET /static/large.bin => generated 3000000 bytes in ");
}

#[test]
fn files_are_the_same_on_every_kind_of_socket() {
    for threads in [1, 2] {
        let port = free_port();
        let lines = format!(
            "threads = {threads}\ncheck-static = files\nhonour-range = true\nhttp = 127.0.0.1:{port}\n\
             socket = uwsgi.sock\nprocesses = 2"
        );
        let (_family, door, folder) = start(&lines);
        let routed = Door::Port(port);
        door.wait_for("/", "app");
        routed.wait_for("/", "app");
        for door in [&door, &routed] {
            for path in ["/a.css", "/large.bin"] {
                assert_eq!(door.get(path).unwrap().body.len(), if path == "/a.css" { 7 } else { 3_000_000 });
            }
            let part = ask(door, "GET", "/large.bin", &["Range: bytes=5-2000004"]);
            let range = part.header("content-range");
            assert_eq!((part.status, range), (206, Some("bytes 5-2000004/3000000")));
            assert!(part.body == large()[5..2_000_005]);
            let beyond = ask(door, "GET", "/a.css", &["Range: bytes=7-"]);
            assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */7")));
        }
        let socket = Door::Unix(folder.path().join("uwsgi.sock"));
        let answer = uwsgi::ask(&socket, &uwsgi::get("/a.css"), b"").unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nbody {}"), "{answer}");
        let large = uwsgi::ask(&socket, &uwsgi::get("/large.bin"), b"").unwrap();
        assert!(large.len() > 2_000_000 && large.contains("Content-Length: 3000000\r\n"));
        assert!(uwsgi::ask(&socket, &uwsgi::get("/../secret"), b"").unwrap().ends_with("app"));
    }
}

#[test]
fn files_are_compressed_kept_and_handed_over_as_told() {
    let lines = "static-map = /static=%dfiles\nstatic-gzip-ext = .css\nmime-file = %dtypes\n\
        static-expires = \\.css$ 3600";
    let (_family, door, _folder) = start(lines);
    door.wait_for("/", "app");
    let answer = ask(&door, "GET", "/static/a.css", &["Accept-Encoding: gzip"]);
    assert_eq!((answer.text().as_str(), answer.header("content-encoding")), ("compressed", Some("gzip")));
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.header("content-type"), Some("text/x-own"));
    assert!(answer.header("expires").is_some(), "{answer:?}");
    let plain = ask(&door, "GET", "/static/a.css", &[]);
    assert_eq!((plain.text().as_str(), plain.header("content-encoding")), ("body {}", None));
    let other = ask(&door, "GET", "/static/sub/index.html", &["Accept-Encoding: gzip"]);
    assert_eq!((other.text().as_str(), other.header("expires")), ("<index>", None));
    let (_family, door, folder) =
        start("static-map = /static=%dfiles\nfile-serve-mode = x-accel-redirect\nprocesses = 1");
    door.wait_for("/", "app");
    let answer = ask(&door, "GET", "/static/a.css", &[]);
    let real = folder.path().canonicalize().unwrap().join("files/a.css");
    assert_eq!(answer.header("x-accel-redirect"), real.to_str());
    assert_eq!((answer.text().as_str(), answer.header("content-length")), ("", Some("0")));
}
