//! The commands and the API of a real emperor with real instances.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test says what went wrong by panicking"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const APP: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n";

/// An emperor over a directory of its own; stopped when dropped.
struct Host {
    directory: TempDir,
    emperor: Child,
}

impl Host {
    fn start(vassals: &[(&str, &str)]) -> Self {
        Self::start_with(&[], vassals)
    }

    fn start_with(arguments: &[&str], vassals: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("vassals")).unwrap();
        std::fs::write(path("app.py"), APP).unwrap();
        let root = directory.path().display().to_string();
        for (name, text) in vassals {
            std::fs::write(path("vassals").join(name), text.replace("ROOT", &root)).unwrap();
        }
        let emperor = Command::new(env!("CARGO_BIN_EXE_liege"))
            .args(["emperor", "vassals", "--api", "api.sock"])
            .args(arguments)
            .current_dir(directory.path())
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        let host = Self { directory, emperor };
        host.wait_for("the API", |host| host.liege(&["status"]).status.success());
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn liege(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_liege"));
        command.args(arguments).env("LIEGE_API", self.path("api.sock")).output().unwrap()
    }

    fn said(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.liege(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
        said
    }

    /// The body of an answer at one of the sockets.
    fn ask(&self, socket: &str, head: &str, body: &str) -> String {
        self.exchange(socket, head, "", body).1
    }

    /// Head and body of an answer.
    fn exchange(&self, socket: &str, head: &str, headers: &str, body: &str) -> (String, String) {
        let mut stream = UnixStream::connect(self.path(socket)).unwrap();
        let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        let length = body.len();
        let rest =
            format!("host: x\r\n{headers}{kind}content-length: {length}\r\nconnection: close\r\n\r\n{body}");
        let _ = write!(stream, "{head} HTTP/1.1\r\n{rest}");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.to_owned(), body.to_owned())
    }

