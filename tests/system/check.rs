//! `liege check` and `liege config`: what they say of files, to people and to machines.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::apps::{BROKEN, TOOLS};
use crate::support::server::Folder;
use crate::support::{LIEGE, free_port};

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    Command::new(LIEGE).args(arguments).current_dir(folder.path()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

/// A folder with an app and these files, in which `PORT` becomes a free port.
fn folder(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    folder.write("app.py", TOOLS);
    let port = free_port().to_string();
    for (name, lines) in files {
        folder.write(name, format!("[uwsgi]\n{}\n", lines.replace("PORT", &port)));
    }
    folder
}

const GOOD: &str = "http-socket = 127.0.0.1:PORT\nwsgi-file = app.py";

#[test]
fn five_mistakes_are_five_lines() {
    let folder = folder(&[(
        "a.ini",
        "http-socket = 127.0.0.1:99999\nmodule = app\nprocceses = 4\nuid = no-such-user\nchmod-socket = 0666\nstrict = true\nvirtualenv = /no/such/place",
    )]);
    let output = run(&folder, &["check", "a.ini"]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for expected in [
        "a.ini:2: error: http-socket: port 99999 is not between 0 and 65535\n  2 | http-socket = 127.0.0.1:99999\n    |               ^^^^^^^^^^^^^^^\n",
        "a.ini:4: error: procceses: [strict-mode] unknown config directive: procceses\n  4 | procceses = 4\n    | ^^^^^^^^^\n  → did you mean processes?\n",
        "a.ini:5: error: uid: there is no user no-such-user\n",
        "a.ini:6: error: chmod-socket: invalid chmod value: 0666\n",
        "a.ini:8: error: virtualenv: the virtualenv /no/such/place does not exist\n",
        "a.ini: 5 errors\n",
    ] {
        assert!(told.contains(expected), "{expected}\nis not in\n{told}");
    }
    assert_eq!(told.matches(": error: ").count(), 5, "{told}");
}

#[test]
fn a_good_file_is_good_and_one_with_what_is_refused_is_not() {
    let folder = folder(&[
        ("good.ini", GOOD),
        ("other.ini", "http-socket = 127.0.0.1:0\nwsgi-file = app.py\nlegion-cron = a b\nchroot = /a"),
    ]);
    let output = run(&folder, &["check", "./good.ini"]);
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), "good.ini: good\n"));
    let socket = folder.path().join("on-demand.sock");
    let waited_for = format!("[uwsgi]\nwsgi-file = app.py\n[emperor]\non-demand = {}\n", socket.display());
    std::fs::create_dir(folder.path().join("waited")).unwrap();
    folder.write("waited/for.ini", waited_for);
    folder.write("waited/app.py", "");
    let output = run(&folder, &["check", "waited/for.ini"]);
    assert_eq!((output.status.code(), text(&output).as_str()), (Some(0), "waited/for.ini: good\n"));
    let output = run(&folder, &["check", "."]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.ends_with("\n1 good, 1 with errors\n") && told.contains("RootDirectory="), "{told}");
    assert_eq!(run(&folder, &["check", "gone.ini"]).status.code(), Some(1));
    assert_eq!(run(&folder, &["check"]).status.code(), Some(2));
}

#[test]
fn machines_get_json() {
    let folder = folder(&[("a.ini", &format!("{GOOD}\nprocceses = 4\nthunder-lock = true"))]);
    let output = run(&folder, &["check", "--json", "a.ini"]);
    assert_eq!(output.status.code(), Some(0));
    let document = json(&output);
    let file = &document["files"][0];
    assert_eq!((&file["file"], &file["good"]), (&"a.ini".into(), &true.into()));
    let told = &file["diagnostics"];
    assert_eq!(
        (
            &told[0]["option"],
            &told[0]["line"],
            &told[0]["severity"],
            &told[0]["cause"],
            &told[0]["suggestion"]
        ),
        (
            &"procceses".into(),
            &4.into(),
            &"warning".into(),
            &"unknown".into(),
            &"did you mean processes?".into()
        )
    );
    assert_eq!(told[1]["cause"], "no-effect");
}

#[test]
fn what_only_the_host_can_tell_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (lines, expected) in [
        (format!("http-socket = 127.0.0.1:{port}"), format!("is in use by {}", own_name())),
        ("http-socket = 192.0.2.1:80".to_owned(), "is not an address of this host".to_owned()),
        ("socket = /no/such/place/a.sock".to_owned(), "there is no directory /no/such/place".to_owned()),
        ("chdir = /no/such/place".to_owned(), "there is no directory /no/such/place".to_owned()),
        ("logto = /no/such/place/log".to_owned(), "logto: there is no directory /no/such/place".to_owned()),
        ("gid = no-such-group".to_owned(), "there is no group no-such-group".to_owned()),
        ("chown-socket = root:no-such-group".to_owned(), "there is no group no-such-group".to_owned()),
        ("wsgi-file = gone.py".to_owned(), "gone.py".to_owned()),
        ("python = no-such-python".to_owned(), "there is no such program".to_owned()),
    ] {
        let folder = folder(&[("a.ini", &format!("{GOOD}\n{lines}"))]);
        let output = run(&folder, &["check", "a.ini"]);
        let told = text(&output);
        let name = lines.split(' ').next().unwrap();
        assert!(told.contains(&format!("a.ini:4: error: {name}: ")), "{lines}: {told}");
        assert!(told.contains(&expected) && output.status.code() == Some(1), "{lines}: {told}");
    }
}

