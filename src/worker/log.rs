//! Text for the log that is not an event of ours: request lines, tracebacks, what the application writes.

use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use pyo3::Python;

use super::host::Host;
use crate::stats::scoreboard::Total;
use crate::sys::stderr::{Descriptor, LINE_LIMIT_BYTES, Stderr};

static STDERR: Mutex<Option<Stderr>> = Mutex::new(None);
/// Where lines of requests go, if not to standard error.
static REQUESTS: Mutex<Option<Descriptor>> = Mutex::new(None);

/// Lines of requests have a way of their own.
pub(super) fn send_requests_to(way: OwnedFd) {
    *REQUESTS.lock().unwrap_or_else(PoisonError::into_inner) = Some(Descriptor::new(way));
}

/// Writes text, each of its lines in one piece, without ever waiting for the log's reader: what finds no room is
/// dropped and counted. Detached, because another thread may be writing.
pub(super) fn write(py: Python<'_>, text: &str) {
    py.detach(|| {
        for line in pieces(text) {
            write_line(line);
        }
    });
}

/// The same for the line of a request.
pub(super) fn write_request(py: Python<'_>, text: &str) {
    py.detach(|| {
        let mut requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
        for line in pieces(text) {
            match requests.as_mut() {
                Some(way) => count_unless(way.write(line).is_ok()),
                None => write_line(line),
            }
        }
    });
}

fn write_line(line: &[u8]) {
    let mut stderr = STDERR.lock().unwrap_or_else(PoisonError::into_inner);
    count_unless(stderr.get_or_insert_default().write(line));
}

fn count_unless(written: bool) {
    if !written && let Some(host) = Host::get() {
        host.board.add_total(Total::LogLinesDropped, 1);
    }
}

/// Pieces that a pipe takes whole, as many lines in each as fit.
fn pieces(text: &str) -> impl Iterator<Item = &[u8]> {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let piece = rest.get(..LINE_LIMIT_BYTES).map_or(rest, |full| {
            let end = full.iter().rposition(|&byte| byte == b'\n').map_or(full.len(), |at| at + 1);
            full.get(..end).unwrap_or(full)
        });
        rest = rest.get(piece.len()..).unwrap_or_default();
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_lines_and_lose_nothing() {
        for text in [
            String::new(),
            "a\nb\n".to_owned(),
            "x".repeat(3 * LINE_LIMIT_BYTES + 1),
            "0123456789\n".repeat(LINE_LIMIT_BYTES),
        ] {
            let pieces: Vec<&[u8]> = pieces(&text).collect();
            assert_eq!(pieces.concat(), text.as_bytes());
            assert!(pieces.iter().all(|piece| (1..=LINE_LIMIT_BYTES).contains(&piece.len())));
            if text.contains('\n') {
                assert!(pieces.iter().all(|piece| piece.ends_with(b"\n")));
            }
        }
    }
}
