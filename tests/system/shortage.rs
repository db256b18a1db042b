//! What runs short on a host: descriptors, room on a disk, readers of a log. Serving goes on, or comes back.

use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::Signal;

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
