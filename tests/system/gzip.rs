//! `http-auto-gzip`, beside a real uWSGI where there is one.

use std::io::Read as _;
use std::process::Command;

use flate2::read::GzDecoder;

use crate::support::http::{Answer, Door};
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::{environment, free_port, wait};

/// Asks to be compressed, in the way that its query says.
const APP: &str = r#"
def application(environ, start_response):
    headers = [("Content-Type", "text/plain"), ("uWSGI-Encoding", "gzip"), ("ETag", '"1"')]
    way = environ["QUERY_STRING"]
    body = [b"hello " * 1000]
    if way == "parts":
        body = (b"hello " * 100 for _ in range(10))
    if way == "sized":
        headers.append(("Content-Length", "6000"))
    if way == "encoded":
        headers.append(("Content-Encoding", "br"))
    if way == "large":
        body = (b"hello " * 20000 for _ in range(50))
    start_response("200 OK", headers)
    return body
"#;

fn plain(answer: &Answer) -> String {
    if answer.header("content-encoding") != Some("gzip") {
        return answer.text();
    }
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    text
}

fn ask(door: &Door, path: &str, accepts: &str) -> Answer {
    let accepts = format!("Accept-Encoding: {accepts}");
    door.connect().unwrap().ask("GET", path, &[&accepts, "Connection: close"], b"").unwrap()
}

fn serve(folder: &Folder, option: &str, program: impl FnOnce(&[&str]) -> Family) -> (Family, Door) {
    let port = free_port();
    folder.write("app.py", APP);
    let address = format!("127.0.0.1:{port}");
    let family = program(&["--master", option, &address, "--http-auto-gzip", "--wsgi-file", "app.py"]);
    let door = Door::Port(port);
    wait::until("the app", || door.get("/").is_ok_and(|answer| answer.status == 200));
    (family, door)
}

/// The same by us.
fn ours(folder: &Folder, option: &str) -> (Family, Door) {
    serve(folder, option, |arguments| liege(folder, arguments))
}

#[test]
fn answers_that_ask_for_it_are_compressed_for_those_who_take_that() {
    let folder = Folder::new();
    let (_family, door) = ours(&folder, "--http");
    let all = "hello ".repeat(1000);
    for (path, accepts, is_packed) in [
        ("/", "gzip", true),
        ("/?parts", "deflate, gzip;q=0.5", true),
        ("/?sized", "gzip", true),
        ("/?parts", "br", false),
        ("/?sized", "gzip;q=0", false),
        ("/?encoded", "gzip", false),
    ] {
        let answer = ask(&door, path, accepts);
        assert_eq!(
            answer.header("content-encoding") == Some("gzip"),
            is_packed,
            "{path} {accepts}: {answer:?}"
        );
        assert_eq!(plain(&answer), all, "{path} {accepts}");
        assert!(!is_packed || answer.body.len() < 600, "{path} {accepts}");
        assert_eq!(answer.header("etag"), Some(if is_packed { "W/\"1\"" } else { "\"1\"" }));
        assert_eq!(answer.header("vary").is_some(), path != "/?encoded", "{path} {accepts}");
        assert_eq!(answer.header("uwsgi-encoding"), None);
    }
    assert_eq!(plain(&ask(&door, "/?large", "gzip")), "hello ".repeat(1_000_000));
}

#[test]
fn a_compressed_answer_costs_no_connection() {
    let folder = Folder::new();
    let (_family, door) = ours(&folder, "--http");
    let mut connection = door.connect().unwrap();
    for (method, path) in
        [("HEAD", "/?sized"), ("GET", "/"), ("HEAD", "/?parts"), ("GET", "/?sized"), ("GET", "/?parts")]
    {
        let answer = connection.ask(method, path, &["Accept-Encoding: gzip"], b"").unwrap();
        assert_eq!(answer.header("content-encoding"), Some("gzip"), "{method} {path}");
        assert_eq!(answer.header("content-length"), None, "{method} {path}");
        assert!(!answer.closes());
        assert!(method == "HEAD" || plain(&answer) == "hello ".repeat(1000));
    }
    // A client of HTTP/1.0 knows no chunks.
    let mut old = door.connect().unwrap();
    old.send(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
    let answer = old.answer(false).unwrap();
    assert_eq!(answer.header("transfer-encoding"), None);
    assert_eq!(plain(&answer), "hello ".repeat(1000));
}

#[test]
fn a_real_uwsgi_compresses_the_same_answers() {
    let Some(uwsgi) = environment("uwsgi").map(|path| path.join("bin/uwsgi")) else { return };
    for (option, rows) in [
        ("--http", &[("/", "gzip"), ("/?parts", "gzip"), ("/", "br")][..]),
        // It is the router's, not the workers'.
        ("--http-socket", &[("/", "gzip")]),
    ] {
        let (our_folder, folder) = (Folder::new(), Folder::new());
        let (_family, door) = ours(&our_folder, option);
        let (_uwsgi, other) = serve(&folder, option, |arguments| {
            let mut command = Command::new(&uwsgi);
            Family::start(command.args(arguments).current_dir(folder.path()), &folder.path().join("log"))
        });
        for (path, accepts) in rows {
            let (our, their) = (ask(&door, path, accepts), ask(&other, path, accepts));
            assert_eq!(our.header("content-encoding"), their.header("content-encoding"), "{path} {accepts}");
            assert_eq!(plain(&our), plain(&their), "{path} {accepts}");
        }
    }
}
