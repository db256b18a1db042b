//! Pid files whose paths change: each that is configured holds the pid, and no other.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::apps::says;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::server::serve_app;
use crate::support::wait::until;

/// The files of these names that hold this pid.
fn holding(folder: &Path, names: &[&str], pid: i32) -> Vec<String> {
    let holds = |name: &&&str| {
        std::fs::read_to_string(folder.join(**name)).is_ok_and(|text| text == format!("{pid}\n"))
    };
    names.iter().filter(holds).map(|name| (*name).to_owned()).collect()
}

#[test]
fn an_instance_that_reloads_has_those_of_its_configuration() {
    let (family, door, folder) = serve_app(&says("v1"), "pidfile = %da.pid");
    door.wait_for("/", "v1");
    let text = std::fs::read_to_string(folder.path().join("app.ini")).unwrap();
    let names = ["a.pid", "b.pid", "c.pid"];
    for (round, (lines, expected)) in [
        ("pidfile = %da.pid\npidfile2 = %db.pid", &["a.pid", "b.pid"][..]),
        ("pidfile = %db.pid\npidfile2 = %da.pid", &["a.pid", "b.pid"]),
        ("safe-pidfile = %da.pid\npidfile = %dc.pid", &["a.pid", "c.pid"]),
        ("pidfile = %da.pid", &["a.pid"]),
        ("", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        folder.write("app.ini", text.replace("pidfile = %da.pid", lines));
        family.signal(Signal::SIGHUP);
        until("the reload", || family.log().matches("reload done").count() > round);
        assert_eq!(holding(folder.path(), &names, family.pid()), expected, "{lines}");
        let left = names.iter().filter(|name| folder.path().join(name).exists()).count();
        assert_eq!(left, expected.len(), "{lines}");
    }
}

#[test]
fn an_instance_that_is_replaced_leaves_none_that_nobody_writes_any_more() {
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    let port = free_port();
    let text = |lines: &str| {
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n{lines}\npidfile2 = %d../b.pid\n"
        )
    };
    host.write("a.ini", text("pidfile = %d../a.pid"));
    Door::Port(port).wait_for("/", "v1");
    let path = |name: &str| host.folder().path().join(name);
    assert!(path("a.pid").exists() && path("b.pid").exists());
    // Only a new instance takes another lock.
    host.folder().write("lock", "");
    host.write("a.ini", text("flock = %d../lock\npidfile = %d../c.pid"));
    until("the old instance's end", || !path("a.pid").exists());
    let vassal = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    let pid = i32::try_from(vassal["pid"].as_u64().unwrap()).unwrap();
    assert_eq!(holding(host.folder().path(), &["a.pid", "b.pid", "c.pid"], pid), ["b.pid", "c.pid"]);
}

#[test]
fn an_emperor_that_is_executed_again_has_the_one_of_its_options() {
    let ini = "[uwsgi]\nemperor-pidfile = one.pid\n";
    let host = Host::start_with(&[("../emperor.ini", ini)], &["--ini=emperor.ini"]);
    let (folder, names) = (host.folder().path(), ["one.pid", "two.pid"]);
    let pid = host.emperor.pid();
    until("the first", || holding(folder, &names, pid) == ["one.pid"]);
    host.folder().write("emperor.ini", ini.replace("one", "two"));
    host.emperor.signal(Signal::SIGHUP);
    until("the second", || holding(folder, &names, pid) == ["two.pid"]);
    until("the first to be gone", || !folder.join("one.pid").exists());
}
