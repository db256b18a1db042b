//! Why a peer's bytes are not taken for a request, and the complete answer that says so.

use std::fmt;
use std::time::SystemTime;

/// A refused message: the status to answer, and the reason for the log. Neither repeats a byte of the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status, 400 to 599.
    pub status: u16,
    /// What is wrong, for the log.
    pub reason: &'static str,
}

impl Refusal {
    /// A refusal with any status.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// Malformed: 400.
    #[must_use]
    pub const fn bad(reason: &'static str) -> Self {
        Self::new(400, reason)
    }

    /// The complete HTTP/1.1 answer, which announces that the connection closes.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let phrase = phrase(self.status);
        format!(
            "HTTP/1.1 {} {phrase}\r\nDate: {}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{phrase}",
            self.status,
            httpdate::fmt_http_date(SystemTime::now()),
            phrase.len(),
        )
        .into_bytes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.status)
    }
}

impl std::error::Error for Refusal {}

/// The words that follow a status of our own, which are also the whole page.
#[must_use]
pub fn phrase(status: u16) -> &'static str {
    http::StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error")
}
