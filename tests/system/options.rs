//! What the options of a file promise, seen from outside.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::{BROKEN, TOOLS, says};
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege, serve_app};
use crate::support::wait::{eventually, until};
use crate::support::{free_port, uwsgi};

/// Tells what an app can see of its process, by path.
const MIRROR: &str = r#"
import json, os, sys, threading

def application(environ, start_response):
    import uwsgi
    facts = {
        "cwd": os.getcwd(), "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
        "umask": os.umask(0o22), "environment": dict(os.environ), "path": sys.path, "pid": os.getpid(),
        "worker": uwsgi.worker_id(), "arguments": sys.argv, "executable": sys.executable,
        "title": open("/proc/self/cmdline").read().replace("\0", " ").strip(),
        "multithread": environ["wsgi.multithread"], "multiprocess": environ["wsgi.multiprocess"],
        "descriptors": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                              if os.path.islink(f"/proc/self/fd/{fd}")),
        "status": open("/proc/self/status").read(),
    }
    os.umask(facts["umask"])
    body = json.dumps(facts).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"#;

fn mirror(lines: &str) -> (Family, serde_json::Value, Folder) {
    let (family, door, folder) = serve_app(MIRROR, lines);
    let facts = eventually("the facts", || serde_json::from_slice(&door.get("/").ok()?.body).ok());
    (family, facts, folder)
}

#[test]
fn chdir_pythonpath_env_and_umask_reach_the_app() {
    let folder = Folder::new();
    let place = folder.path().canonicalize().unwrap();
    std::fs::create_dir(place.join("variables")).unwrap();
    folder.write("variables/THREE", "3 = three\n");
    let lines = format!(
        "envdir = {0}/variables\npyargv = serve --now\nchdir = {0}\npythonpath = {0}/lib\nenv = ONE=1 = one\nenv = TWO=2\nunenv = HOME\numask = 027\nthreads = 2",
        place.display()
    );
    let (_family, facts, _folder) = mirror(&lines);
    assert_eq!(facts["cwd"], place.to_str().unwrap());
    assert_eq!(facts["path"][0], place.join("lib").to_str().unwrap());
    assert_eq!(facts["environment"]["ONE"], "1 = one");
    assert_eq!(facts["environment"]["TWO"], "2");
    assert_eq!(facts["environment"]["THREE"], "3 = three");
    assert_eq!(facts["arguments"], serde_json::json!(["serve", "--now"]));
    assert!(facts["environment"]["HOME"].is_null());
    assert_eq!(facts["umask"], 0o27);
    assert_eq!(facts["worker"], 1);
    assert_eq!((&facts["multithread"], &facts["multiprocess"]), (&true.into(), &false.into()));
}

#[test]
fn privileges_are_dropped_for_good() {
    let Some(open) = Folder::for_nobody() else { return };
    let extension = open.path().join("libliege.so");
    let (family, facts, _folder) = mirror(&format!(
        "uid = nobody\ngid = nogroup\nprocesses = 2\npython = /usr/bin/python3\nextension = {}",
        extension.display()
    ));
    assert_eq!((&facts["uid"], &facts["gid"]), (&65534.into(), &65534.into()));
    let status = facts["status"].as_str().unwrap();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert_eq!(line("Uid:").split_whitespace().skip(1).collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(line("Gid:").split_whitespace().skip(1).collect::<Vec<_>>(), ["65534"; 4]);
    for name in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert!(line(name).ends_with("0000000000000000"), "{}", line(name));
    }
    assert!(!facts["groups"].as_array().unwrap().contains(&0.into()), "{}", facts["groups"]);
    for pid in family.members() {
        assert_eq!(std::fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 65534, "the master drops, too");
    }
}

#[test]
fn an_app_as_root_is_warned_about_and_refused_when_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: this needs root");
        return;
    }
    let (family, door, _folder) = serve_app(TOOLS, "");
    door.wait_for("/", "hello");
    assert!(family.log().to_lowercase().contains("root"), "{}", family.log());
    let (mut family, door, _folder) = serve_app(TOOLS, "root-apps = deny");
    assert_eq!(family.wait().code(), Some(1));
    assert!(family.log().contains("root"), "{}", family.log());
    assert!(door.connect().is_err());
}

#[test]
fn a_user_that_is_not_there_is_named_with_what_to_do() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: this needs root");
        return;
    }
    let (mut family, _door, _folder) = serve_app(TOOLS, "uid = nosuchuser");
    assert_eq!(family.wait().code(), Some(1));
    let log = family.log();
    assert!(log.contains("there is no user nosuchuser (mend `uid`"), "{log}");
}

