//! What runs short on a host: descriptors, room on a disk, readers of a log. Serving goes on, or comes back.

use std::net::TcpStream;
use std::process::Command;
use std::time::SystemTime;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, extension, free_port};

const APP: &str = "
import os
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    print('a line of the application', flush=True)
    return [str(os.getpid()).encode()]
";

fn pid(door: &Door) -> Option<String> {
    door.get("/").ok().filter(|answer| answer.status == 200).map(|answer| answer.text())
}

#[test]
fn who_has_no_descriptors_left_accepts_again_when_there_are_some() {
    let (http, router, folder) = (free_port(), free_port(), Folder::new());
    folder.write("app.py", APP);
    let doors = format!("http-socket = 127.0.0.1:{http}\nhttp = 127.0.0.1:{router}");
    folder.write("app.ini", format!("[uwsgi]\n{doors}\nwsgi-file = app.py\nmax-fd = 100\n"));
    let family = liege(&folder, &["app.ini"]);
    for port in [http, router] {
        let door = Door::Port(port);
        let first = eventually("the app", || pid(&door));
        let clients: Vec<_> = (0..140).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        family.wait_for_log(&format!("cannot accept on 127.0.0.1:{port}: Too many open files"));
        drop(clients);
        assert_eq!(eventually("the app again", || pid(&door)), first);
    }
}

#[test]
fn the_fewest_descriptors_that_are_taken_are_enough_for_a_reload() {
    for (option, processes, threads, fewest) in [
        ("http-socket", 1, 1, 36),
        ("http-socket", 8, 1, 64),
        ("http", 1, 1, 45),
        ("http", 4, 2, 60),
        ("http", 1, 16, 64),
    ] {
        let (port, folder) = (free_port(), Folder::new());
        folder.write("app.py", APP);
        let lines = format!(
            "{option} = 127.0.0.1:{port}\nprocesses = {processes}\nthreads = {threads}\nmax-fd = {fewest}"
        );
        folder.write("app.ini", format!("[uwsgi]\n{lines}\nwsgi-file = app.py\n"));
        let (family, door) = (liege(&folder, &["app.ini"]), Door::Port(port));
        for loads in 1..4 {
            let forked = || family.log().matches("spawned uWSGI worker").count() >= loads * processes;
            until("all workers", forked);
            eventually("the app", || pid(&door));
            family.signal(Signal::SIGHUP);
        }
    }
}

#[test]
fn an_emperor_without_descriptors_for_more_vassals_still_does_what_it_is_told() {
    let folder = Folder::new();
    folder.write("app.py", APP);
    std::fs::create_dir(folder.path().join("vassals")).unwrap();
    let name = |n: usize| format!("vassals/{n:02}.ini");
    for n in 0..16 {
        let port = free_port();
        folder.write(name(n), format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n"));
    }
    extension();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=100:100", LIEGE, "--emperor", "vassals", "--api", "api.sock"]);
    let _emperor = Family::start(command.current_dir(folder.path()), &folder.path().join("log"));
    let api = Door::Unix(folder.path().join("api.sock"));
    let of_state = |state: &str| -> Option<Vec<String>> {
        let said: Value = serde_json::from_slice(&api.get("/v1/vassals").ok()?.body).ok()?;
        let all = said["vassals"].as_array()?.iter().filter(|vassal| vassal["state"] == state);
        Some(all.map(|vassal| vassal["name"].as_str().unwrap_or_default().to_owned()).collect())
    };
    let resting = eventually("some that there is no room for", || {
        of_state("resting").filter(|resting| !resting.is_empty() && of_state("starting").unwrap().is_empty())
    });
    let why = api.get(&format!("/v1/vassals/{}", resting[0])).unwrap().text();
    assert!(why.contains("descriptors left") && why.contains("LimitNOFILE"), "{why}");
    let up = of_state("up").unwrap();
    assert!(up.len() >= 4, "{up:?}, and resting: {resting:?}");
    // There is room again, and who rests tries it again at the latest after his back-off.
    up.iter().for_each(|name| std::fs::remove_file(folder.path().join("vassals").join(name)).unwrap());
    until("they are gone", || of_state("up").is_some_and(|now| now.iter().all(|name| !up.contains(name))));
    let first = folder.path().join("vassals").join(&resting[0]);
    std::fs::File::options().append(true).open(first).unwrap().set_modified(SystemTime::now()).unwrap();
    until("who is touched is up", || of_state("up").is_some_and(|up| up.contains(&resting[0])));
}

#[test]
fn a_log_that_cannot_be_written_holds_up_nobody() {
    for log in ["> /dev/full 2>&1", "2>&1 | true", "2>&-"] {
        let (port, folder) = (free_port(), Folder::new());
        folder.write("app.py", APP);
        extension();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!("\"$0\" --http-socket 127.0.0.1:{port} --master --wsgi-file app.py {log}"),
        ]);
        let _family =
            Family::start(command.arg(LIEGE).current_dir(folder.path()), &folder.path().join("log"));
        let door = Door::Port(port);
        let first = eventually(log, || pid(&door));
        for _ in 0..200 {
            assert_eq!(pid(&door).as_ref(), Some(&first), "{log}");
        }
    }
}
