//! Requests that run too long: what becomes of them, of their workers, and of everybody else.

use std::thread;

use crate::support::http::{Answer, Door};
use crate::support::process::Family;
use crate::support::server::{Folder, serve_app};
use crate::support::wait::{eventually, until};

/// `/NAME` waits for the file NAME beside it.
const APP: &str = r#"
import os, time

here = os.path.dirname(os.path.abspath(__file__))

def application(environ, start_response):
    path = environ["PATH_INFO"].strip("/")
    while path and not os.path.exists(os.path.join(here, path)):
        time.sleep(0.005)
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"#;

fn start(app: &str, lines: &str) -> (Family, Door, Folder) {
    let (family, door, folder) = serve_app(app, &format!("harakiri = 1\n{lines}"));
    eventually("the app", || pid(&door));
    (family, door, folder)
}

fn pid(door: &Door) -> Option<String> {
    door.get("/").ok().filter(|answer| answer.status == 200).map(|answer| answer.text())
}

/// Asks in a thread of its own.
fn ask(door: &Door, path: &'static str) -> thread::JoinHandle<std::io::Result<Answer>> {
    let door = door.clone();
    thread::spawn(move || door.get(path))
}

#[test]
fn a_worker_with_time_to_finish_does_while_another_serves() {
    let (family, door, folder) = start(APP, "threads = 3\nharakiri-graceful-timeout = 30");
    let first = pid(&door).unwrap();
    let (stuck, other) = (ask(&door, "/stuck"), ask(&door, "/other"));
    family.wait_for_log("try: 1, graceful: yes) ***");
    family.wait_for_log("HARAKIRI: graceful termination attempt on worker 1 with signal 15");
    until("another worker", || pid(&door).is_some_and(|pid| pid != first));
    folder.write("other", "");
    assert_eq!(other.join().unwrap().unwrap().text(), first, "what it still does is finished");
    folder.write("stuck", "");
    assert_eq!(stuck.join().unwrap().unwrap().text(), first);
    family.wait_for_log(&format!("worker 1 buried (pid: {first})"));
    assert!(!family.log().contains("graceful: no"), "{}", family.log());
}

#[test]
fn a_worker_that_does_not_use_its_time_is_killed() {
    let (family, door, _folder) = start(APP, "harakiri-graceful-timeout = 1\nharakiri-graceful-signal = 12");
    let first = pid(&door).unwrap();
    let stuck = ask(&door, "/stuck");
    family.wait_for_log("with signal 12");
    // liege's own answer to that signal.
    family.wait_for_log("most recent call first");
    until("another worker", || pid(&door).is_some_and(|pid| pid != first));
    family.wait_for_log(&format!("(pid: {first}, try: 2, graceful: no) ***"));
    assert!(stuck.join().unwrap().is_err());
}

#[test]
fn an_application_may_end_its_request_itself() {
    let app = format!(
        "import signal\ndef told(*_):\n    raise TimeoutError('told to end')\nsignal.signal(signal.SIGTERM, told)\n{APP}"
    );
    let (family, door, _folder) = start(&app, "harakiri-graceful-timeout = 30");
    let first = pid(&door).unwrap();
    let answer = door.get("/stuck").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (500, "Internal Server Error"));
    family.wait_for_log("TimeoutError: told to end");
    family.wait_for_log(&format!("worker 1 buried (pid: {first})"));
    assert_ne!(pid(&door).unwrap(), first);
}

#[test]
fn nobody_is_killed_while_nobody_waits() {
    let (family, door, _folder) = start(APP, "harakiri-queue-threshold = 1");
    let first = pid(&door).unwrap();
    let stuck = ask(&door, "/stuck");
    family.wait_for_log(
        "HARAKIRI: Skipping harakiri on worker 1. Listen queue is smaller than the threshold (0 < 1)",
    );
    assert!(!family.log().contains("HARAKIRI ON WORKER"), "{}", family.log());
    assert_ne!(pid(&door).unwrap(), first, "who waited is answered by another");
    assert!(stuck.join().unwrap().is_err());
    family.wait_for_log("HARAKIRI ON WORKER 1");
}

/// The hook after a request of a worker waits for the file `hook`, once it was asked for `/set`.
fn with_hook() -> String {
    format!(
        "{APP}\nimport uwsgi\ncalls = application\ndef hook():\n    application.is_set and calls({{'PATH_INFO': 'hook'}}, lambda *_: None)\n\
         def application(environ, start_response):\n    application.is_set = environ['PATH_INFO'] == '/set'\n    environ['PATH_INFO'] = environ['PATH_INFO'].replace('set', '')\n    return calls(environ, start_response)\n\
         uwsgi.after_req_hook = hook\n"
    )
}

#[test]
fn the_hook_after_a_request_counts_unless_it_is_left_out() {
    let (family, door, _folder) = start(&with_hook(), "");
    let first = door.get("/set").unwrap().text();
    family.wait_for_log("HARAKIRI ON WORKER 1");
    until("another worker", || pid(&door).is_some_and(|pid| pid != first));

    let (family, door, folder) = start(&with_hook(), "processes = 2\nharakiri-no-arh = true");
    let held = door.get("/set").unwrap().text();
    // Whoever else is overdue comes later than that one would have.
    assert!(door.get("/stuck").is_err());
    family.wait_for_log("HARAKIRI ON WORKER");
    assert!(!family.log().contains(&format!("(pid: {held}, try")), "{}", family.log());
    folder.write("hook", "");
    until("the one that was held", || pid(&door).is_some_and(|pid| pid == held));
}

#[test]
fn a_worker_that_was_stopped_is_killed_all_the_same() {
    let app = "
import os, signal
def application(environ, start_response):
    if environ['PATH_INFO'] == '/stop':
        os.kill(os.getpid(), signal.SIGSTOP)
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
";
    let (family, door, _folder) = start(app, "processes = 2");
    let stopped = ask(&door, "/stop");
    family.wait_for_log("*** HARAKIRI ON WORKER ");
    assert!(stopped.join().unwrap().is_err());
    family.wait_for_log("Respawned uWSGI worker");
    eventually("the app", || pid(&door));
    assert_eq!(family.log().matches("Respawned uWSGI worker").count(), 1, "it alone: {}", family.log());
}
