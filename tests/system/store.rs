//! The descriptor store of a service manager: the emperor's vassals keep their sockets over its death and over a restart,
//! and nobody is given what is another's.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::says;
use crate::support::http::{Connection, Door};
use crate::support::load::{Load, Manner};
use crate::support::process::{Family, is_gone};
use crate::support::server::Folder;
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, environment, extension, free_port, root};

/// An emperor below a service manager that keeps so many descriptors.
struct Service {
    family: Family,
    folder: Folder,
}

impl Service {
    fn start(most: &str, options: &[&str], prepare: impl FnOnce(&Folder)) -> Self {
        extension();
        let folder = Folder::new();
        folder.write("app.py", says("v1"));
        std::fs::create_dir(folder.path().join("vassals")).unwrap();
        prepare(&folder);
        Self::under(folder, most, options)
    }

    fn under(folder: Folder, most: &str, options: &[&str]) -> Self {
        let mut command = Command::new("python3");
        command.arg(root().join("tests/system/service_manager.py")).arg(most);
        command.args([LIEGE, "--emperor", "vassals", "--api", "api.sock"]).args(options);
        let family = Family::start(command.current_dir(folder.path()), &folder.path().join("liege.log"));
        Self { family, folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn main(&self) -> i32 {
        eventually("the emperor", || std::fs::read_to_string(self.path().join("main")).ok()?.parse().ok())
    }

    /// What the service manager keeps, by name.
    fn kept(&self) -> Vec<String> {
        let store = std::fs::read_to_string(self.path().join("store")).unwrap_or_default();
        store.lines().map(str::to_owned).collect()
    }

    fn until_kept(&self, count: usize) {
        until(&format!("{count} in the store"), || self.kept().len() == count);
    }

    /// The next emperor has to wait until [`Service::let_go`].
    fn hold(&self) {
        self.folder.write("hold", "");
    }

    /// A restart that has come as far as the end of the emperor.
    fn stop_and_hold(&self) {
        let before = self.main();
        self.hold();
        self.family.signal(Signal::SIGUSR1);
        until("the end of the emperor", || is_gone(before));
    }

    fn let_go(&self) {
        std::fs::remove_file(self.path().join("hold")).unwrap();
    }

    fn kill_emperor(&self) {
        kill(Pid::from_raw(self.main()), Signal::SIGKILL).unwrap();
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(LIEGE)
            .args(arguments)
            .args(["--api", "api.sock"])
            .current_dir(self.path())
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn until_state(&self, vassal: &str, wanted: &str) {
        let state = || {
            let list: serde_json::Value = serde_json::from_str(&self.ask(&["status", "--json"])).ok()?;
            let found = list["vassals"].as_array()?.iter().find(|known| known["name"] == vassal)?;
            Some(found["state"].as_str()?.to_owned())
        };
        until(&format!("{vassal} {wanted}"), || state().as_deref() == Some(wanted));
    }

    /// How often the log says this.
    fn said(&self, text: &str) -> usize {
        self.family.log().matches(text).count()
    }
}

fn vassal(folder: &Folder, name: &str, lines: &str) -> Door {
    let port = free_port();
    let own = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\n{lines}\n");
    folder.write(format!("vassals/{name}"), own);
    Door::Port(port)
}

/// Somebody who has asked, and waits.
fn asks(door: &Door) -> Connection {
    let mut client = door.connect().unwrap();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    client
}

fn answer(mut client: Connection) -> String {
    client.answer(false).unwrap().text()
}

#[test]
fn who_sleeps_when_the_emperor_dies_sleeps_on_and_refuses_nobody() {
    let path = std::cell::OnceCell::new();
    let mut doors = Vec::new();
    let service = Service::start("100", &["--emperor-on-demand-extension", ".on"], |folder| {
        path.set(folder.path().join("b.sock")).unwrap();
        doors.push(vassal(folder, "a.ini", "idle = 1"));
        folder.write("vassals/b.ini.on", folder.path().join("b.sock").to_str().unwrap());
        folder.write("vassals/b.ini", "[uwsgi]\nprotocol = http\nidle = 1\nwsgi-file = %d../app.py\n");
        doors.push(vassal(folder, "c.ini", ""));
    });
    doors.insert(1, Door::Unix(path.into_inner().unwrap()));
    doors[2].wait_for("/", "v1");
    service.until_state("a.ini", "asleep");
    service.until_state("b.ini", "asleep");
    for round in 1..=2 {
        service.until_kept(3);
        service.hold();
        let before = service.main();
        service.kill_emperor();
        // Nobody is there, and nobody is refused.
        let clients: Vec<_> = doors.iter().map(asks).collect();
        service.let_go();
        until("another emperor", || service.main() != before);
        assert!(clients.into_iter().all(|client| answer(client) == "v1"), "{round}");
        service.until_state("a.ini", "asleep");
        service.until_state("b.ini", "asleep");
        let (slept, launched) = (service.said("it slept"), service.said("launched"));
        service.kill_emperor();
        until("that it sleeps on", || service.said("it slept") > slept);
        service.until_state("a.ini", "asleep");
        assert_eq!(service.said("launched"), launched, "nobody was woken for that");
    }
}

#[test]
fn a_restart_of_the_service_costs_no_request_and_a_stop_ends_all() {
    let mut doors = Vec::new();
    let port = free_port();
    let ini = |folder: &Folder, mode: &str| {
        let doors = format!("http = 127.0.0.1:{port}\nhttp-socket = %d../b.sock\nchmod-socket = {mode}");
        folder.write("vassals/b.ini", format!("[uwsgi]\n{doors}\nvacuum = true\nwsgi-file = %d../app.py\n"));
    };
    let mut service = Service::start("100", &[], |folder| {
        doors.push(vassal(folder, "a.ini", "processes = 2"));
        ini(folder, "660");
        doors.extend([Door::Port(port), Door::Unix(folder.path().join("b.sock"))]);
    });
    let socket = service.path().join("b.sock");
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    service.until_kept(3);
    let loads: Vec<Load> = doors.iter().map(|door| Load::start(door, Manner::Fresh)).collect();
    for round in 2..=3 {
        let before = service.main();
        service.folder.write("app.py", says(&format!("v{round}")));
        service.family.signal(Signal::SIGUSR1);
        until("another emperor", || service.main() != before);
        doors.iter().for_each(|door| door.wait_for("/", &format!("v{round}")));
        loads.iter().for_each(Load::go_on);
    }
    // Whatever the emperor dies of.
    service.kill_emperor();
    loads.iter().for_each(Load::go_on);
    service.until_state("a.ini", "up");
    for load in loads {
        load.stop().nothing_failed();
    }
    // Who asks between the stop and the start is answered by the next; what the file says by then counts.
    service.stop_and_hold();
    let clients: Vec<_> = doors.iter().map(asks).collect();
    ini(&service.folder, "600");
    service.let_go();
    assert!(clients.into_iter().all(|client| answer(client) == "v3"));
    let file = std::fs::metadata(&socket).unwrap();
    assert_eq!(file.mode() & 0o777, 0o600);
    // A socket that nobody finds any more is mended by a restart.
    service.stop_and_hold();
    std::fs::remove_file(&socket).unwrap();
    service.let_go();
    doors.iter().for_each(|door| door.wait_for("/", "v3"));
    service.until_kept(3);
    // A stop that cannot be a restart removes the file, as `vacuum` says.
    service.ask(&["stop", "b.ini", "--wait"]);
    assert!(!socket.exists());
    service.ask(&["start", "b.ini", "--wait"]);
    doors.iter().for_each(|door| door.wait_for("/", "v3"));
    service.until_kept(3);
    service.family.signal(Signal::SIGTERM);
    assert!(service.family.wait().success());
    assert!(doors.iter().all(|door| door.connect().is_err()), "nobody has them any more");
    assert!(socket.exists(), "it might have been a restart");
}

#[test]
fn what_is_given_up_is_free_at_once() {
    let mut doors = Vec::new();
    let service = Service::start("100", &[], |folder| {
        doors.push(vassal(folder, "a.ini", ""));
        doors.push(vassal(folder, "b.ini", "idle = 1"));
        doors.push(vassal(folder, "c.ini", ""));
    });
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    service.until_state("b.ini", "asleep");
    service.until_kept(3);
    let vassals = service.path().join("vassals");
    let text = |name: &str| std::fs::read_to_string(vassals.join(name)).unwrap();
    let (a, b) = (text("a.ini"), text("b.ini"));
    // Stopped; removed asleep; taken over by another name.
    service.ask(&["stop", "a.ini", "--wait"]);
    service.until_kept(2);
    assert!(doors[0].connect().is_err());
    std::fs::remove_file(vassals.join("b.ini")).unwrap();
    service.until_kept(1);
    service.folder.write("vassals/b2.ini", b);
    doors[1].wait_for("/", "v1");
    std::fs::rename(vassals.join("c.ini"), vassals.join("c2.ini")).unwrap();
    until("the new name", || service.said("its file is called c2.ini now") == 1);
    doors[2].wait_for("/", "v1");
    service.until_kept(2);
    // What was removed while there was no emperor is nobody's, and its port another's; who was stopped starts again.
    service.hold();
    service.kill_emperor();
    std::fs::remove_file(vassals.join("b2.ini")).unwrap();
    service.folder.write("vassals/0.ini", a.replace("wsgi-file", "processes = 2\nwsgi-file"));
    std::fs::remove_file(vassals.join("a.ini")).unwrap();
    service.let_go();
    doors[0].wait_for("/", "v1");
    until("the end of it", || doors[1].connect().is_err());
    doors[2].wait_for("/", "v1");
    service.until_kept(2);
    assert_eq!(service.said("cannot listen"), 0);
    // A later image goes on with the same names.
    let names = service.kept();
    let (before, said) = (service.main(), service.ask(&["upgrade", "--wait"]));
    assert!(said.contains("done"), "{said}");
    assert_eq!(service.main(), before);
    service.ask(&["stop", "0.ini", "--wait"]);
    service.until_kept(1);
    assert!(names.contains(&service.kept()[0]));
}

#[test]
fn there_is_room_for_so_many_and_without_a_store_nothing_is_said_of_one() {
    let many = |folder: &Folder| {
        let lines: String = (0..16).map(|_| format!("http-socket = 127.0.0.1:{}\n", free_port())).collect();
        (vassal(folder, "many.ini", &lines), vassal(folder, "one.ini", ""))
    };
    let mut doors = None;
    let service = Service::start("100", &[], |folder| doors = Some(many(folder)));
    let (first, second) = doors.unwrap();
    first.wait_for("/", "v1");
    second.wait_for("/", "v1");
    service.until_kept(1);
    service.family.wait_for_log("[many.ini] its sockets end with this emperor: it has 17, and");
    let shown = service.ask(&["status"]);
    assert!(shown.contains("outlast the emperor: 1 of 100 at most; not those of many.ini ("), "{shown}");
    let (why, one) = (service.ask(&["why", "many.ini"]), service.ask(&["why", "one.ini"]));
    let because = "its sockets end with the emperor: it has 17, and the service manager is given 16 of one";
    assert!(why.replace("\n   ", "").contains(because), "{why}");
    assert!(!one.contains("end with the emperor"), "{one}");
    let metrics = Door::Unix(service.path().join("api.sock")).get("/metrics").unwrap().text();
    for line in ["liege_sockets_stored 1", "liege_sockets_storable 100", "liege_vassals_unstored 1"] {
        assert!(metrics.lines().any(|told| told == line), "{line}: {metrics}");
    }

    let mut doors = None;
    let mut service = Service::start("0", &[], |folder| doors = Some(many(folder)));
    let (first, second) = doors.unwrap();
    first.wait_for("/", "v1");
    second.wait_for("/", "v1");
    service.family.signal(Signal::SIGTERM);
    assert!(service.family.wait().success());
    assert!(service.kept().is_empty() && service.said("service manager") == 0);
    assert!(first.connect().is_err());
}

#[test]
fn less_room_than_the_emperor_is_told_is_found_out_and_said() {
    let mut doors = Vec::new();
    let service = Service::start("3:100", &[], |folder| {
        for name in ["a.ini", "b.ini", "c.ini"] {
            doors.push(vassal(folder, name, &format!("http-socket = 127.0.0.1:{}", free_port())));
        }
    });
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    service.family.wait_for_log("the service manager keeps 3 sockets at most, less than FDSTORE=100 says");
    service.until_kept(2);
    let stored =
        || -> serde_json::Value { serde_json::from_str(&service.ask(&["status", "--json"])).unwrap() };
    until("that two are left out", || {
        let shown = stored();
        let unkept = |vassal: &&serde_json::Value| vassal["unkept_sockets"].is_string();
        let left_out = shown["vassals"].as_array().unwrap().iter().filter(unkept).count();
        let emperor = &shown["emperor"]["stored_sockets"];
        left_out == 2 && emperor["kept"] == 2 && emperor["most"] == 3
    });
    until("that it is said of whom", || service.said("keeps 3 at most, and has no room for its 2") == 2);
    // Who needs less finds room, and there is none for another.
    doors.push(vassal(&service.folder, "d.ini", ""));
    doors[3].wait_for("/", "v1");
    service.until_kept(3);
    // It is so for the next image, and the next emperor.
    let said = service.ask(&["upgrade", "--wait"]);
    assert!(said.contains("done"), "{said}");
    until("the same of the next image", || service.said("keeps 3 sockets at most") == 2);
    service.until_kept(3);
    let before = service.main();
    service.family.signal(Signal::SIGUSR1);
    until("another emperor", || service.main() != before);
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    until("the same of the next emperor", || service.said("keeps 3 sockets at most") == 3);
    service.until_kept(3);
}

#[test]
fn uwsgi_gets_the_socket_that_was_kept_for_it_and_binds_its_own() {
    let Some(uwsgi) = environment("uwsgi").map(|path| path.join("bin/uwsgi")) else { return };
    let ports = [free_port(), free_port(), free_port()];
    let [kept, own, later] = ports.map(Door::Port);
    let exec = format!("master = true\nwsgi-file = %d../app.py\n[emperor]\nexec = {}\n", uwsgi.display());
    let service = Service::start("100", &[], |folder| {
        let idle = "[uwsgi]\nprotocol = http\nidle = 2\ndie-on-idle = true";
        folder.write("vassals/a.ini", format!("{idle}\n{exec}on-demand = 127.0.0.1:{}\n", ports[0]));
        let ours = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{}\nwsgi-file = %d../app.py\n", ports[1]);
        folder.write("vassals/b.ini", ours);
        let patched = format!("http-socket = 127.0.0.1:{}\nmaster = true\nwsgi-file = %dapp.py", ports[2]);
        folder.write("patched.ini", format!("[uwsgi]\n{patched}\n"));
        folder.write("vassals/c.ini", format!("[uwsgi]\n{}\n", patched.replace("%d", "%d../")));
    });
    [&own, &later].iter().for_each(|door| door.wait_for("/", "v1"));
    // It slept when the emperor died, and sleeps on.
    service.until_state("a.ini", "asleep");
    service.until_kept(3);
    service.hold();
    service.kill_emperor();
    let client = asks(&kept);
    service.let_go();
    assert_eq!(answer(client), "v1");
    service.until_state("a.ini", "asleep");
    // It serves while the service is restarted; what ours has had meanwhile becomes its own.
    let load = Load::start(&kept, Manner::Fresh);
    service.until_state("a.ini", "up");
    service.stop_and_hold();
    service.folder.write("vassals/b.ini", format!("[uwsgi]\nhttp-socket = 127.0.0.1:{}\n{exec}", ports[1]));
    let patched = format!("{} {}", uwsgi.display(), service.path().join("patched.ini").display());
    let becomes = format!("[uwsgi]\nunprivileged-binary-patch-arg = exec {patched}\n");
    service.folder.write("vassals/c.ini", becomes);
    service.folder.write("app.py", says("v2"));
    // However late the service manager closes what it had.
    service.folder.write("deaf", "");
    service.let_go();
    [&own, &later].iter().for_each(|door| door.wait_for("/", "v2"));
    std::fs::remove_file(service.path().join("deaf")).unwrap();
    kept.wait_for("/", "v2");
    load.go_on();
    load.stop().nothing_failed();
    service.until_kept(1);
    assert_eq!(service.said("probably another instance of uWSGI is running"), 0);
    assert_eq!(service.said("*** has_emperor mode detected"), 5);
}

#[test]
fn a_new_owner_gets_no_socket_of_the_old_one() {
    let Some(open) = Folder::for_nobody() else { return };
    let vassals = open.path().join("vassals");
    std::fs::create_dir(&vassals).unwrap();
    let (ports, place) = ([free_port(), free_port()], open.path().display().to_string());
    open.write("app.py", says("v1"));
    for (name, port) in ["a.ini", "b.ini"].into_iter().zip(ports) {
        let own = "python = /usr/bin/python3\nidle = 1";
        open.write(
            format!("vassals/{name}"),
            format!(
                "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nextension = {place}/libliege.so\n\
                 wsgi-file = {place}/app.py\n{own}\n"
            ),
        );
        chown(vassals.join(name), Some(65534), Some(65534)).unwrap();
    }
    let doors = ports.map(Door::Port);
    let service = Service::under(open, "100", &["--emperor-tyrant"]);
    service.until_state("a.ini", "asleep");
    service.until_state("b.ini", "asleep");
    service.until_kept(2);
    assert_eq!(service.said("bound to TCP address"), 2);
    service.hold();
    service.kill_emperor();
    // The one of the client that waits is closed with the rest.
    let _waits = asks(&doors[0]);
    chown(vassals.join("a.ini"), Some(1), Some(1)).unwrap();
    service.let_go();
    doors.iter().for_each(|door| door.wait_for("/", "v1"));
    assert_eq!(service.said("bound to TCP address"), 3, "the new owner's is another one");
    service.until_kept(2);
}
