//! Many tenants on one host: each vassal runs as the owner of its file, whatever its file says and its owner tries.
//! Needs root; without it the tests are skipped, and say so.

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
#[path = "tenants/stage.rs"]
mod stage;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::os::unix::net::UnixStream;

use host::{Host, get};
use port::free_port;
use stage::{ALICE, BOB, CAROL, alice_and_bob, is_root, link, not_started, tenant, tyrant, until_up, write};

#[test]
fn a_tenant_is_its_owner_and_has_nothing_of_root() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--vassals-env", "NAMED=yes"]);
    let port =
        tenant(&host, "a.ini", ALICE, "uid = root\ngid = root\nadd-gid = root\ncap = setuid\nprocesses = 2");
    let said = until_up(&host, port);
    for (line, expected) in [
        ("Uid", "20001 20001 20001 20001"),
        ("Gid", "20001 20001 20001 20001"),
        ("Groups", ""),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("NAMED", "yes"),
        ("HOME", "None"),
        ("setuid", "EPERM"),
        ("master's memory", "EACCES"),
    ] {
        assert_eq!(said[line], expected, "{line}: {said:?}");
    }
    let (_, shown) = host.ask(&["status", "a.ini"]);
    assert!(shown.contains("  user      uid 20001\n"), "{shown}");
    for option in ["uid", "gid", "add-gid", "cap"] {
        assert!(shown.contains(&format!("{option}: has no effect: the emperor runs it as")), "{shown}");
    }
    let master = host.master("a.ini");
    let family = [vec![master], host::children(master)].concat();
    assert!(family.len() >= 3, "{family:?}");
    for pid in family {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(status.contains("Uid:\t20001\t20001\t20001\t20001"), "{status}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    }
    host.end();
}

#[test]
fn tenants_cannot_reach_each_other_or_the_emperor() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let (a, b) = (tenant(&host, "a.ini", ALICE, ""), tenant(&host, "b.ini", BOB, ""));
    until_up(&host, a);
    let bobs = until_up(&host, b);
    let victims = [host.master("b.ini"), bobs["pid"].parse().unwrap(), host.emperor_pid()];
    for pid in victims {
        for (what, expected) in
            [("signal", "EPERM"), ("environ", "EACCES"), ("fd", "EACCES"), ("mem", "EACCES")]
        {
            assert_eq!(get(a, &format!("/{what}/{pid}")).unwrap(), expected, "{what} of {pid}");
        }
    }
    // In a group of another's it would not be found when its own vassal ends, and be taken for a process of the other.
    for leader in [host.master("b.ini"), host.emperor_pid()] {
        assert_eq!(get(a, &format!("/join/{leader}")).unwrap(), "EPERM", "the group of {leader}");
    }
    for path in [host.path("api"), host.path("api.d/lock"), host.path("v/b.ini")] {
        assert_eq!(get(a, &format!("/open{}", path.display())).unwrap(), "EACCES", "{}", path.display());
    }
    // The rendezvous is for everybody, and says nothing to who is no master.
    assert_eq!(get(a, &format!("/call{}", host.path("api.d/rendezvous").display())).unwrap(), "hung up");
    host.end();
}

/// Becomes a program that has a terminal, and a key in its session.
const SESSION: &str = "
import ctypes, fcntl, os, pty, sys, termios
call = ctypes.CDLL(None).syscall
ours, theirs = pty.openpty()
if os.fork() == 0:
    # Keeps the terminal as long as the emperor lives.
    call(157, 1, 9)
    while os.read(ours, 1000): pass
os.setsid()
fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
call(250, 1, None)
call(248, b'user', b'secret', b'word', 4, -3)
os.execvp(sys.argv[1], sys.argv[1:])
";

/// Tells whether it has them, too.
const PROBE: &str = "#!/usr/bin/env python3
import ctypes, os
print(ctypes.CDLL(None).syscall(250, 10, -3, b'user', b'secret', 0) > 0)
try: os.open('/dev/tty', os.O_RDWR); print(True)
except OSError: print(False)
";

