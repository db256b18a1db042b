//! The output of an instance: read as it comes, cut into lines, tagged with the vassal's name, and the last of it kept.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::fleet::{LOG_LINES, LogLine, Vassal};
use super::handle::Handle;
use crate::sys::{clock, reactor};
use crate::trace;

/// A longer line is cut into several.
const LINE_LIMIT_BYTES: usize = 4096;
/// How much is kept of a vassal's output, in bytes: less than [`LOG_LINES`] lines when they are long.
const KEPT_BYTES: usize = 64 * 1024;
/// How much is read of one vassal in each [`WINDOW`]; then its pipe fills, and its master drops lines and counts them.
const PORTION_BYTES: usize = 1024 * 1024;
const WINDOW: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 16 * 1024;

/// The read end of an instance's output. The reading goes on to the output's end, also when this value is gone.
#[derive(Debug)]
pub struct LogPipe {
    pipe: Rc<AsyncFd<OwnedFd>>,
    begun: Rc<RefCell<Lines>>,
}

impl LogPipe {
    /// Starts reading; `begun` is the start of a line that an earlier image of this process read.
    ///
    /// # Errors
    /// Registering the pipe.
    pub fn start(pipe: OwnedFd, begun: Vec<u8>, vassal: &str, handle: Handle) -> io::Result<Self> {
        let pipe = Rc::new(reactor::register_readable(pipe)?);
        let begun = Rc::new(RefCell::new(Lines { begun }));
        let reader = Reader { vassal: vassal.to_owned(), handle, lines: begun.clone() };
        spawn_local(reader.read(pipe.clone()));
        Ok(Self { pipe, begun })
    }

    /// The start of a line whose end was not read yet.
    #[must_use]
    pub fn begun(&self) -> Vec<u8> {
        self.begun.borrow().begun.clone()
    }
}

impl AsFd for LogPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.get_ref().as_fd()
    }
}

struct Reader {
    vassal: String,
    handle: Handle,
    lines: Rc<RefCell<Lines>>,
}

impl Reader {
    async fn read(self, pipe: Rc<AsyncFd<OwnedFd>>) {
        let mut window = Instant::now() + WINDOW;
        let mut left = PORTION_BYTES;
        loop {
            if left == 0 {
                sleep_until(window).await;
            }
            if Instant::now() >= window {
                window = Instant::now() + WINDOW;
                left = PORTION_BYTES;
            }
            let Ok(mut ready) = pipe.readable().await else { return };
            match self.read_lines(pipe.get_ref()) {
                Ok((0, _)) => break,
                Ok((length, lines)) => {
                    left = left.saturating_sub(length);
                    self.pass_on(lines);
                    // Others' turn: this one may have more than it is worth.
                    tokio::task::yield_now().await;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let rest = self.lines.borrow_mut().rest();
        self.pass_on(rest);
    }

    /// How many bytes were read, and the lines that end in them. Its buffer is nobody's while all wait: of hundreds of
    /// vassals each would hold one.
    fn read_lines(&self, pipe: &OwnedFd) -> io::Result<(usize, Vec<String>)> {
        let mut buffer = [0; READ_BYTES];
        let length = reactor::read(pipe, &mut buffer)?;
        let lines = self.lines.borrow_mut().take(buffer.get(..length).unwrap_or_default());
        Ok((length, lines))
    }

    fn pass_on(&self, lines: Vec<String>) {
        let at_epoch_ms = clock::epoch_ms();
        for line in &lines {
            tracing::info!(target: "liege::vassal", vassal = self.vassal, "{line}");
        }
        let mut fleet = self.handle.fleet();
        let redact = fleet.rules.redact_queries;
        if let Some(vassal) = fleet.vassals.get_mut(&self.vassal) {
            for text in lines {
                let text = if redact { without_queries(&text) } else { text };
                keep(vassal, at_epoch_ms, text);
            }
        }
        drop(fleet);
        self.handle.logged();
    }
}

/// Adds a line to the last ones of a vassal.
fn keep(vassal: &mut Vassal, at_epoch_ms: u64, text: String) {
    let number = vassal.log.back().map_or(0, |line| line.number) + 1;
    vassal.log.push_back(LogLine { number, at_epoch_ms, text });
    let mut bytes: usize = vassal.log.iter().map(|line| line.text.len()).sum();
    while vassal.log.len() > LOG_LINES || bytes > KEPT_BYTES {
        bytes -= vassal.log.pop_front().map_or(bytes, |line| line.text.len());
    }
}

/// A line whose paths and addresses have lost what follows their `?`.
fn without_queries(line: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`' | ')' | ']');
    let parts = line.split_inclusive(is_end).map(|part| {
        let (word, end) = part
            .strip_suffix(is_end)
            .map_or((part, ""), |word| (word, part.get(word.len()..).unwrap_or_default()));
        match word.split_once('?') {
            Some((path, query)) if path.contains('/') && !query.is_empty() => format!("{path}?…{end}"),
            _ => part.to_owned(),
        }
    });
    parts.collect()
}

/// Cuts bytes into lines.
#[derive(Debug, Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.begun.push(byte);
            }
            if byte == b'\n' || self.begun.len() >= LINE_LIMIT_BYTES {
                lines.push(readable(&std::mem::take(&mut self.begun)));
            }
        }
        lines
    }

    /// What is left at the end.
    fn rest(&mut self) -> Vec<String> {
        if self.begun.is_empty() { Vec::new() } else { vec![readable(&std::mem::take(&mut self.begun))] }
    }
}

fn readable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    trace::escaped(&String::from_utf8_lossy(line))
}

#[cfg(test)]
mod tests {
    use super::super::fleet::FileIdentity;
    use super::*;

    #[test]
    fn queries_are_left_out_where_that_is_asked_for() {
        for (line, expected) in [
            ("[1] \"GET /a?token=x&y HTTP/1.1\" 200", "[1] \"GET /a?… HTTP/1.1\" 200"),
            ("fetch https://u/b?k=1#z, then ü", "fetch https://u/b?… then ü"),
            ("why? what?ever /c? (/d?e)", "why? what?ever /c? (/d?…)"),
            ("", ""),
        ] {
            assert_eq!(without_queries(line), expected);
        }
    }

    #[test]
    fn lines_are_cut_wherever_the_reads_were() {
        let output = b"one\ntwo\r\n\x1b[31mred\xff\nlast";
        for cut in 0..output.len() {
            let mut lines = Lines::default();
            let mut all = lines.take(&output[..cut]);
            all.extend(lines.take(&output[cut..]));
            all.extend(lines.rest());
            assert_eq!(all, ["one", "two", "\\x1b[31mred\u{fffd}", "last"], "{cut}");
        }
        let mut lines = Lines::default();
        assert_eq!(lines.take(&[b'x'; 2 * LINE_LIMIT_BYTES + 1]).len(), 2);
        assert_eq!(lines.rest(), ["x"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let mut vassal = Vassal::new("a.ini".into(), "/v".into(), FileIdentity::default());
        for n in 0..LOG_LINES + 5 {
            keep(&mut vassal, 0, n.to_string());
        }
        assert_eq!(vassal.log.len(), LOG_LINES);
        let oldest = vassal.log.front().unwrap();
        assert_eq!((oldest.text.as_str(), oldest.number), ("5", 6));
        for _ in 0..100 {
            keep(&mut vassal, 0, "x".repeat(LINE_LIMIT_BYTES));
        }
        assert_eq!(vassal.log.len(), KEPT_BYTES / LINE_LIMIT_BYTES);
    }
}
