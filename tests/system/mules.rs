//! Mules: processes of the application that serve no request.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::{Family, is_gone};
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};

/// `/send?MULE&TEXT` sends a message; a mule logs each, and does what it says.
const APP: &str = r#"
import os, signal, time, uwsgi

def application(environ, start_response):
    mule, _, text = environ["QUERY_STRING"].partition("&")
    if environ["PATH_INFO"] == "/send":
        body = str(uwsgi.mule_msg(text.encode(), *([int(mule)] if mule else [])))
    elif environ["PATH_INFO"] == "/flood":
        body = str([uwsgi.mule_msg(b"x" * 1000, int(mule)) for _ in range(2000)].count(True))
    else:
        body = str(os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]

def told(message):
    text = message.decode()
    print("begin %s in mule %d of %d" % (text, uwsgi.mule_id(), os.getpid()), flush=True)
    if text == "wait":
        while not os.path.exists("go"):
            time.sleep(0.01)
    elif text == "hang":
        while True:
            time.sleep(600)
    elif text == "raise":
        raise ValueError("raised on purpose")
    elif text == "limit":
        uwsgi.set_user_harakiri(1)
        time.sleep(600)
    print("end %s in mule %d" % (text, uwsgi.mule_id()), flush=True)

uwsgi.mule_msg_hook = told
uwsgi.post_fork_hook = lambda: print("forked worker %d mule %d" % (uwsgi.worker_id(), uwsgi.mule_id()), flush=True)
"#;

/// Code of a mule's own, in both forms.
const OWN: &str = r#"
import os, uwsgi

def run():
    print("mule %d runs %s, %r" % (uwsgi.mule_id(), __name__, uwsgi.mule_get_msg(timeout=0)), flush=True)
    try:
        while True:
            message = uwsgi.mule_get_msg()
            print("mule %d got %s" % (uwsgi.mule_id(), message.decode()), flush=True)
            if message == b"raise":
                raise ValueError("raised on purpose")
    finally:
        print("mule %d closes" % uwsgi.mule_id(), flush=True)

if __name__ == "__main__":
    run()
"#;

struct Instance {
    family: Family,
    door: Door,
    folder: Folder,
}

impl Instance {
    fn start(app: &str, lines: &str) -> Self {
        let folder = Folder::new();
        let port = free_port();
        folder.write("app.py", app);
        folder.write("own.py", OWN);
        folder.write("reload", "");
        let text = format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\nauto-procname = true\ntouch-reload = reload\n{lines}\n"
        );
        folder.write("app.ini", text);
        let family = liege(&folder, &["app.ini"]);
        let door = Door::Port(port);
        eventually("the instance", || door.get("/").ok());
        Self { family, door, folder }
    }

    fn ask(&self, path: &str) -> String {
        self.door.get(path).unwrap().text()
    }

    fn send(&self, mule: &str, text: &str) {
        assert_eq!(self.ask(&format!("/send?{mule}&{text}")), "True");
    }

    /// The pid of a mule's newest process, once there are so many.
    fn mule(&self, number: u32, lives: usize) -> i32 {
        let said = format!("spawned uWSGI mule {number} (pid: ");
        eventually("the mule", || {
            let log = self.family.log();
            let pids: Vec<i32> =
                log.split(&said).skip(1).filter_map(|rest| rest.split(')').next()?.parse().ok()).collect();
            (pids.len() == lives).then(|| pids.last().copied()).flatten()
        })
    }

    fn reload(&self) {
        let before = self.family.log().matches("reload done").count();
        self.folder.write("reload", "");
        until("the reload", || self.family.log().matches("reload done").count() > before);
    }
}

fn text_of(pid: i32, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap()
}

fn sockets(pid: i32) -> Vec<String> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.map(|link| link.to_string_lossy().into_owned()).filter(|link| link.starts_with("socket:")).collect()
}

