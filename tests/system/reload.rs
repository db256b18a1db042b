//! Nothing is lost by a reload, however it is asked for, and what does not load never takes over.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::{BROKEN, says, says_after_import};
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::process::{Family, is_gone};
use crate::support::server::Folder;
use crate::support::wait::until;
use crate::support::{LIEGE, extension, free_port};

/// A host with one vassal, `slow.ini`, whose app says `v1` after an import of one second.
fn slow_host(option: &str) -> (Host, Door) {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", says_after_import("v1", 1.0));
    host.write(
        "slow.ini",
        format!("[uwsgi]\n{option} = 127.0.0.1:{port}\nprocesses = 2\nwsgi-file = %d../app.py\n"),
    );
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    (host, door)
}

fn master(host: &Host) -> i32 {
    let vassal = host.wait_for_vassal("slow.ini", "has a pid", |vassal| vassal["pid"].is_u64());
    i32::try_from(vassal["pid"].as_u64().unwrap()).unwrap()
}

/// Every way to reload, one after the other, while clients ask.
fn reloads_lose_nothing(option: &str, manner: Manner) {
    let (host, door) = slow_host(option);
    let load = Load::start(&door, manner);

    host.folder().write("app.py", says_after_import("v2", 1.0));
    host.touch("slow.ini");
    door.wait_for("/", "v2");
    load.go_on();

    host.folder().write("app.py", says_after_import("v3", 1.0));
    kill(Pid::from_raw(master(&host)), Signal::SIGHUP).unwrap();
    door.wait_for("/", "v3");
    load.go_on();

    host.folder().write("app.py", BROKEN);
    let operation = host.reload("slow.ini");
    assert_eq!(operation["outcome"], "rolled-back", "{operation:#}");
    assert!(operation.to_string().contains("no luck today"), "{operation:#}");
    assert_eq!(door.get("/").unwrap().text(), "v3");
    load.go_on();

    host.folder().write("app.py", says_after_import("v4", 1.0));
    let operation = host.reload("slow.ini");
    assert_eq!(operation["outcome"], "swapped", "{operation:#}");
    assert_eq!(door.get("/").unwrap().text(), "v4", "the reload is over: no old worker answers");
    load.go_on();

    host.folder().write("app.py", says_after_import("v5", 1.0));
    let pid = master(&host);
    host.emperor.signal(Signal::SIGHUP);
    door.wait_for("/", "v5");
    load.go_on();
    until("the API after the re-execution", || {
        host.vassal("slow.ini").is_some_and(|vassal| vassal["pid"] == pid)
    });

    let report = load.stop();
    report.nothing_failed();
    assert_eq!(report.bodies.into_iter().collect::<Vec<_>>(), ["v1", "v2", "v3", "v4", "v5"]);
}

/// An app that says `text`, and to `/hold/x` only once there is a file `x` beside it; before that it writes its pid to
/// `x-asked`.
fn holds(text: &str) -> String {
    format!(
        "import os, time\n\
         HERE = os.path.dirname(os.path.abspath(__file__))\n\
         def application(environ, start_response):\n    \
             _, held, name = environ['PATH_INFO'].partition('/hold/')\n    \
             if held:\n        \
                 with open(os.path.join(HERE, name + '-new'), 'w') as asked:\n            \
                     asked.write(str(os.getpid()))\n        \
                 os.rename(asked.name, os.path.join(HERE, name + '-asked'))\n        \
                 while not os.path.exists(os.path.join(HERE, name)):\n            \
                     time.sleep(0.01)\n    \
             start_response('200 OK', [('Content-Type', 'text/plain')])\n    \
             return [b'{text}']\n"
    )
}

