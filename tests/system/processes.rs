//! What the options about processes promise: what they are called, what they may use, and how they begin and end.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::says;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::{Family, is_gone};
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, extension, free_port};

/// Tells what it is, and leaves a trace of its end.
const APP: &str = r#"
import atexit, json, os, sys, uwsgi
place = os.path.dirname(os.path.abspath(__file__))
def trace(name):
    open(os.path.join(place, name), "w").close()
uwsgi.atexit = lambda: trace("uwsgi-atexit")
atexit.register(trace, "atexit")
loaded_in = os.getcwd()
zombie = 0
def application(environ, start_response):
    global zombie
    if environ["PATH_INFO"] == "/zombie":
        zombie = os.fork()
        if not zombie:
            os._exit(0)
        os.waitid(os.P_PID, zombie, os.WEXITED | os.WNOWAIT)
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({
        "title": open("/proc/self/cmdline").read().strip("\0 "), "cwd": os.getcwd(), "loaded_in": loaded_in,
        "nice": os.nice(0), "cpus": sorted(os.sched_getaffinity(0)), "site": "site" in sys.modules,
        "early": os.environ.get("EARLY"), "pid": os.getpid(), "worker": uwsgi.worker_id(),
        "master": uwsgi.masterpid(), "zombie": os.path.exists("/proc/%d" % zombie) if zombie else None,
    }).encode()]
"#;

struct Stage {
    folder: Folder,
    door: Door,
}

impl Stage {
    fn new() -> Self {
        Self::at(Folder::new())
    }

    fn at(folder: Folder) -> Self {
        folder.write("app.py", APP);
        Self { folder, door: Door::Port(free_port()) }
    }

    /// Writes a configuration that serves the app, with these lines.
    fn write(&self, name: &str, lines: &str) {
        let Door::Port(port) = &self.door else { unreachable!() };
        let text = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\n{lines}\n");
        self.folder.write(name, text);
    }

    fn start(&self, lines: &str) -> Family {
        self.write("app.ini", lines);
        liege(&self.folder, &["app.ini"])
    }

    fn ask(&self, path: &str) -> serde_json::Value {
        eventually("an answer", || serde_json::from_slice(&self.door.get(path).ok()?.body).ok())
    }

    fn has(&self, name: &str) -> bool {
        self.folder.path().join(name).exists()
    }

    fn pid_in(&self, name: &str) -> i32 {
        eventually("a pid", || {
            std::fs::read_to_string(self.folder.path().join(name)).ok()?.trim().parse().ok()
        })
    }
}

fn title(pid: i32) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).trim_matches('\0').to_owned()
}

#[test]
fn titles_places_and_limits_are_as_told_also_after_a_hangup() {
    let stage = Stage::new();
    stage.folder.write("early/EARLY", "bird");
    std::fs::create_dir(stage.folder.path().join("place")).unwrap();
    let family = stage.start(
        "early-envdir = early\nprocname-prefix = a-\nprocname-append = -z\nprocname = $(EARLY)\nchdir2 = place\n\
         procname-master = boss\nprio = 3\ncpu-affinity = 1\nsafe-pidfile2 = safe.pid\nno-site = true",
    );
    let before = stage.ask("/");
    for hung_up in [false, true] {
        if hung_up {
            family.signal(Signal::SIGHUP);
            until("another worker", || stage.ask("/")["pid"] != before["pid"]);
        }
        let told = stage.ask("/");
        assert_eq!((&told["title"], &told["early"]), (&"a-bird-z".into(), &"bird".into()));
        assert_eq!(told["cwd"], stage.folder.path().join("place").to_str().unwrap());
        assert_eq!(told["loaded_in"], stage.folder.path().to_str().unwrap());
        assert_eq!((&told["nice"], &told["site"]), (&3.into(), &false.into()));
        assert_eq!(told["cpus"].as_array().unwrap().len(), 1);
        assert_eq!(title(family.pid()), "a-boss-z");
        assert_eq!(stage.pid_in("safe.pid"), family.pid());
    }
}

#[test]
fn a_title_changes_with_the_configuration() {
    let stage = Stage::new();
    let family = stage.start("auto-procname = true");
    assert_eq!(stage.ask("/")["title"], "uWSGI worker 1");
    assert_eq!(title(family.pid()), "uWSGI master");
    stage.write("app.ini", "procname-append = !");
    family.signal(Signal::SIGHUP);
    until("another title", || stage.ask("/")["title"] == "uWSGI worker 1!");
    until("another title of the master", || title(family.pid()) == "uWSGI master!");
}

