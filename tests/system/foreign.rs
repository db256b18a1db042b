//! Vassals that other programs run: real uWSGI below our emperor, and programs that know nothing of either.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::is_gone;
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, environment, free_port, program};

/// Answers with the text, and tells who runs it: `/pid` the master, `/slow` after two seconds, `/hang` never.
fn app(text: &str) -> String {
    format!(
        r#"
import os, time
def application(environ, start_response):
    path = environ["PATH_INFO"]
    body = {text:?}
    if path == "/pid":
        body = str(os.getppid())
    elif path == "/slow":
        open(os.path.join(os.path.dirname(__file__), "running" + str(os.getppid())), "w").close()
        time.sleep(2)
    elif path == "/hang":
        time.sleep(1000)
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]
"#
    )
}

/// Every real uWSGI of this machine, with what its files need to say of Python.
fn uwsgis() -> Vec<(PathBuf, &'static str)> {
    let built = environment("uwsgi").map(|path| (path.join("bin/uwsgi"), ""));
    let packaged = program("uwsgi").map(|path| (path, "plugins = python3,http\n"));
    built.into_iter().chain(packaged).collect()
}

/// One of them; without it the test says that it is skipped.
fn uwsgi() -> Option<PathBuf> {
    environment("uwsgi").map(|path| path.join("bin/uwsgi"))
}

fn file(host: &Host, port: u16, lines: &str, emperor: &str) -> String {
    let folder = host.folder().path().display();
    format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nchdir = {folder}\nwsgi-file = app.py\nmaster = true\n{lines}\n\
         [emperor]\n{emperor}\n"
    )
}

fn pid(host: &Host, name: &str) -> i32 {
    let vassal = host.wait_for_vassal(name, "has a pid", |vassal| vassal["pid"].is_u64());
    i32::try_from(vassal["pid"].as_u64().unwrap()).unwrap()
}

fn up(host: &Host, name: &str) -> Value {
    host.wait_for_vassal(name, "is up", |vassal| vassal["state"] == "up")
}