#[test]
fn a_tenant_has_neither_the_terminal_nor_the_keys_of_who_started_the_emperor() {
    if !is_root() {
        return;
    }
    let host = Host::behind(&["python3", "-c", SESSION], &["--emperor-tyrant"], |base| {
        fs::write(base.join("probe"), PROBE).unwrap();
        fs::set_permissions(base.join("probe"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    });
    stage::furnish(&host);
    let port = tenant(&host, "a.ini", ALICE, "");
    until_up(&host, port);
    let probe = host.path("probe");
    assert_eq!(get(port, &format!("/run/{}", probe.display())).unwrap(), "False\nFalse\n");
    host.end();
}

#[test]
fn what_a_file_names_is_opened_with_its_owners_rights() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let secret = host.path("secret");
    fs::write(&secret, "[uwsgi]\nenv = SECRET=1\n").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (secret, new) = (secret.display().to_string(), host.path("new").display().to_string());
    for (n, line) in [
        format!("include = {secret}"),
        format!("inherit = {secret}"),
        format!("stolen = @({secret})\nprint = %(stolen)"),
        format!("logto = {new}"),
        format!("logto = {secret}"),
        format!("pidfile = {new}"),
        format!("pidfile = {secret}"),
        format!("safe-pidfile = {new}"),
        format!("http-socket = {new}"),
        format!("stats = {new}"),
        "http-socket = 127.0.0.1:2".to_owned(),
        "chown-socket = root:root\nsocket = @x".to_owned(),
        format!("socket = {}\nchown-socket = 0:0", host.path("home/a.sock").display()),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("n{n}.ini");
        let port = tenant(&host, &name, ALICE, line);
        host.wait(&format!("the outcome of {line}"), || {
            let log = host.log();
            get(port, "/").is_ok()
                || log.contains(&format!("[{name}] its master ended"))
                || log.contains(&format!("[{name}] ERROR"))
        });
        assert!(!std::path::Path::new(&new).exists(), "{line}");
        assert!(!host.log().contains("SECRET"), "{line}: {}", host.log());
        fs::remove_file(host.path("v").join(&name)).unwrap();
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), "[uwsgi]\nenv = SECRET=1\n");
    // What it runs, it runs as itself.
    let who = host.path("home/who");
    let port = tenant(&host, "x.ini", ALICE, &format!("x = @(exec://id -u > {})", who.display()));
    until_up(&host, port);
    assert_eq!(fs::read_to_string(&who).unwrap(), "20001\n");
    host.end();
}

#[test]
fn hooks_of_a_tenant_are_done_by_its_owner_and_none_by_root() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let home = host.path("home").display().to_string();
    let points = ["asap", "pre-jail", "in-jail", "as-user", "pre-app", "post-app"];
    let made = |name: &str| format!("{home}/{name}");
    let hooks: String = points.iter().map(|point| format!("exec-{point} = touch {home}/{point}\n")).collect();
    let port = tenant(&host, "a.ini", ALICE, &format!("{hooks}hook-asap = write:{home}/written x"));
    until_up(&host, port);
    for name in points.iter().chain(&["written"]) {
        assert_eq!(fs::metadata(made(name)).unwrap().uid(), ALICE, "{name}");
    }
    let line = format!("exec-as-root = touch {}", made("rooted"));
    tenant(&host, "b.ini", BOB, &line);
    host.wait("a refusal", || {
        host.ask(&["why", "b.ini"]).1.contains("nothing of a tenant's file is done as root")
    });
    host.end();
    // Without a tyrant the administrator says whether files of others do something as root.
    let host = Host::with(&["--root-apps", "deny"]);
    stage::furnish(&host);
    let line = format!("uid = 20001\ngid = 20001\nexec-asap = touch {}", made("rooted"));
    tenant(&host, "c.ini", CAROL, &line);
    host.wait("a refusal", || host.ask(&["why", "c.ini"]).1.contains("for a file that is not root's"));
    assert!(!fs::exists(made("rooted")).unwrap());
    host.end();
}

#[test]
fn a_tenant_that_scribbles_over_shared_memory_harms_nobody_else() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let router = free_port();
    let lines = format!(
        "http = 127.0.0.1:{router}\nstats = {}\nmule =\ncache2 = name=x,items=9\nlocks = 2\nprocesses = 2",
        host.path("home/stats").display()
    );
    let (a, b) = (tenant(&host, "a.ini", ALICE, &lines), tenant(&host, "b.ini", BOB, ""));
    let bobs = until_up(&host, b);
    until_up(&host, a);
    until_up(&host, router);
    let masters = [host.master("a.ini"), host.master("b.ini")];
    for byte in ["255", "0", "1", ""] {
        let done = get(a, &format!("/scribble/{byte}")).unwrap();
        assert_eq!(done, "liege-cache liege-queue liege-scoreboard", "{byte}");
        let mut document = String::new();
        UnixStream::connect(host.path("home/stats")).unwrap().read_to_string(&mut document).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok(), "{document}");
        for question in [&["status"][..], &["status", "a.ini"], &["why"], &["top", "--once"]] {
            assert!(!host.ask(question).1.is_empty(), "{question:?}");
        }
        let (known, shown) = host.ask(&["status"]);
        assert!(known && shown.contains("2 of 2 vassals serve"), "{shown}");
        assert_eq!(get(b, "/signal/1").unwrap(), "EPERM");
        // The next image of the emperor looks at all that memory anew.
        let (done, said) = host.ask(&["upgrade", "--wait"]);
        assert!(done, "{byte}: {said}");
    }
    assert_eq!([host.master("a.ini"), host.master("b.ini")], masters);
    assert_eq!(until_up(&host, b)["pid"], bobs["pid"]);
    host.end();
}

