//! The output of an instance: read as it comes, cut into lines, logged with the vassal's name in turns with the others,
//! and the last of it kept.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use memchr::memchr;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::fleet::{LOG_LINES, LogLine, Vassal};
use super::handle::Handle;
use crate::sys::{clock, reactor};
use crate::trace;

/// A longer line is cut into several. With the time and the vassal's name in front, or as JSON, such a piece is a line that
/// the log need not cut again.
const LINE_LIMIT_BYTES: usize = trace::LINE_LIMIT_BYTES - 512;
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
    /// Starts reading; `begun` is what an earlier image of this process read and did not log.
    ///
    /// # Errors
    /// Registering the pipe.
    pub fn start(pipe: OwnedFd, begun: Vec<u8>, vassal: &str, handle: Handle) -> io::Result<Self> {
        let pipe = Rc::new(reactor::register_readable(pipe)?);
        let begun = Rc::new(RefCell::new(Lines { begun: begun.into() }));
        let reader = Reader { vassal: vassal.to_owned(), handle, lines: begun.clone() };
        spawn_local(reader.read(pipe.clone()));
        Ok(Self { pipe, begun })
    }

    /// What was read and not logged yet: whole lines that wait for their turn, and the start of one.
    #[must_use]
    pub fn begun(&self) -> Vec<u8> {
        self.begun.borrow().begun.iter().copied().collect()
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
            self.log_lines().await;
            if left == 0 {
                sleep_until(window).await;
            }
            if Instant::now() >= window {
                window = Instant::now() + WINDOW;
                left = PORTION_BYTES;
            }
            let Ok(mut ready) = pipe.readable().await else { return };
            match self.read_more(pipe.get_ref()) {
                Ok(0) => break,
                Ok(length) => left = left.saturating_sub(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.lines.borrow_mut().end();
        self.log_lines().await;
    }

    /// How many bytes were read. The buffer is nobody's while all wait: of hundreds of vassals each would hold one.
    fn read_more(&self, pipe: &OwnedFd) -> io::Result<usize> {
        let mut buffer = [0; READ_BYTES];
        let length = reactor::read(pipe, &mut buffer)?;
        self.lines.borrow_mut().add(buffer.get(..length).unwrap_or_default());
        Ok(length)
    }

    /// Logs the lines that were read, in turns with the other vassals.
    async fn log_lines(&self) {
        while self.lines.borrow().has_one() {
            let mut turn = TURN.lock().await;
            let mut bytes = 0;
            for _ in 0..TURN_LINES {
                if bytes >= TURN_BYTES || !self.lines.borrow().has_one() {
                    break;
                }
                turn.wait_for_room(trace::full, PATIENCE).await;
                // Taken only now: what waits is handed over when the emperor re-executes itself.
                let Some(line) = self.lines.borrow_mut().next() else { break };
                bytes += line.len();
                tracing::info!(target: trace::OUTPUT, vassal = self.vassal, "{line}");
                self.keep(line);
            }
            drop(turn);
            self.handle.logged();
            // Others' turn, and not only to log: this one may have more than it is worth.
            tokio::task::yield_now().await;
        }
        self.lines.borrow_mut().shrink();
    }

    fn keep(&self, text: String) {
        let mut fleet = self.handle.fleet();
        let redact = fleet.rules.redact_queries;
        if let Some(vassal) = fleet.vassals.get_mut(&self.vassal) {
            let text = if redact { without_queries(&text) } else { text };
            keep(vassal, clock::epoch_ms(), text);
        }
    }
}

/// How many lines a vassal logs before the next one that waits has its turn, and how many bytes: meanwhile the emperor
/// does nothing else.
const TURN_LINES: usize = 64;
const TURN_BYTES: usize = 16 * 1024;
/// How long lines wait for a log that takes none at all. Then they are dropped and counted until it takes some again, so
/// that at least what is kept goes on.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose turn it is to log, first come first served. While the log is full the others' lines stay in their pipes, so a
/// vassal that floods it costs none of them a line.
static TURN: Mutex<Turn> = Mutex::const_new(Turn { given_up: false });

struct Turn {
    given_up: bool,
}

impl Turn {
    /// `full` is what has no room, as long as that is so.
    async fn wait_for_room(&mut self, full: impl Fn() -> Option<OwnedFd>, patience: Duration) {
        let end = Instant::now() + patience;
        while let Some(full) = full() {
            self.given_up =
                self.given_up || !matches!(timeout_at(end, reactor::writable(full)).await, Ok(Ok(())));
            if self.given_up {
                return;
            }
        }
        self.given_up = false;
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

/// Bytes on their way to be lines.
#[derive(Debug, Default)]
struct Lines {
    begun: VecDeque<u8>,
}

impl Lines {
    fn add(&mut self, bytes: &[u8]) {
        self.begun.extend(bytes);
    }

    /// There will be no more: what is left is a line.
    fn end(&mut self) {
        if self.begun.back().is_some_and(|last| *last != b'\n') {
            self.begun.push_back(b'\n');
        }
    }

    /// How long the first line is, without its end.
    fn length(&self) -> Option<usize> {
        let (first, second) = self.begun.as_slices();
        let head = |bytes: &[u8], most: usize| memchr(b'\n', bytes.get(..most).unwrap_or(bytes));
        let in_second = || {
            let left = (LINE_LIMIT_BYTES + 1).checked_sub(first.len())?;
            Some(head(second, left)? + first.len())
        };
        let end = head(first, LINE_LIMIT_BYTES + 1).or_else(in_second);
        end.or_else(|| (self.begun.len() > LINE_LIMIT_BYTES).then(|| self.whole_characters()))
    }

    /// How much of a line that is too long makes one, without a part of a character.
    fn whole_characters(&self) -> usize {
        let begins = |at: &usize| self.begun.get(*at).is_none_or(|byte| byte & 0xc0 != 0x80);
        (LINE_LIMIT_BYTES - 3..=LINE_LIMIT_BYTES).rev().find(begins).unwrap_or(LINE_LIMIT_BYTES)
    }

    fn has_one(&self) -> bool {
        self.length().is_some()
    }

    /// Keeps no room for more than is there.
    fn shrink(&mut self) {
        self.begun.shrink_to_fit();
    }

    fn next(&mut self) -> Option<String> {
        let length = self.length()?;
        let line: Vec<u8> = self.begun.drain(..length).collect();
        if self.begun.front() == Some(&b'\n') {
            self.begun.pop_front();
        }
        Some(readable(&line))
    }
}

fn readable(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    trace::escaped(&String::from_utf8_lossy(line))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::super::fleet::FileIdentity;
    use super::*;
    use crate::sys::stderr;

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
            let mut all = Vec::new();
            for part in [&output[..cut], &output[cut..]] {
                lines.add(part);
                all.extend(std::iter::from_fn(|| lines.next()));
            }
            lines.end();
            all.extend(std::iter::from_fn(|| lines.next()));
            assert_eq!(all, ["one", "two", "\\x1b[31mred\u{fffd}", "last"], "{cut}");
        }
        let mut lines = Lines::default();
        lines.add(&[b'x'; 2 * LINE_LIMIT_BYTES + 1]);
        lines.end();
        let lengths: Vec<usize> = std::iter::from_fn(|| lines.next()).map(|line| line.len()).collect();
        assert_eq!(lengths, [LINE_LIMIT_BYTES, LINE_LIMIT_BYTES, 1]);
        lines.end();
        assert_eq!(lines.next(), None);
        let long = "x".to_owned() + &"ü€😀".repeat(2000);
        lines.add(long.as_bytes());
        lines.end();
        let pieces: Vec<String> = std::iter::from_fn(|| lines.next()).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= LINE_LIMIT_BYTES));
        assert_eq!(pieces.concat(), long);
        let exact = "x".repeat(LINE_LIMIT_BYTES);
        lines.add(format!("{exact}\n\nafter\n").as_bytes());
        let all: Vec<String> = std::iter::from_fn(|| lines.next()).collect();
        assert_eq!(all, [exact.as_str(), "", "after"]);
    }

    #[test]
    fn lines_are_whole_wherever_they_lie_in_the_buffer() {
        let line = |number: usize| "x".repeat(number * 7 % 300) + &number.to_string();
        let (mut lines, mut taken) = (Lines::default(), 0);
        for number in 0..2000 {
            lines.add(format!("{}\n", line(number)).as_bytes());
            while taken + 10 < number {
                assert_eq!(lines.next(), Some(line(taken)));
                taken += 1;
            }
        }
    }

    #[tokio::test]
    async fn a_log_that_takes_nothing_is_waited_for_once() {
        let (log, reader) = UnixStream::pair().unwrap();
        log.set_nonblocking(true).unwrap();
        let full = || stderr::full(log.as_fd());
        let mut turn = Turn { given_up: false };
        turn.wait_for_room(full, Duration::ZERO).await;
        assert!(!turn.given_up, "there is room");
        let sent: usize = std::iter::from_fn(|| (&log).write(&[0; 4096]).ok()).sum();
        turn.wait_for_room(full, Duration::from_millis(1)).await;
        assert!(turn.given_up);
        // A second time it would be for ever.
        turn.wait_for_room(full, Duration::from_secs(86_400)).await;
        assert!(turn.given_up);
        let drained = std::thread::spawn(move || {
            let read = (&reader).take(sent as u64).read_to_end(&mut Vec::new());
            (reader, read.unwrap())
        });
        turn.given_up = false;
        turn.wait_for_room(full, Duration::from_secs(30)).await;
        assert!(!turn.given_up);
        assert_eq!(drained.join().unwrap().1, sent);
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