    /// What the API answers, as JSON.
    fn api(&self, head: &str, body: &str) -> Value {
        let text = self.ask("api.sock", head, body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{head}: {error}: {text}"))
    }

    fn vassal(&self, name: &str) -> Value {
        serde_json::from_str(&self.said(&["status", name, "--json"], 0)).unwrap()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {}", self.said(&["status"], 0));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for_state(&self, name: &str, state: &str) {
        self.wait_for(&format!("{name} {state}"), |host| host.vassal(name)["state"] == state);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let pid_file = self.path("pid");
        std::fs::write(&pid_file, self.emperor.id().to_string()).unwrap();
        let _ = self.liege(&["--stop", &pid_file.display().to_string()]);
        let _ = self.emperor.wait();
    }
}

#[test]
fn a_vassal_is_seen_reloaded_rolled_back_stopped_and_started() {
    let host = Host::start(&[("my app.ini", "[uwsgi]\nhttp-socket = @ROOT/s\nwsgi-file = ROOT/app.py\n")]);
    host.wait_for_state("my app", "up");
    let seen = host.vassal("my app.ini");
    assert_eq!(seen["sockets"][0]["protocol"], "http");
    assert_eq!(seen["workers"][0]["state"], "idle");

    assert!(host.said(&["reload", "my app", "--wait"], 0).contains("the new generation serves"));
    std::fs::write(host.path("app.py"), "import not_there\n").unwrap();
    let told = host.said(&["reload", "my app", "--wait"], 4);
    for part in ["rolled back, the old one serves on", "Traceback", "No module named 'not_there'"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(host.said(&["status"], 0).contains("the last reload was rolled back"));
    assert_eq!(host.vassal("my app")["state"], "up");
    assert_eq!(host.vassal("my app")["last_reload"]["outcome"], "rolled-back");

    std::fs::write(host.path("app.py"), APP).unwrap();
    host.said(&["stop", "my app", "--wait"], 0);
    assert_eq!(host.vassal("my app")["state"], "stopped");
    host.said(&["start", "my app", "--wait"], 0);
    host.wait_for_state("my app", "up");
    host.said(&["upgrade", "--wait"], 0);
    assert_eq!(host.vassal("my app")["state"], "up");
    // The API's listeners are carried over a re-execution: nobody is refused in its midst.
    host.said(&["upgrade"], 0);
    for _ in 0..40 {
        assert_eq!(host.vassal("my app")["name"], "my app.ini");
    }
}

#[test]
fn who_was_let_in_before_the_emperor_executes_itself_is_answered() {
    let host = Host::start(&[]);
    let connect = |_| UnixStream::connect(host.path("api.sock")).unwrap();
    let clients: Vec<UnixStream> = (0..20).map(connect).collect();
    // They are let in by the time that one who comes after them has an answer.
    assert_eq!(host.api("GET /v1/emperor", "")["reexecutions"], 0);
    host.said(&["upgrade"], 0);
    for (number, mut client) in clients.into_iter().enumerate() {
        // One after the other, so that some ask when all else is ready.
        std::thread::sleep(Duration::from_millis(8));
        let sent = client.write_all(b"GET /v1/emperor HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{number}: {sent:?} {read:?} {answer:?}");
    }
    host.wait_for("the next image", |host| host.api("GET /v1/emperor", "")["reexecutions"] == 1);
}

#[test]
fn what_is_sent_again_over_a_re_execution_acts_once() {
    let host = Host::start(&[]);
    let upgrade = || {
        let (head, body) =
            host.exchange("api.sock", "POST /v1/upgrade?wait=30", "idempotency-key: one\r\n", "");
        (head, serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    };
    let (head, first) = upgrade();
    assert!(head.starts_with("HTTP/1.1 202 "), "who waits is answered by the image that he asked: {head}");
    let link = first["link"].as_str().unwrap();
    assert_eq!(host.api(&format!("GET {link}?wait=30"), "")["outcome"], "done");
    let (_, again) = upgrade();
    assert_eq!((&again["id"], &again["outcome"]), (&first["id"], &"done".into()));
    assert_eq!(host.api("GET /v1/emperor", "")["reexecutions"], 1);
}

#[test]
fn what_is_broken_is_shown_with_its_place_and_reason() {
    let host = Host::start(&[
        ("typo.ini", "[uwsgi]\nhttp-socket = @ROOT/t\nprocesses = 0\nwsgi-file = ROOT/app.py\n"),
        ("app-less.ini", "[uwsgi]\nhttp-socket = @ROOT/n\nmodule = not_there\n"),
    ]);
    host.wait_for_state("app-less", "no-app");
    host.wait_for_state("typo", "broken");
    let status = host.said(&["status"], 0);
    for part in ["typo.ini", "error: processes: 0", "No module named 'not_there'"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let page = host.vassal("app-less");
    assert!(page["last_failure"]["traceback"].as_str().unwrap().contains("not_there"), "{page}");
    let error = host.vassal("typo")["config_error"]["diagnostics"][0].clone();
    assert!(error["file"].as_str().unwrap().ends_with("/vassals/typo.ini"), "{error}");
}

/// An app that dies of what it is asked for.
const MORTAL: &str = "\
import os
def application(environ, start_response):
    if environ['PATH_INFO'] == '/die':
        print('these are my last words', flush=True)
        os.kill(os.getpid(), 9)
    start_response('200 OK', [])
    return [b'alive']
";

#[test]
fn a_dead_worker_leaves_a_black_box_and_counts() {
    let host = Host::start(&[("m.ini", "[uwsgi]\nhttp-socket = ROOT/m.sock\nwsgi-file = ROOT/mortal.py\n")]);
    std::fs::write(host.path("mortal.py"), MORTAL).unwrap();
    host.said(&["reload", "m", "--wait"], 0);
    let ask = |socket: &str, path: &str| host.ask(socket, &format!("GET {path}"), "");
    assert_eq!(ask("m.sock", "/"), "alive");
    assert_eq!(ask("m.sock", "/die?secret=1"), "");
    host.wait_for("the black box", |_| ask("api.sock", "/v1/black-boxes").contains("signal 9"));
    let list: Value = serde_json::from_str(&ask("api.sock", "/v1/vassals/m.ini/black-boxes")).unwrap();
    let found = &list["black_boxes"][0];
    assert_eq!(
        (&found["cause"], &found["worker"], &found["requests"]),
        (&"signal".into(), &1.into(), &1.into())
    );
    assert_eq!(
        (&found["last"][0]["request"], &found["last"][0]["running"]),
        (&"GET /die".into(), &true.into())
    );
    assert!(found["log"].to_string().contains("these are my last words"), "{found}");
    assert_eq!(ask("m.sock", "/"), "alive");
    let metrics = ask("api.sock", "/metrics");
    for line in [
        "liege_exits_total{vassal=\"m.ini\",role=\"worker\",reason=\"signal\"} 1",
        "liege_requests_total{vassal=\"m.ini\"} 2",
        "liege_request_duration_seconds_count{vassal=\"m.ini\"} 2",
        "liege_reloads_total{vassal=\"m.ini\",outcome=\"swapped\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let queued = metrics.lines().find(|line| line.starts_with("liege_queue_seconds_total{")).unwrap();
    assert!(queued.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap() > 0.0, "{queued}");
}

/// An app that does not come back from one of its pages.
const SLEEPY: &str = "\
import time
def nap_for_long():
    while True:
        time.sleep(1)
def application(environ, start_response):
    if environ['PATH_INFO'] == '/nap':
        nap_for_long()
    start_response('200 OK', [])
    return [b'awake']
";

#[test]
fn a_running_app_is_scaled_looked_into_and_restarted() {
    let text = "[uwsgi]\nhttp-socket = ROOT/s.sock\nwsgi-file = ROOT/sleepy.py\nprocesses = 2\n";
    let host = Host::start(&[("s.ini", text)]);
    std::fs::write(host.path("sleepy.py"), SLEEPY).unwrap();
    host.said(&["reload", "s", "--wait"], 0);
    let act = |what: &str, body: &str| host.api(&format!("POST /v1/vassals/s.ini/{what}?wait=30"), body);
    let workers = || host.vassal("s")["workers"].as_array().unwrap().len();

    assert_eq!(act("scale", "{\"workers\": 4}")["outcome"], "done");
    host.wait_for("4 workers", |host| host.vassal("s")["totals"]["workers"] == 4);
    let refused = act("scale", "{\"workers\": 4000}");
    assert_eq!(refused["outcome"], "failed", "{refused}");
    assert!(refused["failure"]["hint"].as_str().unwrap().contains("processes"), "{refused}");
    assert_eq!(act("scale", "{\"workers\": 1}")["outcome"], "done");
    host.wait_for("1 worker", |_| workers() == 1);
    assert_eq!(act("scale", "{\"worker\": 1}")["code"], "bad-json");
    assert_eq!(act("log-level", "{\"level\": \"debug\"}")["outcome"], "done");
    assert_eq!(act("log-level", "{\"level\": \"loud\"}")["code"], "bad-json");
    assert_eq!(host.api("POST /v1/log-level", "{\"level\": \"info\"}")["kind"], "log-level");

    std::thread::scope(|scope| {
        let napping = scope.spawn(|| host.ask("s.sock", "GET /nap?secret=1", ""));
        host.wait_for("the request", |host| {
            host.api("GET /v1/vassals/s.ini/requests", "")["requests"][0]["request"] == "GET /nap"
        });
        let running = host.api("GET /v1/requests", "")["requests"][0].clone();
        let pid = running["pid"].as_u64().unwrap();
        let stacks = act(&format!("workers/{pid}/stacks"), "");
        assert_eq!(stacks["outcome"], "done", "{stacks}");
        let log = stacks["log"].as_str().unwrap().to_owned();
        host.wait_for("the stacks", |host| {
            host.ask("api.sock", &format!("GET {log}"), "").contains("nap_for_long")
        });
        assert_eq!(act("workers/1/stacks", "")["code"], "conflict");
        assert_eq!(act("workers/x/stacks", "")["code"], "not-found");
        let id = running["id"].as_str().unwrap();
        assert_eq!(act(&format!("requests/{id}/kill"), "")["outcome"], "done");
        assert_eq!(napping.join().unwrap(), "");
        host.wait_for("why it died", |host| {
            host.api("GET /v1/vassals/s.ini/black-boxes", "")["black_boxes"][0]["cause"] == "operator"
        });
        host.wait_for("another worker", |_| act(&format!("requests/{id}/kill"), "")["code"] == "conflict");
    });
    assert_eq!(host.ask("s.sock", "GET /", ""), "awake");

    let before = host.vassal("s")["pid"].clone();
    assert_eq!(act("restart", "")["outcome"], "swapped");
    assert_ne!(host.vassal("s")["pid"], before);
    host.wait_for("both workers", |_| workers() == 2);
    assert_eq!(act("wake", "")["code"], "conflict");
    assert_eq!(act("sleep", "")["outcome"], "done");
    assert_eq!(host.vassal("s")["state"], "asleep");
    assert_eq!(act("wake", "")["outcome"], "done");
}

#[test]
fn a_file_is_looked_at_compared_written_and_taken_over() {
    let text = "[uwsgi]\nhttp-socket = ROOT/s.sock\nwsgi-file = ROOT/app.py\nenv = KEY=hidden\n";
    let host = Host::start_with(&["--api-write"], &[("w.ini", text)]);
    host.wait_for_state("w", "up");
    let file = host.path("vassals/w.ini");
    let old = std::fs::read_to_string(&file).unwrap();
    let draft = |text: &str| serde_json::json!({"name": "w.ini", "text": text}).to_string();
    let put = |tag: &str, text: &str| {
        let body = serde_json::json!({ "text": text }).to_string();
        let tag = if tag.is_empty() { String::new() } else { format!("if-match: {tag}\r\n") };
        let (_, body) = host.exchange("api.sock", "PUT /v1/vassals/w.ini/config?wait=30", &tag, &body);
        serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    };

    let more = format!("{old}processes = 2\nenv = KEY=other\n");
    let verdict = host.api("POST /v1/validate", &draft(&more));
    assert_eq!(
        (&verdict["valid"], &verdict["change"]["needs"]),
        (&true.into(), &"generation".into()),
        "{verdict}"
    );
    assert!(verdict["change"]["lines"].to_string().contains("+processes = 2"), "{verdict}");
    assert!(!verdict["change"].to_string().contains("other"), "{verdict}");
    let wrong = host.api("POST /v1/validate", &draft(&format!("{old}procesess = 2\nstrict = true\n")));
    let told =
        wrong["diagnostics"].as_array().unwrap().iter().find(|told| told["option"] == "procesess").unwrap();
    assert_eq!((&told["line"], &told["file"]), (&5.into(), &file.display().to_string().into()), "{wrong}");
    assert_eq!(host.api("POST /v1/validate", "{\"name\": \"../w.ini\"}")["code"], "no-such-vassal");

    let (head, body) = host.exchange("api.sock", "GET /v1/vassals/w.ini/config", "", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["text"], old.as_str());
    assert_eq!(put("", &more)["code"], "no-if-match");
    assert_eq!(put("\"other\"", &more)["code"], "changed");
    let refused = put(&tag, &format!("{old}processes = none\n"));
    assert_eq!((&refused["code"], &refused["line"]), (&"invalid".into(), &5.into()), "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("nobody would serve"), "{refused}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), old);
    let log = std::fs::read_to_string(host.path("log")).unwrap();
    for detail in ["If-Match", "as it was"] {
        let asked = "asks: write the file of \"w.ini\": refused: ";
        assert!(log.lines().any(|line| line.contains(asked) && line.contains(detail)), "{detail}: {log}");
    }
    assert!(!log.contains("becomes"), "only what was written is told as that: {log}");
    let done = put(&tag, &more);
    assert_eq!(done["outcome"], "swapped", "{done}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), more);
    host.wait_for("2 workers", |host| host.vassal("w")["totals"]["workers"] == 2);
    assert_eq!(put(&tag, &old)["code"], "changed");
    let events =
        host.api("GET /v1/events?vassal=w.ini", "").to_string() + &host.ask("api.sock", "GET /v1/events", "");
    assert!(events.contains("take over the file of"), "{events}");
    let drafts = std::fs::read_dir(host.path("vassals")).unwrap().count();
    assert_eq!(drafts, 1, "no draft is left");

    let other = Host::start(&[]);
    let answer = other.api("PUT /v1/vassals/w.ini/config", "{\"text\": \"\"}");
    assert_eq!(answer["code"], "writing-off");
}

#[test]
fn a_text_is_held_against_the_host_and_nobody_is_called() {
    let file = |more: &str| format!("[uwsgi]\nwsgi-file = ROOT/app.py\n{more}\n");
    let up = file("http-socket = ROOT/u.sock\nstats = ROOT/u.stats");
    let asleep = file("http-socket = ROOT/a.sock");
    let other = "[uwsgi]\nanything = at all\n[emperor]\nexec = sleep\nimportance = many\n";
    let arguments = ["--api-write", "--vassals-default", "env=A=1"];
    let host = Host::start_with(&arguments, &[("u.ini", &up), ("a.ini", &asleep), ("o.ini", other)]);
    host.wait_for_state("u", "up");
    host.wait_for_state("a", "up");
    host.api("POST /v1/vassals/a.ini/sleep?wait=30", "");
    let root = host.directory.path().display().to_string();
    let judge = |name: &str, text: &str| {
        let text = text.replace("ROOT", &root);
        host.api("POST /v1/validate", &serde_json::json!({"name": name, "text": text}).to_string())
    };
    let errors = |verdict: &Value| {
        let told = verdict["diagnostics"].as_array().unwrap().iter();
        let told = told.filter(|told| told["severity"] == "error");
        told.map(|told| format!("{}: {}", told["line"], told["message"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    // What it listens at itself is no obstacle.
    let good = judge("u.ini", &up);
    assert_eq!((&good["valid"], &good["diagnostics"]), (&true.into(), &serde_json::json!([])), "{good}");
    assert_eq!(good["looked_at"], serde_json::json!(["emperor", "options", "host"]), "{good}");
    assert_eq!(good["not_looked_at"][0]["part"], "application", "{good}");
    assert_eq!(host.api("POST /v1/validate", "{\"name\": \"u.ini\"}")["valid"], true);
    for (lines, expected) in [
        ("http-socket = ROOT/u.sock\nuid = no-such-user", "4: there is no user no-such-user".to_owned()),
        (
            "http-socket = ROOT/u.sock\nchdir = /no/such/place",
            "4: there is no directory /no/such/place".to_owned(),
        ),
        (
            "http-socket = ROOT/u.sock\nvirtualenv = /no/env",
            "4: the virtualenv /no/env does not exist".to_owned(),
        ),
        ("http-socket = ROOT/a.sock", format!("3: {root}/a.sock is also an address of a.ini")),
        ("http-socket = ROOT/app.py", format!("3: {root}/app.py is there, and no socket")),
        ("http-socket = 192.0.2.1:80", "3: 192.0.2.1:80 is not an address of this host".to_owned()),
        (&*format!("http-socket = {taken}"), format!("3: {taken} is in use by ")),
        ("http-socket = ROOT/u.sock\nlogto = /no/such/log", "4: there is no directory /no/such".to_owned()),
    ] {
        let verdict = judge("u.ini", &file(lines));
        let errors = errors(&verdict);
        assert!(errors.len() == 1 && errors[0].starts_with(&expected), "{lines}: {verdict}");
        assert_eq!(verdict["valid"], false);
    }
    // What a hook may make is not missing yet.
    let hooked =
        judge("u.ini", &file("http-socket = ROOT/u.sock\nchdir = /no/such\nexec-asap = mkdir /no/such"));
    assert_eq!(
        (&hooked["valid"], hooked["diagnostics"].to_string().contains("exec-asap makes it")),
        (&true.into(), true)
    );
    // A refused file stays, and all that is wrong is told.
    let (head, _) = host.exchange("api.sock", "GET /v1/vassals/u.ini/config", "", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    let put = |text: &str| {
        let body = serde_json::json!({ "text": text.replace("ROOT", &root) }).to_string();
        let headers = format!("if-match: {tag}\r\n");
        let (_, body) = host.exchange("api.sock", "PUT /v1/vassals/u.ini/config?wait=30", &headers, &body);
        serde_json::from_str::<Value>(&body).unwrap()
    };
    let refused = put(&file("http-socket = ROOT/a.sock\nuid = no-such-user\nthunder-lock = true"));
    assert_eq!((&refused["code"], &refused["status"]), (&"invalid".into(), &422.into()), "{refused}");
    let severities: Vec<_> =
        refused["errors"].as_array().unwrap().iter().map(|told| &told["severity"]).collect();
    assert_eq!(severities, ["error", "error", "warning"], "{refused}");
    let written = put(&format!("{up}thunder-lock = true\n"));
    assert_eq!(
        (&written["outcome"], &written["warnings"][0]["option"]),
        (&"swapped".into(), &"thunder-lock".into()),
        "{written}"
    );
    // Whoever is asleep sleeps on.
    assert_eq!(judge("a.ini", &asleep)["valid"], true);
    let met = judge("a.ini", &format!("{asleep}stats = ROOT/u.stats\n"));
    assert_eq!(errors(&met), [format!("4: {root}/u.stats is also an address of u.ini")]);
    assert_eq!(host.vassal("a")["state"], "asleep");

    let foreign = judge("o.ini", other);
    assert_eq!((&foreign["valid"], &foreign["change"]), (&true.into(), &Value::Null), "{foreign}");
    assert_eq!(foreign["looked_at"], serde_json::json!(["emperor"]), "{foreign}");
    let omitted: Vec<_> =
        foreign["not_looked_at"].as_array().unwrap().iter().map(|one| &one["part"]).collect();
    assert_eq!(omitted, ["application", "options", "host"], "{foreign}");
    assert_eq!(
        (&foreign["diagnostics"][0]["line"], &foreign["diagnostics"][0]["option"]),
        (&5.into(), &"importance".into())
    );
    let gone = judge("o.ini", &other.replace("sleep", "/no/such/program"));
    assert_eq!(
        (&gone["valid"], errors(&gone)[0].contains("/no/such/program")),
        (&false.into(), true),
        "{gone}"
    );
    assert_eq!(judge("o.ini", &other.replace("sleep", "liege"))["looked_at"][1], "options");
}

#[test]
fn who_cannot_write_a_file_learns_nothing_of_the_environment() {
    let path = std::env::var("PATH").unwrap();
    let kept = "[uwsgi]\nhttp-socket = ROOT/s.sock\nwsgi-file = ROOT/app.py\n";
    for (arguments, named, learns) in
        [(&[][..], "", false), (&[][..], "env = B=$(PATH)\n", true), (&["--api-write"][..], "", true)]
    {
        let kept = format!("{kept}{named}");
        let host = Host::start_with(arguments, &[("s.ini", &kept)]);
        host.wait_for_state("s", "up");
        let text = format!("{kept}chdir = /no/$(PATH)\n")
            .replace("ROOT", &host.directory.path().display().to_string());
        let draft = serde_json::json!({"name": "s.ini", "text": text}).to_string();
        let verdict = host.api("POST /v1/validate", &draft);
        assert_eq!(verdict["diagnostics"].to_string().contains(&path), learns, "{verdict}");
        assert_eq!(verdict.to_string().contains("were taken as empty"), !learns, "{verdict}");
    }
}

#[test]
fn who_cannot_write_a_file_reads_nothing_by_its_text() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let kept = "[uwsgi]\nhttp-socket = ROOT/s.sock\nwsgi-file = ROOT/app.py\nini = ROOT/secret/known.ini\n";
    for (arguments, reads) in [(&[][..], false), (&["--api-write"][..], true)] {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("known.ini"), "[uwsgi]\nprocesses = 2\n").unwrap();
        std::fs::write(secret.join("other"), "hidden").unwrap();
        for (path, mode) in [(directory.path().to_owned(), 0o755), (secret.clone(), 0o700)] {
            std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        let kept = kept.replace("ROOT/secret", &secret.display().to_string());
        let host = Host::start_with(arguments, &[("s.ini", &kept)]);
        host.wait_for_state("s", "up");
        let text = format!("{kept}procname-prefix = @({}/other)\n", secret.display());
        let text = text.replace("ROOT", &host.directory.path().display().to_string());
        let verdict =
            host.api("POST /v1/validate", &serde_json::json!({"name": "s.ini", "text": text}).to_string());
        assert_eq!(verdict.to_string().contains("hidden"), reads, "{verdict}");
        let told = verdict["diagnostics"].to_string();
        assert!(!told.contains("known.ini"), "what the file includes already is known: {told}");
    }
}

#[test]
fn where_requests_come_in_is_shown_as_it_is() {
    let app = "wsgi-file = ROOT/app.py";
    let files = [
        ("p.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:0\n{app}\n")),
        ("s.ini", format!("[uwsgi]\nhttp-socket = ROOT/s.sock\n{app}\n[emperor]\non-demand = ROOT/s.sock\n")),
    ];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let host = Host::start_with(&["--emperor-stats", "0.0.0.0:0"], &files);
    host.wait_for_state("p", "up");
    host.wait_for_state("s", "asleep");
    let of = |name: &str| {
        let all = host.api("GET /v1/sockets", "")["sockets"].as_array().unwrap().clone();
        let own: Vec<Value> = all.into_iter().filter(|socket| socket["vassal"] == name).collect();
        own
    };
    let port = of("p.ini")[0]["address"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok(), "{port}");
    let path = host.path("s.sock").display().to_string();
    assert_eq!(
        (&of("s.ini")[0]["address"], &of("s.ini")[0]["protocol"]),
        (&path.as_str().into(), &Value::Null)
    );
    assert_eq!(host.ask("s.sock", "GET /", ""), "hi");
    host.wait_for_state("s", "up");
    assert_eq!(of("s.ini")[0]["protocol"], "http");
    host.api("POST /v1/vassals/p.ini/stop?wait=30", "");
    assert_eq!(of("p.ini"), Vec::<Value>::new(), "nobody listens there any more");
    let log = std::fs::read_to_string(host.path("log")).unwrap();
    assert!(
        log.contains("the statistics at 0.0.0.0:0 (emperor-stats) can be read from other hosts"),
        "{log}"
    );
}
