//! A terminal of its own for what runs full-screen or answers keys: tmux, on a server of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::wait::eventually;

/// A terminal. It ends with this.
pub(crate) struct Terminal {
    tmux: PathBuf,
    /// Where it runs, and its socket is.
    folder: PathBuf,
}

impl Terminal {
    /// One with 80 columns and 24 lines, in which this command runs.
    pub(crate) fn start(tmux: &Path, folder: &Path, command: &[&str]) -> Self {
        let terminal = Self { tmux: tmux.to_owned(), folder: folder.to_owned() };
        let session = [&["new-session", "-d", "-x", "80", "-y", "24"], command].concat();
        // A server that ends refuses it, and the next one begins.
        eventually("a terminal", || terminal.output(&session).status.success().then_some(()));
        terminal
    }

    /// Has tmux do something; gives what it says.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.output(arguments).stdout).into_owned()
    }

    fn output(&self, arguments: &[&str]) -> Output {
        Command::new(&self.tmux)
            .arg("-S")
            .arg(self.folder.join("tmux"))
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .unwrap()
    }

    /// The screen, once all these are on it.
    pub(crate) fn until(&self, parts: &[&str]) -> String {
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

    pub(crate) fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// Types a text as it is.
    pub(crate) fn types(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}