#[test]
fn what_the_emperor_has_done_in_a_vassal_is_done_as_its_owner() {
    if !is_root() {
        return;
    }
    let room = tempfile::tempdir().unwrap();
    let done = room.path().join("as-emperor");
    let as_emperor = format!("--exec-as-emperor=id -u > {}", done.display());
    let orders = [
        "--exec-as-vassal=id -u > ../home/$UWSGI_VASSAL_CONFIG; test \"$UWSGI_VASSAL_UID\" = $(id -u)",
        &as_emperor,
    ];
    let host = tyrant(&orders);
    let vain = format!("exec-as-emperor = touch {}", host.path("home/vain").display());
    until_up(&host, tenant(&host, "a.ini", ALICE, &vain));
    assert_eq!(fs::read_to_string(host.path("home/a.ini")).unwrap(), "20001\n");
    assert_eq!(fs::metadata(host.path("home/a.ini")).unwrap().uid(), ALICE);
    host.wait("what is done as emperor", || fs::read_to_string(&done).is_ok_and(|said| said == "0\n"));
    assert!(!host.path("home/vain").exists());
    host.end();
}

#[test]
fn a_program_that_a_tenant_names_runs_as_the_tenant() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--emperor-chdir-attr", "place"]);
    let program = host.path("home/program");
    let ran = host.path("home/ran");
    let script = format!(
        "#!/bin/sh\n(grep -E 'Uid|CapEff|NoNewPrivs' /proc/self/status; pwd; ls /proc/self/fd; env) > {}.new\nmv {}.new {}\nexec sleep 1000\n",
        ran.display(),
        ran.display(),
        ran.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let lines = format!(
        "[emperor]\nexec = {}\nplace = {}\non-demand = {}\nimportance = 1000",
        program.display(),
        host.path("home").display(),
        host.path("home/sock").display()
    );
    tenant(&host, "a.ini", ALICE, &lines);
    host.wait("the program", || ran.exists());
    let said = fs::read_to_string(&ran).unwrap();
    for line in ["Uid:\t20001\t20001\t20001\t20001", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(said.contains(line), "{said}");
    }
    assert!(said.contains(&format!("\n{}\n", host.path("home").display())), "{said}");
    assert!(!said.contains("HOME="), "only the usual: {said}");
    // What the emperor would do with its own rights for files of root, it does not for hers.
    assert!(!host.path("home/sock").exists());
    // A directory that she may not enter is not entered for her.
    let closed = host.path("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    tenant(&host, "b.ini", BOB, &format!("[emperor]\nplace = {}", closed.display()));
    host.wait("a refusal", || host.ask(&["why", "b.ini"]).1.contains("cannot begin in"));
    // Without a tyrant a stranger's file names no program to root.
    host.end();
    let host = Host::with(&[]);
    stage::furnish(&host);
    let ran = host.path("home/ran");
    let lines = format!("uid = 20001\n[emperor]\nexec = /usr/bin/touch {}", ran.display());
    tenant(&host, "c.ini", CAROL, &lines);
    host.wait("a refusal", || {
        host.ask(&["why", "c.ini"]).1.contains("root runs no program (`exec`) that it names")
    });
    assert!(!ran.exists());
    host.end();
}

#[test]
fn the_api_reads_and_writes_of_a_tenant_only_what_is_the_tenants() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--api-write"]);
    let api = |method: &str, body: &str| {
        let said = stage::exchange(&host.path("api"), &format!("{method} /v1/vassals/a.ini/config"), body);
        serde_json::from_str::<serde_json::Value>(&said).unwrap_or_default()
    };
    let home = host.path("home/alice.ini");
    let port = write(&host, &home, ALICE, "");
    symlink(&home, host.path("v/a.ini")).unwrap();
    until_up(&host, port);
    let text = api("GET", "")["text"].as_str().unwrap().to_owned();
    assert!(text.contains("[uwsgi]"));
    // Through root's link nothing is written: what it leads to is the tenant's to change.
    let more = serde_json::json!({ "text": format!("{text}env = A=b\n") }).to_string();
    assert!(api("PUT", &more).to_string().contains("not a regular file"));
    // A link of hers to what only root reads shows nobody anything.
    let secret = host.path("secret");
    fs::write(&secret, "[uwsgi]\nenv = SECRET=1\n").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    link(&secret, &home, ALICE);
    let answer = api("GET", "").to_string();
    assert!(!answer.contains("SECRET"), "{answer}");
    fs::remove_file(host.path("v/a.ini")).unwrap();
    host.wait("its end", || get(port, "/").is_err());
    // A file of hers in the directory stays hers, with its mode.
    let port = tenant(&host, "a.ini", ALICE, "");
    until_up(&host, port);
    let text = api("GET", "")["text"].as_str().unwrap().to_owned();
    let more = serde_json::json!({ "text": format!("{text}vassals-limit = 1\nuid = root\n") }).to_string();
    api("PUT", &more);
    let file = fs::metadata(host.path("v/a.ini")).unwrap();
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o7777), (ALICE, ALICE, 0o600));
    host.wait("her app", || stage::ask(port).is_some_and(|said| said["Uid"].starts_with("20001 ")));
    host.end();
}

