//! The emperor as a real process, with real directories, pipes, signals and children.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "support/far.rs"]
mod far;
#[path = "emperor/host.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod host;
#[path = "support/port.rs"]
mod port;
#[path = "emperor/sources.rs"]
mod sources;
#[path = "emperor/stage.rs"]
mod stage;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::time::Duration;

use host::{Clients, Host, get, kill};
use stage::{Stage, is_alive};

/// The emperor's process, which [`Stage`] starts; nothing by itself.
#[test]
fn the_emperor() {
    if std::env::var_os("STAGE").is_some() {
        let code = stage::play();
        std::process::exit(i32::from(code != std::process::ExitCode::SUCCESS));
    }
}

#[test]
fn rubbish_that_a_vassal_sends_costs_nobody_else_anything() {
    let mut stage = Stage::new(&[("a.ini", "rubbish"), ("b.ini", "")]);
    stage.wait("the last of it", || stage.log().contains("is not understood: invalid type"));
    assert!(stage.log().contains("it announced 2 caches and sent 1"), "{}", stage.log());
    stage.until("a.ini", "Up");
    stage.until("b.ini", "Up");
    // What it holds of it goes over an `execve`, too.
    stage.signal_emperor("HUP");
    stage.write("c.ini", "");
    stage.until("c.ini", "Up");
    assert!(stage.end().success());
    assert!(!stage.log().contains("panicked"), "{}", stage.log());
}

#[test]
fn files_are_started_touched_and_removed() {
    let mut stage = Stage::new(&[("a.ini", "print"), ("not this.txt", ""), ("c.toml", "")]);
    fs::create_dir(stage.path("one/dir.ini")).unwrap();
    symlink("nowhere", stage.path("one/dangling.ini")).unwrap();
    stage.until("a.ini", "Up");
    stage.until("a.ini", "printed \\\\x1b[31m here");
    stage.until("! c.toml", "TOML");
    stage.until("! dangling.ini", "leads nowhere");
    stage.until("! dir.ini", "directory");
    assert!(stage.log().contains("[a.ini] printed \\x1b[31m here"));

    stage.write("new one's.ini", "");
    stage.until("new one's.ini", "Up");

    let pid = stage.pid("a.ini");
    stage.write("a.ini", "still here");
    stage.until("a.ini", "Swapped");
    stage.write("a.ini", "broken");
    stage.until("a.ini", "RolledBack");
    assert_eq!(stage.pid("a.ini"), pid);

    fs::remove_file(stage.path("one/a.ini")).unwrap();
    stage.wait("a.ini is gone", || stage.line("a.ini").is_empty());
    assert!(!is_alive(pid));
    assert!(stage.end().success());
}

#[test]
fn replacing_a_file_in_any_way_is_one_reload() {
    let stage = Stage::new(&[("a.ini", "1")]);
    stage.until("a.ini", "Up");
    let reloads = || stage.fakes().iter().filter(|line| line.starts_with("reload a.ini")).count();
    let file = stage.path("one/a.ini");
    let ways: [(&str, &dyn Fn()); 4] = [
        ("delete and create", &|| {
            fs::remove_file(&file).unwrap();
            fs::write(&file, "2").unwrap();
        }),
        ("rename over", &|| {
            fs::write(stage.path("one/.a.tmp"), "3").unwrap();
            fs::rename(stage.path("one/.a.tmp"), &file).unwrap();
        }),
        ("two writes", &|| {
            fs::write(&file, "4").unwrap();
            fs::write(&file, "5").unwrap();
        }),
        ("becomes a link", &|| {
            fs::write(stage.path("two/target"), "6").unwrap();
            symlink(stage.path("two/target"), stage.path("one/.link")).unwrap();
            fs::rename(stage.path("one/.link"), &file).unwrap();
        }),
    ];
    for (n, (what, way)) in ways.iter().enumerate() {
        // Within the times that count as one change, however busy the machine is.
        stage.signal_emperor("STOP");
        way();
        stage.signal_emperor("CONT");
        stage.wait(what, || reloads() == n + 1);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(reloads(), n + 1, "{what}");
    }
    fs::write(stage.path("two/target"), "7").unwrap();
    stage.wait("a touched link target", || reloads() == ways.len() + 1);
    assert_eq!(stage.fakes().iter().filter(|line| line.starts_with("start")).count(), 1);
}