#[test]
fn an_app_sees_no_descriptor_of_its_supervisors() {
    // What the starter forgot to close, too.
    let forgotten = std::fs::File::open("/etc/passwd").unwrap();
    nix::fcntl::fcntl(&forgotten, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let (_family, facts, folder) = mirror("");
    let names: Vec<&str> =
        facts["descriptors"].as_array().unwrap().iter().filter_map(|name| name.as_str()).collect();
    let foreign = |name: &&&str| {
        ["inotify", "/etc/passwd", folder.path().to_str().unwrap()].iter().any(|part| name.contains(part))
    };
    assert!(!names.iter().any(|name| foreign(&name)), "{names:?}");
    assert!(names.len() < 24, "{names:?}");
}

#[test]
fn signals_stop_an_instance_gracefully_and_leave_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let (mut family, door, _folder) = serve_app(TOOLS, "processes = 2");
        door.wait_for("/", "hello");
        let mut running = door.connect().unwrap();
        running.send(b"GET /sleep?0.5 HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        // Once another request was answered after it, the sleeping one is inside a worker.
        assert_eq!(door.get("/").unwrap().text(), "hello");
        family.signal(signal);
        assert_eq!(running.answer(false).unwrap().text(), "slept", "{signal}");
        assert_eq!(family.wait().code(), Some(0), "{signal}");
        family.wait_until_empty();
    }
}

#[test]
fn a_hangup_brings_new_code_under_the_same_pid() {
    let (family, door, folder) = serve_app(&says("v1"), "pidfile = app.pid\nprocesses = 2");
    door.wait_for("/", "v1");
    let written: i32 =
        std::fs::read_to_string(folder.path().join("app.pid")).unwrap().trim().parse().unwrap();
    assert_eq!(written, family.pid());
    folder.write("app.py", says("v2"));
    family.signal(Signal::SIGHUP);
    door.wait_for("/", "v2");
    assert_eq!(
        std::fs::read_to_string(folder.path().join("app.pid")).unwrap().trim(),
        family.pid().to_string()
    );
}

#[test]
fn a_broken_hangup_leaves_the_old_code_and_says_why() {
    let (family, door, folder) = serve_app(&says("v1"), "");
    let good = std::fs::read(folder.path().join("app.ini")).unwrap();
    door.wait_for("/", "v1");
    folder.write("app.py", BROKEN);
    family.signal(Signal::SIGHUP);
    family.wait_for_log("no luck today");
    assert_eq!(door.get("/").unwrap().text(), "v1");
    folder.write("app.ini", "[uwsgi]\nhttp-socket = 127.0.0.1:1\nwsgi-file = app.py\nprocesses = 0\n");
    family.signal(Signal::SIGHUP);
    family.wait_for_log("the configuration of app.ini is refused");
    family.wait_for_log("app.ini:4: error: processes: 0: nobody would serve");
    assert_eq!(door.get("/").unwrap().text(), "v1");
    folder.write("app.ini", good);
    folder.write("app.py", says("v2"));
    family.signal(Signal::SIGHUP);
    door.wait_for("/", "v2");
}

#[test]
fn a_touched_file_reloads() {
    let folder = Folder::new();
    let touched = folder.path().join("reload.txt");
    let (_family, door, app) = serve_app(&says("v1"), &format!("touch-reload = {}", touched.display()));
    door.wait_for("/", "v1");
    app.write("app.py", says("v2"));
    std::fs::write(&touched, "now").unwrap();
    door.wait_for("/", "v2");
}

#[test]
fn a_worker_is_replaced_after_max_requests() {
    let (_family, door, _folder) = serve_app(TOOLS, "max-requests = 5\nmin-worker-lifetime = 0");
    door.wait_for("/", "hello");
    let first = door.get("/pid").unwrap().text();
    until("another worker", || door.get("/pid").unwrap().text() != first);
}

#[test]
fn lazy_apps_load_in_every_worker() {
    let app = "import os\nPID = os.getpid()\n".to_owned()
        + &says("x").replace("\"x\".encode()", "str(PID == os.getpid()).encode()");
    let (_family, door, _folder) = serve_app(&app, "lazy-apps = true\nprocesses = 2");
    door.wait_for("/", "True");
    let (_family, door, _folder) = serve_app(&app, "processes = 2");
    door.wait_for("/", "False");
}

#[test]
fn a_printed_value_is_in_the_log() {
    let (family, door, _folder) = serve_app(TOOLS, "name = blog\nprint = this is %(name)");
    door.wait_for("/", "hello");
    family.wait_for_log("this is blog");
}

#[test]
fn need_app_ends_with_status_22() {
    let (mut family, door, _folder) = serve_app(BROKEN, "need-app = true");
    assert_eq!(family.wait().code(), Some(22));
    assert!(family.log().contains("no luck today"));
    assert!(door.connect().is_err());
}

#[test]
fn an_abstract_socket_serves() {
    use std::io::{Read, Write};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixStream};

    let name = format!("liege-test-{}-{}", std::process::id(), free_port());
    let (_family, door, _folder) = serve_app(TOOLS, &format!("http-socket = @{name}"));
    door.wait_for("/", "hello");
    let mut stream = UnixStream::connect_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

