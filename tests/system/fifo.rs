//! The master's FIFO (`master-fifo`).

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::adaptive::{Adaptive, SLOW};
use crate::support::apps::{TOOLS, says};
use crate::support::free_port;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::Family;
use crate::support::server::{Folder, liege, serve_app};
use crate::support::wait::until;

/// Writes commands, as `echo` does: only if somebody listens.
fn command(folder: &Folder, name: &str, text: &str) {
    let path = folder.path().join(name);
    let mut fifo = OpenOptions::new().write(true).custom_flags(no_wait()).open(&path).unwrap();
    assert!(fifo.metadata().unwrap().file_type().is_fifo(), "{}", path.display());
    // In one piece, as a shell does: a command may end this very FIFO.
    fifo.write_all(format!("{text}\n").as_bytes()).unwrap();
}

fn no_wait() -> i32 {
    nix::fcntl::OFlag::O_NONBLOCK.bits()
}

fn start(app: &str, lines: &str) -> (Family, Door, Folder) {
    serve_app(app, &format!("master-fifo = %dm.fifo\n{}", lines.replace(", ", "\n")))
}

fn is_fifo(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

#[test]
fn reloads_are_asked_for_and_the_fifo_survives_them() {
    let (family, door, folder) = start(&says("v0"), "processes = 2, vacuum = true, pidfile = %dapp.pid");
    door.wait_for("/", "v0");
    let fifo = folder.path().join("m.fifo");
    let first = std::fs::metadata(&fifo).unwrap();
    assert_eq!(first.permissions().mode() & 0o777, 0o600);
    for (round, order) in ["r", "R", "c", "w", "W", "f"].into_iter().enumerate() {
        let version = format!("v{}", round + 1);
        folder.write("app.py", says(&version));
        let load = Load::start(&door, Manner::Fresh);
        command(&folder, "m.fifo", order);
        door.wait_for("/", &version);
        load.stop().nothing_failed();
    }
    assert_eq!(std::fs::metadata(&fifo).unwrap().ino(), first.ino(), "the same over every execution");
    std::fs::remove_file(folder.path().join("app.pid")).unwrap();
    command(&folder, "m.fifo", "P s E ? \u{e4}");
    until("the pid file", || {
        std::fs::read_to_string(folder.path().join("app.pid"))
            .is_ok_and(|text| text.trim() == family.pid().to_string())
    });
    family.wait_for_log("worker 1 (pid: ");
    family.wait_for_log("this instance is no emperor");
    assert_eq!(door.get("/").unwrap().text(), "v6");
}

#[test]
fn it_stops_and_finishes_what_runs() {
    for order in ["q", "Q"] {
        let (mut family, door, folder) = start(TOOLS, "vacuum = true");
        door.wait_for("/", "hello");
        let mut running = door.connect().unwrap();
        running.send(b"GET /sleep?0.5 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(door.get("/").unwrap().text(), "hello");
        command(&folder, "m.fifo", order);
        assert_eq!(running.answer(false).unwrap().text(), "slept", "{order}");
        assert_eq!(family.wait().code(), Some(0), "{order}");
        assert!(!folder.path().join("m.fifo").exists());
        family.wait_until_empty();
    }
}

#[test]
fn a_number_chooses_among_several_and_one_that_is_not_there_is_the_first() {
    let (family, door, folder) = start(&says("v0"), "master-fifo = %dn.fifo");
    door.wait_for("/", "v0");
    let at = |name: &str| folder.path().join(name);
    assert!(is_fifo(&at("m.fifo")) && !at("n.fifo").exists());
    command(&folder, "m.fifo", "1");
    until("the second", || is_fifo(&at("n.fifo")) && !at("m.fifo").exists());
    folder.write("app.py", says("v1"));
    command(&folder, "n.fifo", "r");
    door.wait_for("/", "v1");
    folder.write("app.py", says("v2"));
    command(&folder, "n.fifo", "c");
    door.wait_for("/", "v2");
    command(&folder, "n.fifo", "7");
    until("the first", || is_fifo(&at("m.fifo")) && !at("n.fifo").exists());
    assert!(family.log().contains("active master fifo is now"), "{}", family.log());
    // A configuration without it ends it.
    let ini = std::fs::read_to_string(at("app.ini")).unwrap();
    folder.write("app.ini", ini.replace("master-fifo", "# master-fifo"));
    command(&folder, "m.fifo", "r");
    until("no FIFO", || !at("m.fifo").exists());
}

#[test]
fn what_is_no_fifo_is_refused_and_kept() {
    let folder = Folder::new();
    folder.write("app.py", TOOLS);
    folder.write("precious", "kept");
    let port = free_port();
    folder.write(
        "app.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\nmaster-fifo = %dprecious\n"),
    );
    let mut family = liege(&folder, &["app.ini"]);
    assert_eq!(family.wait().code(), Some(1));
    assert!(family.log().contains("what is there is no FIFO"), "{}", family.log());
    assert_eq!(std::fs::read_to_string(folder.path().join("precious")).unwrap(), "kept");
}

#[test]
fn workers_come_and_go_one_by_one() {
    let lines =
        "http-socket = PORT, processes = 3, cheaper = 1, cheaper-algo = manual, master-fifo = %dm.fifo";
    let adaptive = Adaptive::start(&says("hello"), lines);
    // One that loads does not serve yet.
    adaptive.door.wait_for("/", "hello");
    adaptive.wait_for_workers(1);
    for (order, count) in [("+", 2), ("++", 3), ("-", 2), ("---", 1)] {
        command(&adaptive.folder, "m.fifo", order);
        adaptive.wait_for_workers(count);
    }
    adaptive.family.wait_for_log("the number of workers stays 1 (cheaper = 1, processes = 3)");
}

#[test]
fn a_pause_loses_no_request_and_survives_a_reload() {
    for (socket, manner) in [("http-socket", Manner::Fresh), ("http", Manner::Fresh)] {
        let adaptive =
            Adaptive::start(SLOW, &format!("{socket} = PORT, processes = 2, master-fifo = %dm.fifo"));
        adaptive.wait_for_workers(2);
        adaptive.door.wait_for("/", "hello");
        let load = Load::start(&adaptive.door, manner);
        command(&adaptive.folder, "m.fifo", "p");
        adaptive.wait_for_workers(0);
        command(&adaptive.folder, "m.fifo", "r");
        adaptive.family.wait_for_log("reload done: generation 2");
        assert_eq!(adaptive.workers(), 0, "clients wait\n{}", adaptive.family.log());
        command(&adaptive.folder, "m.fifo", "p");
        load.go_on();
        assert_eq!(adaptive.workers(), 2);
        load.stop().nothing_failed();
        // Cheap is not paused: the next connection brings them back.
        command(&adaptive.folder, "m.fifo", "C");
        adaptive.wait_for_workers(0);
        adaptive.door.wait_for("/", "hello");
        adaptive.wait_for_workers(2);
    }
}

#[test]
fn the_log_is_rotated_and_opened_anew() {
    let (_family, door, folder) = start(&says("hello"), "logto = %dapp.log, log-backupname = %dold.log");
    door.wait_for("/", "hello");
    let at = |name: &str| folder.path().join(name);
    command(&folder, "m.fifo", "L");
    until("the rotated log", || at("old.log").exists());
    std::fs::rename(at("app.log"), at("moved.log")).unwrap();
    command(&folder, "m.fifo", "l");
    until("the log that is opened anew", || at("app.log").exists());
}