#[test]
fn a_killed_master_returns_on_its_listener_and_leaves_no_orphan() {
    let stage = Stage::new(&[("a.ini", "listen\norphan\nstray"), ("b.ini", "")]);
    stage.until("a.ini", "Up");
    stage.until("b.ini", "Up");
    let other = stage.pid("b.ini");
    let fakes = stage.fakes();
    let number = |what: &str| -> i32 {
        fakes.iter().find_map(|line| line.strip_prefix(what)).unwrap().parse().unwrap()
    };
    let port = u16::try_from(number("port ")).unwrap();
    let left = [number("orphan "), number("stray ")];
    stage.signal(stage.pid("a.ini"), "KILL");
    // The listener is never closed: whoever connects waits in its backlog.
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    stage.until("a.ini", "restarts=1");
    stage.until("a.ini", "Up");
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let ports = || stage.fakes().iter().filter(|line| **line == format!("port {port}")).count();
    stage.wait("the same port again", || ports() == 2);
    stage.wait("nothing is left of the first life", || left.iter().all(|pid| !is_alive(*pid)));
    assert_eq!(stage.pid("b.ini"), other);
}

#[test]
fn failures_rest_and_stubborn_ones_are_killed() {
    let mut stage = Stage::new(&[("bad.ini", "exit 22"), ("deaf.ini", "deaf\norphan"), ("hang.ini", "hang")]);
    stage.until("bad.ini", "Resting");
    stage.until("bad.ini", "restarts=2");
    stage.until("deaf.ini", "Up");
    assert!(stage.log().contains("[bad.ini] its master ended: exit status 22"));
    stage.write("bad.ini", "");
    stage.until("bad.ini", "Up");
    let deaf = stage.pid("deaf.ini");
    fs::remove_file(stage.path("one/deaf.ini")).unwrap();
    stage.wait("the deaf one is gone", || stage.line("deaf.ini").is_empty());
    assert!(!is_alive(deaf));
    let orphan =
        stage.fakes().iter().find_map(|line| line.strip_prefix("orphan ").map(str::to_owned)).unwrap();
    stage.wait("its child too", || !is_alive(orphan.parse().unwrap()));
    stage.until("hang.ini", "Starting");
    assert!(stage.end().success());
    assert!(!stage.path("pid").exists());
}

#[test]
fn the_emperor_re_executes_itself_and_keeps_everything() {
    let mut stage = Stage::new(&[("a.ini", "listen"), ("b.ini", ""), ("bad.ini", "exit 1")]);
    stage.until("a.ini", "Up");
    stage.until("b.ini", "Up");
    let pids = [stage.pid("a.ini"), stage.pid("b.ini")];

    fs::write(stage.path("upgrade"), "").unwrap();
    stage.until("Running", "1");
    stage.until("a.ini", "Up");
    assert_eq!([stage.pid("a.ini"), stage.pid("b.ini")], pids);
    assert!(!stage.fakes().iter().any(|line| line.starts_with("reload")));

    stage.signal_emperor("HUP");
    stage.until("Running", "2");
    stage.until("a.ini", "Swapped");
    stage.until("b.ini", "Swapped");
    assert_eq!([stage.pid("a.ini"), stage.pid("b.ini")], pids);

    // What was carried over works: listeners, channels, and the judgement of deaths.
    stage.signal(pids[0], "KILL");
    stage.until("a.ini", "restarts=1");
    stage.until("a.ini", "Up");
    let ports: Vec<String> = stage.fakes().into_iter().filter(|line| line.starts_with("port")).collect();
    assert_eq!(ports.len(), 2);
    assert_eq!(ports[0], ports[1]);

    let works = fs::read_to_string(stage.path("binary")).unwrap();
    stage.install("#!/bin/sh\nexit 3\n");
    stage.signal_emperor("HUP");
    stage.wait("the rehearsal fails", || stage.log().contains("failed its rehearsal: exit status 3"));
    assert!(stage.line("Running").contains('2'));
    stage.install(&works);
    stage.write("c.ini", "");
    stage.until("c.ini", "Up");
    assert!(stage.end().success());
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn options_that_cannot_be_obeyed_do_not_end_an_emperor_whose_vassals_run() {
    let mut stage = Stage::new(&[("a.ini", "listen")]);
    stage.until("a.ini", "Up");
    let pid = stage.pid("a.ini");
    // What would be in the way of the next image, the rehearsal meets before.
    stage.change(|spec, _| spec.identity.uid = Some("no such user".to_owned()));
    stage.signal_emperor("HUP");
    stage
        .wait("the reason", || stage.log().contains("cannot drop privileges: there is no user no such user"));
    let failed = |line: &str| line.contains("failed its rehearsal: exit status 1: ");
    stage.wait("a refusal with it", || {
        stage.log().lines().any(|line| failed(line) && line.contains("there is no user no such user"))
    });
    assert!(stage.line("Running").contains('0'));
    // Of what was there before it, the next image keeps what it cannot have anew.
    stage.change(|spec, base| {
        spec.identity.uid = None;
        spec.logto = Some(base.join("gone/log"));
        spec.pidfile = Some(base.join("gone/pid"));
    });
    stage.signal_emperor("HUP");
    stage.until("Running", "1");
    for part in ["cannot open the log", "cannot open the pid file"] {
        stage.wait(part, || stage.log().contains(part));
    }
    stage.write("b.ini", "");
    stage.until("b.ini", "Up");
    assert_eq!(stage.pid("a.ini"), pid);
    assert!(stage.end().success());
}

#[test]
fn of_those_that_wait_the_important_start_first_and_then_those_that_served_last() {
    let files = [("a.ini", ""), ("b.ini", "[emperor]\nimportance = 1"), ("y.ini", ""), ("z.ini", "")];
    let mut stage = Stage::under(&[], &files, |spec, base| {
        spec.concurrency = 1;
        spec.served_file = Some(base.join("served"));
        fs::write(base.join("served"), r#"{"z.ini": 2000, "y.ini": 1000, "gone.ini": 9}"#).unwrap();
    });
    for name in ["b.ini", "z.ini", "y.ini", "a.ini"] {
        stage.until(name, "Up");
    }
    let started: Vec<String> = stage
        .fakes()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("start ")?.split(' ').next()?.to_owned()))
        .collect();
    assert_eq!(started, ["b.ini", "z.ini", "y.ini", "a.ini"]);
    assert!(stage.end().success());
}

