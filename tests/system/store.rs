//! The descriptor store of a service manager: the emperor's vassals keep their sockets over its death and over a restart,
//! and nobody is given what is another's.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::apps::says;
use crate::support::http::{Connection, Door};
use crate::support::process::Family;
use crate::support::server::Folder;
use crate::support::wait::{eventually, until};
use crate::support::{LIEGE, extension, free_port, root};

/// An emperor below a service manager that keeps so many descriptors.
struct Service {
    family: Family,
    folder: Folder,
}

impl Service {
    fn start(most: usize, options: &[&str], prepare: impl FnOnce(&Folder)) -> Self {
        extension();
        let folder = Folder::new();
        folder.write("app.py", says("v1"));
        std::fs::create_dir(folder.path().join("vassals")).unwrap();
        prepare(&folder);
        let mut command = Command::new("python3");
        command.arg(root().join("tests/system/service_manager.py")).arg(most.to_string());
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
    let service = Service::start(100, &["--emperor-on-demand-extension", ".on"], |folder| {
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