#[test]
fn a_worker_that_was_busy_all_the_time_of_a_reload_takes_nothing_after_it() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", holds("v1"));
    host.write("one.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n"));
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    let hold = |name: &str| {
        let (door, path) = (door.clone(), format!("/hold/{name}"));
        let asked = std::thread::spawn(move || door.get(&path).unwrap().text());
        let file = host.folder().path().join(format!("{name}-asked"));
        until(&format!("a worker has {name}"), || file.exists());
        (asked, std::fs::read_to_string(file).unwrap().parse::<i32>().unwrap())
    };
    let (first, old) = hold("first");
    host.folder().write("app.py", holds("v2"));
    let operation = host.reload("one.ini");
    assert_eq!(operation["outcome"], "swapped", "{operation:#}");
    let (second, new) = hold("second");
    assert_ne!(old, new);
    let mut third = door.connect().unwrap();
    third.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // The old worker is done while the new one is not, and somebody waits.
    host.folder().write("first", "");
    assert_eq!(first.join().unwrap(), "v1", "what it took before stays its own");
    until("the old worker ends", || is_gone(old));
    host.folder().write("second", "");
    assert_eq!(second.join().unwrap(), "v2");
    assert_eq!(third.answer(false).unwrap().text(), "v2");
}

#[test]
fn reloads_lose_no_request_of_new_connections() {
    reloads_lose_nothing("http-socket", Manner::Fresh);
}

#[test]
fn reloads_lose_no_post_on_kept_connections() {
    reloads_lose_nothing("http-socket", Manner::KeptPost);
}

#[test]
fn a_kept_connection_outlives_every_reload_and_its_worker() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    host.write(
        "slow.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nprocesses = 2\nwsgi-file = %d../app.py\nmax-requests = 40\nmin-worker-lifetime = 0\n"
        ),
    );
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    let mut kept: Vec<_> = (0..4).map(|_| door.connect().unwrap()).collect();
    let mut ask_until = |text: &str| {
        for connection in &mut kept {
            until(&format!("{text:?} on a kept connection"), || {
                let answer = connection.ask("POST", "/", &[], b"a=1").unwrap();
                assert_eq!((answer.status, answer.closes()), (200, false), "{text}: {answer:?}");
                answer.text() == text
            });
        }
    };
    ask_until("v1");
    for (text, reload) in [
        ("v2", &(|| host.touch("slow.ini")) as &dyn Fn()),
        ("v3", &|| kill(Pid::from_raw(master(&host)), Signal::SIGHUP).unwrap()),
        ("v4", &|| host.emperor.signal(Signal::SIGHUP)),
    ] {
        host.folder().write("app.py", says(text));
        reload();
        ask_until(text);
        // More requests than a worker serves: they go from worker to worker.
        (0..50).for_each(|_| ask_until(text));
    }
}

#[test]
fn reloads_lose_no_request_behind_the_router() {
    reloads_lose_nothing("http", Manner::Fresh);
}

#[test]
fn reloads_lose_no_post_on_kept_connections_behind_the_router() {
    reloads_lose_nothing("http", Manner::KeptPost);
}

#[test]
fn an_upgrade_keeps_the_generation_of_every_app() {
    let (host, door) = slow_host("http-socket");
    let load = Load::start(&door, Manner::Fresh);
    host.folder().write("app.py", says("new code"));
    let pid = master(&host);
    let status = std::process::Command::new(LIEGE)
        .args(["upgrade", "--wait", "--api", "api.sock"])
        .current_dir(host.folder().path())
        .status()
        .unwrap();
    assert!(status.success());
    until("the API after the re-execution", || {
        host.vassal("slow.ini").is_some_and(|vassal| vassal["pid"] == pid)
    });
    load.go_on();
    let report = load.stop();
    report.nothing_failed();
    assert_eq!(report.bodies.into_iter().collect::<Vec<_>>(), ["v1"]);
}

#[test]
fn a_configuration_that_does_not_parse_never_replaces_what_runs() {
    let (host, door) = slow_host("http-socket");
    let good = std::fs::read(host.file("slow.ini")).unwrap();
    host.write("slow.ini", "[uwsgi]\nhttp-socket = 127.0.0.1:not a port\n");
    let vassal = host
        .wait_for_vassal("slow.ini", "shows the error", |vassal| vassal.to_string().contains("not a port"));
    assert!(vassal.to_string().contains("slow.ini"), "{vassal:#}");
    assert_eq!(door.get("/").unwrap().text(), "v1");
    host.folder().write("app.py", says("mended"));
    host.write("slow.ini", good);
    door.wait_for("/", "mended");
}

