//! `liege top` on a real terminal: it shows what runs, and leaves the terminal as it was, however it ends.

use std::path::Path;
use std::process::Command;

use crate::support::apps::TOOLS;
use crate::support::host::Host;
use crate::support::http::Door;
use crate::support::terminal::Terminal;
use crate::support::{LIEGE, free_port, program};

/// A shell that runs `liege top`, and says afterwards how it ended and how the terminal is.
fn start(tmux: &Path, host: &Host, arguments: &str) -> Terminal {
    let line = format!(
        "LIEGE_API=api.sock {LIEGE} top {arguments} & pid=$!; echo $pid > top.pid; fg %1 >/dev/null; echo ended $?; stty -a; cat"
    );
    Terminal::start(tmux, host.folder().path(), &["sh", "-m", "-c", &line])
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
    let terminal = start(&tmux, &host, "--interval 1");
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
    drop(terminal);

    // A signal, as from a connection that is lost.
    let terminal = start(&tmux, &host, "blog");
    terminal.until(&["STATE   DOES"]);
    let pid = std::fs::read_to_string(host.folder().path().join("top.pid")).unwrap();
    assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
    terminal.until(&["ended 0", " icanon", " echo "]);
    drop(terminal);

    // A terminal that only prints.
    let line = format!("LIEGE_API=api.sock TERM=dumb {LIEGE} top; echo ended $?; cat");
    let terminal = Terminal::start(&tmux, host.folder().path(), &["sh", "-c", &line]);
    terminal.until(&["NAME", "日本.ini", "ended 0"]);
    assert!(!terminal.run(&["capture-pane", "-p", "-e"]).contains('\u{1b}'));
}
