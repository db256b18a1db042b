//! What zygotes and workers print goes through a pipe of the master, so that no reader of the log can hold them up.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use tokio::io::unix::AsyncFd;

use super::log_file::LogFile;
use crate::stats::scoreboard::{Scoreboard, Total};
use crate::sys::stderr::{LINE_LIMIT_BYTES, Stderr};
use crate::sys::{fd, pipe, reactor};

/// As much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// The scoreboard in use, on which dropped lines are counted.
pub(super) type Board = Rc<RefCell<Rc<Scoreboard>>>;

/// The pipe: the end that is read here, and the one that children get.
#[derive(Debug)]
pub(super) struct Output {
    reader: OwnedFd,
    writer: OwnedFd,
    lines: Rc<RefCell<Lines>>,
}

impl Output {
    /// Makes the pipe.
    ///
    /// # Errors
    /// `pipe`.
    pub(super) fn new() -> io::Result<Self> {
        let (reader, writer) = pipe::for_output()?;
        Ok(Self::from_parts(reader, writer))
    }

    /// The pipe of the image before this one.
    pub(super) fn from_parts(reader: OwnedFd, writer: OwnedFd) -> Self {
        Self { reader, writer, lines: Rc::default() }
    }

    /// Both ends, the one that is read first.
    pub(super) const fn parts(&self) -> [&OwnedFd; 2] {
        [&self.reader, &self.writer]
    }

    /// An end for a child.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn for_child(&self) -> io::Result<OwnedFd> {
        self.writer.try_clone()
    }

    /// Begins to relay to this process's standard error.
    ///
    /// # Errors
    /// Registering the pipe.
    pub(super) fn start(&self, board: Board) -> io::Result<()> {
        let reader = fd::duplicate_high(&self.reader)?;
        let file = File::from(reader.as_fd().try_clone_to_owned()?);
        let source = reactor::register_readable(reader)?;
        tokio::task::spawn_local(relay(source, file, Rc::clone(&self.lines), board));
        Ok(())
    }

    /// Keeps this file as short as it says.
    pub(super) fn keep(&self, file: Option<LogFile>) {
        self.lines.borrow_mut().file = file;
    }

    /// Does something with the file that is logged to, if it is one.
    pub(super) fn with_file(&self, act: impl FnOnce(&mut LogFile)) {
        if let Some(file) = &mut self.lines.borrow_mut().file {
            act(file);
        }
    }

    /// Writes a line that is not complete yet, before whoever waits for the rest is gone.
    pub(super) fn flush(&self, board: &Scoreboard) {
        self.lines.borrow_mut().flush(board);
    }

    /// Relays what is in the pipe now, for the last time.
    pub(super) fn finish(&self, board: &Scoreboard) {
        let Ok(reader) = self.reader.try_clone() else { return };
        let mut file = File::from(reader);
        let mut lines = self.lines.borrow_mut();
        let mut buffer = vec![0; READ_BYTES];
        // Non-blocking, and whoever wrote to it is gone.
        while let Ok(length @ 1..) = file.read(&mut buffer) {
            lines.relay(buffer.get(..length).unwrap_or_default(), board);
        }
        lines.flush(board);
    }
}

async fn relay(source: AsyncFd<OwnedFd>, mut file: File, lines: Rc<RefCell<Lines>>, board: Board) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let Ok(mut ready) = source.readable().await else { return };
        match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                lines.borrow_mut().relay(buffer.get(..length).unwrap_or_default(), &board.borrow());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
        // A flood must not keep the master from anything else.
        tokio::task::yield_now().await;
    }
}

/// Cuts the stream into writes of whole lines that a pipe takes whole or not at all.
#[derive(Debug, Default)]
struct Lines {
    waiting: Vec<u8>,
    stderr: Stderr,
    file: Option<LogFile>,
}

impl Lines {
    fn relay(&mut self, bytes: &[u8], board: &Scoreboard) {
        self.waiting.extend_from_slice(bytes);
        let mut rest = std::mem::take(&mut self.waiting);
        while let Some(end) = next_write(&rest) {
            let tail = rest.split_off(end);
            self.write(&rest, board);
            rest = tail;
        }
        self.waiting = rest;
    }

    fn flush(&mut self, board: &Scoreboard) {
        let mut rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            rest.push(b'\n');
            self.write(&rest, board);
        }
    }

    fn write(&mut self, lines: &[u8], board: &Scoreboard) {
        if !self.stderr.write(lines) {
            let count = lines.iter().filter(|b| **b == b'\n').count().max(1);
            board.add_total(Total::LogLinesDropped, u64::try_from(count).unwrap_or(1));
        }
        if let Some(file) = &mut self.file {
            file.keep_short();
        }
    }
}

/// Where the next write ends: after the last line that fits, or in the middle of one that never would.
fn next_write(bytes: &[u8]) -> Option<usize> {
    let window = bytes.get(..LINE_LIMIT_BYTES.min(bytes.len()))?;
    match window.iter().rposition(|b| *b == b'\n') {
        Some(at) => Some(at + 1),
        None => (window.len() == LINE_LIMIT_BYTES).then_some(LINE_LIMIT_BYTES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_whole_lines_within_the_limit() {
        let long = "x".repeat(LINE_LIMIT_BYTES + 10) + "\nafter\n";
        let cases: [(&[u8], Option<usize>); 6] = [
            (b"", None),
            (b"half", None),
            (b"one\n", Some(4)),
            (b"one\ntwo\nhalf", Some(8)),
            (long.as_bytes(), Some(LINE_LIMIT_BYTES)),
            (&long.as_bytes()[LINE_LIMIT_BYTES..], Some(17)),
        ];
        for (bytes, end) in cases {
            assert_eq!(next_write(bytes), end);
        }
    }
}