#[test]
fn messages_reach_the_mule_that_they_are_for_and_a_full_queue_keeps_no_request() {
    let mut instance =
        Instance::start(APP, "mule =\nmule = own.py\nmule = own:run\nmules = 1\nmule-msg-size = 65536");
    let log = || instance.family.log();
    instance.family.wait_for_log("mule 2 runs __main__, b''");
    instance.family.wait_for_log("mule 3 runs own, b''");
    for number in 1..=4 {
        instance.family.wait_for_log(&format!("forked worker 0 mule {number}"));
        let pid = instance.mule(number, 1);
        until("its title", || {
            let title = text_of(pid, "cmdline");
            title.trim_end_matches('\0') == format!("uWSGI mule {number}")
        });
    }
    instance.send("1", "one");
    instance.send("2", "two");
    instance.send("3", "three");
    instance.family.wait_for_log("end one in mule 1");
    instance.family.wait_for_log("mule 2 got two");
    instance.family.wait_for_log("mule 3 got three");
    // One for all is one mule's.
    instance.send("", "any");
    until("whoever takes it", || log().contains("end any in mule ") || log().contains(" got any"));
    // Who fails at a message takes the next; code that fails is started again.
    instance.send("4", "raise");
    instance.send("4", "after");
    instance.family.wait_for_log("ValueError: raised on purpose");
    instance.family.wait_for_log("end after in mule 4");
    instance.send("3", "raise");
    instance.mule(3, 2);
    assert!(log().contains("crippled: exit status 1"), "{}", log());
    // Nobody reads: what has no room is refused at once, and what had room stays.
    instance.send("1", "wait");
    instance.family.wait_for_log("begin wait in mule 1");
    let taken: usize = instance.ask("/flood?1").parse().unwrap();
    assert!((1..2000).contains(&taken), "{taken}");
    assert!(log().contains("*** MULE MSG QUEUE IS FULL: buffer size 131072 bytes"));
    instance.folder.write("go", "");
    until("all that had room", || {
        log().matches(&format!("end {} in mule 1", "x".repeat(1000))).count() == taken
    });
    // No mule keeps the port open.
    let worker: i32 = instance.ask("/").parse().unwrap();
    let listens = |pid| {
        let lines = text_of(pid, "net/tcp");
        let listening = lines.lines().filter(|line| line.split_whitespace().nth(3) == Some("0A"));
        let inodes: Vec<String> = listening
            .filter_map(|line| Some(format!("socket:[{}]", line.split_whitespace().nth(9)?)))
            .collect();
        sockets(pid).iter().any(|socket| inodes.contains(socket))
    };
    assert!(listens(worker) && !listens(instance.mule(1, 1)) && !listens(instance.mule(2, 1)));

    instance.family.signal(Signal::SIGTERM);
    instance.family.signal(Signal::SIGINT);
    assert!(instance.family.wait().success());
    instance.family.wait_until_empty();
    let log = instance.family.log();
    assert!(log.contains("mule 2 closes"), "{log}");
    assert!(log.find("worker 1 buried") < log.find("annihilated"), "workers may need them until then: {log}");
}