#[test]
fn what_a_user_may_not_make_is_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root becomes another user");
        return;
    }
    for (lines, expected) in [
        ("http-socket = 127.0.0.1:80", Some("127.0.0.1:80 is not permitted to user nobody")),
        ("http-socket = 127.0.0.1:80\ncap = net_bind_service", None),
        ("http-socket = 127.0.0.1:80\nchown-socket = nobody", None),
        ("shared-socket = 127.0.0.1:80\nhttp-socket = =0", None),
        ("socket = /proc/a.sock", Some("user nobody may not make files in /proc")),
        ("socket = /proc/a.sock\nchown-socket = nobody", None),
        ("socket = /tmp/liege-test-of-check.sock", None),
    ] {
        let folder = folder(&[("a.ini", &format!("uid = nobody\nwsgi-file = app.py\n{lines}"))]);
        folder.write("app.py", TOOLS);
        let told = text(&run(&folder, &["check", "a.ini"]));
        assert_eq!(
            told.contains(" may not ") || told.contains("not permitted"),
            expected.is_some(),
            "{lines}: {told}"
        );
        assert!(told.contains(expected.unwrap_or_default()), "{lines}: {told}");
    }
}

#[test]
fn what_is_nearly_an_option_leads() {
    let folder = folder(&[("a.ini", &format!("threads = -1\n{GOOD}\nprocceses = 4"))]);
    let told = text(&run(&folder, &["check", "a.ini"]));
    assert!(told.starts_with("a.ini:5: warning: procceses: "), "{told}");
}

fn own_name() -> String {
    std::fs::read_to_string("/proc/self/comm").unwrap().trim().to_owned()
}

#[test]
fn two_vassals_on_one_address_are_told() {
    let folder = folder(&[("a.ini", GOOD), ("b.ini", &GOOD.replace("127.0.0.1", ""))]);
    let told = text(&run(&folder, &["check", "a.ini", "b.ini"]));
    assert!(told.contains("b.ini:2: error: http-socket: :"), "{told}");
    assert!(told.contains("of a.ini\n") && told.contains("1 good, 1 with errors"), "{told}");
}

