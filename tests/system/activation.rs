//! Sockets that others have made: passed as systemd does, or shared ones, made before privileges drop.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::apps::says;
use crate::support::free_port;
use crate::support::http::Door;
use crate::support::process::Family;
use crate::support::server::Folder;
use crate::support::wait::until;
use crate::support::{LIEGE, extension};

/// Passes sockets as systemd does: their names, their addresses, `--`, and what to start.
const PASS: &str = "
import os, socket, sys
names, *addresses = sys.argv[1:sys.argv.index('--')]
sockets = []
for address in addresses:
    family = socket.AF_UNIX if '/' in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address if '/' in address else ('127.0.0.1', int(address)))
    listener.listen(64)
    sockets.append(os.dup(listener.fileno()))
high = [os.dup2(fd, 40 + n) for n, fd in enumerate(sockets)]
for n, fd in enumerate(high):
    os.dup2(fd, 3 + n)
os.closerange(3 + len(high), 64)
command = sys.argv[sys.argv.index('--') + 1:]
known = {'LISTEN_PID': str(os.getpid()), 'LISTEN_FDS': str(len(high)), 'LISTEN_FDNAMES': names}
os.execvpe(command[0], command, {**os.environ, **known})
";

fn start(folder: &Folder, names: &str, addresses: &[&str], arguments: &[&str]) -> Family {
    extension();
    let mut command = Command::new("python3");
    command.args(["-c", PASS, names]).args(addresses).arg("--").arg(LIEGE).args(arguments);
    let log = folder.path().join("liege.log");
    let _ = std::fs::remove_file(&log);
    let family = Family::start(command.current_dir(folder.path()), &log);
    until("the sockets", || addresses.iter().all(|at| !at.contains('/') || Path::new(at).exists()));
    family
}

