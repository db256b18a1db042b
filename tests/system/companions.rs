//! What lives beside the workers: daemons, timed commands, commands run at a touch.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::apps::TOOLS;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::{Family, is_gone};
use crate::support::server::{Folder, can_drop_privileges, liege};
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, free_port};

/// An instance with these lines, its door, and its statistics.
struct Instance {
    family: Family,
    door: Door,
    stats: Door,
    folder: Folder,
}

impl Instance {
    fn start(lines: &str) -> Self {
        let folder = Folder::new();
        let (port, stats) = (free_port(), free_port());
        folder.write("app.py", TOOLS);
        let ini = format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nstats = 127.0.0.1:{stats}\nwsgi-file = app.py\nreload-mercy = 2\ntouch-reload = reload\n{lines}\n"
        );
        folder.write("reload", "");
        folder.write("app.ini", ini);
        let family = liege(&folder, &["app.ini"]);
        let door = Door::Port(port);
        door.wait_for("/", "hello");
        Self { family, door, stats: Door::Port(stats), folder }
    }

    fn statistics(&self) -> Option<Value> {
        serde_json::from_slice(&self.stats.connect().ok()?.rest().ok()?).ok()
    }

    /// The pids of the daemons, once all run.
    fn daemons(&self) -> Vec<i32> {
        eventually("all daemons", || {
            let told = self.statistics()?;
            let pids: Option<Vec<i32>> = told["daemons"].as_array()?.iter().map(pid_of).collect();
            pids
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.path().join(name)).ok()
    }

    fn reload(&self) {
        let before = self.family.log().matches("reload done").count();
        self.folder.write("reload", "");
        until("the reload", || self.family.log().matches("reload done").count() > before);
    }
}

fn pid_of(daemon: &Value) -> Option<i32> {
    daemon["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0)
}

fn end(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// What `/proc` says of a process, by the place in `stat` after its name.
fn stat_of(pid: i32, place: usize) -> i32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(place).unwrap().parse().unwrap()
}

const GROUP: usize = 2;
const SESSION: usize = 3;

#[test]
fn a_daemon_runs_in_a_shell_of_its_own_is_started_again_and_stopped_with_the_instance() {
    let mut instance = Instance::start(
        "env = COLOUR=blue\nattach-daemon = mkdir -p sub && cd sub && echo \"it is $COLOUR\"; echo half; read x && echo read; (sleep 600 & setsid sleep 601) & sleep 602\nattach-daemon = trap '' TERM; sleep 603; sleep 604",
    );
    let master = instance.family.pid();
    let [first, second] = instance.daemons()[..] else { panic!() };
    assert_eq!(stat_of(first, GROUP), first);
    assert_ne!(stat_of(first, SESSION), stat_of(master, SESSION));
    assert_ne!(stat_of(first, SESSION), stat_of(second, SESSION));
    instance.family.wait_for_log("[echo] it is blue\n");
    instance.family.wait_for_log("[echo] half\n");
    // A flood comes whole.
    let flood = Instance::start("attach-daemon = seq 1 200000; sleep 600");
    flood.family.wait_for_log("[seq] 200000\n");
    assert_eq!(flood.family.log().matches("[seq] ").count(), 200_000);
    let grandchildren = || -> usize {
        let is = |pid: &&i32| {
            std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.contains("sleep\u{0}60"))
        };
        instance.family.members().iter().filter(is).count()
    };
    until("all that it starts", || grandchildren() == 4);

    // What it has started goes with it, also what has left its session; then it is there again.
    end(first, Signal::SIGKILL);
    instance.family.wait_for_log("ended: signal 9 (SIGKILL)");
    until("another one", || instance.daemons()[0] != first);
    until("all that it starts, once", || grandchildren() == 4);
    let told = instance.statistics().unwrap();
    assert_eq!(told["daemons"][0]["respawns"], 1);
    assert!(told["daemons"][1]["cmd"].as_str().unwrap().starts_with("trap"));
    assert!(instance.text("sub/reload").is_none() && instance.folder.path().join("sub").is_dir());

    instance.family.signal(Signal::SIGTERM);
    assert!(instance.family.wait().success());
    instance.family.wait_until_empty();
    let log = instance.family.log();
    assert!(!log.contains("read\n"), "its standard input is empty: {log}");
    assert!(log.contains("daemon did not die in time, killing"), "{log}");
    let buried = log.find("worker 1 buried").unwrap();
    assert!(buried < log.find("stopping daemon").unwrap(), "workers may need them until then: {log}");
}

