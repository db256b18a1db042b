//! Zygotes and workers under the real interpreters of this machine: the test plays the master.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    clippy::indexing_slicing,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "worker/greenlets.rs"]
mod greenlets;
#[path = "worker/master.rs"]
mod master;
#[path = "worker/passage.rs"]
mod passage;
#[path = "worker/routed.rs"]
mod routed;
#[path = "worker/rules.rs"]
mod rules;
#[path = "worker/slow.rs"]
mod slow;
#[path = "worker/streams.rs"]
mod streams;

use std::io::Write as _;
use std::time::{Duration, Instant};

use liege::stats::scoreboard::Field;
use liege::sys::process::{Exit, Signal};
use liege::wire::message::{FromWorker, FromZygote};
use master::{Master, interpreter, interpreters, read_all, read_response, until};
use serde_json::{Value, json};

const HELLO: &str = r#"
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello " + environ["PATH_INFO"].encode("latin-1")]
"#;

#[test]
fn every_interpreter_serves_both_protocols_and_drains() {
    for python in interpreters() {
        let (master, worker) = Master::with_worker(&python, HELLO, |_| {});
        let answer = master.get("/there");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}\n{}", master.log());
        assert!(answer.ends_with("\r\n\r\nhello /there"), "{answer}");
        let answer = master.uwsgi(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/packet")], b"");
        assert_eq!(
            answer,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nhello /packet"
        );
        worker.drain();
        assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
    }
}