#[test]
fn a_unix_socket_is_not_writable_for_the_world_unless_told() {
    let folder = Folder::new();
    for (lines, mode) in [("", 0), ("chmod-socket = 666", 2)] {
        let path = folder.path().join(format!("{mode}.sock"));
        let (_family, door, _folder) = serve_app(TOOLS, &format!("socket = {}\n{lines}", path.display()));
        door.wait_for("/", "hello");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 2, mode, "{lines}");
        let unix = Door::Unix(path);
        assert!(uwsgi::ask(&unix, &uwsgi::get("/"), b"").unwrap().ends_with("hello"));
    }
}

#[test]
fn the_log_goes_where_it_is_told() {
    let (_family, door, folder) = serve_app(TOOLS, "logto = %dapp.log");
    door.wait_for("/", "hello");
    assert_eq!(door.get("/raise").unwrap().status, 500);
    let log = folder.path().join("app.log");
    until("the traceback", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("raised on purpose"))
    });
}

#[test]
fn a_vassals_own_log_says_when_and_its_emperor_where() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    host.write(
        "app.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\nlogto = %d../app.log\n"),
    );
    Door::Port(port).wait_for("/", "hello");
    let log = std::fs::read_to_string(host.folder().path().join("app.log")).unwrap();
    let line = log.lines().find(|line| line.contains("spawned uWSGI master process")).unwrap();
    assert!(line.starts_with("20") && line.contains("Z spawned"), "{log}");
    let told = host.ask("/v1/vassals/app.ini/logs").to_string();
    assert!(
        told.contains("the log goes on in") && told.contains("/app.log") && !told.contains("spawned"),
        "{told}"
    );
}

#[test]
fn an_instance_goes_to_the_background() {
    let (mut family, door, folder) = serve_app(TOOLS, "daemonize = %dapp.log\npidfile = %dapp.pid");
    assert_eq!(family.wait().code(), Some(0));
    door.wait_for("/", "hello");
    let pid: i32 = std::fs::read_to_string(folder.path().join("app.pid")).unwrap().trim().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    family.wait_until_empty();
}

#[test]
fn an_emperor_can_be_asked_for_in_a_file() {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", says("a vassal"));
    let path = folder.path().display().to_string();
    folder.write(
        "vassals/app.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = {path}/app.py\n"),
    );
    folder.write("emperor.ini", "[uwsgi]\nemperor = %dvassals\napi = %dapi.sock\n");
    let _family = liege(&folder, &["emperor.ini"]);
    Door::Port(port).wait_for("/", "a vassal");
    assert!(Path::new(&path).join("api.sock").exists());
}

#[test]
fn an_app_that_floods_a_log_that_nobody_reads_serves_on() {
    use std::process::{Command, Stdio};

    let folder = Folder::new();
    let port = free_port();
    folder.write(
        "app.py",
        "import sys\n".to_owned()
            + &says("hello").replace("    body", "    print('x' * 100000, file=sys.stderr)\n    body"),
    );
    let mut child = Command::new(crate::support::LIEGE)
        .args(["--http-socket", &format!("127.0.0.1:{port}"), "--wsgi-file", "app.py"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let door = Door::Port(port);
    door.wait_for("/", "hello");
    for _ in 0..30 {
        assert_eq!(door.get("/").unwrap().text(), "hello", "nobody reads");
    }
    drop((child.stdout.take(), child.stderr.take()));
    for _ in 0..30 {
        assert_eq!(door.get("/").unwrap().text(), "hello", "nobody can read any more");
    }
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn options_that_are_not_there_are_refused_by_name() {
    for (line, name) in
        [("asyncio = 10", "asyncio"), ("sharedarea = 10", "sharedarea"), ("spooler = /tmp", "spooler")]
    {
        let (mut family, door, _folder) = serve_app(TOOLS, line);
        assert_eq!(family.wait().code(), Some(1), "{line}");
        assert!(family.log().contains("app.ini:4") && family.log().contains(name), "{}", family.log());
        assert!(door.connect().is_err());
    }
}

#[test]
fn an_instance_that_root_starts_has_the_namespaces_that_it_asks_for() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: this needs root");
        return;
    }
    let folder = Folder::new();
    folder.write("app.py", TOOLS);
    let port = free_port();
    let shared = format!("127.0.0.1:{port}");
    let arguments = [
        "--shared-socket",
        &shared,
        "--http-socket",
        "=0",
        "--wsgi-file",
        "app.py",
        "--unshare",
        "fs,ipc,uts,net",
    ];
    let mut family = liege(&folder, &arguments);
    until("an answer, or a refusal", || Door::Port(port).get("/").is_ok() || family.ended().is_some());
    if family.log().contains("cannot have a namespace of its own (unshare = ") {
        eprintln!("skipped: the kernel gives no namespaces here");
        return;
    }
    // Bound before, the shared socket is one of the network that everybody has.
    let pid = Door::Port(port).get("/pid").unwrap().text();
    for kind in ["mnt", "ipc", "uts", "net"] {
        let of = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of(&pid), of("self"), "{kind}");
    }
    family.signal(Signal::SIGHUP);
    until("another worker", || Door::Port(port).get("/pid").is_ok_and(|answer| answer.text() != pid));
    family.signal(Signal::SIGTERM);
    assert!(family.wait().success());
}