#[test]
fn what_a_tenants_text_names_is_looked_at_as_the_tenant() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--api-write"]);
    let port = tenant(&host, "a.ini", ALICE, "");
    until_up(&host, port);
    let secret = host.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("word"), "hidden").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    link(&secret.join("word"), &host.path("home/word"), ALICE);
    let text = fs::read_to_string(host.path("v/a.ini")).unwrap();
    let judge = |more: &str| {
        let more = more.replace("BASE", &host.path("").display().to_string());
        let body = serde_json::json!({"name": "a.ini", "text": format!("{text}{more}\n")}).to_string();
        let said = stage::exchange(&host.path("api"), "POST /v1/validate", &body);
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    for (lines, valid, expected) in [
        ("uid = root", true, "the emperor runs it as the owner of its file"),
        ("procname-prefix = @(BASE/home/word)", false, "Permission denied"),
        // Whether it is there is not hers to know.
        ("wsgi-file = BASE/home/word", false, "user 20001 may not look at"),
        ("wsgi-file = BASE/secret/none", false, "user 20001 may not look at"),
        ("logto2 = BASE/secret/none/log", false, "user 20001 may not look at"),
        ("http-socket = BASE/secret/a.sock", false, "user 20001 may not make files in"),
        ("http-socket = 127.0.0.1:80", false, "127.0.0.1:80 is not permitted to user 20001"),
    ] {
        let verdict = judge(lines);
        assert_eq!(verdict["valid"], valid, "{lines}: {verdict}");
        assert!(verdict.to_string().contains(expected), "{lines}: {verdict}");
        assert!(!verdict.to_string().contains("hidden"), "{lines}: {verdict}");
    }
    host.end();
}

#[test]
fn a_new_owner_gets_a_new_instance_after_the_old_one_is_gone() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let port = tenant(&host, "a.ini", ALICE, "");
    until_up(&host, port);
    let (old, file) = (host.master("a.ini"), host.path("v/a.ini"));
    chown(&file, Some(BOB), Some(BOB)).unwrap();
    host.wait("bob's instance", || stage::ask(port).is_some_and(|said| said["Uid"].starts_with("20002 ")));
    assert!(
        host.log().contains("its file belongs to uid 20002 and gid 20002 now: stopping"),
        "{}",
        host.log()
    );
    assert!(!stage::lives(old), "it would share the port otherwise");
    let log = host.log();
    let (gone, come) =
        (log.rfind("stopped, and forgotten").unwrap(), log.rfind("spawned uWSGI master").unwrap());
    assert!(gone < come, "{log}");
    // The group alone counts too, and root is nobody to run as.
    chown(&file, None, Some(CAROL)).unwrap();
    host.wait("another group", || stage::ask(port).is_some_and(|said| said["Gid"].starts_with("20003 ")));
    let last = host.master("a.ini");
    chown(&file, Some(0), Some(0)).unwrap();
    host.wait("nobody", || not_started(&host, "a.ini").contains("belongs to root") && !stage::lives(last));
    host.end();
}

#[test]
fn links_lead_only_where_their_makers_may() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let home = |name: &str| host.path("home").join(name);
    let port = write(&host, &home("alice.ini"), ALICE, "");
    write(&host, &home("bob.ini"), BOB, "");
    symlink(home("alice.ini"), host.path("v/a.ini")).unwrap();
    until_up(&host, port);
    assert!(stage::ask(port).unwrap()["Uid"].starts_with("20001 "), "root's link to hers");
    // She puts a link to another's file where root's link leads.
    link(&home("bob.ini"), &home("alice.ini"), ALICE);
    host.wait("a refusal", || not_started(&host, "a.ini").contains("was made by uid 20001"));
    // One to root's.
    link(&host.path("app.py"), &home("alice.ini"), ALICE);
    host.wait("a refusal", || not_started(&host, "a.ini").contains("belongs to root"));
    // Her own link in the watched directory, which only root can have put there for her.
    symlink(home("bob.ini"), host.path("v/.b.ini")).unwrap();
    lchown(host.path("v/.b.ini"), Some(ALICE), Some(ALICE)).unwrap();
    fs::rename(host.path("v/.b.ini"), host.path("v/b.ini")).unwrap();
    host.wait("a refusal", || not_started(&host, "b.ini").contains("was made by uid 20001"));
    host.end();
}

