//! Where lines go: the journal behind standard error, else standard error itself. Neither is waited for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tracing::Level;

use super::parts::Parts;
use super::{Style, entry, line};
use crate::sys::journal::Journal;
use crate::sys::stderr::{Stderr, full};

#[derive(Debug)]
pub(super) struct Out {
    pub(super) journal: Option<Journal>,
    stderr: Stderr,
    dropped: u64,
}

impl Out {
    pub(super) const fn new() -> Self {
        Self { journal: None, stderr: Stderr::new(), dropped: 0 }
    }

    /// Whether standard error is a file that nobody reads as lines come.
    pub(super) fn is_file(&self) -> bool {
        self.journal().is_none() && self.stderr.is_file()
    }

    /// What is full; `None`: the next line finds room.
    pub(super) fn full(&self) -> Option<OwnedFd> {
        let stderr = io::stderr();
        full(self.journal().and_then(Journal::socket).unwrap_or(stderr.as_fd()))
    }

    /// The journal, as long as it reads standard error.
    fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref().filter(|journal| journal.reads_stderr())
    }

    /// Says how many lines were lost before this one, and counts it if it is lost, too.
    pub(super) fn put(&mut self, style: Style<'_>, level: Level, parts: &Parts) {
        if self.dropped > 0 {
            let lost = Parts {
                message: format!("{} log lines were dropped: there was no room for them", self.dropped),
                ..Parts::default()
            };
            if self.write(style, Level::WARN, &lost) {
                self.dropped = 0;
            }
        }
        if !self.write(style, level, parts) {
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// `false`: nothing had room for it.
    fn write(&mut self, style: Style<'_>, level: Level, parts: &Parts) -> bool {
        // The journal reads standard error by a queue of its own: what one has no room for may fit the other.
        let journal = self.journal.as_mut().filter(|journal| journal.reads_stderr());
        journal.is_some_and(|journal| entry::of(style, level, parts, |fields| journal.send(fields)).is_ok())
            || self.stderr.write(line(style, level, parts).as_bytes())
    }
}
