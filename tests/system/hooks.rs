//! What is done around an instance's start, its workers and its end.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::{TOOLS, says};
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, serve_app};
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, extension, free_port};

/// An instance with `app.ini` made of these lines and a door; `%(did)` is a file for hooks to write to.
fn start(app: &str, lines: &str) -> (Family, Door, Folder) {
    serve_app(app, &format!("set-ph = did=%ddid\n{lines}"))
}

fn did(folder: &Folder) -> Vec<String> {
    let text = std::fs::read_to_string(folder.path().join("did")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn what_hooks_say_is_done_in_the_order_of_a_start_and_of_an_end() {
    let lines = "processes = 2\nenv = A=b\nexec-asap = echo asap $A $(pwd) >> %(did)\nhook-asap = appendn:%(did) hook-asap\n\
        hook-pre-jail = appendn:%(did) pre-jail\nexec-pre-jail = echo exec-pre-jail >> %(did)\n\
        hook-in-jail = appendn:%(did) in-jail\nexec-in-jail = echo exec-in-jail >> %(did)\n\
        jailed = true\nhook-post-jail = appendn:%(did) post-jail\nexec-post-jail = echo exec-post-jail >> %(did)\n\
        hook-as-root = appendn:%(did) as-root\nexec-as-root = echo exec-as-root >> %(did)\n\
        hook-as-user = appendn:%(did) as-user\nexec-as-user = echo exec-as-user >> %(did)\n\
        hook-master-start = unix_signal:15 gracefully_kill_them_all\nhook-master-start = appendn:%(did) master-start\n\
        hook-pre-app = appendn:%(did) pre-app\nexec-pre-app = echo exec-pre-app >> %(did)\n\
        hook-post-app = appendn:%(did) post-app\nexec-post-app = echo exec-post-app >> %(did)\n\
        hook-post-fork = appendn:%(did).w post-fork\nhook-accepting = appendn:%(did).w accepting\n\
        hook-accepting-once = appendn:%(did).w accepting-once\nhook-accepting1 = appendn:%(did).w accepting1\n\
        hook-accepting1-once = appendn:%(did).w accepting1-once\n\
        hook-as-user-atexit = appendn:%(did) atexit\nexec-as-user-atexit = echo exec-atexit >> %(did)";
    let (mut family, door, folder) = start(TOOLS, lines);
    door.wait_for("/", "hello");
    let place = folder.path().display().to_string();
    let asap = format!("asap b {place}");
    let root: &[&str] = match nix::unistd::geteuid().is_root() {
        true => &["post-jail", "exec-post-jail", "as-root", "exec-as-root"],
        false => &[],
    };
    let mut expected = vec!["hook-asap", &asap, "pre-jail", "exec-pre-jail", "in-jail", "exec-in-jail"];
    expected.extend(root);
    expected.extend(["as-user", "exec-as-user", "master-start", "pre-app", "exec-pre-app"]);
    expected.extend(["post-app", "exec-post-app"]);
    assert_eq!(did(&folder), expected);
    let workers = || std::fs::read_to_string(folder.path().join("did.w")).unwrap_or_default();
    let count = |line: &str| workers().lines().filter(|known| *known == line).count();
    until("both workers", || count("accepting-once") == 2);
    let counts = ["post-fork", "accepting", "accepting1", "accepting1-once"].map(count);
    assert_eq!(counts, [2, 2, 1, 1], "{}", workers());
    // One that replaces another is not the first of its number.
    let worker: i32 = door.get("/pid").unwrap().text().parse().unwrap();
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    until("another worker", || count("accepting") == 3);
    assert_eq!((count("accepting-once"), count("accepting1-once")), (2, 1));
    family.signal(Signal::SIGTERM);
    assert_eq!(family.wait().code(), Some(0));
    expected.extend(["atexit", "exec-atexit"]);
    assert_eq!(did(&folder), expected);
}

#[test]
fn a_reload_does_again_what_comes_before_a_generation_and_a_failure_leaves_the_old_one() {
    let lines = "exec-asap = test ! -e %dbad && echo asap $UWSGI_RELOADS >> %(did)\n\
        exec-pre-jail = echo pre-jail >> %(did)\nexec-as-user = echo as-user >> %(did)\n\
        hook-pre-app = appendn:%(did) pre-app";
    let (family, door, folder) = start(&says("v1"), lines);
    door.wait_for("/", "v1");
    assert_eq!(did(&folder), ["asap", "pre-jail", "as-user", "pre-app"]);
    folder.write("app.py", says("v2"));
    family.signal(Signal::SIGHUP);
    door.wait_for("/", "v2");
    assert_eq!(did(&folder)[4..], ["asap 1", "pre-app"]);
    folder.write("app.py", says("v3"));
    folder.write("bad", "");
    family.signal(Signal::SIGHUP);
    family.wait_for_log("(app.ini:5): the command ended with exit status 1");
    assert_eq!(door.get("/").unwrap().text(), "v2");
    std::fs::remove_file(folder.path().join("bad")).unwrap();
    // The same for what fails beside the application.
    let ini = std::fs::read_to_string(folder.path().join("app.ini")).unwrap();
    folder.write("app.ini", format!("{ini}exec-pre-app = exit 9\n"));
    family.signal(Signal::SIGHUP);
    family.wait_for_log("(app.ini:9): the command ended with exit status 9");
    assert_eq!(door.get("/").unwrap().text(), "v2");
    folder.write("app.ini", format!("{ini}hook-accepting = exec:exit 8\n"));
    family.signal(Signal::SIGHUP);
    family.wait_for_log("(app.ini:9): the command ended with exit status 8");
    assert_eq!(door.get("/").unwrap().text(), "v2");
    folder.write("app.ini", ini);
    family.signal(Signal::SIGHUP);
    door.wait_for("/", "v3");
}

#[test]
fn what_fails_ends_the_start_by_its_name_status_and_line() {
    for option in
        ["exec-asap", "exec-pre-jail", "exec-in-jail", "exec-as-user", "exec-pre-app", "exec-post-app"]
    {
        let (mut family, door, _folder) = start(TOOLS, &format!("{option} = exit 7\n"));
        assert_eq!(family.wait().code(), Some(1), "{option}");
        let message = format!("{option} = exit 7 (app.ini:5): the command ended with exit status 7");
        assert!(family.log().contains(&message), "{}", family.log());
        assert!(door.connect().is_err());
    }
    for option in ["hook-master-start", "hook-post-fork", "hook-accepting"] {
        let (mut family, _door, _folder) = start(TOOLS, &format!("{option} = exec:exit 7\n"));
        assert_eq!(family.wait().code(), Some(1), "{option}");
        let message = format!("{option} = exec:exit 7 (app.ini:5): the command ended with exit status 7");
        assert!(family.log().contains(&message), "{}", family.log());
    }
}

#[test]
fn a_hook_that_hangs_ends_with_its_start_and_leaves_nothing() {
    for option in ["exec-asap", "exec-pre-app", "hook-post-fork = exec:true\nhook-post-fork"] {
        let action = if option.starts_with("hook") { "exec:" } else { "" };
        let lines = format!("{option} = {action}echo waits >> %(did); sleep 600 & sleep 600\n");
        let (mut family, _door, folder) = start(TOOLS, &lines);
        until("the hook", || did(&folder) == ["waits"]);
        family.signal(Signal::SIGTERM);
        assert_eq!(family.wait().code(), Some(0), "{option}");
        family.wait_until_empty();
    }
    let (mut family, _door, _folder) = start(TOOLS, "startup-timeout = 1\nexec-asap = sleep 600 & sleep 600");
    assert_eq!(family.wait().code(), Some(1));
    assert!(family.log().contains("(app.ini:6): it ran for more than 1 s"), "{}", family.log());
    family.wait_until_empty();
    let (mut family, _door, _folder) =
        start(TOOLS, "startup-timeout = 1\nexec-pre-app = sleep 600 & sleep 600");
    assert_eq!(family.wait().code(), Some(1));
    assert!(family.log().contains("it ran for too long"), "{}", family.log());
    family.wait_until_empty();
}

#[test]
fn a_start_waits_for_what_it_needs_or_gives_up() {
    let (family, door, folder) = start(TOOLS, "wait-for-file = %dthere\nwait-for-fs-timeout = 600");
    family.wait_for_log("(max 600 seconds)");
    assert!(door.connect().is_err(), "it has not begun");
    folder.write("there", "");
    door.wait_for("/", "hello");
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let there = format!(
        "wait-for-socket = 127.0.0.1:{port}\nwait-for-iface = lo\nwait-for-dir = /\nwait-for-mountpoint = /proc"
    );
    let (_family, door, _folder) = start(TOOLS, &there);
    door.wait_for("/", "hello");
    for (lines, what) in [
        (
            "wait-for-fs = none\nwait-for-fs-timeout = 1",
            "wait-for-fs = none (app.ini:5): not there after 1 s",
        ),
        ("wait-for-interface = none0\nwait-iface-timeout = 1", "none0 (app.ini:5): not there"),
        ("wait-for-socket = @none.liege\nwait-for-socket-timeout = 1", "(app.ini:5): not there after 1 s"),
    ] {
        let (mut family, _door, _folder) = start(TOOLS, lines);
        assert_eq!(family.wait().code(), Some(1), "{lines}");
        assert!(family.log().contains(what), "{}", family.log());
    }
}

#[test]
fn a_touched_file_and_signals_do_what_hooks_say() {
    let lines = "hook-touch = %dfile appendn:%(did) touched\nhook-touch = %dfile exec:echo again >> %(did)\n\
        hook-master-start = unix_signal:1 gracefully_kill_them_all";
    let (mut family, door, folder) = start(TOOLS, lines);
    door.wait_for("/", "hello");
    folder.write("file", "");
    until("both", || did(&folder) == ["touched", "again"]);
    assert_eq!(door.get("/").unwrap().text(), "hello");
    family.signal(Signal::SIGHUP);
    assert_eq!(family.wait().code(), Some(0));
}

#[test]
fn a_vassal_that_waits_says_for_what_and_holds_up_nobody() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    let file = |port: u16, lines: &str| {
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n{lines}\n")
    };
    host.write("stuck.ini", file(free_port(), "exec-asap = sleep 600"));
    let vassal = host.wait_for_vassal("stuck.ini", "waits", |vassal| {
        vassal["reason"].as_str().is_some_and(|reason| reason.contains("sleep 600"))
    });
    let reason = vassal["reason"].as_str().unwrap();
    assert!(reason.contains("at exec-asap = sleep 600 ("), "{reason}");
    assert!(reason.contains("stuck.ini:4)"), "{reason}");
    assert_eq!(vassal["state"], "starting");
    let lines = "hook-emperor-reload = appendn:%d../did reload\nhook-emperor-stop = exec:echo stop >> %d../did\nhook-as-user-atexit = appendn:%d../did atexit";
    host.write("app.ini", file(port, lines));
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    assert_eq!(host.reload("app.ini")["outcome"], "swapped");
    until("the hook of the reload", || did(host.folder()) == ["reload"]);
    host.remove("app.ini");
    until("the hooks of the stop", || did(host.folder()) == ["reload", "stop", "atexit"]);
    host.remove("stuck.ini");
    until("its end", || host.vassal("stuck.ini").is_none());
}

#[test]
fn nothing_is_done_for_who_only_looks() {
    let folder = Folder::new();
    folder.write("app.py", says("hello"));
    let points =
        ["asap", "pre-jail", "in-jail", "as-root", "as-user", "pre-app", "post-app", "as-user-atexit"];
    let hooks: String =
        points.iter().map(|point| format!("exec-{point} = echo {point} >> %ddid\n")).collect();
    folder.write("app.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:1\nwsgi-file = %dapp.py\n{hooks}"));
    extension();
    for arguments in [&["check", "app.ini"][..], &["check", "--import", "app.ini"], &["config", "app.ini"]] {
        let told = Command::new(LIEGE).args(arguments).current_dir(folder.path()).output().unwrap();
        let text =
            String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr);
        assert!(!text.contains("unknown") && did(&folder).is_empty(), "{arguments:?}: {text}");
    }
}

