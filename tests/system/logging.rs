//! Where log lines go: `logger` and its like, seen from outside.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::apps::says;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{PATIENCE, eventually, until};
use crate::support::{LIEGE, extension, free_port};

/// Prints the query of each request, and a line when it is loaded.
const TALKER: &str = r#"
import sys
print("loaded", flush=True)

def application(environ, start_response):
    print("said " + environ["QUERY_STRING"], file=sys.stderr, flush=True)
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"#;

/// An instance of the talker with these lines in its file.
struct Talker {
    family: Family,
    door: Door,
    folder: Folder,
}

impl Talker {
    fn start(lines: &str) -> Self {
        Self::start_in(Folder::new(), lines)
    }

    fn start_in(folder: Folder, lines: &str) -> Self {
        let port = free_port();
        folder.write("app.py", TALKER);
        folder.write("app.ini", ini(port, lines));
        let family = liege(&folder, &["--ini", "app.ini"]);
        let talker = Self { family, door: Door::Port(port), folder };
        talker.door.wait_for("/?start", "ok");
        talker
    }

    fn says(&self, what: &str) {
        assert_eq!(self.door.get(&format!("/?{what}")).unwrap().text(), "ok");
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn wait_for(&self, name: &str, text: &str) {
        until(&format!("{text:?} in {name}"), || self.read(name).contains(text));
    }
}

fn ini(port: u16, lines: &str) -> String {
    format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\n{lines}\n")
}

#[test]
fn loggers_take_all_lines_each_its_own() {
    let mut talker = Talker::start(
        "chdir = %d\nlogger = file:all.log\nlogger = loud file:loud.log\nreq-logger = file:requests.log\n\
         log-route = loud shout$\nlog-drain = secret\nlog-encoder = prefix >\nlog-encoder = suffix:loud !\n\
         log-req-encoder = json {\"m\":\"${msg}\",\"s\":${unix},\"t\":\"${strftime:%%Y}\"}\nlog-req-encoder = nl\n\
         threaded-logger = true\nlog-master-stream = true\nlog-master-req-stream = true",
    );
    for what in ["one", "a-shout", "a-secret", "last"] {
        talker.says(what);
    }
    talker.wait_for("all.log", ">said last\n");
    talker.wait_for("requests.log", "?last ");
    talker.family.signal(Signal::SIGTERM);
    assert_eq!(talker.family.wait().code(), Some(0));
    let (all, loud, requests) =
        (talker.read("all.log"), talker.read("loud.log"), talker.read("requests.log"));
    assert!(all.contains(">loaded\n>") && all.contains(">said one\n"), "{all}");
    assert!(all.lines().all(|line| line.starts_with('>')), "{all}");
    assert!(all.contains("spawned uWSGI master process") && all.contains(" - goodbye to uWSGI.\n"), "{all}");
    assert!(!all.contains("secret") && !all.contains("shout") && !all.contains("GET /"), "{all}");
    assert_eq!(loud, ">said a-shout\n!");
    for line in requests.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["m"].as_str().unwrap().contains("] GET /?"), "{line}");
        assert!(line["s"].as_u64().unwrap() > 1_700_000_000 && line["t"].as_str().unwrap().len() == 4);
    }
    assert!(requests.contains("GET /?a-secret => "), "only `logger` leaves lines out: {requests}");
    assert_eq!(talker.family.log(), "", "nothing is left for standard error");
}

#[test]
fn lines_may_be_chosen_and_go_to_standard_error_besides() {
    let talker = Talker::start(
        "logger = file:%dall.log\nlogger = stdio\nlogger = fd:2\nlog-filter = said\nlog-filter = GET\n\
         log-master-bufsize = 300\nworker-logger-req = rest file:%drest.log\nlog-req-route = rest rare",
    );
    talker.says("rare");
    talker.says(&"x".repeat(400));
    talker.says("last");
    talker.wait_for("all.log", "said last\n");
    talker.family.wait_for_log("said last\n");
    talker.wait_for("rest.log", "GET /?rare => ");
    let all = talker.read("all.log");
    assert!(all.lines().all(|line| line.contains("said") || line.contains("GET")), "{all}");
    // A long line comes in pieces, of which the second has nothing that the filter shows.
    assert!(all.contains(&"x".repeat(295)) && !all.contains(&"x".repeat(296)), "{all}");
    // Lines of requests that no logger takes go where the log would go.
    talker.family.wait_for_log("GET /?last => ");
    assert!(!all.contains("GET /?last"), "{all}");
}

