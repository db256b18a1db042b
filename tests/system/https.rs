//! `https`: TLS at the router, its certificates through reloads, and who may read them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::apps::says;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::load::{Load, Manner};
use crate::support::server::{Folder, liege};
use crate::support::tls::{Authority, Identity};
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, free_port};

/// Tells what the environ says.
const MIRROR: &str = r#"
import json, os

def application(environ, start_response):
    facts = {key: value for key, value in environ.items() if isinstance(value, str)}
    facts["parent"] = os.getppid()
    facts["pid"] = os.getpid()
    facts["uid"] = os.getuid()
    try:
        facts["keys"] = os.listdir(f"/proc/{os.getppid()}/fd")
    except OSError as error:
        facts["keys"] = type(error).__name__
    body = json.dumps(facts).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"#;

fn write(folder: &Folder, name: &str, identity: &Identity) {
    folder.write(format!("{name}.pem"), &identity.certificate);
    folder.write(format!("{name}.key"), &identity.key);
}

fn facts(door: &Door) -> Value {
    eventually("the facts", || serde_json::from_slice(&door.get("/a?b").ok()?.body).ok())
}

#[test]
fn an_application_is_told_of_tls_and_of_its_client() {
    let (folder, authority) = (Folder::new(), Authority::new("tests"));
    write(&folder, "server", &authority.sign("localhost"));
    folder.write("ca.pem", authority.certificate());
    folder.write("app.py", MIRROR);
    let ports: [u16; 5] = std::array::from_fn(|_| free_port());
    let [plain, https, https2, socket, redirect] = ports;
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nhttp = 127.0.0.1:{plain}\nhttps = 127.0.0.1:{https},server.pem,server.key,HIGH,!ca.pem\n\
             https2 = addr=127.0.0.1:{https2},cert=server.pem,key=server.key,clientca=ca.pem\n\
             https-socket = 127.0.0.1:{socket},server.pem,server.key,HIGH:!AES\n\
             http-to-https = 127.0.0.1:{redirect},{https}\nhttps-export-cert = true\n\
             http-enable-proxy-protocol = true\nwsgi-file = app.py\n"
        ),
    );
    let _family = liege(&folder, &["app.ini"]);
    let client = authority.sign("roberto");
    let (anonymous, known) = (authority.client(None), authority.client(Some(&client)));
    let told = facts(&Door::Secure(https, known.clone()));
    assert_eq!((&told["wsgi.url_scheme"], &told["HTTPS"]), (&"https".into(), &"on".into()));
    assert_eq!(told["SERVER_PORT"], https.to_string());
    assert_eq!((&told["PATH_INFO"], &told["QUERY_STRING"]), (&"/a".into(), &"b".into()));
    assert_eq!((&told["REMOTE_ADDR"], &told["HTTPS_DN"]), (&"127.0.0.1".into(), &"/CN=roberto".into()));
    let pem = client.certificate.replace('\r', "");
    assert_eq!(told["HTTPS_CC"].as_str().unwrap(), pem);
    assert!(Door::Secure(https, anonymous.clone()).get("/").is_err());
    for port in [https2, socket] {
        let told = facts(&Door::Secure(port, anonymous.clone()));
        assert_eq!((&told["HTTPS"], &told["HTTPS_DN"]), (&"on".into(), &Value::Null));
    }
    assert_eq!(facts(&Door::Secure(https2, known))["HTTPS_DN"], "/CN=roberto");
    let answer = Door::Port(redirect).get("/a?b").unwrap();
    assert_eq!((answer.status, answer.closes()), (301, true));
    assert_eq!(answer.header("location"), Some(&*format!("https://localhost:{https}/a?b")));
    let mut proxied = Door::Port(plain).connect().unwrap();
    proxied.send(b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\r\n").unwrap();
    let told: Value = serde_json::from_slice(&proxied.ask("GET", "/", &[], b"").unwrap().body).unwrap();
    assert_eq!((&told["REMOTE_ADDR"], &told["REMOTE_PORT"]), (&"192.0.2.7".into(), &"4711".into()));
    assert_eq!((&told["wsgi.url_scheme"], &told["HTTPS"]), (&"http".into(), &Value::Null));
}

