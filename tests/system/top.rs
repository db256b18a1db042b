//! `liege top` on a real terminal: it shows what runs, and leaves the terminal as it was, however it ends.

use std::process::{Command, Output};

use crate::support::apps::TOOLS;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::wait::eventually;
use crate::support::{LIEGE, free_port, program};

/// A terminal of its own, on a server of its own.
struct Terminal<'a> {
    tmux: std::path::PathBuf,
    host: &'a Host,
}

impl Terminal<'_> {
    fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(arguments).stdout).into_owned()
    }

    fn output(&self, arguments: &[&str]) -> Output {
        let socket = self.host.folder().path().join("tmux");
        Command::new(&self.tmux)
            .arg("-S")
            .arg(socket)
            .args(arguments)
            .current_dir(self.host.folder().path())
            .output()
            .unwrap()
    }

    /// Starts a shell that runs `liege top`, and says afterwards how it ended and how the terminal is.
    fn start(&self, arguments: &str) {
        let line = format!(
            "LIEGE_API=api.sock {LIEGE} top {arguments} & pid=$!; echo $pid > top.pid; fg %1 >/dev/null; echo ended $?; stty -a; cat"
        );
        let session = ["new-session", "-d", "-x", "80", "-y", "24", "sh", "-m", "-c", &line];
        // A server that ends refuses it, and the next one begins.
        eventually("a terminal", || self.output(&session).status.success().then_some(()));
    }

    fn until(&self, parts: &[&str]) -> String {
        let mut screen = String::new();
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            eventually("the screen", || {
                screen = self.run(&["capture-pane", "-p"]);
                parts.iter().all(|part| screen.contains(part)).then_some(())
            });
        }));
        assert!(seen.is_ok(), "{parts:?} are not in\n{screen}");
        screen
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    fn end(&self) {
        self.run(&["kill-server"]);
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

#[test]
fn top_shows_the_host_and_one_app_and_gives_the_terminal_back() {
    let Some(tmux) = program("tmux") else { return };
    let port = free_port();
    let file = format!("[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nwsgi-file = %d../app.py\nprocesses = 2\n");
    let host = Host::start(&[("blog.ini", &file), ("日本.ini", "[uwsgi]\n")]);
    host.folder().write("app.py", TOOLS);
    host.touch("blog.ini");
    Door::Port(port).wait_for("/", "hello");
    let terminal = Terminal { tmux, host: &host };

    terminal.start("--interval 1");
    let screen = terminal.until(&["NAME", "blog.ini", "日本.ini", "up", "q quit"]);
    assert!(screen.lines().count() <= 24, "{screen}");
    terminal.keys(&["/", "b", "l", "o", "Enter"]);
    terminal.until(&["filter blo"]);
    std::thread::scope(|scope| {
        let request = scope.spawn(|| Door::Port(port).get("/sleep?5"));
        terminal.keys(&["Enter"]);
        terminal.until(&["pid ", "STATE   DOES", "GET /sleep"]);
        let _ = request.join();
    });
    terminal.run(&["resize-window", "-x", "120", "-y", "40"]);
    terminal.until(&["STATE   DOES", "q back"]);
    terminal.keys(&["q"]);
    terminal.until(&["NOTE", "q quit"]);
    terminal.keys(&["q"]);
    terminal.until(&["ended 0", " icanon", " echo "]);
    terminal.end();

    // A signal, as from a connection that is lost.
    terminal.start("blog");
    terminal.until(&["STATE   DOES"]);
    let pid = std::fs::read_to_string(host.folder().path().join("top.pid")).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    terminal.until(&["ended 0", " icanon", " echo "]);
}