#[test]
fn a_debugger_has_the_standard_input() {
    const READS: &str = r#"
import sys

def application(environ, start_response):
    body = sys.stdin.readline().encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]
"#;
    extension();
    for (option, text) in [("true", "typed\n"), ("false", "")] {
        let folder = Folder::new();
        let port = free_port();
        folder.write("app.py", READS);
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut child = Command::new(LIEGE)
            .args(["--http-socket", &format!("127.0.0.1:{port}"), "--wsgi-file", "app.py"])
            .args(["--set", &format!("honour-stdin={option}")])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(b"typed\n").unwrap();
        let answer = eventually("an answer", || Door::Port(port).get("/").ok());
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
        assert_eq!(answer.text(), text, "{option}");
    }
}

#[test]
fn hooks_have_the_rights_of_their_point() {
    let Some(place) = Folder::for_nobody() else { return };
    place.open_to(0o777);
    let place = place.path();
    let library = place.join("libliege.so");
    let made = |name: &str| std::fs::metadata(place.join(name)).unwrap().uid();
    let names = ["asap", "pre-jail", "in-jail", "as-root", "as-user", "pre-app", "as-user-atexit"];
    let hooks: String =
        names.iter().map(|name| format!("exec-{name} = touch {}/{name}\n", place.display())).collect();
    let lines = format!(
        "uid = nobody\ngid = nogroup\npython = /usr/bin/python3\nextension = {}\n{hooks}hook-asap = create:{1}/given\nhook-as-root = chown:{1}/given nobody nogroup",
        library.display(),
        place.display()
    );
    let (mut family, door, folder) = start(TOOLS, &lines);
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    door.wait_for("/", "hello");
    family.signal(Signal::SIGTERM);
    assert_eq!(family.wait().code(), Some(0));
    assert_eq!(names.map(made), [0, 0, 0, 0, 65534, 65534, 65534]);
    assert_eq!(made("given"), 65534);
}