#[test]
fn a_running_request_is_finished_over_a_reload_and_a_stop() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", crate::support::apps::TOOLS);
    host.write("tools.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n"));
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    for end in ["reload", "stop"] {
        let mut connection = door.connect().unwrap();
        connection.send(b"GET /sleep?1 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        host.wait_for_vassal("tools.ini", "is busy", |vassal| {
            vassal["totals"]["busy"].as_u64().is_some_and(|busy| busy > 0)
        });
        if end == "stop" {
            host.remove("tools.ini");
        } else {
            host.touch("tools.ini");
        }
        assert_eq!(connection.answer(false).unwrap().text(), "slept", "{end}");
    }
}

#[test]
fn a_configuration_knows_of_a_reload() {
    let host = Host::start(&[]);
    host.folder().write(
        "app.py",
        "import os\ndef application(environ, start):\n    start('200 OK', [])\n    \
         return [os.environ.get('RELOADED', 'no').encode()]\n",
    );
    let port = free_port();
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\nif-reload =\nenv = RELOADED=yes\nendif\n"
    );
    host.write("app.ini", text);
    let door = Door::Port(port);
    door.wait_for("/", "no");
    assert_eq!(host.reload("app.ini")["outcome"], "swapped");
    door.wait_for("/", "yes");
}

#[test]
fn a_configuration_knows_the_binary_by_its_path_also_after_a_reload() {
    let (folder, port) = (Folder::new(), free_port());
    folder.write(
        "app.py",
        "import os\ndef application(environ, start):\n    start('200 OK', [])\n    \
         return [(os.environ['BINARY'] + open(os.environ['WORD']).read()).encode()]\n",
    );
    folder.write("word", " one");
    let lines = "env = BINARY=%b\nenv = WORD=%dword\npidfile = %dpid";
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\nextension = {}\n{lines}\n",
            extension().display()
        ),
    );
    let name = folder.path().join("uwsgi");
    std::os::unix::fs::symlink(LIEGE, &name).unwrap();
    let mut command = std::process::Command::new(&name);
    command.args(["--ini", "app.ini"]).current_dir(folder.path());
    let family = Family::start(&mut command, &folder.path().join("log"));
    let (door, binary) = (Door::Port(port), std::fs::canonicalize(LIEGE).unwrap());
    door.wait_for("/", &format!("{} one", binary.display()));
    family.signal(Signal::SIGHUP);
    family.wait_for_log("reload done");
    folder.write("word", " two");
    assert_eq!(door.get("/").unwrap().text(), format!("{} two", binary.display()));
}

#[test]
fn who_asks_for_reloads_without_end_has_a_pace_and_operators_have_none() {
    let port = free_port();
    let host = Host::start(&[]);
    let storm = "import os, signal, threading, uwsgi
def storm():
    while True: os.kill(uwsgi.masterpid(), signal.SIGHUP)
threading.Thread(target=storm, daemon=True).start()
";
    host.folder().write("app.py", format!("{}{storm}", says("v1")));
    host.write(
        "storm.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nlazy-apps = true\nwsgi-file = %d../app.py\n"),
    );
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    let load = Load::start(&door, Manner::Fresh);
    host.emperor.wait_for_log("since it reloads too often");
    host.folder().write("app.py", says("v2"));
    let operation = host.reload("storm.ini");
    assert_eq!(operation["outcome"], "swapped", "{operation:#}");
    door.wait_for("/", "v2");
    load.stop().nothing_failed();

    let held = "its file changes too often";
    until(held, || {
        host.touch("storm.ini");
        host.emperor.log().contains(held)
    });
    host.folder().write("app.py", says("v3"));
    host.touch("storm.ini");
    door.wait_for("/", "v3");
    host.remove("storm.ini");
    host.emperor.wait_for_log("stopped, and forgotten");
}