#[test]
fn children_of_the_app_are_reaped_where_that_is_asked_for() {
    for (lines, stays) in [("", true), ("reaper = true", false)] {
        let stage = Stage::new();
        let _family = stage.start(lines);
        stage.ask("/zombie");
        if stays {
            assert_eq!(stage.ask("/")["zombie"], true);
        } else {
            until("the child is reaped", || stage.ask("/")["zombie"] == false);
        }
    }
}

#[test]
fn the_end_of_a_worker_does_what_is_wanted() {
    for (lines, own, pythons) in
        [("", true, true), ("skip-atexit = true", false, false), ("skip-atexit-teardown = true", true, false)]
    {
        let stage = Stage::new();
        let mut family = stage.start(lines);
        stage.ask("/");
        family.signal(Signal::SIGTERM);
        assert_eq!(family.wait().code(), Some(0));
        assert_eq!((stage.has("uwsgi-atexit"), stage.has("atexit")), (own, pythons), "{lines}");
    }
}

#[test]
fn a_worker_that_cannot_go_where_it_is_told_is_reported() {
    let stage = Stage::new();
    let mut family = stage.start("chdir2 = nowhere");
    family.wait();
    assert!(family.log().contains("nowhere (chdir2)"), "{}", family.log());
}

#[test]
fn only_one_instance_has_a_lock_and_another_may_wait_for_it() {
    let stage = Stage::new();
    stage.folder.write("lock", "");
    let family = stage.start("flock = lock");
    stage.ask("/");
    let another = Stage::new();
    let lock = stage.folder.path().join("lock");
    for option in ["flock", "flock2"] {
        let mut refused = another.start(&format!("{option} = {}", lock.display()));
        assert_eq!(refused.wait().code(), Some(1));
        assert!(refused.log().contains("is locked by another instance"), "{}", refused.log());
    }
    // Executed again, it still has it.
    let before = stage.ask("/")["pid"].clone();
    family.signal(Signal::SIGHUP);
    until("another worker", || stage.ask("/")["pid"] != before);
    for option in ["flock-wait", "flock-wait2"] {
        let mut stopped = another.start(&format!("{option} = {}", lock.display()));
        stopped.wait_for_log("waiting for the lock");
        stopped.signal(Signal::SIGTERM);
        assert_eq!(stopped.wait().code(), Some(0), "{option}");
        std::fs::remove_file(another.folder.path().join("liege.log")).unwrap();
    }
    let waiting = another.start(&format!("flock-wait = {}", lock.display()));
    waiting.wait_for_log("waiting for the lock");
    assert!(another.door.connect().is_err());
    drop(family);
    another.ask("/");
    let mut missing = stage.start("flock = nowhere");
    assert_eq!(missing.wait().code(), Some(1));
    assert!(missing.log().contains("nowhere: No such file"), "{}", missing.log());
}

#[test]
fn a_change_of_a_file_or_in_a_directory_reloads_at_once() {
    let stage = Stage::new();
    stage.folder.write("code/one.py", "");
    let _family = stage.start("fs-reload = code\nfs-brutal-reload = release\nprocesses = 1");
    let mut pid = stage.ask("/")["pid"].clone();
    let place = stage.folder.path().to_owned();
    let write = |name: &str| std::fs::write(place.join(name), "x").unwrap();
    let acts: [(&str, &dyn Fn()); 4] = [
        ("one is made", &|| write("code/two.py")),
        ("one is written", &|| write("code/one.py")),
        ("what was missing appears", &|| write("release")),
        ("it is replaced", &|| {
            write("fresh");
            std::fs::rename(place.join("fresh"), place.join("release")).unwrap();
        }),
    ];
    for (what, act) in acts {
        act();
        until(what, || stage.ask("/")["pid"] != pid);
        pid = stage.ask("/")["pid"].clone();
    }
}

