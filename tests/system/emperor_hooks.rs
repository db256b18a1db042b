//! What an emperor has done around its own start and those of its vassals.

use std::path::Path;

use crate::support::apps::TOOLS;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::server::{Folder, liege};
use crate::support::wait::until;

fn vassal(port: u16, lines: &str) -> String {
    format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n{lines}\n")
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn what_an_emperor_is_told_is_done_around_its_vassals() {
    let arguments = [
        "--hook-emperor-start=exec:echo start > begun",
        "--hook-as-vassal=putenv:DID=../as-vassal",
        "--hook-as-vassal=exec:echo hook >> ../as-vassal",
        "--exec-as-vassal=echo exec $UWSGI_VASSAL_CONFIG $(basename $(pwd)) $UWSGI_VASSAL_UID ${NOTIFY_SOCKET:-none} >> ../as-vassal",
        "--hook-as-emperor=exec:echo hook >> as-emperor",
        "--exec-as-emperor=echo said; echo exec $UWSGI_VASSAL_CONFIG $UWSGI_VASSAL_PID $UWSGI_VASSAL_GID >> as-emperor",
        "--hook-as-emperor=safeexec:exit 3",
    ];
    let host = Host::start_with(&[], &arguments);
    host.folder().write("app.py", format!("import os\nassert os.environ['DID'] == '../as-vassal'\n{TOOLS}"));
    let at = |name: &str| host.folder().path().join(name);
    assert_eq!(lines(&at("begun")), ["start"]);
    let name = "a $(touch x).ini";
    let port = free_port();
    // What a vassal says of the emperor's hooks is no order to anybody.
    let vain = "exec-as-emperor = touch ../../vain\nhook-emperor-start = exec:touch ../../vain\nexec-as-vassal = touch ../../vain";
    host.write(name, vassal(port, vain));
    Door::Port(port).wait_for("/", "hello");
    let uid = nix::unistd::geteuid();
    assert_eq!(lines(&at("as-vassal")), ["hook".to_owned(), format!("exec {name} vassals {uid} none")]);
    until("what is done as emperor", || lines(&at("as-emperor")).len() == 2);
    let (pid, gid) = (host.vassal(name).unwrap()["pid"].clone(), nix::unistd::getegid());
    assert_eq!(lines(&at("as-emperor")), ["hook".to_owned(), format!("exec {name} {pid} {gid}")]);
    host.emperor.wait_for_log(&format!("[{name}] said"));
    host.emperor.wait_for_log("exec-as-emperor: has no effect");
    // A reload is no start.
    assert_eq!(host.reload(name)["outcome"], "swapped");
    assert_eq!(lines(&at("as-vassal")).len(), 2);
    assert!(!at("vain").exists() && !host.file("x").exists() && !at("x").exists());
}

#[test]
fn who_hangs_as_emperor_holds_nobody_up_and_what_fails_as_vassal_ends_that_start() {
    let arguments = [
        "--exec-as-emperor=echo $UWSGI_VASSAL_CONFIG >> began; exec sleep 1000",
        "--exec-as-vassal=test $UWSGI_VASSAL_CONFIG != bad.ini",
    ];
    let mut host = Host::start_with(&[], &arguments);
    host.folder().write("app.py", TOOLS);
    host.write("bad.ini", vassal(free_port(), ""));
    let why = host.wait_for_vassal("bad.ini", "has failed", |vassal| vassal["last_failure"].is_object());
    let failure = why["last_failure"].to_string();
    assert!(failure.contains("exec-as-vassal = test") && failure.contains("exit status 1"), "{failure}");
    for n in 0..10 {
        let port = free_port();
        host.write(&format!("{n}.ini"), vassal(port, ""));
        Door::Port(port).wait_for("/", "hello");
    }
    assert!(!lines(&host.folder().path().join("began")).is_empty());
    // Nor does it hold up a stop for longer than it may take: whoever ends the emperor ends it.
    host.emperor.signal(nix::sys::signal::Signal::SIGKILL);
    host.emperor.wait();
}

#[test]
fn a_stop_hook_that_still_runs_is_taken_for_nothing_of_a_vassal_that_ends_meanwhile() {
    let mut host = Host::start_with(&[], &["--vassals-stop-hook=sh hook"]);
    host.folder().write("app.py", TOOLS);
    host.folder()
        .write("hook", "echo $1 >> began\nwhile ! [ -e go ]; do sleep 0.1; done\necho $1 >> ended\n");
    let at = |name: &str| host.folder().path().join(name);
    for name in ["a.ini", "b.ini"] {
        let port = free_port();
        host.write(name, vassal(port, ""));
        Door::Port(port).wait_for("/", "hello");
    }
    for name in ["a.ini", "b.ini"] {
        host.remove(name);
        until("it is forgotten, whatever its hook does", || host.vassal(name).is_none());
        until("its hook runs", || lines(&at("began")).contains(&name.to_owned()));
    }
    host.folder().write("go", "");
    host.emperor.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(host.emperor.wait().success());
    let mut ended = lines(&host.folder().path().join("ended"));
    ended.sort();
    assert_eq!(ended, ["a.ini", "b.ini"]);
}

#[test]
fn a_stop_hook_changes_nothing_of_an_orderly_stop() {
    let mut host = Host::start_with(&[], &["--vassals-stop-hook=sh hook"]);
    host.folder().write("app.py", TOOLS);
    host.folder().write("hook", "echo $1 >> ended\n");
    let names = ["a.ini", "b.ini"];
    let mut running = Vec::new();
    for name in names {
        let port = free_port();
        host.write(name, vassal(port, ""));
        Door::Port(port).wait_for("/", "hello");
        let mut connection = Door::Port(port).connect().unwrap();
        connection.send(b"GET /sleep?2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        host.wait_for_vassal(name, "is busy", |vassal| vassal["totals"]["busy"] == 1);
        running.push(connection);
    }
    host.emperor.signal(nix::sys::signal::Signal::SIGTERM);
    for connection in &mut running {
        assert_eq!(connection.answer(false).unwrap().text(), "slept");
    }
    assert!(host.emperor.wait().success());
    let mut ended = lines(&host.folder().path().join("ended"));
    ended.sort();
    assert_eq!(ended, names);
    assert!(!host.emperor.log().contains("SIG"), "{}", host.emperor.log());
}

#[test]
fn what_hooks_have_not_done_yet_the_next_image_does() {
    let mut host =
        Host::start_with(&[], &["--vassals-stop-hook=sh hook", "--emperor-on-demand-exec=sh names"]);
    host.folder().write("app.py", TOOLS);
    let wait = "while ! [ -e go ]; do sleep 0.1; done";
    host.folder().write("hook", format!("echo $1 >> began\n{wait}\necho $UWSGI_VASSALS_DIR/$1 >> ended\n"));
    host.folder().write("names", format!("case $1 in *slow.ini) echo $$ >> asked; {wait};; esac\n"));
    let at = |name: &str| host.folder().path().join(name);
    // More than run at a time.
    let names: Vec<String> = (0..10).map(|n| format!("{n}.ini")).collect();
    for name in &names {
        let port = free_port();
        host.write(name, vassal(port, ""));
        Door::Port(port).wait_for("/", "hello");
    }
    host.emperor.signal(nix::sys::signal::Signal::SIGHUP);
    host.emperor.wait_for_log("the emperor was re-executed");
    names.iter().for_each(|name| host.remove(name));
    until("some run", || lines(&at("began")).len() == 8);
    host.write("slow.ini", vassal(free_port(), ""));
    until("the command is asked", || lines(&at("asked")).len() == 1);
    until("the names are gone", || host.vassal("9.ini").is_none());
    assert_eq!(host.post("/v1/upgrade").status, 202);
    until("the next image asks again", || lines(&at("asked")).len() == 2);
    host.folder().write("go", "");
    host.emperor.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(host.emperor.wait().success());
    let mut ended = lines(&host.folder().path().join("ended"));
    ended.sort();
    ended.dedup();
    let directory = host.folder().path().join("vassals");
    let mut expected: Vec<String> =
        names.iter().map(|name| format!("{}/{name}", directory.display())).collect();
    expected.extend(ended.iter().filter(|line| line.ends_with("/slow.ini")).cloned());
    assert_eq!(ended, expected);
}

#[test]
fn what_fails_before_an_emperor_starts_ends_it() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("vassals")).unwrap();
    let arguments = ["--emperor", "vassals", "--api", "api.sock", "--hook-emperor-start=exec:exit 7"];
    let mut emperor = liege(&folder, &arguments);
    assert_eq!(emperor.wait().code(), Some(1));
    let log = emperor.log();
    assert!(
        log.contains("hook-emperor-start = exec:exit 7 (command line): the command ended with exit status 7"),
        "{log}"
    );
    assert!(log.contains("mend it, or remove it"), "{log}");
    let arguments = ["--emperor", "vassals", "--api", "api.sock", "--emperor-pidfile=gone/emperor.pid"];
    let mut emperor = liege(&folder, &arguments);
    assert_eq!(emperor.wait().code(), Some(1));
    let log = emperor.log();
    assert!(
        log.contains("cannot open the pid file ") && log.contains("/gone/emperor.pid: No such file"),
        "{log}"
    );
}

