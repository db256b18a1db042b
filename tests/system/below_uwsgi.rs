//! liege below an emperor of uWSGI: its instances are vassals like uWSGI's own.

use std::cell::Cell;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use liege::wire::bytes::packet;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::apps::says_after_import;
use crate::support::http::Door;
use crate::support::process::{Family, is_gone};
use crate::support::server::Folder;
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, environment, extension, free_port};

/// An emperor of uWSGI whose vassals liege runs.
struct Reign {
    emperor: Family,
    folder: Folder,
    /// How often files were touched.
    touches: Cell<u32>,
}

impl Reign {
    /// Starts it with these options; without a uWSGI the test says that it is skipped.
    fn start(options: &[&str]) -> Option<Self> {
        let uwsgi = environment("uwsgi")?.join("bin/uwsgi");
        extension();
        let folder = Folder::new();
        std::fs::create_dir(folder.path().join("v")).unwrap();
        let mut command = Command::new(uwsgi);
        command.args(["--emperor", "v", "--emperor-freq", "1", "--emperor-stats"]);
        command.arg(folder.path().join("stats.sock"));
        command.args(["--emperor-wrapper", LIEGE]).args(options).current_dir(folder.path());
        let emperor = Family::start(&mut command, &folder.path().join("uwsgi.log"));
        Some(Self { emperor, folder, touches: Cell::default() })
    }

    /// Writes an app that answers so, and `/slow` after two seconds.
    fn app(&self, text: &str) {
        let text = format!(
            "import os, time\ndef application(environ, start_response):\n    \
             if environ['PATH_INFO'] == '/slow':\n        \
             open('running', 'w').close()\n        time.sleep(2)\n    \
             start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', '{}')])\n    \
             return [b'{text}']\n",
            text.len()
        );
        self.folder.write("app.py", text);
    }

    fn vassal(&self, name: &str, lines: &str) {
        let base = self.folder.path().display();
        let text = format!("[uwsgi]\nchdir = {base}\nwsgi-file = app.py\nmaster = true\n{lines}\n");
        self.folder.write(Path::new("v").join(name), text);
    }

    /// What the emperor's statistics say of a vassal.
    fn told(&self, name: &str) -> Option<Value> {
        let bytes = Door::Unix(self.folder.path().join("stats.sock")).connect().ok()?.rest().ok()?;
        let told: Value = serde_json::from_slice(&bytes).ok()?;
        let vassals = told["vassals"].as_array()?;
        vassals.iter().find(|vassal| vassal["id"] == name).cloned()
    }

    fn until(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{name} {what}"), || self.told(name).filter(|told| is_so(told)))
    }

    /// Gives a file a time that uWSGI's emperor takes for later, to the second, also than that of the touch before, which
    /// the file may have been written after within the same second.
    fn touch(&self, name: &str) {
        let file =
            std::fs::File::options().append(true).open(self.folder.path().join("v").join(name)).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        self.touches.set(self.touches.get() + 1);
        file.set_modified(modified + Duration::from_secs(self.touches.get().into())).unwrap();
    }

    fn end(mut self) {
        self.emperor.signal(Signal::SIGINT);
        self.emperor.wait_until_empty();
    }
}

fn pid(told: &Value) -> i32 {
    i32::try_from(told["pid"].as_i64().unwrap()).unwrap()
}

#[test]
fn an_instance_is_started_reloaded_and_stopped_by_an_emperor_of_uwsgi() {
    let Some(reign) = Reign::start(&["--vassal-set", "who=me"]) else { return };
    reign.app("one");
    let port = free_port();
    reign.vassal("a.ini", &format!("http-socket = 127.0.0.1:{port}\nprocesses = 2\nenv = WHO=%(who)"));
    let door = Door::Port(port);
    door.wait_for("/", "one");
    // Loyal without a visit: it will not be punished for the end that it is asked for.
    let told = reign.until("a.ini", "is loyal", |told| told["loyal"] == 1);
    assert_eq!((&told["ready"], &told["accepting"]), (&1.into(), &1.into()));
    let master = pid(&told);

    reign.app("two");
    reign.touch("a.ini");
    door.wait_for("/", "two");
    let told = reign.until("a.ini", "accepts again", |told| told["accepting"] == 1);
    assert_eq!((pid(&told), &told["respawns"]), (master, &1.into()), "in the same process");

    // A file that cannot be used is no outage.
    reign.vassal("a.ini", "http-socket = nonsense:");
    reign.touch("a.ini");
    reign.emperor.wait_for_log("reload failed, the old generation serves on");
    assert_eq!(door.get("/").unwrap().text(), "two");
    assert_eq!(pid(&reign.until("a.ini", "accepts", |told| told["accepting"] == 1)), master);

    // It goes on below its emperor after it has executed its binary again.
    reign.vassal("a.ini", &format!("http-socket = 127.0.0.1:{port}"));
    reign.until("a.ini", "has read it", |told| told["respawns"].as_u64() >= Some(2));
    kill(Pid::from_raw(master), Signal::SIGHUP).unwrap();
    reign.emperor.wait_for_log("gracefully (RE)spawned uWSGI master process");
    reign.app("three");
    reign.touch("a.ini");
    door.wait_for("/", "three");

    // uWSGI's emperor says "stop at once" by default; the running request is finished all the same.
    let mut running = door.connect().unwrap();
    running.send(b"GET /slow HTTP/1.0\r\n\r\n").unwrap();
    until("the request to run", || reign.folder.path().join("running").exists());
    std::fs::remove_file(reign.folder.path().join("v/a.ini")).unwrap();
    assert_eq!(running.answer(false).unwrap().text(), "three");
    until("the vassal to be forgotten", || reign.told("a.ini").is_none());
    assert!(is_gone(master));
    reign.end();
}