#[test]
fn a_flood_holds_up_nobody() {
    let stage = Stage::new(&[("flood.ini", "flood")]);
    stage.wait("the flood", || stage.log().len() > 1_000_000);
    stage.write("a.ini", "");
    stage.until("a.ini", "Up");
}

#[test]
fn whatever_an_instance_sends_costs_nobody_but_itself() {
    let mut stage = Stage::new(&[("a.ini", "")]);
    stage.until("a.ini", "Up");
    let emperor: i32 = fs::read_to_string(stage.path("pid")).unwrap().trim().parse().unwrap();
    let descriptors = || fs::read_dir(format!("/proc/{emperor}/fd")).unwrap().count();
    let peak_kib = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{emperor}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let (descriptors_before, memory_before) = (descriptors(), peak_kib());
    let hostile = ["h1.ini", "h2.ini", "h3.ini"];
    hostile.iter().for_each(|name| stage.write(name, "hostile"));
    stage.wait("the attacks", || stage.fakes().iter().filter(|line| *line == "attacks").count() == 3);
    // Whoever behaves is started, reloaded and ended meanwhile, round after round.
    let mut most = 0;
    for round in 1..=10 {
        stage.write("b.ini", "");
        stage.until("b.ini", "Up");
        stage.write("a.ini", &format!("print {round}"));
        let swapped = |line: &String| *line == "reload a.ini Swapped";
        stage.wait("a reload", || stage.fakes().iter().filter(|line| swapped(line)).count() == round);
        fs::remove_file(stage.path("one/b.ini")).unwrap();
        stage.wait("an end", || stage.line("b.ini").is_empty());
        most = most.max(descriptors());
    }
    // Of each of them: what waits for the loop, and what it says that is its listeners.
    assert!(most < descriptors_before + 3 * 1000, "{most} descriptors");
    assert!(peak_kib() < memory_before + 128 * 1024, "{} KiB more", peak_kib() - memory_before);
    hostile.iter().for_each(|name| fs::remove_file(stage.path("one").join(name)).unwrap());
    stage.wait("their ends", || hostile.iter().all(|name| stage.line(name).is_empty()));
    stage.wait("as many descriptors as before", || descriptors() <= descriptors_before);
    assert!(stage.end().success());
}

#[test]
fn a_shadowed_file_follows_the_first_and_a_lost_directory_is_found_again() {
    let stage = Stage::new(&[("a.ini", "")]);
    stage.until("a.ini", "Up");
    fs::write(stage.path("two/a.ini"), "").unwrap();
    stage.until("! a.ini", "shadowed");
    let first = stage.pid("a.ini");
    fs::remove_file(stage.path("one/a.ini")).unwrap();
    stage.wait("the second one runs", || stage.pid("a.ini") != first && stage.line("a.ini").contains("Up"));
    assert!(stage.fakes().last().unwrap().ends_with("two"), "{:?}", stage.fakes());

    let second = stage.pid("a.ini");
    fs::rename(stage.path("two"), stage.path("away")).unwrap();
    stage.wait("it is noticed", || stage.log().contains("cannot list"));
    assert!(is_alive(second), "what runs goes on");
    fs::rename(stage.path("away"), stage.path("two")).unwrap();
    stage.wait("it is back", || stage.log().contains("can be listed again"));
    fs::write(stage.path("two/late.ini"), "").unwrap();
    stage.until("late.ini", "Up");
    assert_eq!(stage.pid("a.ini"), second);
}

