//! A line that says how far something is: on a terminal only, and gone before anything else is printed.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use crate::sys::terminal;

/// The line. It is on standard error, so that what is printed stays clean.
#[derive(Debug)]
pub struct Progress {
    /// Since when it counts.
    since: Instant,
    allowed: bool,
    shown: bool,
}

impl Progress {
    /// One that is shown where both streams are a terminal, if that is `wanted`.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        let is_terminal = io::stderr().is_terminal() && io::stdout().is_terminal();
        let allowed = wanted && is_terminal && !terminal::is_dumb();
        Self { since: Instant::now(), allowed, shown: false }
    }

    /// Shows how far it is.
    pub fn show(&mut self, text: &str) {
        if self.allowed {
            let seconds = self.since.elapsed().as_secs();
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K{text}, {seconds} s");
            self.shown = true;
        }
    }

    /// Takes it away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