#[test]
fn a_race_of_links_never_runs_as_another() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let at = host.path("home/alice.ini");
    let port = write(&host, &at, ALICE, "");
    let victims = write(&host, &host.path("home/bob.ini"), BOB, "");
    fs::rename(&at, host.path("home/mine.ini")).unwrap();
    fs::hard_link(host.path("home/mine.ini"), &at).unwrap();
    symlink(&at, host.path("v/a.ini")).unwrap();
    until_up(&host, port);
    for round in 0..200 {
        if round % 2 == 0 {
            link(&host.path("home/bob.ini"), &at, ALICE);
        } else {
            fs::hard_link(host.path("home/mine.ini"), host.path("home/.next")).unwrap();
            fs::rename(host.path("home/.next"), &at).unwrap();
        }
        if round % 7 == 0 {
            host.signal_emperor("WINCH");
        }
        std::thread::sleep(std::time::Duration::from_millis(3));
        assert!(get(victims, "/").is_err(), "bob's file was run");
    }
    until_up(&host, port);
    host.end();
}

#[test]
fn directories_and_files_that_others_write_are_refused() {
    if !is_root() {
        return;
    }
    let host = tyrant(&[]);
    let set = |path: &str, mode| {
        fs::set_permissions(host.path(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    set("v", 0o775);
    let port = tenant(&host, "a.ini", ALICE, "");
    host.wait("a refusal", || not_started(&host, "a.ini").contains("is writable by its group or others"));
    set("v", 0o755);
    chown(host.path("v"), Some(BOB), None).unwrap();
    host.signal_emperor("WINCH");
    host.wait("a refusal", || not_started(&host, "a.ini").contains("belongs to user 20002"));
    chown(host.path("v"), Some(0), None).unwrap();
    // The one above counts too.
    set("", 0o777);
    host.signal_emperor("WINCH");
    host.wait("a refusal", || not_started(&host, "a.ini").contains("is writable by its group or others"));
    set("", 0o755);
    set("v/a.ini", 0o666);
    host.wait("a refusal", || not_started(&host, "a.ini").contains("others can write it"));
    assert!(get(port, "/").is_err());
    set("v/a.ini", 0o600);
    until_up(&host, port);
    // A list that lets Bob write shows in the mode only as the mask that it has instead of the group's bits.
    if stage::let_write(&host.path("v/a.ini"), BOB) {
        host.wait("a refusal", || {
            not_started(&host, "a.ini").contains("mode 0660 and an access control list")
        });
    }
    host.end();
}

#[test]
fn the_next_emperor_takes_tenants_over_and_owners_that_changed_meanwhile_count() {
    if !is_root() {
        return;
    }
    let (mut host, a, b) = alice_and_bob();
    let (masters, clients) = ([host.master("a.ini"), host.master("b.ini")], host::Clients::start(a));
    host.kill_emperor();
    chown(host.path("v/b.ini"), Some(CAROL), Some(CAROL)).unwrap();
    host.start_another();
    host.wait("carol's instance", || stage::ask(b).is_some_and(|said| said["Uid"].starts_with("20003 ")));
    assert!(!stage::lives(masters[1]));
    host.wait("an adoption", || host.log().contains("[a.ini] adopted"));
    assert_eq!(clients.end(), Vec::<String>::new());
    assert!(stage::lives(masters[0]));
    let (_, shown) = host.ask(&["status", "a.ini"]);
    assert!(shown.contains("  user      uid 20001\n"), "{shown}");
    // Without the option they run as who their files say.
    host.end();
}

/// The rendezvous for everybody can be kept busy by anybody.
#[test]
fn a_tenant_that_is_awaited_has_a_rendezvous_that_only_he_can_reach() {
    if !is_root() {
        return;
    }
    let (mut host, a, b) = alice_and_bob();
    let door = format!("/call{}.{ALICE}", host.path("api.d/rendezvous").display());
    let masters = [host.master("a.ini"), host.master("b.ini")];
    assert_eq!(get(a, &door).unwrap(), "ENOENT", "nobody is awaited");
    masters.iter().for_each(|pid| host::kill(*pid, "STOP"));
    host.kill_emperor();
    host.start_another();
    host.wait("the door", || get(a, &door).unwrap() == "hung up");
    assert_eq!(get(b, &door).unwrap(), "EACCES");
    // Nor does it end with an image of the emperor that still waits.
    host.signal_emperor("HUP");
    host.wait("the next image", || host.ask(&["events"]).1.contains("re-executed"));
    assert_eq!(get(a, &door).unwrap(), "hung up");
    masters.iter().for_each(|pid| host::kill(*pid, "CONT"));
    for name in ["a.ini", "b.ini"] {
        host.wait("an adoption", || host.log().contains(&format!("[{name}] adopted")));
    }
    assert!(masters.iter().all(|pid| stage::lives(*pid)));
    host.end();
}

#[test]
fn an_emperor_with_a_few_capabilities_is_tyrant_enough() {
    if !is_root() {
        return;
    }
    let user = ["--emperor-tyrant", "--uid", "20009", "--gid", "20009"];
    let own = |dir: &std::path::Path| chown(dir, Some(20009), Some(20009)).unwrap();
    let host = Host::prepared(&[&user[..], &["--cap", "setuid,setgid,kill,dac_read_search"]].concat(), own);
    stage::furnish(&host);
    let port = tenant(&host, "a.ini", ALICE, "");
    let said = until_up(&host, port);
    let emperor = fs::read_to_string(format!("/proc/{}/status", host.emperor_pid())).unwrap();
    assert!(emperor.contains("Uid:\t20009\t20009\t20009\t20009"), "{emperor}");
    for (line, expected) in [
        ("Uid", "20001 20001 20001 20001"),
        ("CapPrm", "0000000000000000"),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("setuid", "EPERM"),
        ("NoNewPrivs", "1"),
    ] {
        assert_eq!(said[line], expected, "{line}: {said:?}");
    }
    let master = host.master("a.ini");
    fs::remove_file(host.path("v/a.ini")).unwrap();
    host.wait("its end", || !stage::lives(master));
    host.end();
    let without = Host::prepared(&user, own);
    without.wait("a refusal", || {
        without
            .log()
            .contains("emperor-tyrant cannot be obeyed by uid 20009 without CAP_KILL, CAP_SETGID, CAP_SETUID")
    });
}

#[test]
fn an_emperor_with_a_few_capabilities_waits_for_calls_too_and_does_not_start_what_it_cannot() {
    if !is_root() {
        return;
    }
    let user = ["--emperor-tyrant", "--emperor-on-demand-extension", ".socket", "--uid", "20009", "--gid"];
    let with = |more: &[&'static str]| [&user[..], &["20009", "--cap"], more].concat();
    let own = |dir: &std::path::Path| chown(dir, Some(20009), Some(20009)).unwrap();
    for (capabilities, owner) in
        [("setuid,setgid,kill,dac_read_search", 20009), ("setuid,setgid,kill,dac_read_search,chown", ALICE)]
    {
        let mut host = Host::prepared(&with(&[capabilities]), own);
        stage::furnish(&host);
        let socket = host.path("home/a.sock");
        fs::write(host.path("v/a.ini.socket"), socket.display().to_string()).unwrap();
        let port = tenant(&host, "a.ini", ALICE, "");
        host.wait("it sleeps", || host.log().contains("[a.ini] asleep") && socket.exists());
        // The next one finds the socket of this one in its way.
        host.kill_emperor();
        host.start_another();
        host.wait("somebody hears", || UnixStream::connect(&socket).is_ok());
        assert_eq!(until_up(&host, port)["Uid"], "20001 20001 20001 20001", "{capabilities}");
        assert_eq!(fs::symlink_metadata(&socket).unwrap().uid(), owner, "{}", host.log());
        host.end();
    }
    let host = Host::prepared(&with(&["setuid,setgid,kill", "--emperor-cap", "net_bind_service"]), own);
    host.wait("a refusal", || host.log().contains("emperor-cap cannot be obeyed without CAP_SETPCAP"));
}

#[test]
fn a_tenant_has_the_further_groups_of_its_user_where_that_is_asked_for() {
    if !is_root() {
        return;
    }
    let Some((uid, groups)) = stage::user_with_groups() else {
        eprintln!("skipped: no user of this machine has further groups");
        return;
    };
    for (option, expected) in [(&["--emperor-tyrant-initgroups"][..], groups.as_str()), (&[], "")] {
        let host = tyrant(option);
        let said = until_up(&host, tenant(&host, "a.ini", uid, ""));
        assert_eq!(said["Groups"], expected);
        host.end();
    }
}

#[test]
fn an_operator_can_allow_and_forbid_more() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--no-new-privileges=false", "--emperor-cap", "net_bind_service,setuid,setgid"]);
    let said = until_up(&host, tenant(&host, "a.ini", ALICE, ""));
    assert_eq!((said["NoNewPrivs"].as_str(), said["CapBnd"].as_str()), ("0", "00000000000005c0"), "{said:?}");
    host.end();
}

#[test]
fn a_tenant_with_namespaces_of_its_own_sees_nobody_and_is_governed_as_ever() {
    if !is_root() {
        return;
    }
    let mut host = tyrant(&["--emperor-use-clone", "pid,ipc,uts"]);
    let port = tenant(&host, "a.ini", ALICE, &format!("pidfile = {}", host.path("home/pid").display()));
    let other = tenant(&host, "b.ini", BOB, "");
    if stage::refuses_namespaces(&host, port) {
        return;
    }
    let said = until_up(&host, port);
    until_up(&host, other);
    assert!(said["Uid"].starts_with("20001 ") && said["CapEff"] == "0000000000000000", "{said:?}");
    let master = host.master("a.ini");
    assert_eq!(fs::read_to_string(host.path("home/pid")).unwrap(), format!("{master}\n"), "as others see it");
    let seen = stage::run(port, "ls /proc");
    let pids: Vec<u32> = seen.split_whitespace().filter_map(|name| name.parse().ok()).collect();
    assert!(pids.contains(&1) && pids.len() < 8, "{pids:?}");
    for kind in ["pid", "ipc", "uts", "mnt"] {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of(master), of(host.emperor_pid()), "{kind}");
        assert_ne!(of(master), of(host.master("b.ini")), "{kind}");
    }
    // A reload, a killed master, a killed emperor.
    let clients = host::Clients::start(port);
    assert!(host.ask(&["reload", "--wait", "a.ini"]).0, "{}", host.log());
    host.kill_emperor();
    host.start_another();
    host.wait("an adoption", || host.log().contains("[a.ini] adopted"));
    assert_eq!(clients.end(), Vec::<String>::new());
    assert!(stage::lives(master));
    host::kill(master, "KILL");
    host.wait("another master", || host.master("a.ini") != master && stage::ask(port).is_some());
    host.end();
}

#[test]
fn another_program_of_a_tenant_is_as_shut_in_as_ours() {
    if !is_root() {
        return;
    }
    // Process 1 of a namespace heeds no SIGTERM that it does not handle.
    let host = tyrant(&["--emperor-use-clone", "pid,ipc,uts", "--emperor-curse-tolerance", "2"]);
    let port = tenant(&host, "a.ini", ALICE, "");
    if stage::refuses_namespaces(&host, port) {
        return;
    }
    let spaces = |pid: &str| {
        ["pid", "ipc", "uts", "mnt"].map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap())
    };
    let ours = spaces(&host.emperor_pid().to_string());
    for option in ["privileged-binary-patch", "unprivileged-binary-patch-arg", "[emperor]\nexec"] {
        let name = option.rsplit('\n').next().unwrap();
        let program = host.path("home").join(name);
        let script = "#!/bin/sh\necho $(id -u) $(grep NoNewPrivs /proc/self/status | cut -f 2) \
                      $(ls /proc | grep -c '^[0-9]') $(cd /proc/$$/ns; readlink pid ipc uts mnt) > $0.new\n\
                      mv $0.new $0.told\nexec sleep 1000\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        tenant(&host, &format!("{name}.ini"), BOB, &format!("{option} = {}", program.display()));
        let told = host.path("home").join(format!("{name}.told"));
        host.wait(&format!("what {name} tells"), || told.exists());
        let told = fs::read_to_string(told).unwrap();
        let words: Vec<&str> = told.split_whitespace().collect();
        assert_eq!(words[..2], [BOB.to_string().as_str(), "1"], "{name}: {told}");
        assert!(words[2].parse::<u32>().unwrap() < 8, "{name} sees others: {told}");
        for (own, others) in words[3..].iter().zip(&ours) {
            assert_ne!(std::path::Path::new(own), others, "{name}: {told}");
        }
    }
    host.end();
}

#[test]
fn a_real_uwsgi_of_a_tenant_is_its_owner_in_namespaces_of_its_own() {
    if !is_root() {
        return;
    }
    let uwsgi = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/.venv/uwsgi/bin/uwsgi");
    if !uwsgi.exists() {
        eprintln!("skipped: there is no uWSGI (make environments)");
        return;
    }
    let mut host = tyrant(&["--emperor-use-clone", "pid,ipc,uts"]);
    let neighbour = tenant(&host, "b.ini", BOB, "");
    if stage::refuses_namespaces(&host, neighbour) {
        return;
    }
    let lines = format!("master = true\nheartbeat = 1\n[emperor]\nexec = {}", uwsgi.display());
    let port = tenant(&host, "u.ini", ALICE, &lines);
    host.wait("uWSGI", || stage::ask(port).is_some() || host.log().contains("cannot execute"));
    if stage::ask(port).is_none() {
        eprintln!("skipped: tenants may not execute {}", uwsgi.display());
        return;
    }
    let said = until_up(&host, port);
    assert!(said["Uid"].starts_with("20001 ") && said["CapEff"] == "0000000000000000", "{said:?}");
    let seen = stage::run(port, "ls /proc");
    assert!(seen.split_whitespace().filter(|name| name.parse::<u32>().is_ok()).count() < 8, "{seen}");
    let (done, how) = host.ask(&["reload", "--wait", "u.ini"]);
    assert!(done && stage::ask(port).is_some(), "{how}");
    let master = host.master("u.ini");
    host::kill(master, "KILL");
    host.wait("another one", || host.master("u.ini") != master && stage::ask(port).is_some());
    // It ends with its emperor, and the next one starts it as whom it was.
    host.kill_emperor();
    host.start_another();
    host.wait("the next", || stage::ask(port).is_some_and(|said| said["Uid"].starts_with("20001 ")));
    host.end();
}

#[test]
fn a_tenant_without_a_network_is_reached_by_its_unix_socket() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--emperor-use-clone", "net"]);
    let socket = host.path("home/a.sock");
    let port = tenant(&host, "a.ini", ALICE, &format!("http-socket = {}", socket.display()));
    if stage::refuses_namespaces(&host, port) {
        return;
    }
    let mut devices = None;
    host.wait("an answer", || {
        devices = stage::get_from(&socket, "/run/cat /proc/net/dev").ok();
        devices.is_some()
    });
    let devices = devices.unwrap();
    assert_eq!(devices.matches(':').count(), 1, "{devices}");
    assert!(devices.contains("lo:") && get(port, "/").is_err(), "{devices}");
    host.end();
}

