//! The unit: systemd accepts it, and its script ends what a deliberate stop left behind, and only that.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::Folder;
use crate::support::wait::{PATIENCE, eventually};
use crate::support::{LIEGE, free_port, program, root};

#[test]
fn systemd_accepts_the_unit() {
    let Some(analyze) = program("systemd-analyze") else { return };
    let folder = Folder::new();
    let unit = std::fs::read_to_string(root().join("systemd/liege.service")).unwrap();
    // Where nothing is installed, the commands are those of the clone.
    let leftovers = root().join("systemd/end-leftovers");
    let unit = unit
        .replace("/usr/local/bin/liege", LIEGE)
        .replace("/usr/local/lib/liege/end-leftovers", leftovers.to_str().unwrap());
    folder.write("liege.service", unit);
    let output =
        Command::new(analyze).arg("verify").arg(folder.path().join("liege.service")).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = complaints
        .lines()
        // The one line that is newer than the systemd of some hosts.
        .filter(|line| line.contains("liege") && !line.contains("'DelegateSubgroup'"))
        .collect();
    assert!(ours.is_empty(), "{complaints}");
    assert!(output.status.success(), "{complaints}");
}

#[test]
fn every_setting_of_the_unit_says_why() {
    let unit = std::fs::read_to_string(root().join("systemd/liege.service")).unwrap();
    let service = unit.split("[Service]").nth(1).unwrap().split("[Install]").next().unwrap();
    let mut explained = false;
    for line in service.lines().filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            explained = true;
        } else if !explained {
            // A second setting may share the reason of the first.
            let name = line.split('=').next().unwrap();
            assert!(["RestartSec", "RuntimeDirectoryPreserve"].contains(&name), "{line}");
        } else {
            explained = false;
        }
    }
}

#[test]
fn leftovers_are_ended_after_a_deliberate_stop_only() {
    for (result, ended) in
        [("success", true), ("timeout", true), ("signal", false), ("watchdog", false), ("", false)]
    {
        let folder = Folder::new();
        let mut leftover = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        folder.write("group/sub/cgroup.procs", format!("{}\n", leftover.id()));
        let status = Command::new(root().join("systemd/end-leftovers"))
            .arg(folder.path().join("group"))
            .env("SERVICE_RESULT", result)
            .status()
            .unwrap();
        assert!(status.success(), "{result}");
        if ended {
            eventually("the end of the leftover", || leftover.try_wait().unwrap());
        } else {
            assert_eq!(leftover.try_wait().unwrap(), None, "{result}");
            leftover.kill().unwrap();
            leftover.wait().unwrap();
        }
    }
}

#[test]
fn the_emperor_tells_the_service_manager_how_it_stands_and_no_app_can() {
    let folder = Folder::new();
    let notices = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    notices.set_read_timeout(Some(PATIENCE)).unwrap();
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = notices.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
            let notice = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if notice.lines().any(|line| line == wanted) {
                break;
            }
        }
    };
    let port = free_port();
    folder.write(
        "app.py",
        "import os
def application(environ, start_response):
    start_response('200 OK', [])
    names = ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'LISTEN_FDS', 'FDSTORE', 'UWSGI_EMPEROR_FD']
    return [' '.join(name for name in names if name in os.environ).encode()]
",
    );
    folder.write(
        "vassals/app.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n"),
    );
    let mut emperor = Family::start(
        Command::new(LIEGE)
            .args(["--emperor", "vassals", "--api", "api.sock"])
            .current_dir(folder.path())
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("FDSTORE", "10")
            .env("WATCHDOG_USEC", Duration::from_millis(200).as_micros().to_string()),
        &folder.path().join("liege.log"),
    );
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    Door::Port(port).wait_for("/", "UWSGI_EMPEROR_FD");
    emperor.signal(Signal::SIGHUP);
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    emperor.signal(Signal::SIGTERM);
    wait_for("STOPPING=1");
    assert!(emperor.wait().success());
}