#[test]
fn a_reload_may_be_the_end() {
    let stage = Stage::new();
    let mut family = stage.start("exit-on-reload = true\ntouch-reload = touched");
    let first = stage.ask("/")["master"].clone();
    family.signal(Signal::SIGHUP);
    assert_eq!(family.wait().code(), Some(0));
    assert!(family.log().contains("GAME OVER"), "{}", family.log());
    let mut family = stage.start("exit-on-reload = true\ntouch-reload = touched");
    until("the next one", || stage.ask("/")["master"] != first);
    stage.folder.write("touched", "");
    assert_eq!(family.wait().code(), Some(0));
}

#[test]
fn below_an_emperor_another_instance_takes_the_place_of_one_that_ends_on_a_reload() {
    let host = Host::start(&[]);
    host.folder().write("app.py", APP);
    let stage = Stage { folder: Folder::new(), door: Door::Port(free_port()) };
    let Door::Port(port) = &stage.door else { unreachable!() };
    let text =
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\nexit-on-reload = true\n");
    host.write("a.ini", &text);
    let first = stage.ask("/")["master"].clone();
    host.write("a.ini", format!("{text}# touched\n"));
    until("another instance", || stage.ask("/")["master"] != first);
}

#[test]
fn a_configuration_that_cannot_be_used_may_name_another() {
    let stage = Stage::new();
    stage.write("other.ini", "procname = other");
    for wrong in ["processes = 0", "chdir = /nowhere", "stats = /nowhere/stats.sock"] {
        let mut family = stage.start(&format!("fallback-config = other.ini\n{wrong}"));
        assert_eq!(stage.ask("/")["title"], "other", "{wrong}");
        assert!(family.log().contains("!!! Fallback config to "), "{}", family.log());
        family.signal(Signal::SIGTERM);
        family.wait();
    }
    let mut family = stage.start("fallback-config = nowhere.ini\nprocesses = 0");
    assert_eq!(family.wait().code(), Some(1));
    assert!(family.log().contains("nowhere.ini"), "{}", family.log());
}

#[test]
fn a_vassal_may_name_another_configuration_and_comes_back_to_its_own() {
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    host.folder().write("other.py", says("other"));
    let door = Door::Port(free_port());
    let Door::Port(port) = &door else { unreachable!() };
    let text = |app: &str| format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../{app}.py\n");
    host.folder().write("other.conf", text("other").replace("%d../", "%d"));
    host.write("a.ini", format!("{}processes = 0\nfallback-config = %d../other.conf\n", text("app")));
    door.wait_for("/", "other");
    host.write("a.ini", text("app"));
    door.wait_for("/", "v1");
}

#[test]
fn it_goes_to_the_background_once_it_serves() {
    extension();
    let stage = Stage::new();
    stage.write("app.ini", "daemonize2 = later.log\npidfile = app.pid");
    let mut command = Command::new(LIEGE);
    command.arg("app.ini").current_dir(stage.folder.path());
    // Its output ends with the process that was started: nobody else keeps it open.
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("spawned uWSGI master process") && !stage.has("atexit"), "{text}");
    let told = stage.ask("/");
    let pid = stage.pid_in("app.pid");
    assert_eq!(told["master"], pid);
    let log = || std::fs::read_to_string(stage.folder.path().join("later.log")).unwrap();
    until("a line of the request", || log().contains("GET /"));
    kill(Pid::from_raw(pid), Signal::SIGHUP).unwrap();
    until("another worker", || stage.ask("/")["pid"] != told["pid"]);
    assert!(log().contains("reloading: SIGHUP"), "{}", log());
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    until("its end", || is_gone(pid));
}

#[test]
fn who_waits_for_an_instance_in_the_background_hears_that_it_fails() {
    extension();
    let stage = Stage::new();
    for (lines, status, line) in [
        ("need-app = true\nmodule = nosuchmodule", 22, "No module named"),
        ("chdir = /nowhere", 1, "cannot chdir to /nowhere"),
        ("chdir = /nowhere", 1, "or mend `chdir`"),
        ("pidfile = /nowhere/pid", 1, "or mend `pidfile`"),
        ("logto = /nowhere/log", 1, "or mend `logto`"),
        ("daemonize2 = /nowhere/log", 1, "cannot log to /nowhere/log"),
    ] {
        stage.write("app.ini", &format!("daemonize2 = later.log\n{lines}"));
        let mut family = liege(&stage.folder, &["app.ini"]);
        assert_eq!(family.wait().code(), Some(status), "{lines}: {}", family.log());
        assert!(family.log().contains(line), "{lines}: {}", family.log());
        family.wait_until_empty();
    }
    // Whoever interrupts it ends what it waits for.
    stage.folder.write("app.py", "import time\ntime.sleep(600)");
    stage.write("app.ini", "daemonize2 = later.log");
    let mut family = liege(&stage.folder, &["app.ini"]);
    family.wait_for_log("spawned uWSGI master process");
    family.signal(Signal::SIGINT);
    family.wait_until_empty();
}