/// Also where no control group ends it as a whole: one by one they are never all killed.
#[test]
fn who_forks_without_end_ends_with_its_vassal() {
    if !is_root() {
        return;
    }
    // Nobody else counts against this user's limit.
    let bomber: u32 = 20_077;
    let host = tyrant(&["--reload-mercy", "1"]);
    let port = tenant(&host, "a.ini", bomber, "limit-nproc = 40");
    until_up(&host, port);
    let bomb = "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass";
    stage::run(port, &format!("python3 -c '{bomb}' >/dev/null 2>&1 &"));
    host.wait("the bomb", || stage::processes_of(bomber) >= 38);
    let master = nix::unistd::Pid::from_raw(host.master("a.ini").try_into().unwrap());
    nix::sys::signal::kill(master, nix::sys::signal::Signal::SIGKILL).unwrap();
    fs::remove_file(host.path("v/a.ini")).unwrap();
    host.wait("the end of all of them", || stage::processes_of(bomber) == 0);
    host.end();
}

#[test]
fn who_may_have_no_more_processes_has_fewer_workers_and_it_is_said_why() {
    if !is_root() {
        return;
    }
    let mut host = tyrant(&[]);
    // Nobody else counts against this user's limit.
    let port = tenant(&host, "a.ini", 20_078, "limit-nproc = 8\nprocesses = 20");
    until_up(&host, port);
    let reason = "its user may have 8 processes (limit-nproc), and there is no room for another";
    let says_why = |host: &Host| {
        let (good, why) = host.ask(&["why", "a"]);
        !good && why.contains("cannot fork a worker") && why.contains(reason)
    };
    host.wait("the reason", || says_why(&host));
    // The next images and the next emperor know it, too.
    host.ask(&["upgrade"]);
    host.wait("the reason after it", || says_why(&host));
    host.kill_emperor();
    host.start_another();
    host.wait("the reason once more", || says_why(&host));
    stage::exchange(&host.path("api"), "POST /v1/vassals/a.ini/scale?wait=30", "{\"workers\": 2}");
    host.wait("as many as there are to be", || host.ask(&["why", "a"]).0);
    host.end();
}