#[test]
fn the_scoreboard_and_the_log_show_each_request() {
    let (master, _worker) = Master::with_worker(&interpreter(), HELLO, |_| {});
    let mut socket = master.connect();
    for _ in 0..3 {
        socket.write_all(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(read_response(&mut socket).ends_with("hello /a"));
    }
    let slot = master.board.slot(0).unwrap();
    until(|| slot.get(Field::Requests) == 3, || "three requests".to_owned());
    assert_eq!(slot.core(0).unwrap().text().unwrap(), b"GET /a");
    assert_eq!(slot.get(Field::Accepting), 1);
    assert_eq!(slot.get(Field::Connections), 1);
    master.wait_log("GET /a?b=c => generated 8 bytes in ");
    master.wait_log("(HTTP/1.1 200) 1 headers in 45 bytes");
}

#[test]
fn a_worker_asks_once_to_be_replaced_and_serves_on() {
    let (master, worker) = Master::with_worker(&interpreter(), HELLO, |spec| {
        spec["workers"]["max_requests"] = 3.into();
        spec["workers"]["max_requests_delta"] = 5.into();
    });
    for _ in 0..6 {
        assert!(master.get("/").ends_with("hello /"));
    }
    match worker.receive() {
        Some(FromWorker::Recycle { reason }) => assert_eq!(reason, "max-requests reached (3 >= 3)"),
        other => panic!("{other:?}"),
    }
    worker.drain();
    assert!(matches!(worker.receive(), Some(FromWorker::Draining)));
    assert_eq!(worker.wait(), Exit::Status(0));
}

#[test]
fn the_end_of_the_master_ends_the_worker_after_its_request() {
    let (master, mut worker) = Master::with_worker(&interpreter(), SLOW, |_| {});
    let mut socket = master.connect();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    master.wait_log("begun");
    worker.leave();
    std::fs::write(master.directory.path().join("go"), "").unwrap();
    assert!(read_response(&mut socket).ends_with("slow"));
    assert_eq!(worker.wait(), Exit::Status(0));
}

#[test]
fn a_drained_worker_finishes_its_request_and_answers_what_a_kept_connection_sends_at_once() {
    let (master, worker) = Master::with_worker(&interpreter(), SLOW, |_| {});
    let mut kept = master.connect();
    kept.write_all(b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(read_response(&mut kept).ends_with("slow"));
    let mut running = master.connect();
    running.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    master.wait_log("begun");
    worker.drain();
    kept.write_all(b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").unwrap();
    std::fs::write(master.directory.path().join("go"), "").unwrap();
    assert!(read_all(&mut running).ends_with("slow"));
    let answer = read_all(&mut kept).to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok") && answer.ends_with("slow"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(worker.wait(), Exit::Status(0));
}

#[test]
fn a_drained_worker_waits_for_silent_connections_until_it_is_to_hurry() {
    let (master, worker) = Master::with_worker(&interpreter(), HELLO, |_| {});
    let [mut busy, mut silent] = [master.connect(), master.connect()];
    for kept in [&mut busy, &mut silent] {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(read_response(kept).ends_with("hello /"));
    }
    let drained = Instant::now();
    worker.drain();
    assert!(matches!(worker.receive(), Some(FromWorker::Draining)));
    // The pace of a client, not a wait for a state: its next request comes later than a hurried worker would stay.
    std::thread::sleep(Duration::from_millis(2500));
    busy.write_all(b"POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx").unwrap();
    assert!(read_all(&mut busy).ends_with("hello /later"));
    worker.hurry();
    assert_eq!(read_all(&mut silent), "");
    assert_eq!(worker.wait(), Exit::Status(0));
    // Half a second and a drain of 15 s are told apart.
    assert!(drained.elapsed() < Duration::from_secs(14), "{:?}", drained.elapsed());
}

#[test]
fn a_malformed_body_is_the_client_s_fault() {
    const APP: &str = r#"
def application(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [body]
"#;
    let (master, _worker) = Master::with_worker(&interpreter(), APP, |_| {});
    for (body, status) in [("3\r\nabc\r\n0\r\n\r\n", "200 OK"), ("3\r\nabc\r\nzz\r\n", "400 Bad Request")] {
        let mut socket = master.connect();
        let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
        socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let answer = read_all(&mut socket);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
    }
}

#[test]
fn refused_requests_are_logged_and_never_flood_the_log() {
    let (master, worker) = Master::with_worker(&interpreter(), HELLO, |_| {});
    let mut socket = master.connect();
    let peer = socket.local_addr().unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(read_all(&mut socket).starts_with("HTTP/1.1 400 "));
    master.wait_log(&format!("refused a request of {peer}: HTTP/1.1 without Host (400)"));
    let without_method = || master.uwsgi(&[("PATH_INFO", "/")], b"");
    assert!(without_method().starts_with("HTTP/1.1 400 "));
    master.wait_log("without REQUEST_METHOD (400)");
    (0..60).for_each(|_| drop(without_method()));
    worker.drain();
    assert_eq!(worker.wait(), Exit::Status(0));
    // 20 in each of two periods at most.
    assert!(master.end().matches("refused a request").count() <= 40);
}

#[test]
fn signals_from_outside_finish_the_worker_gracefully() {
    for signal in [Signal::Term, Signal::Int, Signal::Hup] {
        let (master, worker) = Master::with_worker(&interpreter(), SLOW, |_| {});
        let mut socket = master.connect();
        socket.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        master.wait_log("begun");
        worker.process.signal(signal).unwrap();
        std::fs::write(master.directory.path().join("go"), "").unwrap();
        assert!(read_all(&mut socket).ends_with("slow"));
        assert_eq!(worker.wait(), Exit::Status(0));
    }
}

#[test]
fn a_crash_is_seen_by_the_master_and_a_new_worker_serves() {
    let app = format!(
        "{HELLO}\nimport ctypes\n_hello = application\ndef application(e, s):\n    if e['PATH_INFO'] == '/crash':\n        ctypes.string_at(0)\n    return _hello(e, s)\n"
    );
    let (master, worker) = Master::with_worker(&interpreter(), &app, |_| {});
    assert_eq!(master.get("/crash"), "");
    assert_eq!(worker.wait(), Exit::Signal(11));
    let again = master.fork(1, 1, &[]);
    master.wait_ready(&again);
    assert!(master.get("/").ends_with("hello /"));
}

#[test]
fn threads_run_requests_at_the_same_time() {
    const BARRIER: &str = r#"
import threading
barrier = threading.Barrier(3, timeout=10)
local = threading.local()
def application(environ, start_response):
    local.count = getattr(local, "count", 0) + 1
    barrier.wait()
    start_response("200 OK", [])
    return [f"{environ['wsgi.multithread']} {threading.current_thread() is threading.main_thread()}".encode()]
"#;
    for python in interpreters() {
        let (master, worker) =
            Master::with_worker(&python, BARRIER, |spec| spec["workers"]["threads"] = 3.into());
        for _ in 0..3 {
            std::thread::scope(|scope| {
                let http: Vec<_> = (0..2).map(|_| scope.spawn(|| master.get("/"))).collect();
                let packet =
                    scope.spawn(|| master.uwsgi(&[("REQUEST_METHOD", "GET"), ("PATH_INFO", "/")], b""));
                for answer in http.into_iter().chain([packet]) {
                    let answer = answer.join().unwrap();
                    assert!(answer.ends_with("True False"), "{answer}\n{}", master.log());
                }
            });
        }
        worker.drain();
        assert_eq!(worker.wait(), Exit::Status(0), "{}", master.log());
    }
}

#[test]
fn loading_fails_with_the_reason_or_serves_500() {
    for (app, target, message) in [
        (
            "import nothing_like_this",
            "app",
            "cannot load module app: ModuleNotFoundError: No module named 'nothing_like_this'",
        ),
        ("x = (", "app", "cannot load module app: SyntaxError"),
        ("raise SystemExit(3)", "app", "it ended the interpreter while it was loaded: SystemExit: 3"),
        ("", "missing.module", "cannot load module missing.module: ModuleNotFoundError"),
        ("def app(e, s): pass", "app", "module app has no `application`; its callables are: app"),
        ("application = 3", "app", "`application` of module app is not callable: it is int"),
        (
            "def make():\n    raise KeyError('x')",
            "app:make()",
            "cannot get `make()` of module app: KeyError: 'x'",
        ),
    ] {
        let master = Master::start(&interpreter(), app, |spec| {
            spec["app"]["load"]["Module"] = target.into();
            spec["app"]["need_app"] = true.into();
        });
        match &master.loaded {
            FromZygote::LoadFailed(failure) => {
                assert!(failure.message.contains(message), "{failure:?}");
                let raised = !message.contains("callable");
                assert_eq!(failure.traceback.is_some(), raised, "{failure:?}");
            }
            other => panic!("{other:?}"),
        }
        let (master, _worker) = Master::with_worker(&interpreter(), app, |spec| {
            spec["app"]["load"]["Module"] = target.into();
        });
        assert!(matches!(&master.loaded, FromZygote::Loaded { app: false, failure: Some(_), .. }));
        let answer = master.get("/");
        assert!(
            answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("\r\n\r\nInternal Server Error"),
            "{answer}"
        );
        master.wait_log("--- no python application found");
    }
}

#[test]
fn applications_are_found_in_every_form() {
    let app = "class Apps:\n    @staticmethod\n    def one(e, s):\n        s('200 OK', [])\n        return [__name__.encode()]\ndef make():\n    return Apps.one\nclass Made:\n    def __call__(self, e, s):\n        return Apps.one(e, s)\n";
    for (load, callable, name) in [
        (json!({ "Module": "app:Apps.one" }), Value::Null, "app"),
        (json!({ "Module": "app:make()" }), Value::Null, "app"),
        (json!({ "Module": "app:Made()" }), Value::Null, "app"),
        (json!({ "Module": "app" }), json!("Apps.one"), "app"),
        (json!({ "File": "app.py" }), json!("make()"), "uwsgi_file_app"),
    ] {
        let (master, _worker) = Master::with_worker(&interpreter(), app, |spec| {
            spec["app"]["load"] = load.clone();
            spec["app"]["callable"] = callable.clone();
        });
        assert!(master.get("/").ends_with(&format!("\r\n\r\n{name}")), "{load}\n{}", master.log());
    }
}

#[test]
fn a_worker_costs_no_module_that_the_application_did_not_import() {
    // Each one would be paid for by every vassal of a host, in memory and in time.
    let app = "import sys\ndef application(e, s):\n    s('200 OK', [])\n    own = {'gc', 'uwsgi', 'app', 'faulthandler', __name__}\n    return [repr((__file__, sorted(set(sys.modules) - own))).encode()]\n";
    for python in interpreters() {
        let (master, _worker) = Master::with_worker(&python, app, |spec| {
            spec["app"]["load"] = json!({ "File": "app.py" });
        });
        let bare = std::process::Command::new(&python)
            .args(["-c", "import sys; print(repr(('app.py', sorted(sys.modules))))"])
            .output()
            .unwrap();
        let answer = master.get("/");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, String::from_utf8_lossy(&bare.stdout).trim(), "{}", python.display());
    }
}

#[test]
fn a_lazy_worker_loads_by_itself_after_the_fork() {
    let app = format!(
        "import os, uwsgi\npid = os.getpid()\nuwsgi.post_fork_hook = lambda: print('hook of', uwsgi.worker_id())\n{HELLO}\n_hello = application\ndef application(e, s):\n    assert pid == os.getpid()\n    return _hello(e, s)\n"
    );
    let (master, _worker) =
        Master::with_worker(&interpreter(), &app, |spec| spec["workers"]["lazy_apps"] = true.into());
    assert!(master.get("/").ends_with("hello /"));
    master.wait_log("hook of 1");
    let master = Master::start(&interpreter(), "1/0", |spec| {
        spec["workers"]["lazy_apps"] = true.into();
        spec["app"]["need_app"] = true.into();
    });
    let worker = master.fork(1, 0, &[]);
    match worker.receive() {
        Some(FromWorker::LoadFailed(failure)) => {
            assert!(failure.message.contains("ZeroDivisionError"), "{failure:?}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(worker.wait(), Exit::Status(1));
}

#[test]
fn threads_started_at_import_are_reported() {
    for (app, expected) in [
        ("", false),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            true,
        ),
    ] {
        let master = Master::start(&interpreter(), &format!("{app}\n{HELLO}"), |_| {});
        assert!(
            matches!(master.loaded, FromZygote::Loaded { threads, app: true, .. } if threads == expected)
        );
    }
}

#[test]
fn the_uwsgi_module_knows_the_instance() {
    let app = r#"
import atexit, os, sys, uwsgi
at_import = uwsgi.worker_id()
uwsgi.post_fork_hook = lambda: print("forked", uwsgi.worker_id())
uwsgi.after_req_hook = lambda: print("after request", uwsgi.request_id())
uwsgi.atexit = lambda: print("ended", uwsgi.worker_id())
atexit.register(lambda: print("python ended", uwsgi.worker_id()))
parent = os.getppid()
def application(environ, start_response):
    start_response("200 OK", [])
    assert sys.argv == ["uwsgi"], sys.argv
    assert sys.path[:4] == ["/second", "/first", ".", ""], sys.path
    assert os.environ["FROM_FILE"] == "yes" and "HOME" not in os.environ
    assert not hasattr(uwsgi, "sharedarea_read")
    uwsgi.set_user_harakiri(30)
    uwsgi.log("logged by the app")
    assert uwsgi.opt == {"module": b"app", "master": True}, uwsgi.opt
    worker, = uwsgi.workers() or ({},)
    facts = [at_import, uwsgi.worker_id(), uwsgi.numproc, uwsgi.masterpid() == parent, uwsgi.is_a_reload,
             uwsgi.version, uwsgi.total_requests(), uwsgi.mem()[0] > 1000000, uwsgi.reload(), uwsgi.listen_queue()]
    return [repr(facts).encode()]
"#;
    let (master, worker) = Master::with_worker(&interpreter(), app, |spec| {
        spec["env"] = json!([["FROM_FILE", "yes"], ["HOME", null]]);
        spec["app"]["pythonpath"] = json!(["/first", "/second"]);
    });
    let answer = master.get("/");
    assert!(
        answer.ends_with("[0, 1, 1, True, False, b'2.0.31', 0, True, True, 0]"),
        "{answer}\n{}",
        master.log()
    );
    assert!(matches!(worker.receive(), Some(FromWorker::DeadlineSet)));
    assert!(matches!(worker.receive(), Some(FromWorker::ReloadRequested)));
    worker.drain();
    assert_eq!(worker.wait(), Exit::Status(0));
    drop(worker);
    let log = master.end();
    let expected = ["forked 1", "logged by the app", "after request 1", "ended 1", "python ended 1"];
    let lines = log.lines().filter(|line| !line.starts_with('['));
    assert_eq!(lines.collect::<Vec<_>>(), expected, "{log}");
}

#[test]
fn copies_that_the_application_forks_neither_answer_nor_serve() {
    let app = r#"
import os, sys
os.fork()
def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/returns":
        os.fork()
    if path == "/exits" and os.fork() == 0:
        sys.exit(3)
    body = [str(os.getpid()).encode()]
    start_response("200 OK", [])
    return generated(body) if path == "/generates" else body
def generated(body):
    os.fork()
    yield from body
"#;
    for threads in [1, 2] {
        let (master, worker) = Master::with_worker(&interpreter(), app, |spec| {
            *spec.pointer_mut("/workers/threads").unwrap() = threads.into()
        });
        let pid = worker.pid.to_string();
        for path in ["/returns", "/exits", "/generates", "/"].repeat(5) {
            let answer = master.get(path);
            assert!(answer.contains(&pid), "{path}: {answer}\n{}", master.log());
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{path}: {answer}");
        }
        worker.drain();
        assert_eq!(worker.wait(), Exit::Status(0));
        drop(worker);
        let log = master.end();
        assert!(!log.contains("Traceback"), "{log}");
    }
}

#[test]
fn titles_name_the_worker() {
    for (prefix, expected) in [("", "liege worker 1 test"), ("blog ", "blog uWSGI worker 1")] {
        let (_master, worker) =
            Master::with_worker(&interpreter(), HELLO, |spec| spec["procname_prefix"] = prefix.into());
        let title = std::fs::read_to_string(format!("/proc/{}/cmdline", worker.pid)).unwrap();
        assert_eq!(title.trim_end_matches('\0'), expected);
    }
}

/// Answers when the file `go` is there, or at once on `/quick`.
const SLOW: &str = r#"
import os, sys, time
def application(environ, start_response):
    start_response("200 OK", [])
    if environ["PATH_INFO"] != "/quick":
        print("begun", flush=True)
        while not os.path.exists("go"):
            time.sleep(0.01)
    return [b"slow"]
"#;
