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
const MOST: usize = 30;

/// Answers with its pid. `/bomb` forks without end; every other child leaves the session, and the next one's parent ends.
/// `/pool/what` has as many processes as it may do something without end.
const APP: &str = "
import os, threading
def bomb():
    while True:
        try:
            if os.fork() == 0:
                if os.getpid() % 2: os.setsid()
                if os.getpid() % 3 == 0 and os.fork(): os._exit(0)
        except OSError: pass
def pool(work):
    parent = os.getpid()
    while True:
        try:
            if os.fork() == 0:
                while os.getppid() == parent:
                    for _ in range(100): work()
                os._exit(0)
        except OSError: return
WORK = {'compute': lambda: sum(range(100)), 'call': lambda: os.urandom(1 << 16)}
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    _, what, *rest = environ['PATH_INFO'].split('/')
    if what == 'bomb': threading.Thread(target=bomb, daemon=True).start()
    if what == 'pool': pool(WORK[rest[0]])
    return [str(os.getpid()).encode()]
";

/// An emperor that tells at whom it looks.
fn emperor() -> Option<Host> {
    if liege::sys::user::current_uid() != 0 {
        eprintln!("skipped: only root can become other users");
        return None;
    }
    let host = Host::behind(&["env", "LIEGE_LOG=info,liege::emperor::patrol=debug"], &[], |base| {
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
    let expected = format!("try to start more than the {MOST} that its user may have");
    assert!(plain(&events).contains(&expected), "{events}");
    assert!(plain(&events).contains("of its processes did nothing for"), "{events}");
    host.wait("the end of all of it", || all_are_of(master));
    assert_eq!((host.master("quiet.ini"), get(quiet, "/").unwrap()), (master, worker));
    assert!(shown(&host, "quiet.ini").get("restarts").is_some_and(|restarts| restarts == 0));
    // It can be had again at once, and is what it was.
    assert!(host.ask(&["start", "bomb.ini"]).0);
    host.wait("its return", || get(bomb, "/").is_ok());
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
    let looks = || {
        let log = host.log();
        log.lines().filter(|line| line.contains("[computes.ini]") && line.contains("looked at")).count()
    };
    host.wait("looks", || looks() >= 4);
    assert_eq!([computes, calls].map(|port| get(port, "/").unwrap()), pids);
    assert!(!host.log().contains("a fork bomb"), "{}", host.log());
    for name in ["computes.ini", "calls.ini"] {
        assert!(shown(&host, name).get("restarts").is_some_and(|restarts| restarts == 0), "{name}");
    }
    host.end();
}
