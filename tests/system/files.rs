//! Whatever stands in the directory: files of every kind and name, written, moved, linked and removed in every way.

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::apps::says;
use crate::support::far::Far;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::Folder;
use crate::support::wait::until;
use crate::support::{LIEGE, extension, free_port};

/// A host with an app `app.py` that says `v1`, and nothing to serve yet.
fn host() -> Host {
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    host
}

/// A vassal's file that serves `app.py` on a new port.
fn hello() -> (String, Door) {
    let port = free_port();
    (format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n"), Door::Port(port))
}

/// The files that are not started, with the reasons.
fn not_started(host: &Host) -> String {
    host.ask("/v1/vassals")["not_started"].to_string()
}

/// How often the vassal has been reloaded.
fn reloads(host: &Host, name: &str) -> u64 {
    host.vassal(name).and_then(|vassal| vassal["reloads"].as_u64()).unwrap_or_default()
}

#[test]
fn bad_files_are_reported_and_good_ones_served() {
    let host = host();
    let (text, door) = hello();
    host.write("garbage.ini", (0..=255_u8).cycle().take(10_000).collect::<Vec<_>>());
    host.write("large.ini", "[uwsgi]\n".to_owned() + &"# a comment that takes room\n".repeat(400_000));
    host.write("empty.ini", "");
    host.write("utf-16.ini", text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    host.write("loop-include.ini", "[uwsgi]\nini = %p\n");
    std::fs::create_dir(host.file("directory.ini")).unwrap();
    symlink("turn.ini", host.file("round.ini")).unwrap();
    symlink("round.ini", host.file("turn.ini")).unwrap();
    symlink("nowhere", host.file("dangling.ini")).unwrap();
    nix::unistd::mkfifo(&host.file("pipe.ini"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    host.write("good.ini", text);
    door.wait_for("/", "v1");
    until("the report", || not_started(&host).contains("large.ini"));
    let asked = Command::new(LIEGE)
        .args(["status", "large", "--api"])
        .arg(host.folder().path().join("api.sock"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(!asked.status.success() && said.contains("large.ini is not started: it has"), "{said}");
    for name in ["garbage.ini", "utf-16.ini", "loop-include.ini"] {
        host.wait_for_vassal(name, "is reported", |vassal| {
            vassal["state"] == "resting"
                || !vassal["config_error"].is_null()
                || !vassal["last_failure"].is_null()
        });
    }
    assert_eq!(door.get("/").unwrap().text(), "v1");
}

#[test]
fn a_vassal_may_be_json_yaml_or_xml() {
    let host = host();
    for (name, text) in [
        (
            "a.json",
            r#"{"uwsgi": {"http-socket": "127.0.0.1:PORT", "wsgi-file": "%d../app.py", "threads": 2}}"#,
        ),
        ("b.yml", "uwsgi:\n  http-socket: 127.0.0.1:PORT\n  wsgi-file: %d../app.py\n"),
        ("c.yaml", "uwsgi: {http-socket: '127.0.0.1:PORT', wsgi-file: %d../app.py}\n"),
        (
            "d.xml",
            "<uwsgi><http-socket>127.0.0.1:PORT</http-socket><wsgi-file>%d../app.py</wsgi-file></uwsgi>",
        ),
    ] {
        let port = free_port();
        host.write(name, text.replace("PORT", &port.to_string()));
        Door::Port(port).wait_for("/", "v1");
    }
    host.write("e.json", "{\"uwsgi\": {\n  \"processes\": 1,\n}}");
    host.wait_for_vassal("e.json", "is refused", |vassal| {
        vassal.to_string().contains("error parsing JSON data")
    });
    // A mistake in a file of another format keeps what runs, too.
    host.write("b.yml", "uwsgi:\n  a: b: c\n");
    host.wait_for_vassal("b.yml", "is told, and serves on", |vassal| {
        vassal["state"] == "up" && vassal.to_string().contains("error parsing YAML file")
    });
}

#[test]
fn what_the_emperor_may_not_read_is_told_and_is_the_fault_of_nobody_else() {
    let Some(host) = Host::start_as_nobody(&["--emperor", "second"]) else { return };
    host.folder().write("app.py", says("v1"));
    let open = |path: &str, mode: u32| {
        std::fs::set_permissions(host.folder().path().join(path), Permissions::from_mode(mode)).unwrap();
    };
    let (one, door) = hello();
    let (two, other) = hello();
    let (three, third) = hello();
    host.write("a.ini", one);
    host.folder().write("second/b.ini", two);
    door.wait_for("/", "v1");
    other.wait_for("/", "v1");
    host.folder().write("secret", three);
    open("secret", 0o600);
    std::fs::rename(host.folder().path().join("secret"), host.file("secret.ini")).unwrap();
    until("the report", || not_started(&host).contains("the emperor may not read it"));
    // Nothing can be told of any name in it now.
    open("vassals", 0o000);
    let problem = || host.ask("/v1/emperor")["directories"][0]["problem"].clone();
    until("the directory to be told of", || {
        host.post("/v1/rescan");
        problem().as_str().is_some_and(|problem| problem.contains("Permission denied"))
    });
    let touched = |name: &str| {
        let vassal = host.vassal(name).unwrap();
        (vassal["config_error"].clone(), vassal["reloads"].clone())
    };
    for name in ["a.ini", "b.ini"] {
        assert_eq!(touched(name), (Value::Null, 0.into()), "{name}");
    }
    assert!(!not_started(&host).contains("b.ini"), "{}", not_started(&host));
    open("vassals", 0o755);
    open("vassals/secret.ini", 0o644);
    third.wait_for("/", "v1");
    until("the directory to be well", || problem().is_null());
    for name in ["a.ini", "b.ini"] {
        assert_eq!(touched(name), (Value::Null, 0.into()), "{name}");
    }
}

#[test]
fn who_else_may_write_into_a_directory_is_told_as_soon_as_that_changes() {
    // Nothing is looked for by itself within an hour.
    let host = Host::start_with(&[], &["--emperor-freq=3600"]);
    let warning = || host.ask("/v1/emperor")["directories"][0]["warning"].clone();
    let open = |mode: u32| {
        std::fs::set_permissions(host.folder().path().join("vassals"), Permissions::from_mode(mode)).unwrap();
    };
    open(0o755);
    until("no warning", || warning().is_null());
    for mode in [0o775, 0o757] {
        open(mode);
        let expected = format!("is writable by its group or others (mode {mode:04o})");
        until("the warning", || warning().as_str().is_some_and(|warning| warning.contains(&expected)));
        open(0o755);
        until("the end of the warning", || warning().is_null());
    }
}

#[test]
fn names_with_spaces_quotes_and_other_bytes_work() {
    let host = host();
    let odd: [&[u8]; 6] = [
        b"with space.ini",
        b"quo\"te's.ini",
        b"per%%cent$(x)`y`.ini",
        b"-dash.ini",
        "umlaut-\u{e4}.ini".as_bytes(),
        b"co:lon.ini",
    ];
    let doors: Vec<Door> = odd
        .iter()
        .map(|name| {
            let (text, door) = hello();
            let app = host.folder().path().join("app.py");
            let text = text.replace("%d../app.py", app.to_str().unwrap());
            let path = host.folder().path().join("vassals").join(OsString::from_vec(name.to_vec()));
            std::fs::write(path, text).unwrap();
            door
        })
        .collect();
    for door in &doors {
        door.wait_for("/", "v1");
    }
    assert_eq!(host.ask("/v1/vassals")["vassals"].as_array().unwrap().len(), odd.len());
}

#[test]
fn a_name_with_a_newline_is_reported_in_one_line() {
    let host = host();
    let (text, door) = hello();
    host.write("new\nline.ini", text);
    until("the report", || not_started(&host).contains("line.ini"));
    assert!(!host.emperor.log().contains("new\nline.ini"));
    assert!(door.connect().is_err());
}

#[test]
fn leftovers_of_editors_and_other_files_are_passed_over() {
    let host = host();
    let (text, door) = hello();
    for name in [".hidden.ini", "a.ini~", ".a.ini.swp", "#a.ini#", "a.ini.bak", "a.conf", "a.ini.dpkg-new"] {
        host.write(name, &text);
    }
    let (good, served) = hello();
    host.write("good.ini", good);
    served.wait_for("/", "v1");
    assert_eq!(host.ask("/v1/vassals")["vassals"].as_array().unwrap().len(), 1);
    assert!(door.connect().is_err());
}

#[test]
fn deleting_and_creating_again_is_one_reload() {
    let host = host();
    let (text, door) = hello();
    host.write("app.ini", &text);
    door.wait_for("/", "v1");
    host.folder().write("app.py", says("v2"));
    host.remove("app.ini");
    std::fs::write(host.file("app.ini"), &text).unwrap();
    door.wait_for("/", "v2");
    host.wait_for_vassal("app.ini", "was reloaded once", |vassal| vassal["state"] == "up");
    assert!(reloads(&host, "app.ini") <= 1, "{:#}", host.vassal("app.ini").unwrap());
}

#[test]
fn an_atomic_rename_with_an_older_time_is_noticed() {
    let host = host();
    let (text, door) = hello();
    host.write("app.ini", &text);
    door.wait_for("/", "v1");
    host.folder().write("app.py", says("v2"));
    host.folder().write("fresh", &text);
    let fresh = host.folder().path().join("fresh");
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    std::fs::File::options().append(true).open(&fresh).unwrap().set_modified(old).unwrap();
    std::fs::rename(fresh, host.file("app.ini")).unwrap();
    door.wait_for("/", "v2");
    // The new code answers before the emperor hears that it took over.
    host.wait_for_vassal("app.ini", "was reloaded once", |vassal| vassal["reloads"] == 1);
}

#[test]
fn a_touch_of_what_a_link_points_to_is_noticed() {
    let host = host();
    let (text, door) = hello();
    std::fs::create_dir(host.folder().path().join("elsewhere")).unwrap();
    host.folder().write("elsewhere/target.ini", &text);
    let target = host.folder().path().join("elsewhere/target.ini");
    symlink(&target, host.file("link.ini")).unwrap();
    door.wait_for("/", "v1");
    host.folder().write("app.py", says("v2"));
    let now = std::time::SystemTime::now();
    std::fs::File::options().append(true).open(&target).unwrap().set_modified(now).unwrap();
    door.wait_for("/", "v2");
}

#[test]
fn a_file_that_is_still_being_written_is_not_read_half() {
    use std::io::Write;

    let host = host();
    let (text, door) = hello();
    let mut file = std::fs::File::create(host.file("slow.ini")).unwrap();
    for part in text.as_bytes().chunks(20) {
        file.write_all(part).unwrap();
        file.flush().unwrap();
    }
    drop(file);
    door.wait_for("/", "v1");
}

#[test]
fn a_removed_file_stops_its_vassal_and_leaves_no_process() {
    let mut host = host();
    let (text, door) = hello();
    let (router, through) = hello();
    host.write("app.ini", text + "processes = 3\n");
    host.write("router.ini", router.replace("http-socket", "http"));
    door.wait_for("/", "v1");
    through.wait_for("/", "v1");
    host.remove("app.ini");
    host.remove("router.ini");
    let emperor = host.emperor.pid();
    until("only the emperor to be left", || host.emperor.members() == [emperor]);
    until("the sockets to be closed", || door.connect().is_err() && through.connect().is_err());
    host.emperor.signal(Signal::SIGTERM);
    host.emperor.wait_until_empty();
}

#[test]
fn two_directories_with_one_name_give_one_vassal_and_a_report() {
    let host = Host::start_with(&[], &["--emperor", "second"]);
    host.folder().write("app.py", says("v1"));
    let (first, door) = hello();
    let (second, other) = hello();
    host.write("app.ini", first);
    door.wait_for("/", "v1");
    host.folder().write("second/app.ini", second);
    until("the report", || host.ask("/v1/vassals").to_string().contains("second"));
    assert!(other.connect().is_err());
}

#[test]
fn many_files_at_once_are_all_served_and_all_stopped() {
    let mut host = host();
    let doors: Vec<Door> = (0..30)
        .map(|number| {
            let (text, door) = hello();
            host.write(&format!("app{number}.ini"), text);
            door
        })
        .collect();
    for door in &doors {
        door.wait_for("/", "v1");
    }
    host.emperor.signal(Signal::SIGTERM);
    assert!(host.emperor.wait().success());
    host.emperor.wait_until_empty();
}

#[test]
fn a_file_that_becomes_unusable_under_its_vassal_is_told_of_as_it_is() {
    let host = host();
    let (text, door) = hello();
    host.write("good.ini", &text);
    door.wait_for("/", "v1");
    let large = text.clone() + &"# a comment that takes room\n".repeat(400_000);
    host.write("good.ini", &large);
    let vassal = host.wait_for_vassal("good.ini", "is told", |vassal| !vassal["config_error"].is_null());
    let reason = vassal["reason"].as_str().unwrap();
    assert!(
        reason.contains("it has") && reason.ends_with("; serving with the configuration before it"),
        "{reason}"
    );
    assert_eq!((&vassal["state"], &vassal["serving"]), (&"up".into(), &true.into()));
    host.emperor.wait_for_log("; what runs of it goes on");
    // A new file of that kind has nothing that serves on.
    host.write("other.ini", &large);
    host.emperor.wait_for_log("other.ini is not started: it has");
    let list = not_started(&host);
    assert!(list.contains("other.ini") && !list.contains("good.ini"), "{list}");
    assert!(!host.emperor.log().contains("good.ini is not started"), "{}", host.emperor.log());
    assert_eq!(door.get("/").unwrap().text(), "v1");
    // As does one that runs when its file is well again.
    let before = reloads(&host, "good.ini");
    host.write("good.ini", &text);
    until("the reload", || reloads(&host, "good.ini") > before);
    host.wait_for_vassal("good.ini", "is well", |vassal| vassal["config_error"].is_null());
}

#[test]
fn of_two_files_with_one_port_the_second_says_who_has_it() {
    let host = host();
    let (text, door) = hello();
    let stats = format!("stats = 127.0.0.1:{}\n", free_port());
    host.write("first.ini", format!("{text}{stats}"));
    door.wait_for("/", "v1");
    host.write("second.ini", &text);
    let hint = |vassal: &Value| vassal["last_failure"]["hint"].as_str().unwrap_or_default().to_owned();
    let said = "first.ini has it: give one of the two another address";
    host.wait_for_vassal("second.ini", "says who has its port", |vassal| hint(vassal) == said);
    // One that runs and wants it serves on.
    let (own, other) = hello();
    host.write("third.ini", &own);
    other.wait_for("/", "v1");
    host.write("third.ini", &text);
    host.wait_for_vassal("third.ini", "says so, too", |vassal| hint(vassal) == said);
    let (own, _) = hello();
    host.write("fourth.ini", format!("{own}{stats}"));
    host.wait_for_vassal("fourth.ini", "says who has that of its statistics", |vassal| hint(vassal) == said);
    assert_eq!(other.get("/").unwrap().text(), "v1");
    host.remove("first.ini");
    door.wait_for("/", "v1");
}

#[test]
fn files_that_a_pattern_leads_to_and_that_are_no_vassals_are_told() {
    let host =
        Host::start_with(&[], &["--emperor=app.conf", "--emperor=sites/*.conf", "--emperor=vassals/*.*"]);
    host.folder().write("app.py", says("v1"));
    let (text, door) = hello();
    for file in ["app.conf", "sites/one.conf", "vassals/notes.txt"] {
        host.folder().write(file, &text);
    }
    host.write("app.ini", &text);
    door.wait_for("/", "v1");
    until("the report", || {
        host.post("/v1/rescan");
        not_started(&host).contains("one.conf")
            && host.ask("/v1/emperor").to_string().contains("it is a file, and")
    });
    let told = not_started(&host);
    assert!(told.contains("what emperor-extra-extension says") && !told.contains("notes.txt"), "{told}");
}

/// Somebody who sees mounts of its own, if that is allowed here.
fn among_own_mounts(pid: Option<i32>, program: &str) -> Command {
    let mut command = Command::new(if pid.is_some() { "nsenter" } else { "unshare" });
    let by_root = nix::unistd::geteuid().is_root();
    match pid {
        Some(pid) if by_root => command.args(["-t", &pid.to_string(), "--mount"]),
        Some(pid) => command.args(["-t", &pid.to_string(), "--user", "--mount", "--preserve-credentials"]),
        None if by_root => command.arg("--mount"),
        None => command.args(["--map-current-user", "--mount"]),
    };
    command.arg(program);
    command
}

#[test]
fn what_is_mounted_over_a_directory_is_found_at_once() {
    if !among_own_mounts(None, "true").status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: nobody may have mounts of its own here");
        return;
    }
    extension();
    let folder = Folder::new();
    folder.write("app.py", says("v1"));
    let [(below, first), (above, second)] = [hello(), hello()];
    folder.write("vassals/a.ini", below);
    folder.write("other/b.ini", above);
    let mut command = among_own_mounts(None, LIEGE);
    command.args(["--emperor", "vassals", "--api", "api.sock"]).current_dir(folder.path());
    let emperor = Family::start(&mut command, &folder.path().join("liege.log"));
    first.wait_for("/", "v1");
    let change = |program: &str, arguments: &[&str]| {
        let mut command = among_own_mounts(Some(emperor.pid()), program);
        assert!(command.args(arguments).current_dir(folder.path()).status().unwrap().success());
    };
    let (other, vassals) = (folder.path().join("other"), folder.path().join("vassals"));
    let (other, vassals) = (other.to_str().unwrap(), vassals.to_str().unwrap());
    // Sooner than a rescan of every minute would find it.
    for _ in 0..2 {
        change("mount", &["--bind", other, vassals]);
        second.wait_for("/", "v1");
        until("the end of what it covers", || first.connect().is_err());
        // Its vassals stand in it.
        change("umount", &["--lazy", vassals]);
        first.wait_for("/", "v1");
        until("the end of what is there no more", || second.connect().is_err());
    }
}

#[test]
fn who_operates_is_answered_while_a_server_is_silent() {
    let mut host = Host::start_with(&[], &["--emperor=far"]);
    host.folder().write("app.py", says("v1"));
    let [(near, near_door), (lies_far, far_door)] = [hello(), hello()];
    host.write("near.ini", &near);
    host.folder().write("real/far.ini", lies_far);
    let folder = host.folder().path().to_owned();
    let Some(far) = Far::mount(&folder.join("real"), &folder.join("far")) else { return };
    near_door.wait_for("/", "v1");
    far_door.wait_for("/", "v1");
    far.stop(true);
    let why = |value: &Value| value["reason"].as_str().is_some_and(|why| why.contains("does not answer"));
    host.wait_for_vassal("far.ini", "says what it waits for", why);
    assert!(host.ask("/v1/emperor").to_string().contains("does not answer"), "the source does, too");
    let mut command = Command::new(LIEGE);
    let asked = command.args(["why", "far.ini", "--api", "api.sock"]).current_dir(&folder);
    let said = String::from_utf8(asked.output().unwrap().stdout).unwrap();
    assert!(said.contains("does not answer"), "{said}");
    assert_eq!(host.reload("near.ini")["outcome"], "swapped");
    let reload = host.reload("far.ini");
    assert!(reload["outcome"] == "rolled-back" && reload.to_string().contains("does not answer"), "{reload}");
    assert_eq!(far_door.get("/").unwrap().text(), "v1");
    // Who looks at a file there for an operator is held up, and nobody else, not even the end.
    let mut asker = host.api().connect_for(Duration::from_secs(45)).unwrap();
    let text = r#"{"name": "far.ini", "text": "[uwsgi]"}"#;
    let head = "POST /v1/validate HTTP/1.1\r\nhost: liege\r\ncontent-type: application/json\r\n";
    asker.send(format!("{head}content-length: {}\r\n\r\n{text}", text.len()).as_bytes()).unwrap();
    let answer = asker.answer(false).unwrap();
    assert!(answer.status == 503 && answer.text().contains("does not answer"), "{}", answer.text());
    assert_eq!(host.reload("near.ini")["outcome"], "swapped");
    host.emperor.signal(Signal::SIGTERM);
    assert!(host.emperor.wait().success(), "{}", host.emperor.log());
    drop(far);
}
