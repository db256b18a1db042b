//! What is loaded besides the application, how it is found, and where its stacks are told.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;

use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};
use crate::support::{environment, free_port};

/// An instance whose `app.py` is there already, with these lines.
fn start(folder: &Folder, lines: &str) -> (Family, Door) {
    let port = free_port();
    folder.write("app.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nchdir = %d\n{lines}\n"));
    (liege(folder, &["--ini", "app.ini"]), Door::Port(port))
}

/// Answers with what is in a list of the module `marks`.
const MARKS: &str = "import marks\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [','.join(marks.all).encode()]\n";

#[test]
fn a_shared_import_is_loaded_once_before_everything_else() {
    for lazy in ["", "lazy-apps = true\n"] {
        let folder = Folder::new();
        folder.write("marks.py", "import os\nall = [str(os.getpid())]\n");
        folder.write("first.py", "import marks\nmarks.all.append('shared')\n");
        folder.write("second.py", "import marks\nmarks.all.append('own')\nassert False, 'only logged'\n");
        folder.write("app.py", format!("import os, marks\nmarks.all.append(str(os.getpid()))\n{MARKS}"));
        let lines = format!(
            "{lazy}shared-import = first\nshared-import = ./nothing.py\nimport = second\nmodule = app"
        );
        let (family, door) = start(&folder, &lines);
        let marks = eventually("the app", || Some(door.get("/").ok()?.text()));
        let marks: Vec<_> = marks.split(',').collect();
        assert_eq!(marks[1..3], ["shared", "own"], "{marks:?}");
        assert_eq!(marks[0] == marks[3], lazy.is_empty(), "the worker loads only what it has to: {marks:?}");
        family.wait_for_log("FileNotFoundError");
        family.wait_for_log("AssertionError: only logged");
    }
}

#[test]
fn modules_are_known_by_other_names_and_a_broken_alias_rolls_back() {
    let folder = Folder::new();
    folder.write("marks.py", "all = ['before', __name__]\n");
    folder.write("lib/late.py", "import uwsgi, marks\nmarks.all.append(__name__)\n");
    let app = format!(
        "import other, later\nassert other.all[0] == 'before' and later.__name__ == 'later'\n{MARKS}"
    );
    folder.write("app.py", &app);
    let lines = "pymodule-alias = other=marks\npost-pymodule-alias = later=lib/late.py\nwsgi-file = app.py";
    let (family, door) = start(&folder, lines);
    door.wait_for("/", "before,marks,later");
    assert!(family.log().contains("mapped virtual pymodule \"other\" to real pymodule \"marks\""));
    folder.write("lib/late.py", "import nothing_of_that_name\n");
    folder.write("app.py", app.replace("200 OK", "201 New"));
    family.signal(Signal::SIGHUP);
    family.wait_for_log("cannot make lib/late.py the module later");
    family.wait_for_log("the old generation serves on");
    assert_eq!(door.get("/").unwrap().status, 200);
    folder.write("lib/late.py", "");
    family.signal(Signal::SIGHUP);
    until("the new one", || door.get("/").is_ok_and(|answer| answer.status == 201));
}

/// A file of PasteDeploy's: two applications, loggers, and options.
const PASTE: &str = "[uwsgi]\nharakiri = 7\n\n[app:main]\nuse = call:marked:make\nmark = main in %(here)s\n\
    [app:other]\nuse = call:marked:make\nmark = the other\n\
    [loggers]\nkeys = root\n[handlers]\nkeys = out\n[formatters]\nkeys = plain\n[logger_root]\nlevel = INFO\nhandlers = out\n\
    [handler_out]\nclass = StreamHandler\nargs = (sys.stderr,)\nformatter = plain\n[formatter_plain]\nformat = PASTED %(message)s\n";
const MARKED: &str = "import logging\ndef make(config, mark):\n    logging.getLogger('x').info('made')\n    def app(environ, start_response):\n        start_response('200 OK', [])\n        return [mark.encode()]\n    return app\n";