/// uWSGI's statistics of the fleet.
fn statistics(host: &Host) -> Value {
    let bytes = Door::Unix(host.folder().path().join("stats.sock")).connect().unwrap().rest().unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[test]
fn a_uwsgi_vassal_is_started_reloaded_and_stopped_in_its_own_language() {
    for (uwsgi, plugins) in uwsgis() {
        let host = Host::start_with(&[], &["--emperor-stats=stats.sock"]);
        host.folder().write("app.py", app("one"));
        let port = free_port();
        let exec = format!("exec = {}", uwsgi.display());
        host.write("u.ini", file(&host, port, plugins, &exec));
        let door = Door::Port(port);
        door.wait_for("/", "one");
        let vassal = up(&host, "u.ini");
        assert_eq!(vassal["program"], uwsgi.display().to_string());
        for (command, part) in [("why", "runs it"), ("status", "run by")] {
            let api = host.folder().path().join("api.sock");
            let told = Command::new(LIEGE).args([command, "--api"]).arg(api).args(["u"]).output().unwrap();
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            assert!(told.contains(part) && told.contains(&uwsgi.display().to_string()), "{command}: {told}");
        }
        let master = pid(&host, "u.ini");
        assert_eq!(door.get("/pid").unwrap().text(), master.to_string());
        let told = eventually("its statistics", || {
            Some(statistics(&host)["vassals"][0].clone()).filter(|told| told["loyal"] == 1)
        });
        for (field, expected) in [("pid", i64::from(master)), ("ready", 1), ("accepting", 1)] {
            assert_eq!(told[field].as_i64(), Some(expected), "{field}");
        }
        // Its output has its name, and it finds what uWSGI's emperor would give it.
        host.emperor.wait_for_log("[u.ini] *** has_emperor mode detected");
        assert_eq!(std::fs::read_link(format!("/proc/{master}/fd/0")).unwrap().to_str(), Some("/dev/null"));

        // A touch is a reload in the same process, and a reload of everybody comes to it as well.
        host.folder().write("app.py", app("two"));
        host.touch("u.ini");
        door.wait_for("/", "two");
        host.folder().write("app.py", app("three"));
        let operation = host.reload("u.ini");
        assert_eq!(operation["outcome"], "swapped", "{operation:#}");
        assert_eq!(door.get("/").unwrap().text(), "three");
        host.folder().write("app.py", app("four"));
        host.emperor.signal(Signal::SIGHUP);
        door.wait_for("/", "four");
        assert_eq!(pid(&host, "u.ini"), master, "it was kept over the re-execution, and reloaded");
        up(&host, "u.ini");

        // A crash is followed by a restart at once.
        kill(Pid::from_raw(master), Signal::SIGKILL).unwrap();
        until("another master", || pid(&host, "u.ini") != master);
        door.wait_for("/", "four");

        // A stop lets the running request end.
        let mut running = door.connect().unwrap();
        running.send(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
        let master = pid(&host, "u.ini");
        wait_for_request(&host, master);
        host.remove("u.ini");
        assert_eq!(running.answer(false).unwrap().text(), "four");
        until("the vassal to be forgotten", || host.vassal("u.ini").is_none());
        assert!(is_gone(master));
    }
}

/// Waits until a worker of this master is in a slow request.
fn wait_for_request(host: &Host, master: i32) {
    let mark = host.folder().path().join(format!("running{master}"));
    until("the request to run", || mark.exists());
}

#[test]
fn arguments_and_environment_are_those_of_uwsgis_emperor() {
    let host = Host::start_with(&[], &["--vassal-set=who=me", "--emperor-wrapper-override=/nowhere/x"]);
    let shown = host.folder().path().join("shown");
    let script = host.folder().path().join("show.sh");
    let text = format!(
        "#!/bin/sh\n{{ echo \"$0 $@\"; pwd; env | grep -E '^(UWSGI|LIEGE_[^T]|NOTIFY)'; ls -l /proc/$$/fd; }} > {0}.new\nmv {0}.new {0}\nexec sleep 1000\n",
        shown.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    host.write("it is.ini", format!("[uwsgi]\n[emperor]\nexec = {}\n", script.display()));
    let shown = eventually("what the program found", || std::fs::read_to_string(&shown).ok());
    let mut lines = shown.lines();
    assert_eq!(lines.next().unwrap(), format!("{} --set who=me --ini it is.ini", script.display()));
    assert_eq!(lines.next().unwrap(), host.file("it is.ini").parent().unwrap().display().to_string());
    let rest: Vec<&str> = lines.collect();
    let variables: Vec<&&str> = rest.iter().filter(|line| line.contains('=')).collect();
    let [variable] = variables[..] else { panic!("{variables:?}") };
    let number = variable.strip_prefix("UWSGI_EMPEROR_FD=").unwrap();
    assert!(rest.iter().any(|line| line.contains(&format!(" {number} -> socket:"))), "{rest:?}");
}

#[test]
fn a_program_that_knows_nothing_is_a_vassal_and_what_cannot_be_executed_is_told() {
    let host = Host::start(&[]);
    let script = host.folder().path().join("plain.sh");
    std::fs::write(&script, "#!/bin/sh\necho hello from plain\nexec sleep 1000\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    host.write("plain.ini", format!("[uwsgi]\n[emperor]\nexec = {}\n", script.display()));
    host.emperor.wait_for_log("[plain.ini] hello from plain");
    let first = pid(&host, "plain.ini");
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    let vassal = host.wait_for_vassal("plain.ini", "rests", |vassal| vassal["state"] == "resting");
    assert_eq!(vassal["attempts"], 1, "{vassal:#}");
    until("another one", || pid(&host, "plain.ini") != first);
    host.remove("plain.ini");
    until("the vassal to be forgotten", || host.vassal("plain.ini").is_none());

    host.write("gone.ini", "[uwsgi]\n[emperor]\nexec = /nowhere/uwsgi\n");
    let vassal = host.wait_for_vassal("gone.ini", "says why", |vassal| vassal["last_failure"].is_object());
    let message = vassal["last_failure"]["message"].as_str().unwrap();
    assert!(message.contains("/nowhere/uwsgi"), "{message}");
}

#[test]
fn the_programs_for_all_are_tried_in_order_and_a_file_can_ask_for_ours() {
    let Some(uwsgi) = uwsgi() else { return };
    let wrapper = format!("--emperor-wrapper-fallback={}", uwsgi.display());
    let host = Host::start_with(&[], &["--emperor-wrapper=/nowhere/uwsgi", &wrapper]);
    host.folder().write("app.py", app("one"));
    let [port, ours] = [free_port(), free_port()];
    host.write("u.ini", file(&host, port, "", ""));
    host.write("ours.ini", file(&host, ours, "", "exec = liege"));
    Door::Port(port).wait_for("/", "one");
    Door::Port(ours).wait_for("/", "one");
    assert_eq!(up(&host, "ours.ini")["program"], Value::Null);
    host.emperor.wait_for_log("[u.ini] *** Starting uWSGI");
    assert_eq!(up(&host, "u.ini")["program"], uwsgi.display().to_string(), "the one that runs");
    let (reloaded, after) = (host.reload("u.ini"), up(&host, "u.ini"));
    assert_eq!(
        (&reloaded["outcome"], &after["program"]),
        (&"swapped".into(), &uwsgi.display().to_string().into())
    );
}

#[test]
fn an_app_moves_between_uwsgi_and_liege_by_a_change_of_its_file() {
    let Some(uwsgi) = uwsgi() else { return };
    let host = Host::start(&[]);
    host.folder().write("app.py", app("one"));
    let port = free_port();
    let exec = format!("exec = {}", uwsgi.display());
    for (lines, program) in [("", Value::Null), (exec.as_str(), exec[7..].into()), ("", Value::Null)] {
        host.write("a.ini", file(&host, port, "", lines));
        host.wait_for_vassal("a.ini", "runs so", |vassal| {
            vassal["state"] == "up" && vassal["program"] == program
        });
        Door::Port(port).wait_for("/", "one");
    }
}

#[test]
fn a_vassal_that_stops_its_heartbeat_is_killed_with_its_workers() {
    let Some(uwsgi) = uwsgi() else { return };
    let host = Host::start_with(&[], &["--emperor-required-heartbeat=3", "--emperor-stats=stats.sock"]);
    host.folder().write("app.py", app("one"));
    let port = free_port();
    host.write("u.ini", file(&host, port, "heartbeat = 1", &format!("exec = {}", uwsgi.display())));
    let door = Door::Port(port);
    door.wait_for("/", "one");
    until("a heartbeat", || statistics(&host)["vassals"][0]["last_heartbeat"].as_u64() > Some(0));
    let master = pid(&host, "u.ini");
    // Its only worker is stuck: uWSGI's emperor would kill the master, and leave the worker with the port.
    let mut stuck = door.connect().unwrap();
    stuck.send(b"GET /hang HTTP/1.0\r\n\r\n").unwrap();
    host.emperor.wait_for_log("has given no sign of life for 3 s");
    until("another master", || pid(&host, "u.ini") != master);
    door.wait_for("/", "one");
}

#[test]
fn one_of_ours_gives_signs_of_life_too() {
    let host = Host::start_with(&[], &["--emperor-required-heartbeat=3", "--emperor-stats=stats.sock"]);
    host.folder().write("app.py", app("one"));
    let port = free_port();
    host.write("a.ini", file(&host, port, "heartbeat = 1", ""));
    Door::Port(port).wait_for("/", "one");
    until("a heartbeat", || statistics(&host)["vassals"][0]["last_heartbeat"].as_u64() > Some(0));
    let master = pid(&host, "a.ini");
    kill(Pid::from_raw(master), Signal::SIGSTOP).unwrap();
    host.emperor.wait_for_log("has given no sign of life for 3 s");
    until("another master", || pid(&host, "a.ini") != master);
    Door::Port(port).wait_for("/", "one");
}

#[test]
fn a_uwsgi_vassal_sleeps_until_it_is_called() {
    let Some(uwsgi) = uwsgi() else { return };
    let host = Host::start(&[]);
    host.folder().write("app.py", app("one"));
    let port = free_port();
    let folder = host.folder().path().display();
    let text = format!(
        "[uwsgi]\nchdir = {folder}\nwsgi-file = app.py\nmaster = true\nprotocol = http\nidle = 2\ndie-on-idle = true\n\
         [emperor]\nexec = {}\non-demand = 127.0.0.1:{port}\n",
        uwsgi.display()
    );
    host.write("u.ini", text);
    let door = Door::Port(port);
    for _ in 0..2 {
        host.wait_for_vassal("u.ini", "sleeps", |vassal| vassal["state"] == "asleep");
        assert_eq!(door.get("/").unwrap().text(), "one");
        up(&host, "u.ini");
    }
    host.wait_for_vassal("u.ini", "sleeps", |vassal| vassal["state"] == "asleep");
}

#[test]
fn a_uwsgi_vassal_ends_with_an_emperor_that_is_killed_and_the_next_one_starts_it() {
    let Some(uwsgi) = uwsgi() else { return };
    let mut host = Host::start(&[]);
    host.folder().write("app.py", app("one"));
    let port = free_port();
    host.write("u.ini", file(&host, port, "", &format!("exec = {}", uwsgi.display())));
    Door::Port(port).wait_for("/", "one");
    let master = pid(&host, "u.ini");
    host.emperor.signal(Signal::SIGKILL);
    host.emperor.wait();
    until("the end of its master", || is_gone(master));
    drop(host.start_another());
    Door::Port(port).wait_for("/", "one");
    assert_ne!(pid(&host, "u.ini"), master);
}

#[test]
fn a_stop_of_a_fleet_with_uwsgi_finishes_what_runs() {
    let Some(uwsgi) = uwsgi() else { return };
    let mut host = Host::start(&[]);
    host.folder().write("app.py", app("one"));
    let [port, ours] = [free_port(), free_port()];
    host.write("u.ini", file(&host, port, "", &format!("exec = {}", uwsgi.display())));
    host.write("a.ini", file(&host, ours, "", ""));
    for port in [port, ours] {
        Door::Port(port).wait_for("/", "one");
    }
    let mut running: Vec<_> = [port, ours].map(|port| Door::Port(port).connect().unwrap()).into();
    for connection in &mut running {
        connection.send(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
    }
    let master = pid(&host, "u.ini");
    wait_for_request(&host, master);
    Command::new("kill").args(["-TERM", &host.emperor.pid().to_string()]).status().unwrap();
    for connection in &mut running {
        assert_eq!(connection.answer(false).unwrap().text(), "one");
    }
    assert!(host.emperor.wait().success());
    host.emperor.wait_until_empty();
}

/// A program that knows nothing of an emperor, and tells who it is.
fn teller(host: &Host) -> PathBuf {
    let script = host.folder().path().join("tell.sh");
    std::fs::write(
        &script,
        "#!/bin/sh\necho \"told: $(basename $0) $* uid $(id -u) MINE=$MINE fd $UWSGI_EMPEROR_FD\"\nexec sleep 1000\n",
    )
    .unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[test]
fn an_instance_becomes_the_program_that_its_file_names() {
    let host = Host::start(&[]);
    let script = teller(&host);
    let script = script.display();
    for (name, lines, expected) in [
        ("p.ini", format!("privileged-binary-patch = {script}"), "tell.sh --ini p.ini"),
        (
            "pa.ini",
            format!("privileged-binary-patch-arg = exec {script} of \"two words\""),
            "tell.sh of two words",
        ),
        ("u.ini", format!("unprivileged-binary-patch = {script}"), "tell.sh --ini u.ini"),
        ("ua.ini", format!("unprivileged-binary-patch-arg = exec {script} own"), "tell.sh own"),
    ] {
        host.write(name, format!("[uwsgi]\nenv = MINE=yes\n{lines}\n"));
        let uid = nix::unistd::geteuid();
        host.emperor.wait_for_log(&format!("[{name}] told: {expected} uid {uid} MINE=yes fd "));
        let vassal = host.vassal(name).unwrap();
        assert!(vassal["program"].as_str().unwrap().ends_with("tell.sh"), "{vassal:#}");
        // It keeps the process, and is stopped like any other program.
        let first = pid(&host, name);
        host.remove(name);
        until("its end", || host.vassal(name).is_none());
        assert!(is_gone(first));
    }
    host.write("gone.ini", "[uwsgi]\nunprivileged-binary-patch = /nowhere/x\n");
    let vassal = host.wait_for_vassal("gone.ini", "says why", |vassal| vassal["last_failure"].is_object());
    let failure = vassal["last_failure"].to_string();
    assert!(failure.contains("/nowhere/x") && failure.contains("unprivileged-binary-patch"), "{failure}");
}

#[test]
fn a_file_that_others_own_names_no_program_for_root() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: this needs root");
        return;
    }
    let host = Host::start(&[]);
    let script = teller(&host);
    std::fs::set_permissions(host.folder().path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = script.display();
    for (name, line, refused) in [
        ("p.ini", "privileged-binary-patch", true),
        ("pa.ini", "privileged-binary-patch-arg", true),
        ("u.ini", "unprivileged-binary-patch", false),
    ] {
        let text = format!("[uwsgi]\nuid = nobody\ngid = nogroup\n{line} = {script}\n");
        // What is not there yet starts nothing.
        let draft = host.folder().path().join("draft");
        std::fs::write(&draft, text).unwrap();
        std::os::unix::fs::chown(&draft, Some(65534), Some(65534)).unwrap();
        std::fs::rename(&draft, host.file(name)).unwrap();
        if refused {
            let vassal = host.wait_for_vassal(name, "says why", |vassal| vassal["last_failure"].is_object());
            let failure = vassal["last_failure"].to_string();
            assert!(failure.contains("belongs to uid 65534"), "{failure}");
        } else {
            host.emperor.wait_for_log(&format!("[{name}] told: tell.sh --ini {name} uid 65534 "));
        }
    }
    assert!(!host.emperor.log().contains("[p.ini] told") && !host.emperor.log().contains("[pa.ini] told"));
}

#[test]
fn an_instance_becomes_a_real_uwsgi_and_back() {
    let Some(uwsgi) = uwsgi() else { return };
    let host = Host::start(&[]);
    host.folder().write("app.py", app("one"));
    let port = free_port();
    // With a configuration of its own: uWSGI would become the same program again and again.
    let own = file(&host, port, "", "");
    host.folder().write("own.ini", &own);
    let own_file = host.folder().path().join("own.ini");
    let line = format!("unprivileged-binary-patch-arg = exec {} {}", uwsgi.display(), own_file.display());
    let patched = format!("[uwsgi]\n{line}\n");
    for _ in 0..2 {
        host.write("u.ini", &own);
        host.wait_for_vassal("u.ini", "is ours", |vassal| {
            vassal["state"] == "up" && vassal["program"].is_null()
        });
        host.write("u.ini", &patched);
        host.wait_for_vassal("u.ini", "is uWSGI's", |vassal| {
            vassal["state"] == "up" && vassal["program"] == "uwsgi"
        });
        Door::Port(port).wait_for("/", "one");
        // It speaks with the emperor: a reload keeps its process.
        let master = pid(&host, "u.ini");
        assert_eq!(host.reload("u.ini")["outcome"], "swapped");
        assert_eq!(pid(&host, "u.ini"), master);
        host.remove("u.ini");
        until("its end", || host.vassal("u.ini").is_none());
    }
}

/// A process and all that came of it.
fn family(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = text.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children.flat_map(family)).collect()
}

#[test]
fn a_signal_to_everybody_ends_a_fleet_with_uwsgi_in_one_stop() {
    let Some(uwsgi) = uwsgi() else { return };
    // From a terminal it goes to the emperor's group, in which no vassal is; from who ends a whole container to all.
    for (signal, all) in [(Signal::SIGINT, false), (Signal::SIGTERM, true)] {
        let mut host = Host::start_with(&[], &["--emperor-curse-tolerance=4"]);
        host.folder().write("app.py", app("one"));
        let [port, ours] = [free_port(), free_port()];
        host.write("u.ini", file(&host, port, "", &format!("exec = {}", uwsgi.display())));
        host.write("a.ini", file(&host, ours, "", ""));
        let doors = [Door::Port(port), Door::Port(ours)];
        let mut running = Vec::new();
        for (door, name) in doors.iter().zip(["u.ini", "a.ini"]) {
            door.wait_for("/", "one");
            let mut connection = door.connect().unwrap();
            connection.send(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
            wait_for_request(&host, pid(&host, name));
            running.push(connection);
        }
        let everybody = family(host.emperor.pid());
        let group = nix::unistd::getpgid(Some(Pid::from_raw(host.emperor.pid()))).unwrap();
        for one in everybody.iter().map(|pid| Pid::from_raw(*pid)) {
            if all || nix::unistd::getpgid(Some(one)) == Ok(group) {
                kill(one, signal).unwrap();
            }
        }
        // What a worker of uWSGI does that is told so itself is its own affair.
        let mut answers = running.into_iter().map(|mut connection| connection.answer(false));
        let theirs = answers.next().unwrap();
        assert!(all || theirs.unwrap().text() == "one");
        assert_eq!(answers.next().unwrap().unwrap().text(), "one");
        assert!(host.emperor.wait().success(), "{signal}");
        until("everybody's end", || everybody.iter().all(|pid| is_gone(*pid)));
    }
}