#[test]
fn a_reload_lets_a_mule_finish_its_message_and_loses_none() {
    let instance = Instance::start(APP, "mule =\nmule =\nmule-reload-mercy = 1\ntouch-mules-reload = mules");
    let (first, other) = (instance.mule(1, 1), instance.mule(2, 1));
    let worker = instance.ask("/");
    // A file of their own renews the mules alone.
    instance.folder.write("mules", "");
    let (second, other) = (instance.mule(1, 2), (other, instance.mule(2, 2)));
    assert!(first != second && other.0 != other.1 && worker == instance.ask("/"));
    until("their end", || is_gone(first) && is_gone(other.0));

    // One that does not end in time is killed, and its followers find what waits.
    instance.send("1", "hang");
    instance.family.wait_for_log("begin hang in mule 1");
    instance.send("1", "later");
    instance.send("2", "now");
    instance.family.wait_for_log("end now in mule 2");
    instance.reload();
    instance.mule(2, 3);
    instance.family.wait_for_log("mule 1 (pid: ");
    instance.family.wait_for_log("is taking too much time to die...NO MERCY !!!");
    instance.mule(1, 3);
    instance.family.wait_for_log("end later in mule 1");

    // The binary is executed again, as `kill -HUP` has it: the mules live through it until the next ones.
    instance.send("2", "wait");
    instance.family.wait_for_log("begin wait in mule 2");
    instance.send("2", "kept");
    instance.family.signal(Signal::SIGHUP);
    until("the reload", || instance.family.log().matches("reload done").count() == 2);
    instance.folder.write("go", "");
    instance.family.wait_for_log("end wait in mule 2");
    instance.family.wait_for_log("end kept in mule 2");
    assert!(!instance.family.log().contains("crippled"), "{}", instance.family.log());
}

#[test]
fn a_mule_that_works_for_too_long_is_killed_and_one_that_dies_is_back() {
    let instance = Instance::start(APP, "mules = 2\nmule-harakiri = 1");
    instance.send("1", "hang");
    instance.send("1", "after");
    instance.family.wait_for_log("*** HARAKIRI ON MULE 1 (pid: ");
    instance.family.wait_for_log("end after in mule 1");
    // The limit is that of a message.
    let pid = instance.mule(2, 1);
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    instance.family.wait_for_log("crippled: exit status 0");
    instance.send("2", "again");
    instance.family.wait_for_log("end again in mule 2");
    instance.send("2", "limit");
    instance.family.wait_for_log("*** HARAKIRI ON MULE 2 (pid: ");
    // Without a master there is none.
    let pids = [instance.mule(1, 2), instance.mule(2, 3)];
    instance.family.signal(Signal::SIGKILL);
    until("their end", || pids.into_iter().all(is_gone));
}

#[test]
fn a_mule_has_the_application_also_where_it_cannot_be_forked() {
    let threaded = format!(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n{APP}"
    );
    let instance = Instance::start(&threaded, "mule =");
    instance.send("1", "threaded");
    instance.family.wait_for_log("end threaded in mule 1");
    // With `lazy-apps` only workers load it, as in uWSGI.
    let instance = Instance::start(APP, "mule =\nlazy-apps = true");
    instance.send("1", "lazy");
    instance.family.wait_for_log("*** mule 1 received a 4 bytes message ***");
    kill(Pid::from_raw(instance.mule(1, 1)), Signal::SIGKILL).unwrap();
    instance.mule(1, 2);
    // One that listens on nothing.
    let folder = Folder::new();
    folder.write("app.py", APP);
    folder.write("app.ini", "[uwsgi]\nwsgi-file = app.py\nmule =\nmule = own.py\n");
    folder.write("own.py", "import uwsgi\nuwsgi.mule_msg(b'own', 1)\nuwsgi.mule_get_msg()\n");
    let family = liege(&folder, &["app.ini"]);
    family.wait_for_log("end own in mule 1");
}

#[test]
fn the_api_tells_of_mules() {
    let port = free_port();
    let host = Host::start(&[("a.ini", "")]);
    host.write("app.py", APP);
    host.write(
        "a.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %dapp.py\nmule =\nmule = %dnone.py\n"),
    );
    let all = eventually("a mule that rests", || {
        let all = host.ask("/v1/vassals/a.ini/companions")["attached"].clone();
        (all[1]["state"] == "resting" && all[0]["state"] == "running").then_some(all)
    });
    assert_eq!((&all[0]["kind"], &all[0]["name"]), (&"mule".into(), &"mule 1".into()));
    assert!(all[1]["command"].as_str().unwrap().ends_with("none.py"), "{all}");
    assert!(all[1]["last_exit"]["how"] == "exit status 1" && all[0]["pid"].as_u64() > Some(0), "{all}");
}