/// A stage where an app of another user finds all that it needs, or `None`, said, where nobody can become one.
fn stage_for_nobody() -> Option<(Stage, String)> {
    let folder = Folder::for_nobody()?;
    folder.open_to(0o777);
    let stage = Stage::at(folder);
    Some((stage, "python = /usr/bin/python3\nextension = libliege.so".to_owned()))
}

#[test]
fn sockets_may_be_made_before_the_privileges_drop() {
    for (lines, owner) in [("", 65534), ("drop-after-init = true", 0)] {
        let Some((stage, base)) = stage_for_nobody() else { return };
        let family = stage.start(&format!(
            "{base}\nuid = nobody\ngid = nogroup\nsocket = app.sock\npidfile2 = app.pid\n{lines}"
        ));
        let told = stage.ask("/");
        let owner_of = |path: &Path| std::fs::metadata(path).unwrap().uid();
        for name in ["app.sock", "app.pid"] {
            assert_eq!(owner_of(&stage.folder.path().join(name)), owner, "{lines}: {name}");
        }
        for pid in family.members() {
            assert_eq!(owner_of(Path::new(&format!("/proc/{pid}"))), 65534, "{lines}");
        }
        // The sockets are kept where they could not be made again.
        family.signal(Signal::SIGHUP);
        until("another worker", || stage.ask("/")["pid"] != told["pid"]);
    }
}

#[test]
fn an_immediate_user_does_nothing_as_root() {
    let Some((stage, base)) = stage_for_nobody() else { return };
    let family = stage.start(&format!(
        "{base}\nimmediate-uid = nobody\nuid = nobody\npidfile = app.pid\nexec-as-root = touch rooted"
    ));
    stage.ask("/");
    assert_eq!(std::fs::metadata(stage.folder.path().join("app.pid")).unwrap().uid(), 65534);
    assert!(!stage.has("rooted") && family.log().contains("not started as root"), "{}", family.log());
    drop(family);
    let mut refused = stage.start(&format!("{base}\nimmediate-uid = nobody\nuid = daemon"));
    assert_eq!(refused.wait().code(), Some(1));
    assert!(refused.log().contains("uid: daemon: it is nobody already then"), "{}", refused.log());
}

#[test]
fn the_nice_value_of_a_vassal_counts_among_vassals_where_sessions_share_the_cpus() {
    if !Path::new("/proc/self/autogroup").exists() {
        return eprintln!("skipped: sessions share nothing by this kernel (CONFIG_SCHED_AUTOGROUP)");
    }
    let host = Host::start(&[]);
    host.folder().write("app.py", "def application(environ, start): start('200 OK', []); return [b'']");
    let write = |lines: &str| {
        let common = "wsgi-file = ../app.py\nhttp-socket = app.sock\n";
        let daemon = "attach-daemon = while :; do cp /proc/self/autogroup told; sleep 0.05; done";
        host.write("a.ini", format!("[uwsgi]\n{common}{daemon}\n{lines}"));
    };
    let share = |of: String| std::fs::read_to_string(of).unwrap_or_default();
    let ours = share("/proc/self/autogroup".to_owned());
    for (lines, nice) in
        [("prio = 5", "nice 5\n"), ("prio = 7", "nice 7\n"), ("prio = 4", "nice 4\n"), ("", "nice 0\n")]
    {
        write(lines);
        until(nice, || {
            let master = host.vassal("a.ini").map_or(0, |vassal| vassal["pid"].as_u64().unwrap_or(0));
            share(format!("/proc/{master}/autogroup")).ends_with(nice)
        });
        until("the same of its daemon", || {
            share(host.folder().path().join("vassals/told").display().to_string()).ends_with(nice)
        });
    }
    assert_eq!(share("/proc/self/autogroup".to_owned()), ours, "an emperor's session is that of its starter");
}
