//! Options about the log of requests, the size and age of workers, and their interpreter, seen from outside.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::support::apps::{TOOLS, says};
use crate::support::free_port;
use crate::support::http::Door;
use crate::support::server::{Folder, liege, serve_app};
use crate::support::wait::until;

#[test]
fn the_line_of_a_request_is_what_its_format_says() {
    let format = "log-format = <%(addr)|%(method)|%(uri)|%(status)|%(rsize)|%(uagent)|%(var.HTTP_X)|%(nothing)>\n\
        log-x-forwarded-for = true";
    let (family, door, _folder) = serve_app(TOOLS, format);
    door.wait_for("/", "hello");
    let headers = ["User-Agent: me/1", "X: y", "X-Forwarded-For: 192.0.2.7"];
    door.connect().unwrap().ask("GET", "/a?b=c", &headers, b"").unwrap();
    family.wait_for_log("<192.0.2.7|GET|/a?b=c|200|5|me/1|y|->");
}

#[test]
fn the_usual_line_tells_sizes_and_microseconds_when_asked() {
    let (family, door, _folder) = serve_app(TOOLS, "memory-report = true\nlog-micros = true");
    door.wait_for("/", "hello");
    family.wait_for_log("{address space usage: ");
    let log = family.log();
    let line = log.lines().find(|line| line.contains("{address space usage: ")).unwrap();
    assert!(line.contains("} {rss usage: ") && line.contains(" micros (HTTP/1.1 200) "), "{line}");
}

#[test]
fn only_what_matters_is_logged_in_spite_of_disable_logging() {
    let (family, door, _folder) = serve_app(TOOLS, "disable-logging = true\nlog-5xx = true");
    door.wait_for("/", "hello");
    assert_eq!(door.get("/raise").unwrap().status, 500);
    family.wait_for_log("GET /raise => generated ");
    assert!(!family.log().contains("GET / =>"), "{}", family.log());
}

#[test]
fn a_worker_that_grew_or_aged_is_replaced() {
    for (lines, reason) in [
        ("reload-on-rss = 1", "reload-on-rss reached"),
        ("reload-on-as = 1", "reload-on-as reached"),
        ("max-worker-lifetime = 1", "max-worker-lifetime reached"),
    ] {
        let (family, door, _folder) = serve_app(TOOLS, &format!("{lines}\nmin-worker-lifetime = 0"));
        door.wait_for("/", "hello");
        let first = door.get("/pid").unwrap().text();
        until("another worker", || door.get("/pid").is_ok_and(|answer| answer.text() != first));
        family.wait_for_log(reason);
    }
}

#[test]
fn a_changed_module_reloads() {
    let (family, door, folder) = serve_app(&says("v1"), "py-autoreload = 1\nprocesses = 2");
    door.wait_for("/", "v1");
    folder.write("app.py", says("v2"));
    door.wait_for("/", "v2");
    family.wait_for_log("has been modified");
}