#[test]
fn a_reload_reads_the_certificate_anew_and_loses_nothing() {
    let authority = Authority::new("tests");
    let host = Host::start(&[]);
    let folder = host.folder();
    let port = free_port();
    folder.write("app.py", says("v1"));
    let (first, second) = (authority.sign("localhost"), authority.sign("localhost"));
    write(folder, "server", &first);
    host.write(
        "a.ini",
        format!(
            "[uwsgi]\nhttps = 127.0.0.1:{port},%d../server.pem,%d../server.key\nwsgi-file = %d../app.py\nprocesses = 2\n"
        ),
    );
    let door = Door::Secure(port, authority.client(None));
    door.wait_for("/", "v1");
    let loads = [Load::start(&door, Manner::Fresh), Load::start(&door, Manner::KeptPost)];
    let shown = || door.connect().unwrap().server_certificate();
    let before = shown();
    folder.write("app.py", says("v2"));
    write(folder, "server", &second);
    assert_eq!(host.reload("a.ini")["outcome"], "swapped");
    let after = shown();
    assert_ne!(before, after);
    loads.iter().for_each(Load::go_on);
    // A key of another certificate, one that is none, and one that is not there.
    for (name, content) in [("server.key", &*first.key), ("server.key", "x"), ("server.pem", "")] {
        folder.write(name, content);
        let operation = host.reload("a.ini");
        assert_eq!(operation["outcome"], "rolled-back", "{operation:#}");
        let told = operation.to_string();
        assert!(
            told.contains("cannot use the") && told.contains(name) && !told.contains("PRIVATE"),
            "{told}"
        );
        assert_eq!(shown(), after);
        write(folder, "server", &second);
    }
    std::fs::remove_file(folder.path().join("server.key")).unwrap();
    let operation = host.reload("a.ini");
    assert_eq!(operation["outcome"], "rolled-back", "{operation:#}");
    write(folder, "server", &second);
    assert_eq!(host.reload("a.ini")["outcome"], "swapped");
    loads.iter().for_each(Load::go_on);
    for load in loads {
        load.stop().nothing_failed();
    }
}

#[test]
fn the_certificate_outlives_the_router_and_the_binary() {
    let (folder, authority) = (Folder::new(), Authority::new("tests"));
    write(&folder, "server", &authority.sign("localhost"));
    folder.write("app.py", MIRROR);
    let port = free_port();
    let family = liege(
        &folder,
        &["--https", &format!("127.0.0.1:{port},server.pem,server.key"), "--wsgi-file", "app.py"],
    );
    let door = Door::Secure(port, authority.client(None));
    let first = facts(&door);
    let master = family.pid();
    for path in ["server.pem", "server.key"] {
        std::fs::remove_file(folder.path().join(path)).unwrap();
    }
    let children = || {
        let list = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap();
        let pids = list.split_whitespace().map(|pid| pid.parse().unwrap());
        pids.collect::<Vec<i32>>()
    };
    let is_router = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("router"))
    };
    let router = eventually("the router", || children().into_iter().find(is_router));
    kill(Pid::from_raw(router), Signal::SIGKILL).unwrap();
    until("another router", || children().iter().any(|pid| *pid != router && is_router(pid)));
    assert_eq!(facts(&door)["HTTPS"], "on");
    write(&folder, "server", &authority.sign("localhost"));
    kill(Pid::from_raw(master), Signal::SIGHUP).unwrap();
    until("a new generation", || facts(&door)["pid"] != first["pid"]);
    assert_eq!(facts(&door)["parent"], master);
}

/// A folder that everybody may look into, with an extension that everybody can load; `None`: who is not root cannot drop
/// privileges.
fn open_folder() -> Option<Folder> {
    let open = Folder::for_nobody()?;
    open.write("app.py", MIRROR);
    Some(open)
}

fn write_private(folder: &Folder, identity: &Identity) {
    write(folder, "server", identity);
    std::fs::set_permissions(folder.path().join("server.key"), Permissions::from_mode(0o600)).unwrap();
}