#[test]
fn a_vassal_begins_where_its_file_says() {
    let host = Host::start_with(&[], &["--emperor-chdir-attr=place", "--emperor-wrapper-attr=run"]);
    host.folder().write("app.py", format!("import os\nopen('cwd', 'w').write(os.getcwd())\n{TOOLS}"));
    std::fs::create_dir(host.folder().path().join("site")).unwrap();
    let port = free_port();
    host.write("a.ini", vassal(port, "[emperor]\nplace = ../site"));
    Door::Port(port).wait_for("/", "hello");
    let site = host.folder().path().join("site").canonicalize().unwrap();
    assert_eq!(std::fs::read_to_string(site.join("cwd")).unwrap(), site.display().to_string());
    host.write("b.ini", vassal(free_port(), "[emperor]\nplace = nowhere"));
    let why = host.wait_for_vassal("b.ini", "has failed", |vassal| vassal["last_failure"].is_object());
    assert!(why["last_failure"].to_string().contains("cannot begin in nowhere"), "{why:#}");
    // The other key names a program, which finds the file from there as well.
    host.folder().write("run", "#!/bin/sh\ntest -f \"$2\" && pwd > ran && exec sleep 1000\n");
    let program = host.folder().path().join("run");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    host.write("c.ini", format!("[emperor]\nrun = {}\nplace = ../site\n", program.display()));
    until("the program", || {
        std::fs::read_to_string(site.join("ran")).is_ok_and(|said| said.trim() == site.display().to_string())
    });
}