#[test]
fn an_application_that_cannot_be_loaded_is_told_when_that_is_asked_for() {
    let folder = folder(&[("a.ini", GOOD)]);
    folder.write("app.py", BROKEN);
    assert_eq!(run(&folder, &["check", "a.ini"]).status.code(), Some(0));
    let output = run(&folder, &["check", "--import", "a.ini"]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("a.ini:3: error: wsgi-file: cannot load "), "{told}");
    assert!(told.contains("no luck today"), "{told}");
    folder.write("app.py", TOOLS);
    let output = run(&folder, &["check", "--import", "a.ini"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn a_configuration_is_shown_with_the_origin_of_each_value() {
    let folder = folder(&[
        ("a.ini", "ini = base.ini\nname = blog\nprocesses = %(count)\nmodule = %(name)\nthreads = 2x"),
        ("base.ini", "processes = 2\ncount = 3"),
    ]);
    let shown = text(&run(&folder, &["config", "a.ini"]));
    let expected = "command line  ini = a.ini\n\
        a.ini:2       ini = base.ini\n\
        base.ini:2    processes = 2  (a later one counts)\n\
        base.ini:3    count = 3\n\
        a.ini:3       name = blog\n\
        a.ini:4       processes = 3\n\
        a.ini:5       module = blog\n\
        a.ini:6       threads = 2x\n\
        liege: a.ini is refused as it stands: liege check tells why\n";
    assert_eq!(shown, expected);
    let document = json(&run(&folder, &["config", "--json", "a.ini"]));
    let options = document["options"].as_array().unwrap();
    assert_eq!(options[2], serde_json::json!(["processes", "2", "base.ini:2"]));
    assert_eq!(options[5], serde_json::json!(["processes", "3", "a.ini:4"]));
    assert_eq!(document["error"], Value::Null);
    let warnings = document["warnings"].as_array().unwrap();
    assert!(warnings[0].as_str().unwrap().starts_with("a.ini:6: warning: threads: "), "{warnings:?}");
    folder.write("b.ini", "[uwsgi]\nini = gone.ini\n");
    let output = run(&folder, &["config", "--json", "b.ini"]);
    assert_eq!(output.status.code(), Some(1));
    let error = json(&output)["error"].clone();
    assert_eq!(error["message"], "realpath() of gone.ini failed: No such file or directory");
}

#[test]
fn a_change_says_what_the_reload_will_do() {
    let folder = folder(&[("a.ini", &format!("{GOOD}\nprocesses = 2")), ("old.ini", GOOD)]);
    let shown = text(&run(&folder, &["config", "a.ini", "--diff", "old.ini"]));
    assert_eq!(
        shown,
        "+ processes = 2\na reload changes processes: workers are added or end; the others stay as they are\n"
    );
    let document = json(&run(&folder, &["config", "a.ini", "--diff", "old.ini", "--json"]));
    assert_eq!((&document["needs"], &document["options"][0]), (&"workers".into(), &"processes".into()));
}

#[test]
fn a_command_line_can_be_checked_too() {
    let folder = folder(&[]);
    let output = run(
        &folder,
        &["check", "--", "--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py", "--threads=-1"],
    );
    let told = text(&output);
    assert!(told.contains("command line: error: threads: ") && output.status.code() == Some(1), "{told}");
}

#[test]
fn a_section_is_checked_and_shown_as_the_command_line_takes_it() {
    let good = GOOD.replace("PORT", &free_port().to_string());
    let section = format!("[uwsgi]\nthreads = 0x\n[web]\n{good}\nthreads = %(n)\n[more]\nini = :web\n");
    let folder = folder(&[]);
    folder.write("a.ini", section.replace("%(n)", "2"));
    folder.write(
        "a.yaml",
        format!("uwsgi:\n  threads: 0x\nweb:\n  {}\n", good.replace(" = ", ": ").replace('\n', "\n  ")),
    );
    let check = |file: &str| run(&folder, &["check", file]);
    for file in ["a.ini:web", "./a.ini:web", "a.ini:more", "a.yaml:web"] {
        let output = check(file);
        assert!(text(&output).ends_with(": good\n") && output.status.code() == Some(0), "{}", text(&output));
    }
    let shown = text(&run(&folder, &["config", "a.ini:web"]));
    assert_eq!(shown, text(&run(&folder, &["config", "--", "--ini", "a.ini:web"])));
    assert!(shown.contains("a.ini:6       threads = 2\n"), "{shown}");
    folder.write("a.ini", section.replace("%(n)", "-1"));
    let output = check("a.ini:web");
    let told = text(&output);
    assert!(told.contains("a.ini:6: error: threads: ") && output.status.code() == Some(1), "{told}");
    assert!(told.ends_with("a.ini:web: 1 error\n"), "{told}");
    assert_eq!(check("gone.ini:web").status.code(), Some(1));
    let compared = run(&folder, &["config", "a.ini:web", "--diff", "a.ini:more"]);
    assert!(text(&compared).contains("files as a whole") && compared.status.code() == Some(2));
    // A file whose name has a colon is one.
    folder.write("co:lon.ini", format!("[uwsgi]\n{good}\n"));
    assert!(text(&check("co:lon.ini")).ends_with("co:lon.ini: good\n"));
}

#[test]
fn what_the_host_refuses_at_a_start_names_the_place_of_its_option() {
    let folder = folder(&[("more.ini", "chdir = /no/such/directory")]);
    folder.write("file", "");
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = busy.local_addr().unwrap().port();
    let busy_at = format!("http-socket = 127.0.0.1:{port}");
    for (lines, expected) in [
        ("\nchdir = /no/such/directory", ":5: chdir: cannot chdir to /no/such/directory: "),
        ("ini = more.ini", "more.ini:2: chdir: cannot chdir to /no/such/directory: "),
        ("pidfile = file/pid", ":4: pidfile: cannot write the pid file "),
        ("safe-pidfile2 = /ok\npidfile2 = file/pid", ":5: pidfile2: cannot write the pid file "),
        ("uid = no-such-user", ":4: uid: cannot look up whom to run as: there is no user no-such-user"),
        ("add-gid = no-such-group\nadd-gid = 7", ":4: add-gid: cannot look up whom to run as: "),
        ("logto = file/log", ":4: logto: cannot log to "),
        (&busy_at, &format!(":4: http-socket: cannot listen on 127.0.0.1:{port}: ")),
        ("socket = file/a.sock", ":4: socket: cannot listen on "),
        ("listen = 1000000", ":4: listen: Listen queue size is greater than "),
        ("flock = gone", ":4: flock: cannot lock "),
        ("master-fifo = file/fifo", ":4: master-fifo: cannot make the master's FIFO "),
        ("virtualenv = /no/such/place", ":4: virtualenv: the virtualenv /no/such/place does not exist"),
        ("python = /no/such/python", ":4: python: python = /no/such/python: there is no such program"),
        ("limit-nproc = 99999999999999", ":4: limit-nproc: "),
    ] {
        if lines.starts_with("limit-nproc") && nix::unistd::geteuid().is_root() {
            continue;
        }
        folder.write("a.ini", format!("[uwsgi]\n{}\n{lines}\n", GOOD.replace("PORT", "0")));
        let output = run(&folder, &["--ini", "a.ini"]);
        let told = text(&output);
        assert!(!output.status.success() && told.contains(expected), "{lines}: {expected}\n{told}");
    }
}
