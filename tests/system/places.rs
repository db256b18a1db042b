//! Where vassals are found, and what their names and places do to them.

use std::path::Path;

use crate::support::apps::{BROKEN, TOOLS};
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::server::{Folder, liege};
use crate::support::wait::until;

fn vassal(port: u16) -> String {
    format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nchdir = %d\n")
}

/// A folder with an application and its file.
fn site(host: &Host, place: &str, text: &str) {
    std::fs::create_dir_all(host.folder().path().join(place)).unwrap();
    host.folder().write(Path::new(place).join("app.py"), TOOLS);
    host.folder().write(Path::new(place).join("app.ini"), text);
}

#[test]
fn relative_directories_and_paths_of_any_length_are_watched() {
    let host =
        Host::start_with(&[], &["--emperor", "second", "--emperor", "third", "--emperor=deep/*/*/*.ini"]);
    let long = "long".repeat(40);
    for place in ["vassals", "third"] {
        let port = free_port();
        site(&host, place, &vassal(port));
        // The names of all places are one, and are not to be equal.
        std::fs::rename(
            host.folder().path().join(place).join("app.ini"),
            host.folder().path().join(place).join(format!("{place}.ini")),
        )
        .unwrap();
        Door::Port(port).wait_for("/", "hello");
    }
    let port = free_port();
    site(&host, &format!("deep/{long}/{long}"), &vassal(port));
    Door::Port(port).wait_for("/", "hello");
    let list = host.ask("/v1/vassals");
    let names: Vec<&str> =
        list["vassals"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.iter().any(|name| name.len() > 255), "{names:?}");
}

#[test]
fn an_on_demand_vassal_of_any_directory_is_woken_also_when_it_names_its_socket_itself() {
    let host = Host::start_with(&[], &["--emperor", "second", "--emperor", "third"]);
    for (place, names_it) in [("vassals", true), ("second", true), ("third", false)] {
        let port = free_port();
        let own = if names_it { format!("http-socket = 127.0.0.1:{port}\n") } else { String::new() };
        let text = format!(
            "[uwsgi]\n{own}protocol = http\nwsgi-file = app.py\nchdir = %d\n[emperor]\non-demand = 127.0.0.1:{port}\n"
        );
        host.folder().write(Path::new(place).join("app.py"), TOOLS);
        host.folder().write(Path::new(place).join(format!("{place}.ini")), text);
        let name = format!("{place}.ini");
        host.wait_for_vassal(&name, "sleeps", |vassal| vassal["state"] == "asleep");
        assert_eq!(Door::Port(port).get("/").unwrap().text(), "hello", "{place}");
        host.wait_for_vassal(&name, "is up", |vassal| vassal["state"] == "up");
    }
}

#[test]
fn a_renamed_file_is_served_under_its_new_name_without_a_lost_request() {
    let (port, stats) = (free_port(), free_port());
    let host = Host::start_with(&[], &["--emperor", "second"]);
    let socket = host.folder().path().join("app.sock");
    host.folder().write("app.py", TOOLS);
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nhttp-socket = {}\nstats = 127.0.0.1:{stats}\n\
         vacuum = true\ndisable-logging = true\nprocesses = 2\nwsgi-file = %d../app.py\n",
        socket.display()
    );
    host.write("a.ini", text);
    let doors = [Door::Port(port), Door::Unix(socket)];
    doors.iter().for_each(|door| door.wait_for("/", "hello"));
    let loads = [(0, Manner::Fresh), (0, Manner::KeptPost), (1, Manner::Fresh)]
        .map(|(door, manner)| Load::start(&doors[door], manner));
    // Another name, another directory, both at once.
    let second = host.folder().path().join("second");
    for (from, to) in [
        (host.file("a.ini"), host.file("b.ini")),
        (host.file("b.ini"), second.join("b.ini")),
        (second.join("b.ini"), host.file("c.ini")),
    ] {
        let old = from.file_name().unwrap().to_str().unwrap();
        let new = to.file_name().unwrap().to_str().unwrap();
        let before = host.vassal(old).unwrap()["pid"].clone();
        std::fs::rename(&from, &to).unwrap();
        host.wait_for_vassal(new, "is up", |vassal| vassal["state"] == "up" && vassal["pid"] != before);
        until("the end of the other", || old == new || host.vassal(old).is_none());
        loads.iter().for_each(Load::go_on);
    }
    for load in loads {
        load.stop().nothing_failed();
    }
    assert!(Door::Port(stats).connect().is_ok(), "its statistics went along");
}