#[test]
fn paste_deploy_loads_the_application() {
    let Some(place) = environment("paste") else { return };
    let place = place.display();
    for (lines, answer, has_loggers, says) in [
        ("paste = config:%dpaste.ini", "main in ", false, ""),
        ("paste = config:paste.ini\npaste-name = other", "the other", false, ""),
        ("paste = config:%dpaste.ini\npaste-logger = true", "main in ", true, ""),
        ("ini-paste = paste.ini\nshow-config = true", "main in ", false, "harakiri = 7"),
        ("ini-paste-logged = paste.ini", "main in ", true, ""),
    ] {
        let folder = Folder::new();
        folder.write("paste.ini", PASTE);
        folder.write("marked.py", MARKED);
        let (family, door) = start(&folder, &format!("virtualenv = {place}\n{lines}"));
        let text = eventually("the app", || Some(door.get("/").ok()?.text()));
        assert!(text.starts_with(answer), "{lines}: {text}\n{}", family.log());
        assert_eq!(family.log().contains("PASTED made"), has_loggers, "{lines}: {}", family.log());
        assert!(family.log().contains(says), "{lines}: {}", family.log());
    }
}

#[test]
fn an_application_that_paste_deploy_cannot_load_is_told_and_rolled_back() {
    let Some(place) = environment("paste") else { return };
    let folder = Folder::new();
    folder.write("paste.ini", PASTE);
    folder.write("marked.py", MARKED);
    let lines = format!("virtualenv = {}\npaste = config:paste.ini", place.display());
    let (family, door) = start(&folder, &lines);
    until("the app", || door.get("/").is_ok_and(|answer| answer.status == 200));
    folder.write("paste.ini", PASTE.replace(":make", ":nothing"));
    family.signal(Signal::SIGHUP);
    family.wait_for_log("cannot load config:paste.ini");
    family.wait_for_log("the old generation serves on");
    assert_eq!(door.get("/").unwrap().status, 200);
}

#[test]
fn who_connects_to_the_tracebacker_gets_the_stacks() {
    let folder = Folder::new();
    let app = "import os, threading, time\nhere = os.path.dirname(os.path.abspath(__file__))\ndef wait():\n    while not os.path.exists(here + '/go'):\n        time.sleep(0.005)\n\
        def application(environ, start_response):\n    if environ['PATH_INFO'] == '/wait':\n        threading.current_thread().name = 'waiting one'\n        wait()\n    start_response('200 OK', [])\n    return [str(os.getpid()).encode()]\n";
    folder.write("app.py", app);
    let lines = "wsgi-file = app.py\nprocesses = 2\nthreads = 2\npy-tracebacker = tb";
    let (family, door) = start(&folder, lines);
    let path = |number| folder.path().join(format!("tb{number}"));
    let read = |number| {
        let mut text = String::new();
        UnixStream::connect(path(number)).ok()?.read_to_string(&mut text).ok()?;
        Some(text)
    };
    for number in [1, 2] {
        family.wait_for_log(&format!("python tracebacker for worker {number} available on "));
    }
    until("the app", || door.get("/").is_ok());
    let asking = std::thread::spawn({
        let door = door.clone();
        move || door.get("/wait").unwrap().text()
    });
    let text = eventually("the stack", || {
        let texts = [read(1).unwrap(), read(2).unwrap()];
        texts.into_iter().find(|text| text.contains("thread_id = waiting one"))
    });
    assert!(text.starts_with("*** uWSGI Python tracebacker output ***\n\nthread_id = "), "{text}");
    let place = "app.py lineno = 4 function = wait line = while not os.path.exists";
    assert!(
        text.contains(place) || text.contains("app.py lineno = 5 function = wait line = time.sleep"),
        "{text}"
    );
    let mode = |number| std::fs::metadata(path(number)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(1), mode(2)), (0o600, 0o600));
    folder.write("go", "");
    let old = asking.join().unwrap();

    // Over a reload there is always one, and after the end none.
    folder.write("app.py", app.replace("waiting one", "new one"));
    family.signal(Signal::SIGHUP);
    until("new workers", || {
        assert!(read(1).is_some() && read(2).is_some());
        family.log().contains("reload done: generation 2 serves")
    });
    until("the old ones' end", || crate::support::process::is_gone(old.parse().unwrap()));
    assert!(read(1).is_some() && read(2).is_some());
    family.signal(Signal::SIGTERM);
    until("the end", || !path(1).exists() && !path(2).exists());
}