#[test]
fn nothing_that_an_operator_does_fails_a_request() {
    let host = Host::new();
    host.app("app", "time.sleep(0.3)", "v1");
    let port = host.vassal("a.ini", "app");
    host.until(port, "v1");
    let clients = Clients::start(port);

    host.app("app", "time.sleep(0.3)", "v2");
    host.touch("a.ini");
    host.until(port, "v2");
    host.app("app", "raise RuntimeError('broken on purpose')", "v3");
    let (done, said) = host.ask(&["reload", "a.ini", "--wait"]);
    assert!(!done && said.contains("broken on purpose"), "{said}");
    assert_eq!(get(port, "/").unwrap(), "v2");
    host.app("app", "time.sleep(0.3)", "v4");
    kill(host.master("a.ini"), "HUP");
    host.until(port, "v4");
    host.app("app", "time.sleep(0.3)", "v5");
    let master = host.master("a.ini");
    host.signal_emperor("HUP");
    host.until(port, "v5");
    let (done, said) = host.ask(&["upgrade", "--wait"]);
    assert!(done, "{said}\n{}", host.log());
    assert_eq!(host.master("a.ini"), master);

    let failures = clients.end();
    assert!(failures.is_empty(), "{failures:?}\n{}", host.log());
    host.end();
}

#[test]
fn a_master_killed_within_a_request_costs_neither_it_nor_any_connection() {
    let host = Host::new();
    host.app("app", "", "one");
    let port = host.vassal("a.ini", "app");
    let other = host.vassal("b.ini", "app");
    host.until(port, "one");
    host.until(other, "one");
    let (master, unharmed) = (host.master("a.ini"), host.master("b.ini"));
    let slow = std::thread::spawn(move || get(port, "/slow"));
    std::thread::sleep(Duration::from_millis(300));
    kill(master, "KILL");
    assert_eq!(get(port, "/").unwrap(), "one", "{}", host.log());
    assert_eq!(slow.join().unwrap().unwrap(), "one");
    assert_ne!(host.master("a.ini"), master);
    assert_eq!(host.master("b.ini"), unharmed);
    host.end();
}

#[test]
fn whatever_is_wrong_with_a_vassal_is_its_own_affair() {
    let host = Host::new();
    for (app, import) in [
        ("good", ""),
        ("segfault", "import ctypes; ctypes.string_at(0)"),
        ("exits", "os._exit(3)"),
        ("hangs", "time.sleep(600)"),
        ("raises", "raise ValueError('no app')"),
    ] {
        host.app(app, import, app);
    }
    for app in ["segfault", "exits", "hangs", "raises"] {
        host.vassal(&format!("{app}.ini"), app);
    }
    let files = host.path("v");
    fs::write(files.join("garbage.ini"), [0, 159, 146, 150, b'\n', 255, 0, 1].repeat(1000)).unwrap();
    fs::write(files.join("huge.ini"), "[uwsgi]\n".repeat(1_300_000)).unwrap();
    fs::write(files.join("new\nline.ini"), "[uwsgi]\n").unwrap();
    fs::create_dir(files.join("x.ini")).unwrap();
    symlink("loop.ini", files.join("loop.ini")).unwrap();
    let names = ["it's a \"good\" one.ini", "%n $(reboot).ini", "-dash.ini"];
    let ports: Vec<u16> = names.iter().map(|name| host.vassal(name, "good")).collect();
    for port in ports {
        host.until(port, "good");
    }
    host.wait("every failure is shown with its reason", || {
        let (_, status) = host.ask(&["status", "--json"]);
        ["no app", "directory", "circle", "control characters", "more than 4194304", "garbage.ini"]
            .iter()
            .all(|reason| status.contains(reason))
    });
    host.end();
}

#[test]
fn nothing_of_a_vassal_that_was_stays_with_the_emperor() {
    let host = Host::new();
    host.app("a", "", "one");
    let stays = host.vassal("stays.ini", "a");
    host.until(stays, "one");
    let emperor = host.emperor_pid();
    let descriptors = || fs::read_dir(format!("/proc/{emperor}/fd")).unwrap().count();
    let before = descriptors();
    for _ in 0..3 {
        let port = host.vassal("goes.ini", "a");
        host.until(port, "one");
        let first = host.master("goes.ini");
        kill(first, "KILL");
        host.wait("the next master", || host.master("goes.ini") != first);
        host.until(port, "one");
        let (done, said) = host.ask(&["reload", "goes.ini", "--wait"]);
        assert!(done, "{said}");
        fs::remove_file(host.path("v/goes.ini")).unwrap();
        host.wait("its end", || host::children(emperor).len() == 1);
    }
    host.wait("as many descriptors as before", || descriptors() == before);
    host.end();
}
