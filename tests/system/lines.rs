//! The command lines of daily life, as they stand in manuals and start scripts.

use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use crate::support::apps::{TOOLS, says};
use crate::support::http::Door;
use crate::support::process::{Family, is_gone};
use crate::support::server::{Folder, liege};
use crate::support::wait::until;
use crate::support::{LIEGE, free_port, uwsgi};

/// Runs a client action to its end.
fn run(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(LIEGE).args(arguments).current_dir(folder.path()).output().unwrap()
}

#[test]
fn a_module_of_django_serves_over_a_uwsgi_socket() {
    let folder = Folder::new();
    let wsgi = "import os\nclass WSGIHandler:\n    def __call__(self, environ, start_response):\n        \
        start_response('200 OK', [])\n        return [os.environ['DJANGO_SETTINGS_MODULE'].encode()]\n";
    folder.write("django/core/handlers/wsgi.py", wsgi);
    folder.write("site/settings.py", "");
    let (socket, site) = (format!("127.0.0.1:{}", free_port()), folder.path().join("site"));
    let line = [
        "--socket",
        &socket,
        "--chdir",
        site.to_str().unwrap(),
        "--pythonpath",
        folder.path().to_str().unwrap(),
        "--env",
        "DJANGO_SETTINGS_MODULE=mysite.settings",
        "--module",
        "django.core.handlers.wsgi:WSGIHandler()",
    ];
    let _family = liege(&folder, &line);
    let door = Door::Port(socket.rsplit(':').next().unwrap().parse().unwrap());
    until("the settings", || {
        uwsgi::ask(&door, &uwsgi::get("/"), b"").is_ok_and(|text| text.ends_with("mysite.settings"))
    });
}

#[test]
fn a_module_serves_over_http() {
    let folder = Folder::new();
    folder.write("project/wsgi.py", says("the project"));
    let port = free_port();
    let _family = liege(&folder, &["--module=project.wsgi", "--http", &format!(":{port}")]);
    Door::Port(port).wait_for("/", "the project");
}

#[test]
fn a_callable_of_another_name_serves_when_we_are_called_uwsgi() {
    let folder = Folder::new();
    folder.write("myflaskapp.py", says("flask").replace("def application", "def app"));
    let link = folder.path().join("uwsgi");
    symlink(LIEGE, &link).unwrap();
    let port = free_port();
    let _family = Family::start(
        Command::new(&link)
            .args(["--http-socket", &format!("127.0.0.1:{port}")])
            .args(["--wsgi-file", "myflaskapp.py", "--callable", "app"])
            .current_dir(folder.path()),
        &folder.path().join("liege.log"),
    );
    Door::Port(port).wait_for("/", "flask");
}

#[test]
fn a_section_of_a_file_serves_and_obeys_its_pid_file() {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", says("v1"));
    folder.write(
        "myconf.ini",
        format!("[uwsgi]\nmodule = gone\n[app1]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = app.py\npidfile = app.pid\n"),
    );
    let mut family = liege(&folder, &["--ini", "myconf.ini:app1"]);
    let door = Door::Port(port);
    door.wait_for("/", "v1");
    folder.write("app.py", says("v2"));
    assert_eq!(run(&folder, &["--reload", "app.pid"]).status.code(), Some(0));
    door.wait_for("/", "v2");
    assert_eq!(run(&folder, &["--stop", "app.pid"]).status.code(), Some(0));
    assert_eq!(family.wait().code(), Some(0));
    family.wait_until_empty();
    assert_eq!(run(&folder, &["--stop", "gone.pid"]).status.code(), Some(1));
    folder.write("dead.pid", "999999999");
    assert_eq!(run(&folder, &["--stop", "dead.pid"]).status.code(), Some(255));
}

#[test]
fn an_emperor_goes_to_the_background() {
    let folder = Folder::new();
    let port = free_port();
    folder.write("app.py", says("a vassal"));
    let path = folder.path().display().to_string();
    folder.write(
        "vassals/a.ini",
        format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = {path}/app.py\n"),
    );
    let line =
        ["--emperor", "vassals", "--daemonize", "emperor.log", "--pidfile", "e.pid", "--api", "api.sock"];
    let mut family = liege(&folder, &line);
    assert_eq!(family.wait().code(), Some(0));
    Door::Port(port).wait_for("/", "a vassal");
    let log = std::fs::read_to_string(folder.path().join("emperor.log")).unwrap();
    assert!(!log.is_empty());
    let pid: i32 = std::fs::read_to_string(folder.path().join("e.pid")).unwrap().trim().parse().unwrap();
    assert_eq!(run(&folder, &["--stop", "e.pid"]).status.code(), Some(0));
    until("the end of the emperor", || is_gone(pid));
    family.wait_until_empty();
}

#[test]
fn statistics_are_read_by_the_command_line() {
    let folder = Folder::new();
    folder.write("app.py", TOOLS);
    let (port, stats) = (free_port(), free_port());
    let line = format!("--http-socket 127.0.0.1:{port} --wsgi-file app.py --stats 127.0.0.1:{stats} -M -p 2");
    let _family = liege(&folder, &line.split(' ').collect::<Vec<_>>());
    Door::Port(port).wait_for("/", "hello");
    let output = run(&folder, &["--connect-and-read", &format!("127.0.0.1:{stats}")]);
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["workers"].as_array().unwrap().len(), 2);
    assert_eq!(run(&folder, &["--connect-and-read", "no.sock"]).status.code(), Some(1));
}

#[test]
fn other_formats_serve_as_bare_arguments() {
    for (name, text) in [
        ("app.json", r#"{"uwsgi": {"http-socket": "127.0.0.1:PORT", "wsgi-file": "app.py"}}"#),
        ("app.yml", "uwsgi:\n  http-socket: 127.0.0.1:PORT\n  wsgi-file: app.py\n"),
        ("app.xml", "<uwsgi><http-socket>127.0.0.1:PORT</http-socket><wsgi-file>app.py</wsgi-file></uwsgi>"),
    ] {
        let folder = Folder::new();
        let port = free_port();
        folder.write("app.py", says(name));
        folder.write(name, text.replace("PORT", &port.to_string()));
        let _family = liege(&folder, &[name]);
        Door::Port(port).wait_for("/", name);
    }
}

#[test]
fn help_is_at_hand() {
    let folder = Folder::new();
    for (arguments, code, part) in [
        (&["--help"][..], 0, "liege --http :9090 --wsgi-file"),
        (&["help", "processes"], 0, "How many workers"),
        (&["help", "procesess"], 2, "did you mean processes?"),
        (&["check", "--help"], 0, "--import"),
        (&["completions", "bash"], 0, "complete "),
    ] {
        let output = run(&folder, arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains(part) && output.status.code() == Some(code), "{arguments:?}: {text}");
    }
}