#[test]
fn files_of_loggers_are_renamed_and_opened_anew() {
    let talker = Talker::start(
        "logger = file:logfile=%dall.log,maxsize=2000,backupname=%dold.log\nreq-logger = file:%drequests.log\n\
         log-maxsize = 3000\ntouch-logrotate = %drotate\ntouch-logreopen = %dreopen",
    );
    let at = |name: &str| talker.folder.path().join(name);
    until("the rotation by size", || {
        talker.says("more");
        at("old.log").exists()
    });
    assert!(talker.read("old.log").len() >= 2000);
    let renamed = |name: &str| {
        let names = std::fs::read_dir(talker.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|file| file.to_str().unwrap().starts_with(name)).count()
    };
    until("the rotation as log-maxsize says", || {
        talker.says("more");
        renamed("requests.log.") > 0
    });
    // It may just have been renamed for its size.
    until("the file", || std::fs::rename(at("all.log"), at("moved.log")).is_ok());
    talker.folder.write("reopen", "");
    until("a new file", || {
        talker.says("again");
        talker.read("all.log").contains("said again")
    });
    std::fs::remove_file(at("old.log")).unwrap();
    talker.folder.write("rotate", "");
    until("the rotation on request", || at("old.log").exists());
}

#[test]
fn lines_go_to_sockets() {
    let folder = Folder::new();
    let (plain, daemon) = (folder.path().join("plain.sock"), folder.path().join("daemon.sock"));
    let (plain, daemon) = (UnixDatagram::bind(plain).unwrap(), UnixDatagram::bind(daemon).unwrap());
    let (remote, prefixed) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let lines = format!(
        "log-socket = %dplain.sock\nlogger = rsyslog:%ddaemon.sock,app,134\nlogger = rsyslog:{}\n\
         req-logger = socket:{},REQ\nlog-syslog = app,local1",
        remote.local_addr().unwrap(),
        prefixed.local_addr().unwrap(),
    );
    // A daemon may be missing here: what it does not get holds nobody up.
    let talker = Talker::start_in(folder, &lines);
    talker.says("hello");
    for socket in [&plain, &daemon] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    for socket in [&remote, &prefixed] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let find = |receive: &dyn Fn(&mut [u8]) -> std::io::Result<usize>, wanted: &str| {
        let mut buffer = [0; 8192];
        eventually(wanted, || {
            let length = receive(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            text.contains(wanted).then_some(text)
        })
    };
    assert_eq!(find(&|buffer| plain.recv(buffer), "said hello"), "said hello\n");
    let message = find(&|buffer| daemon.recv(buffer), "said hello");
    assert!(message.starts_with("<134>") && message.ends_with(" app: said hello"), "{message}");
    let message = find(&|buffer| remote.recv(buffer), "said hello");
    assert!(message.starts_with("<29>") && message.ends_with(" uwsgi: said hello"), "{message}");
    let message = find(&|buffer| prefixed.recv(buffer), "?hello ");
    assert!(message.starts_with("REQ[pid: ") && message.ends_with('\n'), "{message}");
}

#[test]
fn a_logger_that_takes_nothing_holds_nobody_up_and_is_told_once() {
    let folder = Folder::new();
    let (port, fifo) = (free_port(), folder.path().join("fifo"));
    mkfifo(&fifo, Mode::from_bits_truncate(0o600)).unwrap();
    let path = folder.path().display();
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = {path}/app.py\nlogger = file:{}\n\
         logger = file:{path}/missing/x.log\nreq-logger = socket:{path}/nobody.sock\n",
        fifo.display()
    );
    folder.write("app.py", TALKER);
    // It is opened for reading, but nobody reads: it fills up.
    let _reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let host = Host::start(&[("app.ini", text.as_str())]);
    let door = Door::Port(port);
    door.wait_for("/", "ok");
    let long = "x".repeat(2000);
    for _ in 0..60 {
        assert_eq!(door.get(&format!("/?{long}")).unwrap().text(), "ok");
    }
    let told = |name: &str| {
        let events = host.ask("/v1/events");
        let events = events["events"].as_array().unwrap();
        let message = |event: &serde_json::Value| event["message"].as_str().unwrap_or_default().to_owned();
        events.iter().map(message).filter(|text| text.contains(name) && text.contains("no lines")).count()
    };
    for name in ["/fifo", "/missing/x.log", "/nobody.sock"] {
        until(name, || told(name) > 0);
        assert_eq!(told(name), 1, "{name}");
    }
    host.wait_for_vassal("app.ini", "counts what was lost", |vassal| {
        vassal["totals"]["log_lines_dropped"].as_u64().is_some_and(|count| count > 60)
    });
}

