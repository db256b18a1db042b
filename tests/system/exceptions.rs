//! What the options say of an application's exceptions, seen by its clients.

use crate::support::free_port;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};

const APP: &str = r#"
import os

class Own(ValueError):
    pass

def inner(text):
    raise Own(text)

def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/own":
        environ["REMOTE_USER"] = "set by the application"
        inner("told you")
    if path == "/key":
        {}["a"]
    start_response("200 OK", [("Content-Type", "text/html")])
    if path == "/started":
        raise ValueError("after the head")
    return [str(os.getpid()).encode()]
"#;

fn start(lines: &str) -> (Family, Door, Folder) {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", APP);
    folder.write(
        "app.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{lines}\n"),
    );
    let family = liege(&folder, &["--ini", "app.ini"]);
    (family, Door::Port(port), folder)
}

fn pid(door: &Door) -> Option<String> {
    door.get("/").ok().filter(|answer| answer.status == 200).map(|answer| answer.text())
}

#[test]
fn catch_exceptions_shows_them_to_the_client_without_credentials() {
    let (family, door, folder) = start("catch-exceptions = true");
    eventually("the app", || pid(&door));
    let headers = ["Cookie: session=secret", "X-Seen: yes"];
    let answer = door.connect().unwrap().ask("GET", "/own?a=b", &headers, b"").unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (500, Some("text/plain")));
    let text = answer.text();
    let file = folder.path().canonicalize().unwrap().join("app.py");
    for part in [
        "uWSGI exceptions catcher for \"GET /own?a=b\" (request plugin: \"python\", modifier1: 0)\n\n",
        "Own: told you\n\nException class: uwsgi_file_",
        "Own\n\nException message: told you\n\nBacktrace:\nfilename: \"",
        "app.py\" line: 14 function: \"application\" text/code: \"inner(\"told you\")\" \nfilename: \"",
        "app.py\" line: 8 function: \"inner\" text/code: \"raise Own(text)\" \n\n\nREQUEST_METHOD = GET\n",
        "\nQUERY_STRING = a=b\n",
        "\nHTTP_COOKIE = ***\n",
        "\nHTTP_X_SEEN = yes\n",
        file.to_str().unwrap(),
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert!(!text.contains("secret") && !text.contains("set by the application"), "{text}");
    let answer = door.get("/key").unwrap();
    assert!(answer.text().contains("Exception: builtins.KeyError: 'a'\n"), "{}", answer.text());
    let answer = door.get("/started").unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (500, Some("text/plain")));
    assert!(family.log().contains("shows tracebacks, with lines of the code, to every client"));
    family.wait_for_log("KeyError: 'a'");
}

#[test]
fn an_exception_that_is_named_ends_its_worker_after_the_answer() {
    for (lines, option) in [
        ("reload-on-exception = true", "reload-on-exception"),
        ("reload-on-exception-type = Own\nthreads = 2", "reload-on-exception-type"),
        ("reload-on-exception-value = told you\nlazy-apps = true", "reload-on-exception-value"),
        ("reload-on-exception-repr = Own: told you", "reload-on-exception-repr"),
    ] {
        let (family, door, _folder) = start(lines);
        let first = eventually("the app", || pid(&door));
        assert_eq!(door.get("/own").unwrap().text(), "Internal Server Error", "{lines}");
        // None of them fails while the one worker is replaced.
        until("another worker", || pid(&door).unwrap() != first);
        family.wait_for_log(&format!(".Own, by {option})"));
    }
    // One that is not named ends nobody; the reason says which one did.
    let (family, door, _folder) = start("reload-on-exception-type = KeyError\ncatch-exceptions = true");
    let first = eventually("the app", || pid(&door));
    assert_eq!(door.get("/own").unwrap().status, 500);
    assert_eq!(door.get("/key").unwrap().status, 500);
    until("another worker", || pid(&door).unwrap() != first);
    family.wait_for_log("monitored exception detected: builtins.KeyError, by reload-on-exception-type");
    assert!(!family.log().contains("monitored exception detected: uwsgi_file"), "{}", family.log());
}
