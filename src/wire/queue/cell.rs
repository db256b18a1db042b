//! What is in a cell of the queue: a head and a body, or where they are to be had.

use std::sync::atomic::{AtomicU64, Ordering};

/// How much of head and body together fits into a cell.
pub const CELL_BYTES: usize = (WORDS - START) * 8;

pub(super) const WORDS: usize = 2048;
const UNWANTED: usize = 0;
const HEAD_LENGTH: usize = 1;
const BODY_LENGTH: usize = 2;
const HELD_LENGTH: usize = 3;
const SINCE: usize = 4;
const START: usize = 8;

/// The contents of a cell. Only one side writes at a time: the router before it lays a request, the worker between its
/// claim and its answer.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a>(&'a [AtomicU64]);

/// What was read from a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The head; empty where it is longer than a cell and has to be asked for.
    pub head: Vec<u8>,
    /// The head's length.
    pub head_length: usize,
    /// The body; empty where it has to be asked for.
    pub body: Vec<u8>,
    /// The body's length.
    pub body_length: u64,
}

impl<'a> Place<'a> {
    pub(super) const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Whether a head and a body fit.
    #[must_use]
    pub const fn fits(head: usize, body: usize) -> bool {
        // The body begins at a whole word.
        head <= CELL_BYTES && body <= CELL_BYTES && head.next_multiple_of(8) + body <= CELL_BYTES
    }

    /// Puts a head and a body in as far as they fit: both, the head alone, or only their lengths. `body` is `None`
    /// where it is not in memory.
    pub fn put(self, head: &[u8], body: Option<&[u8]>, body_length: u64) {
        let body = body.filter(|body| Self::fits(head.len(), body.len()));
        let mut held = 0;
        if Self::fits(head.len(), 0) {
            store(self.from(START), head);
            held = head.len();
            if let Some(body) = body {
                store(self.from(START + head.len().div_ceil(8)), body);
                held += body.len();
            }
        }
        self.set(UNWANTED, 0);
        self.set(HEAD_LENGTH, as_u64(head.len()));
        self.set(BODY_LENGTH, body_length);
        self.set(HELD_LENGTH, as_u64(held));
    }

    /// Since when the request waits, in microseconds of the monotonic clock.
    pub fn stamp(self, since_us: u64) {
        self.set(SINCE, since_us);
    }

    /// The same, for the worker.
    #[must_use]
    pub fn since_us(self) -> u64 {
        self.number(SINCE)
    }

    /// Reads it; `None` where the numbers do not go together.
    #[must_use]
    pub fn get(self) -> Option<Contents> {
        let head_length = usize::try_from(self.number(HEAD_LENGTH)).ok()?;
        let body_length = self.number(BODY_LENGTH);
        let held = usize::try_from(self.number(HELD_LENGTH)).ok()?;
        if held == 0 {
            return Some(Contents { head: Vec::new(), head_length, body: Vec::new(), body_length });
        }
        let body_held = held.checked_sub(head_length)?;
        if !Self::fits(head_length, body_held) || (body_held > 0 && as_u64(body_held) != body_length) {
            return None;
        }
        let head = load(self.from(START), head_length);
        let body = load(self.from(START + head_length.div_ceil(8)), body_held);
        Some(Contents { head, head_length, body, body_length })
    }

    /// The router: nobody waits for the answer any more.
    pub fn give_up(self) {
        self.set(UNWANTED, 1);
    }

    /// The worker: whether somebody still waits for the answer.
    #[must_use]
    pub fn is_wanted(self) -> bool {
        self.number(UNWANTED) == 0
    }

    fn from(self, word: usize) -> &'a [AtomicU64] {
        self.0.get(word..).unwrap_or_default()
    }

    fn number(self, at: usize) -> u64 {
        self.0.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    pub(super) fn set(self, at: usize, value: u64) {
        if let Some(word) = self.0.get(at) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*chunk), Ordering::Relaxed);
    }
    if let Some(word) = words.get(whole.len()).filter(|_| !rest.is_empty()) {
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        word.store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}

fn load(words: &[AtomicU64], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length.next_multiple_of(8));
    for word in words.iter().take(length.div_ceil(8)) {
        bytes.extend_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn as_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
