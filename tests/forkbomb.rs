//! Fork bombs on a host without control groups: who forks without end is found and ended, whatever it does to get away, and
//! who only works hard is not. Needs root; without it the tests are skipped, and say so.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "emperor/host.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod host;
#[path = "support/port.rs"]
mod port;

use std::fs;

use host::{Host, get};
use liege::sys::census;

/// Users that need no entry anywhere, and how many processes and threads each may have.
const ALICE: u32 = 20011;
const BOB: u32 = 20012;
const CAROL: u32 = 20013;
const DAVE: u32 = 20014;
const ERIN: u32 = 20015;
const MOST: usize = 30;

/// Answers with its pid. `/bomb` forks without end; every other child leaves the session, and the next one's parent ends.
/// `/programs` has a dozen processes that start programs without end. `/pool/what` has as many processes as it may do
/// something without end, `/some/what` 18.
const APP: &str = "
import os, subprocess, threading
def bomb():
    while True:
        try:
            if os.fork() == 0:
                if os.getpid() % 2: os.setsid()
                if os.getpid() % 3 == 0 and os.fork(): os._exit(0)
        except OSError: pass
def programs():
    begins, begin = os.pipe()
    if all(os.fork() for _ in range(11)): os.close(begin)
    else: os.close(begin); os.read(begins, 1)
    while True:
        try: subprocess.Popen(['/bin/sleep', '1000'])
        except OSError: pass
def start():
    try: subprocess.run(['/bin/true'])
    except OSError: pass
def pool(work, many):
    parent = os.getpid()
    for _ in range(many):
        try:
            if os.fork() == 0:
                while os.getppid() == parent:
                    for _ in range(100): work()
                os._exit(0)
        except OSError: return
WORK = {'compute': lambda: sum(range(100)), 'call': lambda: os.urandom(1 << 16), 'start': start}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    _, what, *rest = environ['PATH_INFO'].split('/')
    if what in ('bomb', 'programs'): threading.Thread(target=globals()[what], daemon=True).start()
    if what == 'pool': pool(WORK[rest[0]], 1000)
    if what == 'some': pool(WORK[rest[0]], 18)
    return [str(os.getpid()).encode()]
";

/// An emperor that tells at whom it looks.
fn emperor() -> Option<Host> {
    if liege::sys::user::current_uid() != 0 {
        eprintln!("skipped: only root can become other users");
        return None;
    }
    let log = "LIEGE_LOG=info,liege::emperor::patrol=debug,liege::emperor::crowds=debug";
    let host = Host::behind(&["env", log], &[], |base| {
        fs::write(base.join("app.py"), APP).unwrap();
    });
    Some(host)
}

/// A vassal of this user that may not have more processes than the others; its port.
fn vassal(host: &Host, file: &str, uid: u32) -> u16 {
    let lines = format!("uid = {uid}\ngid = {uid}\nprocesses = 1\nlimit-nproc = {MOST}");
    let port = host.vassal_with(file, "app", &lines);
    host.wait(&format!("{file} serves"), || get(port, "/").is_ok());
    port
}

fn shown(host: &Host, vassal: &str) -> serde_json::Value {
    let (_, said) = host.ask(&["status", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let list = all.get("vassals").and_then(|list| list.as_array()).cloned().unwrap_or_default();
    list.into_iter().find(|one| one.get("name").is_some_and(|name| name == vassal)).unwrap_or_default()
}

/// Whether all processes of Alice are in the session that this master leads.
fn all_are_of(master: u32) -> bool {
    let is_hers = |one: &&census::Seen| census::counted_to(one.id) == Some(ALICE);
    census::processes().unwrap().iter().filter(is_hers).all(|one| one.session == master)
}

#[test]
fn a_fork_bomb_is_ended_with_all_that_it_started_and_nobody_else_is() {
    let Some(host) = emperor() else { return };
    let quiet = vassal(&host, "quiet.ini", ALICE);
    let bomb = vassal(&host, "bomb.ini", ALICE);
    let (master, worker) = (host.master("quiet.ini"), get(quiet, "/").unwrap());
    // The next image looks on.
    let (done, said) = host.ask(&["upgrade", "--wait"]);
    assert!(done, "{said}");
    // It may be known before it has answered.
    let _ = get(bomb, "/bomb");
    host.wait("its rest", || shown(&host, "bomb.ini").get("state").is_some_and(|state| state == "resting"));
    let why = host.ask(&["why", "bomb.ini"]).1;
    assert!(why.contains("signal 9; a fork bomb: the emperor killed it"), "{why}");
    let events = host.ask(&["events", "bomb.ini"]).1;
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let expected = format!("to start more than the {MOST} that its user may have");
    assert!(plain(&events).contains(&expected), "{events}");
    assert!(plain(&events).contains("of its processes have tried without a pause for"), "{events}");
    host.wait("the end of all of it", || all_are_of(master));
    assert_eq!((host.master("quiet.ini"), get(quiet, "/").unwrap()), (master, worker));
    assert!(shown(&host, "quiet.ini").get("restarts").is_some_and(|restarts| restarts == 0));
    // It can be had again at once, and is what it was.
    assert!(host.ask(&["start", "bomb.ini"]).0);
    host.wait("its return", || get(bomb, "/").is_ok());
    host.end();
}

#[test]
fn one_that_starts_programs_without_end_is_a_bomb_too() {
    let Some(host) = emperor() else { return };
    let bomb = vassal(&host, "bomb.ini", DAVE);
    let _ = get(bomb, "/programs");
    host.wait("its rest", || shown(&host, "bomb.ini").get("state").is_some_and(|state| state == "resting"));
    host.wait("the end of all of it", || {
        !census::processes().unwrap().iter().any(|one| census::counted_to(one.id) == Some(DAVE))
    });
    host.end();
}

#[test]
fn a_pool_that_works_at_its_limit_is_left_alone() {
    let Some(host) = emperor() else { return };
    let (computes, calls) = (vassal(&host, "computes.ini", CAROL), vassal(&host, "calls.ini", BOB));
    let pids = [computes, calls].map(|port| get(port, "/").unwrap());
    get(calls, "/pool/call").unwrap();
    // What it does is asked: from outside it looks as a bomb does.
    host.wait("an acquittal", || host.log().contains("suspects asked: Innocent"));
    get(computes, "/pool/compute").unwrap();
    let looks = |name: &str| {
        let log = host.log();
        log.lines().filter(|line| line.contains(name) && line.contains("looked at")).count()
    };
    host.wait("looks", || looks("[computes.ini]") >= 2);
    // The rest of what it may have is used up by what that starts, and some tries are refused.
    let starts = vassal(&host, "starts.ini", ERIN);
    let pid = get(starts, "/").unwrap();
    get(starts, "/some/start").unwrap();
    host.wait("looks at that", || looks("[starts.ini]") >= 4);
    assert_eq!(get(starts, "/").unwrap(), pid);
    assert_eq!([computes, calls].map(|port| get(port, "/").unwrap()), pids);
    assert!(!host.log().contains("a fork bomb"), "{}", host.log());
    for name in ["computes.ini", "calls.ini"] {
        assert!(shown(&host, name).get("restarts").is_some_and(|restarts| restarts == 0), "{name}");
    }
    host.end();
}