fn private_options(folder: &Folder, port: u16) -> String {
    let place = folder.path().display();
    format!(
        "[uwsgi]\nuid = nobody\ngid = nogroup\npython = /usr/bin/python3\nextension = {place}/libliege.so\n\
         wsgi-file = {place}/app.py\nhttps = 127.0.0.1:{port},{place}/server.pem,{place}/server.key\n"
    )
}

#[test]
fn a_key_that_only_root_may_read_comes_anew_with_a_replacement() {
    let Some(open) = open_folder() else { return };
    let (authority, port) = (Authority::new("tests"), free_port());
    write_private(&open, &authority.sign("localhost"));
    let host = Host::start(&[("a.ini", &private_options(&open, port))]);
    let door = Door::Secure(port, authority.client(None));
    let told = facts(&door);
    // The application is of the same user as the master, and finds no key there.
    assert_eq!((told["uid"].as_u64(), &told["keys"]), (Some(65534), &"PermissionError".into()));
    let load = Load::start(&door, Manner::KeptPost);
    let shown = || door.connect().unwrap().server_certificate();
    let before = shown();
    write_private(&open, &authority.sign("localhost"));
    assert_eq!(host.reload("a.ini")["outcome"], "swapped");
    until("the new certificate", || shown() != before);
    let after = shown();
    open.write("server.key", "no key");
    std::fs::set_permissions(open.path().join("server.key"), Permissions::from_mode(0o600)).unwrap();
    let operation = host.reload("a.ini");
    assert_eq!(operation["outcome"], "rolled-back", "{operation:#}");
    assert_eq!(shown(), after);
    load.stop().nothing_failed();
}

#[test]
fn without_an_emperor_the_certificate_of_the_start_serves_on() {
    let Some(open) = open_folder() else { return };
    let (authority, port) = (Authority::new("tests"), free_port());
    write_private(&open, &authority.sign("localhost"));
    open.write("app.ini", private_options(&open, port));
    let family = liege(&open, &["app.ini"]);
    let door = Door::Secure(port, authority.client(None));
    let first = facts(&door);
    let before = door.connect().unwrap().server_certificate();
    write_private(&open, &authority.sign("localhost"));
    kill(Pid::from_raw(family.pid()), Signal::SIGHUP).unwrap();
    until("a new generation", || facts(&door)["pid"] != first["pid"]);
    assert_eq!(door.connect().unwrap().server_certificate(), before);
    assert_eq!(facts(&door)["keys"], "PermissionError");
    until("a warning", || {
        let log = std::fs::read_to_string(open.path().join("liege.log")).unwrap();
        log.contains("server.key") && log.contains("the certificates read at the start serve on")
    });
}

#[test]
fn certificates_are_checked() {
    let (folder, authority) = (Folder::new(), Authority::new("tests"));
    write(&folder, "server", &authority.sign("localhost"));
    write(&folder, "other", &authority.sign("localhost"));
    folder.write("app.py", says("v1"));
    let ports: [u16; 4] = std::array::from_fn(|_| free_port());
    let [good, missing, mixed, weak] = ports.map(|port| format!("127.0.0.1:{port}"));
    folder.write(
        "app.ini",
        format!(
            "[uwsgi]\nwsgi-file = app.py\nhttps = {good},server.pem,server.key\nhttps = {missing},gone.pem,server.key\n\
             https2 = addr={mixed},cert=server.pem,key=other.key\nhttps = {weak},server.pem,server.key,RC4\n"
        ),
    );
    let output = Command::new(LIEGE).args(["check", "app.ini"]).current_dir(folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in [
        format!("app.ini:4: error: https: https = {missing}: cannot read the certificate"),
        format!("app.ini:5: error: https2: https = {mixed}: cannot use the key"),
        "it is not the key of the certificate".to_owned(),
        format!("app.ini:6: error: https: https = {weak}: cannot use the ciphers RC4: none of these"),
        "app.ini: 3 errors\n".to_owned(),
    ] {
        assert!(told.contains(&expected), "{expected}\nis not in\n{told}");
    }
}
