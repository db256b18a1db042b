//! The commands that ask a running emperor, as people and scripts use them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use crate::support::apps::BROKEN;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::wait::{PATIENCE, eventually, until};
use crate::support::{LIEGE, free_port, root};

const APP: &str = r#"
import sys, time

def nap_for_long(seconds):
    time.sleep(seconds)

def application(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    if path == "/say":
        print("said", query, file=sys.stderr, flush=True)
    elif path == "/nap":
        nap_for_long(float(query))
    start_response("200 OK", [])
    return [b"hello"]
"#;

/// A host with `web-1`, `web-2` and `bad`, whose file does not work.
fn host(arguments: &[&str]) -> (Host, Door) {
    let ports = [free_port(), free_port()];
    let file = |port: u16| {
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\nprocesses = 2\n")
    };
    let host = Host::start_with(&[], arguments);
    host.folder().write("app.py", APP);
    host.write("web-1.ini", file(ports[0]));
    host.write("web-2.ini", file(ports[1]));
    host.write("bad.ini", "[uwsgi]\nhttp-sockt = 127.0.0.1:1\n");
    for name in ["web-1.ini", "web-2.ini"] {
        host.wait_for_vassal(name, "up", |vassal| vassal["state"] == "up");
    }
    host.wait_for_vassal("bad.ini", "broken", |vassal| vassal["state"] == "broken");
    (host, Door::Port(ports[0]))
}

fn command(host: &Host, arguments: &[&str]) -> Command {
    let mut command = Command::new(LIEGE);
    command
        .args(arguments)
        .current_dir(host.folder().path())
        .env("LIEGE_API", "api.sock")
        .stdin(Stdio::null());
    command
}

fn output(host: &Host, arguments: &[&str]) -> Output {
    command(host, arguments).output().unwrap()
}

/// What a command says, which must end like this.
fn said(host: &Host, arguments: &[&str], exit: i32) -> String {
    let output = output(host, arguments);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert!(!said.contains('\u{1b}'), "no colours where there is no terminal: {said:?}");
    said
}

/// A document on each line.
fn documents(host: &Host, arguments: &[&str], exit: i32) -> Vec<Value> {
    let said = said(host, arguments, exit);
    said.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn why_shows_the_last_output_of_what_ends_without_a_traceback() {
    let host = Host::start(&[]);
    let ends = "import os, sys\nprint('about to end', file=sys.stderr, flush=True)\nos._exit(7)\n";
    host.folder().write("ends.py", ends);
    host.write("ends.ini", "[uwsgi]\nhttp-socket = ends.sock\nwsgi-file = %d../ends.py\nneed-app = true\n");
    let told = eventually("a vassal that rests", || {
        let told = String::from_utf8(output(&host, &["why", "ends"]).stdout).unwrap();
        told.starts_with("ends.ini: resting\n").then_some(told)
    });
    assert!(told.contains("\nits last output\n") && told.contains("  about to end\n"), "{told}");
    assert_eq!(told.matches("next try in").count(), 1, "{told}");
}

#[test]
fn patterns_and_exit_statuses_are_for_scripts() {
    let (host, _door) = host(&[]);
    assert_eq!(said(&host, &["status", "--names", "web-*"], 0), "web-1.ini\nweb-2.ini\n");
    let told = said(&host, &["reload", "web-*", "--wait"], 0);
    for name in ["web-1.ini", "web-2.ini"] {
        assert!(told.contains(&format!("reload of {name}: the new generation serves\n")), "{told}");
    }
    let ended = documents(&host, &["reload", "web-?", "--wait", "--json"], 0);
    assert!(ended.iter().all(|operation| operation["outcome"] == "swapped"), "{ended:?}");
    assert_eq!(ended.len(), 2);

    let told = said(&host, &["why", "web-1"], 0);
    assert!(told.starts_with("web-1.ini: up\n"), "{told}");
    let told = said(&host, &["why", "*"], 5);
    for part in ["bad.ini: broken", "http-sockt: unknown option", "did you mean http-socket?", "what to do"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = documents(&host, &["why", "bad", "--json"], 5);
    assert_eq!((&told[0]["good"], &told[0]["state"]), (&false.into(), &"broken".into()));

    assert!(said(&host, &["reload", "--all", "--wait"], 4).contains("1 of 3 vassals failed"));
    said(&host, &["scale", "web-1", "--workers", "3", "--wait"], 0);
    host.wait_for_vassal("web-1.ini", "3 workers", |vassal| vassal["totals"]["workers"] == 3);
    said(&host, &["log-level", "web-*", "--level", "debug"], 0);
    said(&host, &["log-level", "--emperor", "--level", "warn"], 0);
    said(&host, &["clear-back-off", "--all"], 0);
    said(&host, &["rescan"], 0);
    let before = host.vassal("web-1.ini").unwrap()["pid"].clone();
    said(&host, &["restart", "web-1", "--wait"], 0);
    assert_ne!(host.vassal("web-1.ini").unwrap()["pid"], before);
    said(&host, &["sleep", "web-2", "--wait"], 0);
    assert_eq!(host.vassal("web-2.ini").unwrap()["state"], "asleep");
    said(&host, &["wake", "web-2", "--wait"], 0);
    said(&host, &["wake", "web-2"], 1);
    for (arguments, exit) in [
        (&["reload", "none"][..], 1),
        (&["reload", "web"], 1),
        (&["why"], 2),
        (&["status", "--api", "/nowhere"], 3),
        (&["status", "--api", "ftp://x:1"], 2),
        (&["reload", "bad", "--wait"], 4),
    ] {
        said(&host, arguments, exit);
    }
}

/// A command that goes on, and its lines as they come.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(host: &Host, arguments: &[&str]) -> Self {
        let mut child =
            command(host, arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let _ = out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Self { child, lines }
    }

    fn until(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{part}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn logs_and_events_are_followed_over_a_re_execution() {
    let (host, door) = host(&[]);
    let logs = Following::start(&host, &["logs", "-f", "web-*"]);
    let events = Following::start(&host, &["events", "-f", "web-1", "--json"]);
    door.get("/say?one").unwrap();
    assert!(logs.until("said one").contains(" web-1.ini "));
    said(&host, &["upgrade", "--wait"], 0);
    door.get("/say?two").unwrap();
    logs.until("said two");
    said(&host, &["reload", "web-1", "--wait"], 0);
    let event: Value = serde_json::from_str(&events.until("swapped")).unwrap();
    assert_eq!(event["vassal"], "web-1.ini");

    let kept = documents(&host, &["logs", "web-1", "--json"], 0);
    assert!(kept.iter().any(|line| line["text"] == "said two" && line["vassal"] == "web-1.ini"), "{kept:?}");
    assert_eq!(said(&host, &["events", "-n", "3"], 0).lines().count(), 3);
    assert!(said(&host, &["events", "none"], 1).contains("there is no vassal"));
}

#[test]
fn stacks_show_where_a_request_is() {
    let (host, door) = host(&[]);
    std::thread::scope(|scope| {
        let napping = scope.spawn(|| door.get("/nap?5"));
        until("the request", || host.vassal("web-1.ini").unwrap().to_string().contains("GET /nap"));
        let told = said(&host, &["stacks", "web-1"], 0);
        for part in ["web-1.ini: worker 1, pid ", "GET /nap for ", "in nap_for_long", "in application"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let told = documents(&host, &["stacks", "web-1", "--json"], 0);
        assert_eq!(told.len(), 2);
        assert_eq!(napping.join().unwrap().unwrap().status, 200);
    });
}

#[test]
fn the_reload_of_the_unit_waits_and_tells_what_was_rolled_back() {
    let (host, door) = host(&[]);
    host.remove("bad.ini");
    until("the end of bad.ini", || host.vassal("bad.ini").is_none());
    let unit = std::fs::read_to_string(root().join("systemd/liege.service")).unwrap();
    let reload = unit.lines().find_map(|line| line.strip_prefix("ExecReload=/usr/local/bin/liege ")).unwrap();
    let reload: Vec<&str> = reload.split(' ').collect();
    let told = said(&host, &reload, 0);
    assert!(told.contains("reload of web-1.ini: the new generation serves"), "{told}");
    assert!(told.ends_with("reload of all vassals: done\n"), "{told}");
    assert_eq!(host.ask("/v1/emperor")["reexecutions"], 1);

    host.folder().write("app.py", BROKEN);
    let told = said(&host, &reload, 4);
    for part in ["web-2.ini: rolled back, the old one serves on", "no luck today", "2 of 2 vassals failed"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(host.ask("/v1/emperor")["reexecutions"], 2);
    assert_eq!(door.get("/").unwrap().text(), "hello");
}

#[test]
fn many_hosts_are_one_view_and_a_dead_one_is_told() {
    let port = free_port();
    let (host, _door) = {
        let tokens = "read reader-token-of-some-length\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tokens");
        std::fs::write(&file, tokens).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let http = format!("--api-http=127.0.0.1:{port}");
        let token = format!("--api-token-file={}", folder.keep().join("tokens").display());
        host(&[&http, &token])
    };
    let dead = free_port();
    host.folder().write("reader", "reader-token-of-some-length\n");
    host.folder().write(
        "hosts",
        format!(
            "here=./api.sock\nfar=http://127.0.0.1:{port} reader # read-only\ngone=http://127.0.0.1:{dead}\n"
        ),
    );
    let told = said(&host, &["--hosts", "hosts", "status"], 3);
    for part in ["here: liege ", "far: liege ", "2 of 3 vassals serve", "bad.ini", "gone: "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("web-1.ini"), "only what needs a look: {told}");
    let told = said(&host, &["--hosts=hosts", "status", "web-1"], 3);
    assert_eq!(told.matches("web-1.ini").count(), 2, "{told}");
    let told = documents(&host, &["--hosts", "hosts", "status", "--json"], 3);
    let gone = told.iter().find(|host| host["host"] == "gone").unwrap();
    assert!(gone["error"].as_str().unwrap().contains("nobody listens"), "{gone}");

    let told = said(&host, &["top", "--hosts", "hosts", "--once", "--interval", "1"], 3);
    assert!(told.starts_with("3 hosts, 2 answer"), "{told}");
    assert!(told.contains("gone: no answer"), "{told}");
    let told = documents(&host, &["top", "--hosts", "hosts", "--json", "--interval", "1"], 3);
    assert_eq!(told[0]["vassals"].as_array().unwrap().len(), 6);
    let told = documents(&host, &["top", "--json", "--interval", "1"], 0);
    assert_eq!(told[0]["vassals"][1]["rates"]["requests"], 0.0, "{told:?}");

    let events = Following::start(&host, &["--hosts", "hosts", "events", "-f", "-n", "1", "--json"]);
    events.until("\"host\":\"far\"");
    said(&host, &["rescan"], 0);
    eventually("the event from both", || {
        let hosts = [events.until("rescan"), events.until("rescan")]
            .map(|line| serde_json::from_str::<Value>(&line).unwrap()["host"].as_str().unwrap().to_owned());
        (hosts[0] != hosts[1]).then_some(())
    });
    // Nothing is done by a view.
    said(&host, &["--hosts", "hosts", "reload", "web-1"], 2);
}
