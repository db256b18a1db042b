//! Sockets that come with a reload: what the running master may not or must not do itself is done all the same.

use std::os::unix::fs::PermissionsExt;

use crate::support::apps::says;
use crate::support::free_port;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::server::Folder;

#[test]
fn a_reload_listens_on_the_name_of_a_host_and_says_when_there_is_none() {
    let (first, second) = (free_port(), free_port());
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    let vassal = |lines: &str| {
        host.write(
            "a.ini",
            format!("[uwsgi]\nhttp-socket = 127.0.0.1:{first}\nwsgi-file = %d../app.py\n{lines}"),
        );
    };
    vassal("");
    Door::Port(first).wait_for("/", "v1");
    vassal(&format!("http-socket = localhost:{second}\n"));
    Door::Port(second).wait_for("/", "v1");
    host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    vassal(&format!("http-socket = localhost:{second}\nhttp-socket = no-such-host.invalid:80\n"));
    let told = host.wait_for_vassal("a.ini", "says why not", |vassal| {
        vassal["reason"].as_str().is_some_and(|reason| reason.contains("no-such-host.invalid:80"))
    });
    assert_eq!(told["state"], "up", "{told:#}");
    assert_eq!(Door::Port(second).get("/").unwrap().text(), "v1");
}

#[test]
fn a_socket_that_only_root_may_make_comes_with_a_replacement() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can drop privileges");
        return;
    }
    // The clone may be where nobody else can go.
    let open = Folder::new();
    std::fs::set_permissions(open.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let extension = open.path().join("libliege.so");
    std::fs::copy(crate::support::extension(), &extension).unwrap();
    open.write("app.py", says("v1"));
    let place = open.path().display();
    let options = format!(
        "[uwsgi]\nuid = nobody\ngid = nogroup\nchown-socket = nobody:nogroup\npython = /usr/bin/python3\n\
         extension = {place}/libliege.so\nwsgi-file = {place}/app.py\nhttp-socket = {place}/a.sock\n"
    );
    let host = Host::start(&[("a.ini", &options)]);
    let door = |name: &str| Door::Unix(open.path().join(name));
    door("a.sock").wait_for("/", "v1");
    let before = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    host.write("a.ini", format!("{options}http-socket = {place}/b.sock\n"));
    door("b.sock").wait_for("/", "v1");
    let after = host.wait_for_vassal("a.ini", "is up", |vassal| vassal["state"] == "up");
    assert_ne!(before["pid"], after["pid"]);
    assert_eq!(door("a.sock").get("/").unwrap().text(), "v1");
}

#[test]
fn a_port_is_shared_where_both_say_so_and_an_address_may_come_later() {
    let port = free_port();
    let lines = format!("http-socket = 127.0.0.1:{port}\nreuse-port = true\nso-keepalive = true\n");
    let host = Host::start(&[]);
    host.folder().write("app.py", says("v1"));
    let vassal = |name: &str, lines: &str| {
        host.write(name, format!("[uwsgi]\nwsgi-file = %d../app.py\nsocket-rcvbuf = 65536\n{lines}"));
        host.wait_for_vassal(name, "is up", |vassal| vassal["state"] == "up");
    };
    vassal("a.ini", &lines);
    vassal("b.ini", &lines);
    assert_eq!(Door::Port(port).get("/").unwrap().text(), "v1");
    // An address that is for documents: no host has it.
    vassal("c.ini", "socket = 192.0.2.1:0\nfreebind = true\n");
    host.remove("a.ini");
    host.wait_for_vassal("b.ini", "is up", |vassal| vassal["state"] == "up");
    host.reload("b.ini");
    assert_eq!(Door::Port(port).get("/").unwrap().text(), "v1");
}