#[test]
fn a_renamed_file_that_does_not_load_any_more_is_served_under_its_old_name() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    host.write(
        "a.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nneed-app = true\nwsgi-file = %d../app.py\n"),
    );
    Door::Port(port).wait_for("/", "hello");
    let load = Load::start(&Door::Port(port), Manner::Fresh);
    host.folder().write("app.py", BROKEN);
    std::fs::rename(host.file("a.ini"), host.file("b.ini")).unwrap();
    host.wait_for_vassal("b.ini", "rests", |vassal| vassal["state"] == "resting");
    load.go_on();
    host.folder().write("app.py", TOOLS);
    host.touch("b.ini");
    until("the end of the old name", || host.vassal("a.ini").is_none());
    load.go_on();
    load.stop().nothing_failed();
    host.remove("b.ini");
    until("nobody", || Door::Port(port).connect().is_err());
}

#[test]
fn an_emperor_with_a_title_of_its_own_is_executed_anew_and_upgraded() {
    let host = Host::start_with(&[], &["--emperor-procname=the emperor"]);
    host.folder().write("vassals/app.py", TOOLS);
    let port = free_port();
    host.write("a.ini", vassal(port));
    Door::Port(port).wait_for("/", "hello");
    let line = || std::fs::read_to_string(format!("/proc/{}/cmdline", host.emperor.pid())).unwrap();
    assert!(line().starts_with("the emperor\0"), "{:?}", line());
    host.emperor.signal(nix::sys::signal::Signal::SIGHUP);
    host.wait_for_vassal("a.ini", "was reloaded", |vassal| vassal["reloads"] == 1);
    assert_eq!(host.post("/v1/upgrade").status, 202);
    until("two new images", || host.emperor.log().matches("the emperor was re-executed").count() == 2);
    host.wait_for_vassal("a.ini", "serves", |vassal| vassal["state"] == "up");
    assert!(line().starts_with("the emperor\0"), "{:?}", line());
}

#[test]
fn what_is_no_emperor_any_more_is_not_even_tried() {
    let folder = Folder::new();
    let port = free_port();
    folder.write("vassals/app.py", TOOLS);
    folder.write("emperor.ini", "[uwsgi]\nemperor = vassals\napi = api.sock\n");
    let mut emperor = liege(&folder, &["emperor.ini"]);
    emperor.wait_for_log("the API is at");
    folder.write("emperor.ini", vassal(port).replace("%d", "vassals"));
    emperor.signal(nix::sys::signal::Signal::SIGHUP);
    emperor.wait_for_log("this is no emperor");
    emperor.wait_for_log("failed its rehearsal");
    assert!(!emperor.log().contains("bound to"), "{}", emperor.log());
    emperor.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(emperor.wait().success());
}

#[test]
fn there_is_one_emperor_also_where_a_master_is_asked_for() {
    let host = Host::start_with(&[], &["--master", "--stats=127.0.0.1:0"]);
    let port = free_port();
    host.folder().write("vassals/app.py", TOOLS);
    host.write("a.ini", vassal(port));
    Door::Port(port).wait_for("/", "hello");
    let pid = host.vassal("a.ini").unwrap()["pid"].as_u64().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().to_owned();
    assert_eq!(parent, host.emperor.pid().to_string());
}
