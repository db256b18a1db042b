//! What does not come to an end: an import that never returns, a master that is stopped. It is seen, and holds up
//! nobody.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::{says, says_after_import};
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::wait::until;

#[test]
fn a_reload_that_is_stuck_in_its_import_is_given_up_and_a_first_load_is_only_told() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", says_after_import("never", 1000.0));
    let options = "startup-timeout = 1\nwsgi-file = %d../app.py\n";
    host.write("a.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\n{options}"));
    host.emperor.wait_for_log("[a.ini] WARN nothing serves after 1 s (startup-timeout)");
    let reason = "loading for ";
    let vassal = host.wait_for_vassal("a.ini", "tells why it is not up", |vassal| {
        vassal["reason"].as_str().is_some_and(|text| text.starts_with(reason))
    });
    assert_eq!(vassal["state"], "starting", "{vassal:#}");
    // Nothing serves, so nothing is rolled back: it goes on loading, and the operation ends all the same.
    let operation = host.reload("a.ini");
    assert_eq!(operation["outcome"], "timed-out", "{operation:#}");

    host.folder().write("app.py", says("v1"));
    host.touch("a.ini");
    let door = Door::Port(port);
    door.wait_for("/", "v1");

    host.folder().write("app.py", says_after_import("never", 1000.0));
    let operation = host.reload("a.ini");
    assert_eq!(operation["outcome"], "timed-out", "{operation:#}");
    assert_eq!(door.get("/").unwrap().text(), "v1");
    let vassal = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    assert_eq!(vassal["reason"], "the last reload was not ready in time", "{vassal:#}");

    host.folder().write("app.py", says("v2"));
    assert_eq!(host.reload("a.ini")["outcome"], "swapped");
    door.wait_for("/", "v2");
}

#[test]
fn a_master_that_a_signal_stopped_is_shown_and_nothing_waits_for_it() {
    let port = free_port();
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    host.write("a.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n"));
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    let vassal = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    let master = Pid::from_raw(i32::try_from(vassal["pid"].as_u64().unwrap()).unwrap());
    let halted = |vassal: &serde_json::Value| {
        vassal["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("its master was stopped by a signal"))
    };

    kill(master, Signal::SIGSTOP).unwrap();
    host.wait_for_vassal("a.ini", "is shown as stopped", halted);
    assert_eq!(door.get("/").unwrap().text(), "v1", "its workers serve on");
    host.folder().write("app.py", says("v2"));
    assert_eq!(host.reload("a.ini")["outcome"], "failed");
    kill(master, Signal::SIGCONT).unwrap();
    door.wait_for("/", "v2");
    host.wait_for_vassal("a.ini", "goes on", |vassal| vassal["reason"].is_null());

    kill(master, Signal::SIGSTOP).unwrap();
    host.wait_for_vassal("a.ini", "is shown as stopped", halted);
    host.remove("a.ini");
    until("its end", || host.vassal("a.ini").is_none());
    assert!(!host.emperor.log().contains("does not end"), "it was let go on to end as it should");
}