#[test]
fn signs_of_life_come_also_while_a_reload_loads() {
    let options = ["--emperor-required-heartbeat", "3"];
    let Some(reign) = Reign::start(&options) else { return };
    reign.app("one");
    let port = free_port();
    reign.vassal("a.ini", &format!("http-socket = 127.0.0.1:{port}\nheartbeat = 1"));
    let door = Door::Port(port);
    door.wait_for("/", "one");
    let told = reign.until("a.ini", "lives", |told| told["last_heartbeat"].as_u64() > Some(0));
    reign.folder.write("app.py", says_after_import("slow", 8.0));
    reign.touch("a.ini");
    reign.emperor.wait_for_log("reload done");
    assert_eq!(pid(&reign.told("a.ini").unwrap()), pid(&told), "it was not killed");
    // A stopped master gives none, and is killed by its emperor; another one takes its place.
    reign.app("two");
    kill(Pid::from_raw(pid(&told)), Signal::SIGSTOP).unwrap();
    door.wait_for("/", "two");
    reign.end();
}

#[test]
fn it_sleeps_below_an_emperor_of_uwsgi_that_waits_on_its_socket() {
    let folder_option = ["--emperor-on-demand-ext", ".socket"];
    let Some(reign) = Reign::start(&folder_option) else { return };
    reign.app("one");
    let port = free_port();
    reign.folder.write("v/a.ini.socket", format!("127.0.0.1:{port}"));
    reign.vassal("a.ini", "protocol = http\nidle = 2\ndie-on-idle = true");
    let door = Door::Port(port);
    for _ in 0..2 {
        reign.until("a.ini", "sleeps", |told| told["pid"] == -1);
        assert_eq!(door.get("/").unwrap().text(), "one");
        reign.until("a.ini", "accepts", |told| told["accepting"] == 1 && told["pid"] != -1);
    }
    reign.until("a.ini", "sleeps", |told| told["pid"] == -1);
    reign.end();
}

#[test]
fn an_instance_ends_when_an_emperor_of_uwsgi_is_killed() {
    let Some(mut reign) = Reign::start(&[]) else { return };
    reign.app("one");
    let port = free_port();
    reign.vassal("a.ini", &format!("http-socket = 127.0.0.1:{port}\nprocesses = 2"));
    Door::Port(port).wait_for("/", "one");
    reign.emperor.signal(Signal::SIGKILL);
    reign.emperor.wait_until_empty();
}

/// An emperor of uWSGI 2.0 with a source of configurations that is no directory, as far as its vassal sees it: it sends
/// each one with the word to reload, and once more when it is asked.
#[test]
fn of_the_configurations_that_an_emperor_of_uwsgi_sends_the_last_one_counts() {
    extension();
    let folder = Folder::new();
    folder.write(
        "app.py",
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
         return [os.environ['V'].encode()]\n",
    );
    let (mut control, of_vassal) = UnixStream::pair().unwrap();
    let (mut config, config_of_vassal) = UnixStream::pair().unwrap();
    for end in [&of_vassal, &config_of_vassal] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    let port = free_port();
    let text = |version: u32| {
        packet(
            format!(
                "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nenv = V=version {version}\n"
            )
            .as_bytes(),
        )
        .unwrap()
    };
    config.write_all(&text(1)).unwrap();
    let mut vassal = Family::start(
        Command::new(LIEGE)
            .args(["--ini", "emperor://app.ini"])
            .env("UWSGI_EMPEROR_FD", of_vassal.as_raw_fd().to_string())
            .env("UWSGI_EMPEROR_FD_CONFIG", config_of_vassal.as_raw_fd().to_string())
            .current_dir(folder.path()),
        &folder.path().join("liege.log"),
    );
    drop((of_vassal, config_of_vassal));
    let door = Door::Port(port);
    door.wait_for("/", "version 1");
    let mut until_said = |byte: u8| {
        let mut said = [0];
        while said != [byte] {
            control.read_exact(&mut said).unwrap();
        }
        control.try_clone().unwrap()
    };
    for version in 2..=4 {
        let mut emperor = until_said(5);
        emperor.write_all(&[1]).unwrap();
        config.write_all(&text(version)).unwrap();
        until_said(2);
        config.write_all(&text(version)).unwrap();
        door.wait_for("/", &format!("version {version}"));
    }
    until_said(5).write_all(&[99, 0]).unwrap();
    assert!(vassal.wait().success());
    vassal.wait_until_empty();
}