#[test]
fn a_tenant_cannot_use_more_than_its_limits_or_the_emperor_says_why_not() {
    if !is_root() {
        return;
    }
    let host = tyrant(&["--vassals-limit", "pids-max=40", "--vassals-limit", "b.ini pids-max=60"]);
    let started = tenant(&host, "a.ini", ALICE, "");
    host.wait("an outcome", || {
        get(started, "/").is_ok() || host.log().contains("vassals-limit cannot be obeyed")
    });
    if host.log().contains("vassals-limit cannot be obeyed") {
        assert!(host.log().contains("control group"), "{}", host.log());
        eprintln!("skipped: this machine delegates no control groups of version 2 with the controller pids");
        return;
    }
    let other = tenant(&host, "b.ini", BOB, "");
    until_up(&host, other);
    let bomb = "i=0; while [ $i -lt 100 ]; do sleep 100 & i=$((i+1)); done 2>/dev/null; jobs -p | wc -l";
    for (port, most) in [(started, 40), (other, 60)] {
        let made: usize = stage::run(port, bomb).trim().parse().unwrap();
        assert!(made < most, "{made} of {most}");
    }
    let log = host.log();
    let group = |name: &str| fs::read_to_string(format!("/proc/{}/cgroup", host.master(name))).unwrap();
    assert!(group("a.ini").contains("/vassal-a.ini/"), "{log}");
    fs::remove_file(host.path("v/a.ini")).unwrap();
    host.wait("its end", || host.log().contains("[a.ini] stopped, and forgotten"));
    host.end();
}

#[test]
fn root_of_a_user_namespace_in_which_groups_are_fixed_serves_and_becomes_nobody_else() {
    let before = ["unshare", "--user", "--map-root-user"];
    let host = Host::behind(&before, &[], |_| {});
    host.app("app", "", "one");
    let port = host.vassal("a.ini", "app");
    host.until(port, "one");
    // Whoever asks for groups that nobody can give him is told so.
    host.vassal_with("b.ini", "app", "add-gid = 4711");
    host.wait("it is refused", || host.log().contains("cannot drop privileges: setgroups"));
    host.end();
}
