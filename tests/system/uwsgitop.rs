//! The statistics of an instance, as uWSGI's tools read them.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::apps::TOOLS;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::eventually;
use crate::support::{environment, free_port, program};

/// An instance with statistics on the second door.
fn serve(folder: &Folder, lines: &str) -> (Family, Door, u16) {
    let (port, stats) = (free_port(), free_port());
    folder.write("app.py", TOOLS);
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]
http-socket = 127.0.0.1:{port}
stats = 127.0.0.1:{stats}
processes = 2
threads = 2
wsgi-file = app.py
\
             attach-daemon = sleep 600
cron = 0 3 1 1 -1 true
{lines}"
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
    let (_family, door, stats) = serve(&folder, "");
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
fn files_rules_and_workers_that_have_never_been_are_told_as_uwsgi_tells_them() {
    let folder = Folder::new();
    folder.write("file.txt", "file");
    let lines = "cheaper = 1\ncheaper-algo = manual\nstatic-map = /files=.\nroute = ^/routed$ break:204\n\
                 route = ^/both$ static:file.txt\n";
    let (_family, door, stats) = serve(&folder, lines);
    for (path, status) in [("/files/file.txt", 200), ("/routed", 204), ("/both", 200), ("/", 200)] {
        assert_eq!(door.get(path).unwrap().status, status, "{path}");
    }
    let document = eventually("counted requests", || {
        let bytes = Door::Port(stats).connect().ok()?.rest().ok()?;
        let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
        (document["workers"][0]["requests"] == 5).then_some(document)
    });
    let workers = document["workers"].as_array().unwrap();
    let told: Vec<_> = workers
        .iter()
        .map(|one| {
            (one["id"].as_u64().unwrap(), one["status"].as_str().unwrap(), one["cores"].as_array().unwrap())
        })
        .map(|(id, status, cores)| {
            let sum = |key: &str| cores.iter().map(|core| core[key].as_u64().unwrap()).sum::<u64>();
            (id, status, cores.len(), sum("static_requests"), sum("routed_requests"))
        })
        .collect();
    assert_eq!(told, [(1, "idle", 2, 2, 2), (0, "cheap", 2, 0, 0)]);
}

/// The variables of the requests that run.
fn variables(stats: u16) -> Option<Vec<String>> {
    let bytes = Door::Port(stats).connect().ok()?.rest().ok()?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let workers = document["workers"].as_array()?.iter();
    let cores = workers.filter_map(|worker| worker["cores"].as_array()).flatten();
    let vars =
        cores.filter(|core| core["in_request"] == 1).filter_map(|core| core["vars"].as_array()).flatten();
    Some(vars.filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

#[test]
fn the_variables_of_running_requests_are_shown_where_that_is_wanted_and_without_credentials() {
    shows_variables("");
}

#[test]
fn the_variables_of_running_greenlets_are_shown_too() {
    let Some(virtualenv) = environment("gevent") else { return };
    shows_variables(&format!("gevent = 3\nvirtualenv = {}\n", virtualenv.display()));
}

fn shows_variables(engine: &str) {
    let folder = Folder::new();
    let (family, door, stats) = serve(&folder, engine);
    let request = b"GET /sleep?3 HTTP/1.1\r\nHost: a\r\nCookie: hush=1\r\nAuthorization: Basic hush\r\n\
        X-Auth-Token: hush\r\nX-Colour: blue\r\nReferer: http://b/c?hush\r\nConnection: close\r\n\r\n";
    let busy = || {
        let bytes = Door::Port(stats).connect().ok()?.rest().ok()?;
        String::from_utf8(bytes).ok()?.contains("\"status\":\"busy\"").then_some(())
    };
    let mut running = door.connect().unwrap();
    running.send(request).unwrap();
    eventually("a running request", busy);
    assert_eq!(variables(stats), Some(Vec::new()), "nobody asked for them");
    assert_eq!(running.answer(false).unwrap().text(), "slept");

    let file = std::fs::read_to_string(folder.path().join("app.ini")).unwrap();
    for (lines, query, uri) in [
        ("stats-request-vars = true\n", "***", "/sleep?***"),
        ("stats-request-vars = true\nstats-request-query = true\n", "3", "/sleep?3"),
    ] {
        folder.write("app.ini", format!("{file}{lines}"));
        family.signal(Signal::SIGHUP);
        // Until the new workers serve.
        let seen = eventually("the variables", || {
            let mut running = door.connect().ok()?;
            running.send(request).ok()?;
            eventually("a running request", busy);
            let seen = variables(stats)?;
            assert_eq!(running.answer(false).ok()?.text(), "slept");
            seen.contains(&format!("QUERY_STRING={query}")).then_some(seen)
        });
        let expected = [
            "REQUEST_METHOD=GET".to_owned(),
            "PATH_INFO=/sleep".to_owned(),
            format!("REQUEST_URI={uri}"),
            "HTTP_COOKIE=***".to_owned(),
            "HTTP_AUTHORIZATION=***".to_owned(),
            "HTTP_X_AUTH_TOKEN=***".to_owned(),
            "HTTP_X_COLOUR=blue".to_owned(),
            "REMOTE_ADDR=127.0.0.1".to_owned(),
        ];
        for one in expected {
            assert!(seen.contains(&one), "{one} is not in {seen:?}");
        }
        let hush = seen.iter().filter(|one| one.contains("hush")).count();
        assert_eq!(hush, usize::from(query == "3"), "{seen:?}");
    }
    assert_eq!(variables(stats), Some(Vec::new()), "nothing runs");
}

#[test]
fn uwsgitop_from_pypi_shows_the_workers() {
    let Some(tools) = environment("tools") else { return };
    let Some(tmux) = program("tmux") else { return };
    let folder = Folder::new();
    let (_family, door, stats) = serve(&folder, "stats-request-vars = true\n");
    let mut running = door.connect().unwrap();
    running.send(b"GET /sleep?60 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
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
            (screen.contains("WID") && screen.contains("idle") && screen.contains("busy")).then_some(())
        });
    }));
    tmux(&["kill-server"]);
    assert!(seen.is_ok(), "{screen}");
}
