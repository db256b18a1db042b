//! The commands and the API of a real emperor with real instances.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what went wrong by panicking")]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);
const APP: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hi']\n";

/// An emperor over a directory of its own; stopped when dropped.
struct Host {
    directory: TempDir,
    emperor: Child,
}

impl Host {
    fn start(vassals: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir(path("vassals")).unwrap();
        std::fs::write(path("app.py"), APP).unwrap();
        let root = directory.path().display().to_string();
        for (name, text) in vassals {
            std::fs::write(path("vassals").join(name), text.replace("ROOT", &root)).unwrap();
        }
        let emperor = Command::new(env!("CARGO_BIN_EXE_liege"))
            .args(["emperor", "vassals", "--api", "api.sock"])
            .current_dir(directory.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let host = Self { directory, emperor };
        host.wait_for("the API", |host| host.liege(&["status"]).status.success());
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn liege(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_liege"));
        command.args(arguments).env("LIEGE_API", self.path("api.sock")).output().unwrap()
    }

    fn said(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.liege(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
        said
    }

    fn vassal(&self, name: &str) -> Value {
        serde_json::from_str(&self.said(&["status", name, "--json"], 0)).unwrap()
    }

    fn wait_for(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {}", self.said(&["status"], 0));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for_state(&self, name: &str, state: &str) {
        self.wait_for(&format!("{name} {state}"), |host| host.vassal(name)["state"] == state);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let pid_file = self.path("pid");
        std::fs::write(&pid_file, self.emperor.id().to_string()).unwrap();
        let _ = self.liege(&["--stop", &pid_file.display().to_string()]);
        let _ = self.emperor.wait();
    }
}

#[test]
fn a_vassal_is_seen_reloaded_rolled_back_stopped_and_started() {
    let host = Host::start(&[("my app.ini", "[uwsgi]\nhttp-socket = @ROOT/s\nwsgi-file = ROOT/app.py\n")]);
    host.wait_for_state("my app", "up");
    let seen = host.vassal("my app.ini");
    assert_eq!(seen["sockets"][0]["protocol"], "http");
    assert_eq!(seen["workers"][0]["state"], "idle");

    assert!(host.said(&["reload", "my app", "--wait"], 0).contains("the new generation serves"));
    std::fs::write(host.path("app.py"), "import not_there\n").unwrap();
    let told = host.said(&["reload", "my app", "--wait"], 4);
    for part in ["rolled back, the old one serves on", "Traceback", "No module named 'not_there'"] {
        assert!(told.contains(part), "{told}");
    }
    assert!(host.said(&["status"], 0).contains("the last reload was rolled back"));
    assert_eq!(host.vassal("my app")["state"], "up");
    assert_eq!(host.vassal("my app")["last_reload"]["outcome"], "rolled-back");

    std::fs::write(host.path("app.py"), APP).unwrap();
    host.said(&["stop", "my app", "--wait"], 0);
    assert_eq!(host.vassal("my app")["state"], "stopped");
    host.said(&["start", "my app", "--wait"], 0);
    host.wait_for_state("my app", "up");
    host.said(&["upgrade", "--wait"], 0);
    assert_eq!(host.vassal("my app")["state"], "up");
    // The API's listeners are carried over a re-execution: nobody is refused in its midst.
    host.said(&["upgrade"], 0);
    for _ in 0..40 {
        assert_eq!(host.vassal("my app")["name"], "my app.ini");
    }
}

#[test]
fn what_is_broken_is_shown_with_its_place_and_reason() {
    let host = Host::start(&[
        ("typo.ini", "[uwsgi]\nhttp-socket = @ROOT/t\nprocesses = 0\nwsgi-file = ROOT/app.py\n"),
        ("app-less.ini", "[uwsgi]\nhttp-socket = @ROOT/n\nmodule = not_there\n"),
    ]);
    host.wait_for_state("app-less", "no-app");
    host.wait_for_state("typo", "broken");
    let status = host.said(&["status"], 0);
    for part in ["typo.ini", "error: processes: 0", "No module named 'not_there'"] {
        assert!(status.contains(part), "{part}: {status}");
    }
    let page = host.vassal("app-less");
    assert!(page["last_failure"]["traceback"].as_str().unwrap().contains("not_there"), "{page}");
    let error = host.vassal("typo")["config_error"]["diagnostics"][0].clone();
    assert!(error["file"].as_str().unwrap().ends_with("/vassals/typo.ini"), "{error}");
}
