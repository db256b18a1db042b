//! Caches: memory that all workers of an instance share.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::free_port;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::{Folder, liege};
use crate::support::wait::{eventually, until};

/// `/call?NAME&ARGUMENT&…` calls a function of the module; `/pid` tells the worker's.
const APP: &str = r#"
import os, uwsgi
from urllib.parse import unquote

uwsgi.cache_update("loads", "1") if not uwsgi.cache_exists("loads") else uwsgi.cache_update("loads", "more")

def application(environ, start_response):
    name, *arguments = unquote(environ["QUERY_STRING"]).split("&")
    arguments = [int(word) if word.lstrip("-").isdigit() else word for word in arguments]
    if environ["PATH_INFO"] == "/call":
        try:
            body = repr(getattr(uwsgi, "cache_" + name)(*arguments))
        except Exception as error:
            body = repr(error)
    elif environ["PATH_INFO"] == "/spin":
        with open("pid.new", "w") as file:
            file.write(str(os.getpid()))
        os.rename("pid.new", "pid")
        while True:
            uwsgi.cache_update("spin", "x" * 60000)
    else:
        body = str(os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body.encode()]
"#;

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
        folder.write("app.py", APP);
        folder.write("reload", "");
        let text = format!(
            "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nstats = 127.0.0.1:{stats}\nwsgi-file = app.py\nprocesses = 3\ntouch-reload = reload\n{lines}\n"
        );
        folder.write("app.ini", text);
        let family = liege(&folder, &["app.ini"]);
        let (door, stats) = (Door::Port(port), Door::Port(stats));
        eventually("the instance", || door.get("/pid").ok());
        Self { family, door, stats, folder }
    }

    fn call(&self, query: &str) -> String {
        self.door.get(&format!("/call?{query}")).unwrap().text()
    }
}

#[test]
fn what_one_worker_stores_all_find_also_after_a_reload() {
    let instance = Instance::start(
        "cache2 = name=first,items=5,blocksize=64,bitmap=1,blocks=8\ncache2 = name=two,items=4,blocksize=64,purge_lru=1\ncache = 3",
    );
    // As a real uWSGI answers, but for the item that it keeps for itself.
    for (query, answer) in [
        ("set&a&1x", "True"),
        ("set&a&2x", "None"),
        ("get&a", "b'1x'"),
        ("update&a&3x", "True"),
        ("get&a", "b'3x'"),
        ("exists&a", "True"),
        ("exists&b", "None"),
        ("get&b", "None"),
        ("get&a&two", "None"),
        ("get&a&nosuch", "None"),
        ("set&a&x&0&nosuch", "None"),
        ("keys&nosuch", "ValueError('no local uWSGI cache available')"),
        ("keys", "[b'loads', b'a']"),
        ("del&a", "True"),
        ("del&a", "None"),
        ("inc&n", "True"),
        ("inc&n&5", "True"),
        ("num&n", "6"),
        ("dec&n&2", "True"),
        ("mul&n&10", "True"),
        ("div&n&3", "True"),
        ("num&n", "13"),
        ("div&n&0", "True"),
        ("num&n", "0"),
        ("num&none", "0"),
        ("set&e&", "None"),
        ("clear&nosuch", "None"),
        ("set&gone&x&-1&default", "True"),
        ("get&gone&default", "b'x'"),
        ("clear&default", "True"),
        ("keys&default", "[]"),
    ] {
        assert_eq!(instance.call(query), answer, "{query}");
    }
    let long = "x".repeat(300);
    assert_eq!(instance.call(&format!("set&long&{long}")), "True");
    assert_eq!(instance.call("set&more&x"), "True");
    assert_eq!(instance.call(&format!("set&evenmore&{long}")), "None");
    instance.family.wait_for_log("*** DANGER cache \"first\" is FULL !!! ***");
    for n in 0..6 {
        assert_eq!(instance.call(&format!("set&i{n}&x&0&two")), "True");
    }
    assert_eq!(instance.call("keys&two"), "[b'i2', b'i3', b'i4', b'i5']");
    let told: serde_json::Value =
        serde_json::from_slice(&instance.stats.connect().unwrap().rest().unwrap()).unwrap();
    let first = &told["caches"][0];
    assert_eq!(
        (&first["name"], &first["max_items"], &first["items"]),
        (&"first".into(), &5.into(), &4.into())
    );
    assert!(first["full"].as_u64() > Some(0) && first["hits"].as_u64() > Some(0), "{told}");

    // A new generation, then a new image of the master: everything is there, and the new code sees it.
    instance.folder.write("reload", "");
    until("the reload", || instance.family.log().matches("reload done").count() == 1);
    assert_eq!(instance.call("get&loads"), "b'more'");
    instance.family.signal(Signal::SIGHUP);
    until("the reload", || instance.family.log().matches("reload done").count() == 2);
    assert_eq!(instance.call("get&long"), format!("b'{long}'"));
    // One that is described otherwise is another one.
    let text = std::fs::read_to_string(instance.folder.path().join("app.ini")).unwrap();
    instance.folder.write("app.ini", text.replace("items=4", "items=9"));
    instance.folder.write("reload", "");
    until("the reload", || instance.family.log().matches("reload done").count() == 3);
    assert_eq!((instance.call("keys&two").as_str(), instance.call("exists&long").as_str()), ("[]", "True"));
}

#[test]
fn a_worker_that_is_killed_while_it_changes_a_cache_stops_nobody() {
    let instance = Instance::start("cache2 = name=first,items=5");
    for _ in 0..5 {
        let mut spinning = instance.door.connect().unwrap();
        spinning.send(b"GET /spin HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        // Only now it lets nobody else in, who would wait for ever.
        let pid = instance.folder.path().join("pid");
        let busy = eventually("the worker that spins", || std::fs::read_to_string(&pid).ok()?.parse().ok());
        std::fs::remove_file(pid).unwrap();
        until("its first round", || instance.call("exists&spin") == "True");
        kill(Pid::from_raw(busy), Signal::SIGKILL).unwrap();
        until("everybody else", || {
            instance.call("clear") == "True" && instance.call("set&after&x") == "True"
        });
        assert_eq!(instance.call("get&after"), "b'x'");
    }
}