#[test]
fn what_loggers_take_does_not_flood_the_emperor_but_its_master_is_heard() {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", TALKER);
    let path = folder.path().display();
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = {path}/app.py\nlogger = file:{path}/all.log\n"
    );
    let host = Host::start(&[("app.ini", text.as_str())]);
    let door = Door::Port(port);
    door.wait_for("/?for-the-file", "ok");
    let all = || std::fs::read_to_string(folder.path().join("all.log")).unwrap_or_default();
    until("the lines of the app", || all().contains("said for-the-file\n") && all().contains("GET /?for"));
    assert!(all().contains("spawned uWSGI worker 1"), "{}", all());
    let log = || host.ask("/v1/vassals/app.ini/logs").to_string();
    until("the lines of the master", || log().contains("spawned uWSGI worker 1"));
    assert!(!log().contains("for-the-file") && !log().contains("loaded"), "{}", log());
    // Without loggers all lines are there again.
    host.write("app.ini", text.replace("logger = ", "# logger = "));
    until("lines of the app, here", || door.get("/?now-here").is_ok() && log().contains("said now-here"));
    door.wait_for("/?only-here", "ok");
    until("the next one", || log().contains("said only-here"));
    assert!(!all().contains("only-here"), "{}", all());
}

#[test]
fn a_reload_and_a_new_image_keep_the_loggers() {
    let talker = Talker::start("logger = file:%dall.log\nreq-logger = file:%drequests.log");
    talker.wait_for("requests.log", "?start ");
    talker.family.signal(Signal::SIGHUP);
    talker.wait_for("all.log", "gracefully (RE)spawned uWSGI master process");
    until("lines of requests after it", || {
        talker.says("anew");
        talker.read("requests.log").contains("?anew ") && talker.read("all.log").contains("said anew")
    });
    let Door::Port(port) = talker.door else { unreachable!() };
    talker.folder.write("app.ini", ini(port, "logger = file:%dother.log"));
    talker.family.signal(Signal::SIGHUP);
    until("the other file", || {
        talker.says("moved");
        let other = talker.read("other.log");
        other.contains("said moved") && other.contains("GET /?moved")
    });
    assert_eq!(talker.family.log(), "", "nothing went to standard error on the way");
}

#[test]
fn a_descriptor_takes_lines_over_a_new_image_too() {
    let folder = Folder::new();
    let port = free_port();
    extension();
    folder.write("app.py", TALKER);
    folder.write("app.ini", ini(port, "logger = fd:5\nreq-logger = fd:6"));
    let script = "exec \"$0\" --ini app.ini 5>>five.log";
    let family = Family::start(
        Command::new("/bin/sh").args(["-c", script, LIEGE]).current_dir(folder.path()),
        &folder.path().join("liege.log"),
    );
    let door = Door::Port(port);
    let read = || std::fs::read_to_string(folder.path().join("five.log")).unwrap_or_default();
    until("a line", || door.get("/?one").is_ok() && read().contains("said one\n"));
    family.signal(Signal::SIGHUP);
    until("the new image", || read().contains("gracefully (RE)spawned"));
    until("a later line", || door.get("/?two").is_ok() && read().contains("said two\n"));
    // 6 was not left open by whoever started it.
    assert!(read().contains("fd:6 takes no lines"), "{}", read());
}

#[test]
fn lines_begin_with_the_date_as_uwsgi_writes_it() {
    let talker = Talker::start("log-date = %%d/%%Y at\nprocesses = 2");
    talker.says("hello");
    talker.family.wait_for_log("said hello");
    for text in ["spawned uWSGI worker 1", "spawned uWSGI worker 2", "GET /?hello"] {
        talker.family.wait_for_log(text);
    }
    let log = talker.family.log();
    let dated = |line: &str| {
        line.len() > 14
            && line.as_bytes()[..7].iter().all(|byte| byte.is_ascii_digit() || *byte == b'/')
            && line[7..].starts_with(" at - ")
    };
    let line = |text: &str| log.lines().find(|line| line.contains(text)).unwrap().to_owned();
    for own in ["Operational MODE", "spawned uWSGI master", "spawned uWSGI worker 1"] {
        assert!(dated(&line(own)), "{log}");
    }
    assert_eq!(line("said hello"), "said hello", "what the app prints has none");
    assert!(line("GET /?hello").starts_with("[pid: "), "a line of a request has its own");
    let host = Host::start_with(&[], &["--log-date"]);
    let is_dated = |line: &str| line.get(24..27) == Some(" - ") && line[..3].chars().all(char::is_alphabetic);
    until("dated lines of the emperor", || host.emperor.log().lines().any(is_dated));
}

#[test]
fn what_is_no_logger_ends_the_start() {
    for (lines, part) in [
        ("logger = nosuch:x", "unable to find logger nosuch"),
        ("log-encoder = nosuch", "log encoder \"nosuch\" not found"),
        ("log-route = alone", "invalid custom regexp syntax"),
        ("log-drain = (", "is not a regular expression"),
    ] {
        let folder = Folder::new();
        folder.write("app.py", says("never"));
        folder.write("app.ini", ini(free_port(), lines));
        let mut family = liege(&folder, &["--ini", "app.ini"]);
        assert_eq!(family.wait().code(), Some(1), "{lines}");
        assert!(family.log().contains(part), "{lines}: {}", family.log());
    }
}
