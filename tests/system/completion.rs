//! Completions in the shells that they are for: names of vassals, asked of the emperor that the line names.

use std::path::Path;
use std::process::Command;

use crate::support::host::Host;
use crate::support::terminal::Terminal;
use crate::support::wait::until;
use crate::support::{LIEGE, free_port, program};

/// A name that would do harm if anything of it were expanded.
const ODD: &str = "$(touch run-by-completion) `touch run-by-completion`.ini";

/// Two vassals, an odd one and one with a colon, and an API at a port, too.
fn host(shell: &str, file: &str) -> (Host, u16) {
    let port = free_port();
    let texts = ["web-1.ini", "web-2.ini", "co:lon.ini", ODD].map(|name| (name, "[uwsgi]\n"));
    let host = Host::start_with(&texts, &[&format!("--api-http=127.0.0.1:{port}")]);
    until("all names", || texts.iter().all(|(name, _)| host.vassal(name).is_some()));
    let script = Command::new(LIEGE).args(["completions", shell]).output().unwrap().stdout;
    host.folder().write(file, String::from_utf8(script).unwrap());
    (host, port)
}

/// What the line becomes by a press of the tabulator. It is what a shell shows, so odd characters are quoted.
fn completes(terminal: &Terminal, port: u16, odd: &str) {
    let url = format!("http://127.0.0.1:{port}");
    let mut bad = Vec::new();
    terminal.until(&[">"]);
    let mut check = |line: &str, completed: &str| {
        let [line, completed] = [line, completed].map(|text| text.replace("URL", &url));
        terminal.types(&line);
        terminal.keys(&["Tab"]);
        let expected = format!("> {completed}");
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| terminal.until(&[&expected])));
        if seen.is_err() {
            bad.push(line);
        }
        terminal.keys(&["C-u"]);
    };
    check("liege reload web-1", "liege reload web-1.ini");
    check("liege reload --wait web-2", "liege reload --wait web-2.ini");
    check("liege --api api.sock why web-1", "liege --api api.sock why web-1.ini");
    check("liege --api api.sock wak", "liege --api api.sock wake");
    check("liege --api URL stacks web-2", "liege --api URL stacks web-2.ini");
    check("liege --api=URL wak", "liege --api=URL wake");
    check("liege why --api URL --js", "liege why --api URL --json");
    check("liege --hosts here=api.sock status web-2", "liege --hosts here=api.sock status web-2.ini");
    check("liege why co:l", "liege why co:lon.ini");
    check("liege why \\$", odd);
    assert!(bad.is_empty(), "{bad:#?}");
}

fn liege_first() -> String {
    format!("PATH={}:$PATH", Path::new(LIEGE).parent().unwrap().display())
}

#[test]
fn bash_completes_the_names_of_vassals_and_runs_none_of_them() {
    let (Some(tmux), Some(bash)) = (program("tmux"), program("bash")) else { return };
    let (host, port) = host("bash", "completion");
    let folder = host.folder();
    folder.write(
        "rc",
        format!(
            "PS1='> '; {}; export LIEGE_API=api.sock; bind 'set bell-style none'; source completion\n",
            liege_first()
        ),
    );
    let command = [bash.to_str().unwrap(), "--rcfile", "rc", "-i"];
    completes(&Terminal::start(&tmux, folder.path(), &command), port, "liege why $\\(touch\\ run");
    assert!(!folder.path().join("run-by-completion").exists());
}

#[test]
fn zsh_completes_the_names_of_vassals_and_runs_none_of_them() {
    let (Some(tmux), Some(zsh)) = (program("tmux"), program("zsh")) else { return };
    let (host, port) = host("zsh", "_liege");
    let folder = host.folder();
    folder.write(
        ".zshrc",
        format!(
            "PS1='> '; {}; export LIEGE_API=api.sock; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D\n",
            liege_first()
        ),
    );
    let command = ["env", "ZDOTDIR=.", zsh.to_str().unwrap(), "-i"];
    completes(&Terminal::start(&tmux, folder.path(), &command), port, "liege why \\$\\(touch\\ run");
    assert!(!folder.path().join("run-by-completion").exists());
}

#[test]
fn fish_completes_the_names_of_vassals() {
    let Some(fish) = program("fish") else { return };
    let (host, port) = host("fish", "completion");
    let complete = |line: &str| {
        let script = format!("source completion; complete -C '{}'", line.replace("PORT", &port.to_string()));
        let output = Command::new(&fish)
            .args(["--no-config", "-c", &script])
            .current_dir(host.folder().path())
            .env("LIEGE_API", "api.sock")
            .env("PATH", format!("{}:/usr/bin:/bin", Path::new(LIEGE).parent().unwrap().display()))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().filter_map(|line| line.split('\t').next()).collect::<Vec<_>>().join(" ")
    };
    for (line, completed) in [
        ("liege reload --wait web-", "web-1.ini web-2.ini"),
        ("liege --api api.sock wak", "wake"),
        ("liege --api http://127.0.0.1:PORT why web-", "web-1.ini web-2.ini"),
        ("liege --api=http://127.0.0.1:PORT wak", "wake"),
        ("liege --hosts here=api.sock status web-", "web-1.ini web-2.ini"),
        ("liege why --js", "--json"),
        ("liege why co:", "co:lon.ini"),
    ] {
        assert_eq!(complete(line), completed, "{line}");
    }
}