#[test]
fn a_reload_renews_what_is_attached_and_harms_neither_requests_nor_what_is_smart() {
    let instance = Instance::start(
        "attach-daemon = sleep 600\nsmart-attach-daemon2 = held.pid sleep 601\nattach-daemon2 = cmd=trap 'echo again >> told' HUP; while :; do sleep 0.05; done,reloadsignal=HUP\nsmart-attach-daemon = background.pid (setsid sleep 602 & echo $! > background.pid)",
    );
    let before = instance.daemons();
    until("the pid in the background", || {
        instance.text("background.pid").and_then(|pid| pid.trim().parse().ok()) == Some(instance.daemons()[3])
    });
    let before = [before[0], before[1], before[2], instance.daemons()[3]];
    assert_eq!(instance.text("held.pid").unwrap().trim(), before[1].to_string());
    let mut request = instance.door.connect().unwrap();
    request.send(b"GET /sleep?1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    instance.reload();
    assert_eq!(request.answer(false).unwrap().text(), "slept");
    until("the attached one is another", || instance.daemons()[0] != before[0]);
    until("the signal", || instance.text("told").as_deref() == Some("again\n"));
    assert_eq!(instance.daemons()[1..], before[1..]);

    // The same over an execution of the binary: nothing is started twice, and all is still known.
    let attached = instance.daemons()[0];
    instance.family.signal(Signal::SIGHUP);
    instance.family.wait_for_log("gracefully (RE)spawned uWSGI master process");
    until("the attached one is another", || instance.daemons()[0] != attached);
    assert_eq!(instance.daemons()[1..], before[1..]);
    until("the old one is gone", || is_gone(attached));
    end(before[1], Signal::SIGKILL);
    until("the one that was killed is another", || instance.daemons()[1] != before[1]);
    end(before[3], Signal::SIGKILL);
    until("the one in the background is another", || instance.daemons()[3] != before[3]);
}

#[test]
fn nothing_of_a_daemon_outlives_a_master_that_was_killed() {
    let mut instance = Instance::start(
        "attach-daemon = (setsid sleep 600 &) ; sh -c 'sleep 601 & sleep 602'; true\nsmart-attach-daemon2 = x.pid sleep 603\nattach-daemon = trap '' TERM; sleep 604; sleep 605",
    );
    instance.daemons();
    instance.family.signal(Signal::SIGKILL);
    instance.family.wait_until_empty();
}

#[test]
fn a_control_daemon_ends_the_instance() {
    let mut instance = Instance::start("attach-control-daemon = sleep 600");
    end(instance.daemons()[0], Signal::SIGTERM);
    assert!(instance.family.wait().success());
    instance.family.wait_until_empty();
}

#[test]
fn a_daemon_that_runs_already_is_not_started_again() {
    let folder = Folder::new();
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let pidfile = folder.path().join("other.pid");
    std::fs::write(&pidfile, format!("{}\n", other.id())).unwrap();
    // One that has started after its file was written is another one.
    let stale = folder.path().join("stale.pid");
    std::fs::write(&stale, format!("{}\n", other.id())).unwrap();
    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    std::fs::File::options().append(true).open(&stale).unwrap().set_modified(hour_ago).unwrap();
    let instance = Instance::start(&format!(
        "smart-attach-daemon = {} echo $$ > started; sleep 5\nsmart-attach-daemon2 = {} sleep 600",
        pidfile.display(),
        stale.display()
    ));
    assert_eq!(instance.daemons()[0], i32::try_from(other.id()).unwrap());
    assert!(instance.text("started").is_none());
    assert_ne!(instance.daemons()[1], i32::try_from(other.id()).unwrap());
    other.kill().unwrap();
    other.wait().unwrap();
    until("one of ours", || instance.text("started").is_some());
    drop(instance);
    assert!(!stale.exists(), "a file that names nobody is removed");
}

#[test]
fn a_daemon_may_run_as_somebody_with_fewer_rights() {
    if !can_drop_privileges() {
        return;
    }
    let mut instance = Instance::start(
        "attach-daemon2 = cmd=id -u; id -G; exec sleep 600,uid=nobody,gid=nogroup\nattach-daemon2 = cmd=echo pid $$; sleep 601 & exec sleep 602,ns_pid=1",
    );
    instance.family.wait_for_log("[echo] pid 2\n");
    instance.family.wait_for_log("[id] 65534\n");
    let pid = instance.daemons()[0];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["Uid:\t65534\t65534", "Gid:\t65534\t65534", "CapEff:\t0000000000000000"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let groups = status.lines().find(|line| line.starts_with("Groups:")).unwrap();
    assert!(!groups.split_whitespace().any(|group| group == "0"), "{groups}");
    instance.family.signal(Signal::SIGTERM);
    instance.family.wait_until_empty();
    assert!(!instance.family.log().contains("did not die in time"));
}

#[test]
fn commands_run_at_their_time_and_at_a_touch() {
    let mut instance = Instance::start(
        "cron = -1 -1 -1 -1 -1 echo from cron; exit 4\ncron2 = harakiri=1,unique=1 sleep 600\nunique-cron = 59 23 31 12 -1 echo never\ntouch-exec = touched echo the file $0",
    );
    // The first minute is this one.
    instance.family.wait_for_log("[echo] from cron\n");
    instance.family.wait_for_log("[uwsgi-cron] \"echo\"");
    instance.family.wait_for_log("exit status 4");
    instance.family.wait_for_log("*** HARAKIRI ON CRON \"sleep\"");
    let crons = eventually("the commands in the statistics", || {
        let crons = instance.statistics()?["crons"].clone();
        (crons[1]["pid"] == -1 && crons[0]["pid"] == -1).then_some(crons)
    });
    assert_eq!(
        (&crons[0]["minute"], &crons[1]["unique"], &crons[2]["day"]),
        (&(-1).into(), &1.into(), &31.into())
    );
    assert_eq!(crons[2]["command"], "echo never");
    instance.folder.write("touched", "");
    instance.family.wait_for_log("the file /bin/sh\n");
    instance.family.signal(Signal::SIGTERM);
    instance.family.wait_until_empty();
    assert!(!instance.family.log().contains("never\n"));
}

fn vassal(port: u16, lines: &str) -> String {
    format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n{lines}\n")
}

fn attached(host: &Host, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    host.wait_for_vassal("app.ini", &format!("has {name} as it should be"), |vassal| {
        let all = vassal["attached"].as_array();
        all.is_some_and(|all| all.iter().any(|one| one["name"] == name && wanted(one)))
    });
    let all = host.ask("/v1/vassals/app.ini/companions");
    all["attached"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

#[test]
fn the_api_and_the_command_line_tell_of_them() {
    let host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    let port = free_port();
    let lines = "attach-daemon = sleep 600\nattach-daemon = echo secret; exit 3\ncron = 0 3 -1 -1 -1 ls";
    host.write("app.ini", vassal(port, lines));
    Door::Port(port).wait_for("/", "hello");
    let runs = attached(&host, "sleep", |one| one["state"] == "running");
    let companions = host.ask("/v1/vassals/app.ini/companions");
    let mut names: Vec<_> = companions["companions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    // The others come and go.
    names.retain(|name| *name == "keeper sleep" || !name.contains("keeper"));
    assert_eq!(names, ["keeper sleep", "zygote"]);
    assert_eq!(
        (&runs["kind"], &runs["starts"], &runs["command"]),
        (&"daemon".into(), &1.into(), &"sleep 600".into())
    );
    let rests =
        attached(&host, "echo", |one| one["state"] == "resting" && one["failures"].as_u64() > Some(1));
    assert_eq!(rests["last_exit"]["how"], "exit status 3");
    assert!(rests["next"].is_string() && rests["pid"].is_null() && rests["reason"].is_string(), "{rests}");
    let waits = attached(&host, "ls", |one| one["state"] == "waiting");
    assert!(waits["next"].as_str().unwrap().ends_with(":00:00.000Z") || waits["next"].is_string());
    let list = host.wait_for_vassal("app.ini", "says what is wrong", |vassal| {
        vassal["reason"].as_str().is_some_and(|reason| reason.contains("companion echo"))
    });
    assert_eq!(list["companions"]["all"], 3);
    let events = host.ask("/v1/events?vassal=app.ini");
    let told =
        events["events"].as_array().unwrap().iter().find(|event| event["kind"] == "companion").unwrap();
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("\"echo\"") && message.contains("exit status 3"), "{message}");
    assert!(!events.to_string().contains("secret"), "{events}");
    for arguments in [["why", "app"], ["status", "app"]] {
        let api = host.folder().path().join("api.sock");
        let output = Command::new(LIEGE).args(arguments).arg("--api").arg(api).output().unwrap();
        let output = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.contains("echo") && output.contains("exit status 3"), "{arguments:?}: {output}");
    }
    host.remove("app.ini");
    until("the end of the vassal", || host.vassal("app.ini").is_none());
    let pid = i32::try_from(runs["pid"].as_i64().unwrap()).unwrap();
    assert!(is_gone(pid));
}

#[test]
fn daemons_stay_over_an_upgrade_and_the_death_of_the_emperor() {
    let mut host = Host::start(&[]);
    host.folder().write("app.py", TOOLS);
    let port = free_port();
    host.write("app.ini", vassal(port, "attach-daemon = sleep 600\nreload-mercy = 2"));
    Door::Port(port).wait_for("/", "hello");
    let before = attached(&host, "sleep", |one| one["state"] == "running");
    let answer = host.post("/v1/upgrade");
    let operation: Value = serde_json::from_slice(&answer.body).unwrap();
    host.wait_for_operation(&operation["id"]);
    let same = |one: &Value| one["pid"] == before["pid"] && one["starts"] == 1;
    attached(&host, "sleep", same);
    host.emperor.signal(Signal::SIGKILL);
    host.emperor.wait();
    let _before = host.start_another();
    attached(&host, "sleep", same);
    // A master that is killed takes its daemons with it, and the next one has its own.
    let master = host.vassal("app.ini").unwrap()["pid"].as_i64().unwrap();
    end(i32::try_from(master).unwrap(), Signal::SIGKILL);
    let pid = i32::try_from(before["pid"].as_i64().unwrap()).unwrap();
    until("the old daemon is gone", || is_gone(pid));
    attached(&host, "sleep", |one| one["state"] == "running" && one["pid"] != before["pid"]);
}

#[test]
fn an_instance_may_live_for_its_daemons_alone() {
    let host = Host::start(&[]);
    host.write("app.ini", "[uwsgi]\nattach-daemon = sleep 600\n");
    let before = attached(&host, "sleep", |one| one["state"] == "running");
    let vassal = host.wait_for_vassal("app.ini", "is up", |vassal| vassal["state"] == "up");
    assert_eq!(vassal["totals"]["workers"], 0);
    assert_eq!(host.reload("app.ini")["outcome"], "swapped");
    attached(&host, "sleep", |one| one["state"] == "running" && one["pid"] != before["pid"]);
    host.remove("app.ini");
    until("the end of the vassal", || host.vassal("app.ini").is_none());
}

#[test]
fn a_vassal_with_daemons_does_not_sleep() {
    let folder = Folder::new();
    folder.write("a.ini", "[uwsgi]\nhttp-socket = :0\nmodule = a\nidle = 5\nattach-daemon = x\n");
    let output = Command::new(LIEGE).args(["check", "a.ini"]).current_dir(folder.path()).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("keep the instance awake"), "{text}");
}