fn inode(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

#[test]
fn what_systemd_passes_is_served_over_reloads_and_stays_its_own() {
    let (folder, ports) = (Folder::new(), [free_port(), free_port()]);
    let path = folder.path().join("a.sock");
    folder.write("app.py", says("v1"));
    let ini = |lines: &str| {
        let own = "[uwsgi]\nprotocol = http\nvacuum = true\nprocesses = 2\nwsgi-file = %dapp.py\n";
        folder.write("app.ini", format!("{own}{lines}"));
    };
    ini("http-socket = %da.sock\n");
    let [first, second] = ports.map(|port| port.to_string());
    let mut family = start(&folder, "a:b:c", &[path.to_str().unwrap(), &first, &second], &["app.ini"]);
    let made = inode(&path);
    let doors = [Door::Unix(path.clone()), Door::Port(ports[0]), Door::Port(ports[1])];
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    family.wait_for_log("SystemD socket activation detected");
    folder.write("app.py", says("v2"));
    family.signal(Signal::SIGHUP);
    doors.iter().for_each(|door| door.wait_for("/", "v2"));
    // What is served by another process, and what is named by its number.
    ini("http = fd://4\nhttp-socket = fd://3\n");
    folder.write("app.py", says("v3"));
    family.signal(Signal::SIGHUP);
    doors.iter().for_each(|door| door.wait_for("/", "v3"));
    family.signal(Signal::SIGTERM);
    assert_eq!(family.wait().code(), Some(0));
    assert_eq!(inode(&path), made);
}

#[test]
fn an_app_sees_nothing_of_the_activation_and_a_wrong_number_is_refused() {
    let (folder, port) = (Folder::new(), free_port());
    folder.write(
        "app.py",
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
         return [','.join(name for name in os.environ if name.startswith('LISTEN_')).encode() or b'none']\n",
    );
    folder.write("app.ini", "[uwsgi]\nhttp-socket = fd://3\nwsgi-file = %dapp.py\n");
    let _family = start(&folder, "", &[&port.to_string()], &["app.ini"]);
    Door::Port(port).wait_for("/", "none");
    folder.write("bad.ini", "[uwsgi]\nhttp-socket = fd://4\nwsgi-file = %dapp.py\n");
    let mut family = start(&folder, "", &[&free_port().to_string()], &["bad.ini"]);
    assert_eq!(family.wait().code(), Some(1));
    assert!(family.log().contains("no listening socket of that number"), "{}", family.log());
}

#[test]
fn an_emperor_gives_a_passed_socket_to_the_vassal_that_it_is_named_after() {
    let (folder, port) = (Folder::new(), free_port());
    let path = folder.path().join("b.sock");
    folder.write("app.py", says("v1"));
    folder.write("vassals/a.ini", "[uwsgi]\nprotocol = http\nwsgi-file = %d../app.py\n");
    let b = "[uwsgi]\nhttp-socket = %d../b.sock\nvacuum = true\nwsgi-file = %d../app.py\n";
    folder.write("vassals/b.ini", b);
    let family = start(
        &folder,
        "a:b.ini:x.socket",
        &[&port.to_string(), path.to_str().unwrap(), &free_port().to_string()],
        &["--emperor", "vassals", "--api", "api.sock"],
    );
    let made = inode(&path);
    let doors = [Door::Port(port), Door::Unix(path.clone())];
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    family.wait_for_log("belongs to no vassal");
    // Nor is a file refused for what systemd says in its place.
    let api = Door::Unix(folder.path().join("api.sock"));
    let judge = |draft: &str| {
        let headers = ["Connection: close", "Content-Type: application/json"];
        api.connect().unwrap().ask("POST", "/v1/validate", &headers, draft.as_bytes()).unwrap().text()
    };
    assert!(judge("{\"name\": \"a.ini\"}").contains("\"valid\":true"));
    let text = format!("[uwsgi]\\nhttp-socket = :{port}\\nmodule = x\\n");
    let met = judge(&format!("{{\"name\": \"b.ini\", \"text\": \"{text}\"}}"));
    assert!(met.contains("of a.ini"), "{met}");
    folder.write("app.py", says("v2"));
    family.signal(Signal::SIGHUP);
    doors.iter().for_each(|door| door.wait_for("/", "v2"));
    // It is gone, and comes back: the socket is still there for it, and waits meanwhile.
    std::fs::remove_file(folder.path().join("vassals/b.ini")).unwrap();
    family.wait_for_log("goodbye to uWSGI.");
    assert_eq!(inode(&path), made);
    let mut waits = doors[1].connect().unwrap();
    waits.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    folder.write("vassals/b.ini", b);
    assert_eq!(waits.answer(false).unwrap().text(), "v2");
}

#[test]
fn a_shared_socket_is_made_before_privileges_drop() {
    let Some(open) = Folder::for_nobody() else { return };
    open.write("app.py", says("v1"));
    let port = free_port();
    let place = open.path().display();
    let ini = |lines: &str| {
        open.write(
            "app.ini",
            format!(
                "[uwsgi]\nuid = nobody\ngid = nogroup\npython = /usr/bin/python3\nchmod-socket = 666\n\
                 extension = {place}/libliege.so\nwsgi-file = {place}/app.py\nshared-socket = {place}/a.sock\n\
                 undeferred-shared-socket = 127.0.0.1:{port}\n{lines}"
            ),
        );
    };
    ini("http-socket = =0\nhttp = =1\n");
    let family = crate::support::server::liege(&open, &["app.ini"]);
    let doors = [Door::Unix(open.path().join("a.sock")), Door::Port(port)];
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    assert_eq!(std::fs::metadata(open.path().join("a.sock")).unwrap().uid(), 0);
    open.write("app.py", says("v2"));
    ini("http = =0\nhttp-socket = =1\n");
    family.signal(Signal::SIGHUP);
    doors.iter().for_each(|door| door.wait_for("/", "v2"));
    until("no root", || family.members().iter().all(|pid| owner(*pid) == 65534));
}

fn owner(pid: i32) -> u32 {
    std::fs::metadata(format!("/proc/{pid}")).map_or(65534, |found| found.uid())
}