#[test]
fn an_emperors_own_start_and_end_have_the_hooks_of_any_start() {
    let said = |point: &str| format!("--exec-{point}=echo {point} $(id -u) >> told");
    let mut arguments =
        ["as-user", "as-root", "asap", "in-jail", "pre-jail", "as-user-atexit"].map(said).to_vec();
    arguments.push("--hook-emperor-start=exec:echo emperor-start $(id -u) >> told".to_owned());
    arguments.push("--hook-asap=putenv:GIVEN=by hook-asap".to_owned());
    arguments.push("--exec-post-jail=echo not jailed >> told".to_owned());
    arguments.push("--exec-pre-app=echo a worker's matter >> told".to_owned());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut host = Host::start_with(&[], &arguments);
    let told = host.folder().path().join("told");
    host.folder()
        .write("app.py", format!("import os\nassert os.environ['GIVEN'] == 'by hook-asap'\n{TOOLS}"));
    let port = free_port();
    host.write("a.ini", vassal(port, ""));
    Door::Port(port).wait_for("/", "hello");
    host.emperor.wait_for_log("exec-pre-app: has no effect in an emperor");
    let uid = nix::unistd::geteuid();
    let points = ["asap", "pre-jail", "in-jail", "as-root", "as-user", "emperor-start"];
    let mut expected: Vec<String> = points
        .iter()
        .filter(|point| uid.is_root() || **point != "as-root")
        .map(|p| format!("{p} {uid}"))
        .collect();
    assert_eq!(lines(&told), expected);
    // A later image goes on: it does not start.
    let reexecuted = || host.ask("/v1/emperor")["reexecutions"] == 1;
    host.emperor.signal(nix::sys::signal::Signal::SIGHUP);
    until("another image", reexecuted);
    assert_eq!(lines(&told), expected);
    host.emperor.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(host.emperor.wait().success());
    expected.push(format!("as-user-atexit {uid}"));
    assert_eq!(lines(&told), expected);
}

#[test]
fn a_start_hook_that_hangs_is_named_and_ends_with_its_vassal() {
    let mut host = Host::start_with(
        &[],
        &["--vassals-start-hook=/usr/bin/tail -f /dev/null", "--emperor-concurrency=1"],
    );
    host.folder().write("app.py", TOOLS);
    for name in ["a.ini", "b.ini"] {
        host.write(name, vassal(free_port(), ""));
    }
    host.wait_for_vassal("a.ini", "hangs", |vassal| {
        vassal["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("vassals-start-hook /usr/bin/tail -f /dev/null"))
    });
    host.remove("a.ini");
    until("its end", || host.vassal("a.ini").is_none());
    host.emperor.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(host.emperor.wait().success());
    assert!(!host.emperor.log().contains("SIGKILL"), "{}", host.emperor.log());
}
