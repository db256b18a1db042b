//! The statistics of an instance, as uWSGI's tools read them.

use std::process::Command;

use crate::support::apps::TOOLS;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::eventually;
use crate::support::{environment, free_port, program};

/// An instance with statistics on the second door.
fn serve(folder: &Folder) -> (Family, Door, u16) {
    let (port, stats) = (free_port(), free_port());
    folder.write("app.py", TOOLS);
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nstats = 127.0.0.1:{stats}\nprocesses = 2\nthreads = 2\nwsgi-file = app.py\n\
             attach-daemon = sleep 600\ncron = 0 3 1 1 -1 true\n"
        ),
    );
    let family = liege(folder, &["app.ini"]);
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    (family, door, stats)
}

#[test]
fn the_statistics_have_what_uwsgis_tools_read() {
    let folder = Folder::new();
    let (_family, door, stats) = serve(&folder);
    for _ in 0..9 {
        assert_eq!(door.get("/").unwrap().status, 200);
    }
    let document = eventually("ten counted requests", || {
        let bytes = Door::Port(stats).connect().ok()?.rest().ok()?;
        let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        let sum: u64 =
            document["workers"].as_array()?.iter().filter_map(|worker| worker["requests"].as_u64()).sum();
        (sum == 10).then_some(document)
    });
    for key in
        ["version", "listen_queue", "listen_queue_errors", "load", "pid", "uid", "gid", "cwd", "sockets"]
    {
        assert!(!document[key].is_null(), "{key}");
    }
    let workers = document["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    for worker in workers {
        for key in [
            "id",
            "pid",
            "accepting",
            "requests",
            "delta_requests",
            "exceptions",
            "harakiri_count",
            "signals",
            "signal_queue",
            "status",
            "rss",
            "vsz",
            "running_time",
            "last_spawn",
            "respawn_count",
            "tx",
            "avg_rt",
            "apps",
            "cores",
        ] {
            assert!(!worker[key].is_null(), "{key}");
        }
        assert_eq!(worker["cores"].as_array().unwrap().len(), 2);
        for key in ["id", "requests", "in_request", "vars", "req_info", "write_errors", "read_errors"] {
            assert!(!worker["cores"][0][key].is_null(), "{key}");
        }
    }
}

#[test]
fn uwsgitop_from_pypi_shows_the_workers() {
    let Some(tools) = environment("tools") else { return };
    let Some(tmux) = program("tmux") else { return };
    let folder = Folder::new();
    let (_family, _door, stats) = serve(&folder);
    // A terminal of its own, on a server of its own.
    let socket = folder.path().join("tmux").display().to_string();
    let tmux = |arguments: &[&str]| {
        let output = Command::new(&tmux).args(["-S", &socket]).args(arguments).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let command = format!("{} 127.0.0.1:{stats} 2>&1; sleep 60", tools.join("bin/uwsgitop").display());
    tmux(&["new-session", "-d", "-x", "160", "-y", "40", &command]);
    let mut screen = String::new();
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        eventually("the table of uwsgitop", || {
            screen = tmux(&["capture-pane", "-p"]);
            (screen.contains("WID") && screen.contains("idle")).then_some(())
        });
    }));
    tmux(&["kill-server"]);
    assert!(seen.is_ok(), "{screen}");
}
