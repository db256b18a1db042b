//! The output of a companion on its way to the log: each line marked with whose it is.

use std::collections::VecDeque;

use crate::sys::stderr::{LINE_LIMIT_BYTES, Stderr};

/// How often writing is tried again before what waits is given up: the reader hangs, and the program must not.
const TRIES: u32 = 100;

/// Writes whole, marked lines to standard error, and never waits for its reader itself.
#[derive(Debug)]
pub(super) struct Tagged {
    tag: Vec<u8>,
    line: Vec<u8>,
    waiting: VecDeque<Vec<u8>>,
    stderr: Stderr,
    tries: u32,
    lost: usize,
}

impl Tagged {
    pub(super) fn new(name: &str) -> Self {
        let (tag, stderr) = (format!("[{name}] ").into_bytes(), Stderr::default());
        Self { tag, line: Vec::new(), waiting: VecDeque::new(), stderr, tries: 0, lost: 0 }
    }

    /// Whether lines wait for their reader: until they are gone no more should be taken.
    pub(super) fn is_full(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes what was read; writes every line that is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let mut rest = part;
            while !rest.is_empty() {
                let room = LINE_LIMIT_BYTES.saturating_sub(self.tag.len() + self.line.len() + 1).max(1);
                let (now, later) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                self.line.extend_from_slice(now);
                rest = later;
                if self.line.ends_with(b"\n") || !rest.is_empty() {
                    self.end_line();
                }
            }
        }
        self.write();
    }

    /// There will be no more: a line that is not complete is one, too.
    pub(super) fn end(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.write();
    }

    /// Writes what waits; gives it up after too many tries.
    pub(super) fn write(&mut self) {
        if self.lost > 0 {
            let note = format!("({} lines were lost: the log was not read)\n", self.lost);
            if self.stderr.write(&[&self.tag, note.as_bytes()].concat()) {
                self.lost = 0;
            }
        }
        while let Some(line) = self.waiting.front() {
            if !self.stderr.write(line) {
                self.tries += 1;
                if self.tries >= TRIES {
                    self.lost += self.waiting.len();
                    self.waiting.clear();
                }
                return;
            }
            self.tries = 0;
            self.waiting.pop_front();
        }
    }

    fn end_line(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        if !line.ends_with(b"\n") {
            line.push(b'\n');
        }
        self.waiting.push_back([&self.tag[..], &line].concat());
    }
}