#[test]
fn a_log_is_renamed_when_it_is_long_and_opened_anew_when_asked() {
    let lines = "logto = %dthe.log\nlog-maxsize = 3000\nlog-backupname = %dold.log\nlogfile-chmod = 600\n\
        touch-logreopen = %dreopen\ntouch-logrotate = %drotate";
    let (_family, door, folder) = serve_app(TOOLS, lines);
    let at = |name: &str| folder.path().join(name);
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap_or_default();
    until("the rotation", || door.get("/").is_ok() && at("old.log").exists());
    assert!(read("old.log").len() >= 3000 && read("old.log").contains("GET / => "), "{}", read("old.log"));
    until("lines in the new log", || door.get("/").is_ok() && read("the.log").contains("GET / => "));
    assert_eq!(std::fs::metadata(at("the.log")).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::rename(at("the.log"), at("moved.log")).unwrap();
    folder.write("reopen", "");
    until("the new log", || door.get("/").is_ok() && read("the.log").contains("GET / => "));
    std::fs::remove_file(at("old.log")).unwrap();
    folder.write("rotate", "");
    until("the rotation on request", || at("old.log").exists());
}

#[test]
fn a_log_may_be_emptied_at_the_start() {
    for (lines, is_kept) in [("logto = app.log", true), ("logto = app.log\nlog-truncate = true", false)] {
        let folder = Folder::new();
        let port = free_port();
        folder.write("app.py", says("v1"));
        folder.write("app.log", "from before\n");
        folder.write(
            "app.ini",
            format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\n{lines}\n"),
        );
        let _family = liege(&folder, &["--ini", "app.ini"]);
        Door::Port(port).wait_for("/", "v1");
        let log = std::fs::read_to_string(folder.path().join("app.log")).unwrap();
        assert!(log.contains("spawned uWSGI") && log.contains("from before") == is_kept, "{log}");
    }
}

const FACTS: &str = r#"
import resource

def application(environ, start_response):
    facts = [__debug__, "wsgi.file_wrapper" in environ, resource.getrlimit(resource.RLIMIT_NOFILE)[0]]
    body = repr(facts).encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;

#[test]
fn the_interpreter_runs_as_told() {
    let (_family, door, _folder) =
        serve_app(FACTS, "optimize = 1\nwsgi-disable-file-wrapper = true\nmax-fd = 200");
    door.wait_for("/", "[False, False, 200]");
    let (family, door, folder) = serve_app(FACTS, "max-fd = 201");
    door.wait_for("/", "[True, True, 201]");
    // A reload limits further, and a master that may raises what it has set; what was before, nobody knows.
    let Door::Port(port) = door else { unreachable!() };
    let reload = |line: &str| {
        let text = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{line}\n");
        folder.write("app.ini", text);
        family.signal(Signal::SIGHUP);
    };
    reload("max-fd = 190");
    door.wait_for("/", "[True, True, 190]");
    reload("max-fd = 35");
    family.wait_for_log("app.ini:4: error: max-fd: 35 descriptors are too few");
    family.wait_for_log("the old generation serves on");
    door.wait_for("/", "[True, True, 190]");
    reload("max-fd = 202");
    let is_raised = || door.get("/").is_ok_and(|answer| answer.text() == "[True, True, 202]");
    until("what came of it", || is_raised() || family.log().contains("only root may raise a limit"));
    reload("");
    family.wait_for_log("cannot change max-fd");
}

#[test]
fn headers_are_added_and_modules_imported_first() {
    let app = "import sys\nMARKS = list(sys.modules['marks'].MARKS)\n".to_owned()
        + &says("x").replace("\"x\".encode()", "repr(MARKS).encode()");
    let lines = "add-header = X-Frame-Options: DENY\nadd-header = X-Two: 2\nimport = marks\nimport = gone\nimport = ./more.py\nlazy-apps = true";
    let folder = Folder::new();
    let port = free_port();
    folder.write("marks.py", "MARKS = ['first']\n");
    folder.write("more.py", "import marks\nmarks.MARKS.append('second')\n");
    folder.write("app.py", app);
    folder
        .write("app.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\n{lines}\n"));
    let family = liege(&folder, &["--ini", "app.ini"]);
    let door = Door::Port(port);
    door.wait_for("/", "['first', 'second']");
    family.wait_for_log("No module named 'gone'");
    let answer = door.get("/").unwrap();
    assert_eq!(answer.header("x-frame-options"), Some("DENY"));
    assert_eq!(answer.header("x-two"), Some("2"));
}

#[test]
fn statistics_have_a_head_when_asked() {
    let stats = free_port();
    let (_family, door, _folder) = serve_app(TOOLS, &format!("stats = 127.0.0.1:{stats}\nstats-http = true"));
    door.wait_for("/", "hello");
    let answer = Door::Port(stats).connect().unwrap().rest().unwrap();
    let text = String::from_utf8(answer).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.contains("application/json"), "{head}");
    assert!(!head.contains("Access-Control"), "any page could read it: {head}");
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
}

#[test]
fn the_configuration_is_in_the_log_when_asked() {
    let (family, door, _folder) = serve_app(TOOLS, "show-config = true\nenv = KEY=hush\nname = blog");
    door.wait_for("/", "hello");
    family.wait_for_log(";uWSGI instance configuration");
    family.wait_for_log("name = blog");
    family.wait_for_log("env = KEY=…");
    family.wait_for_log(";end of configuration");
    assert!(!family.log().contains("hush"), "{}", family.log());
}
