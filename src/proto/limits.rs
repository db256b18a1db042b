//! Every limit that protects the protocol readers, named, with its default.

use std::time::Duration;

/// uWSGI's default for `buffer-size`: a value from here on only raises our limits, a lower one is meant to lower them.
const USUAL_BUFFER_BYTES: usize = 4096;
/// The longest uwsgi packet: its length is a 16-bit number.
const LONGEST_PACKET_BYTES: usize = 65_535;

/// What a peer may send, and how long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head: request line, fields, and the empty line.
    pub head_bytes: usize,
    /// Bytes of one line of a head, without its CRLF.
    pub line_bytes: usize,
    /// Fields in a head.
    pub fields: usize,
    /// Empty lines before a request line.
    pub blank_lines: usize,
    /// Bytes of one chunk of a body.
    pub chunk_bytes: u64,
    /// Bytes of chunk extensions in one body.
    pub chunk_extension_bytes: usize,
    /// Bytes of a trailer section.
    pub trailer_bytes: usize,
    /// Bytes of the variables of a uwsgi packet (`buffer-size`).
    pub packet_bytes: usize,
    /// From a connection's, or a request's, first byte to the end of the head.
    pub head_time: Duration,
    /// Between two reads of a body that bring something.
    pub body_idle: Duration,
    /// The same for one in chunks; `None`: as for any.
    pub chunk_idle: Option<Duration>,
    /// From the end of a response to the first byte of the next request.
    pub keep_alive_idle: Duration,
    /// Between two writes that make progress.
    pub write_stall: Duration,
    /// How long a connection is read on after its last response, so that the client gets it and not a reset.
    pub linger_time: Duration,
    /// How many bytes are read and thrown away in that time.
    pub linger_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 64 * 1024,
            line_bytes: 16 * 1024,
            fields: 200,
            blank_lines: 4,
            chunk_bytes: u64::MAX,
            chunk_extension_bytes: 16 * 1024,
            trailer_bytes: 16 * 1024,
            packet_bytes: LONGEST_PACKET_BYTES,
            head_time: Duration::from_secs(15),
            body_idle: Duration::from_secs(30),
            chunk_idle: None,
            keep_alive_idle: Duration::from_secs(5),
            write_stall: Duration::from_secs(30),
            linger_time: Duration::from_secs(2),
            linger_bytes: 1024 * 1024,
        }
    }
}

impl Limits {
    /// The defaults under `buffer-size`: below uWSGI's own default of 4096 it lowers the limits, otherwise it can
    /// only raise them, because in uWSGI's files it is there to make requests fit.
    #[must_use]
    pub fn with_buffer_size(bytes: u32) -> Self {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let usual = Self::default();
        if bytes < USUAL_BUFFER_BYTES {
            return Self { head_bytes: bytes, line_bytes: bytes, packet_bytes: bytes, ..usual };
        }
        Self { head_bytes: usual.head_bytes.max(bytes), line_bytes: usual.line_bytes.max(bytes), ..usual }
    }
}

impl Limits {
    /// The same with limits for bodies in chunks; 0: what held before.
    #[must_use]
    pub fn with_chunks(self, bytes: u64, idle_s: u32) -> Self {
        Self {
            chunk_bytes: if bytes == 0 { self.chunk_bytes } else { bytes },
            chunk_idle: (idle_s > 0).then(|| Duration::from_secs(idle_s.into())).or(self.chunk_idle),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffer_size_raises_and_lowers() {
        for (said, head, line, packet) in [
            (4096, 65_536, 16_384, 65_535),
            (32_768, 65_536, 32_768, 65_535),
            (200_000, 200_000, 200_000, 65_535),
            (2048, 2048, 2048, 2048),
        ] {
            let limits = Limits::with_buffer_size(said);
            assert_eq!((limits.head_bytes, limits.line_bytes, limits.packet_bytes), (head, line, packet));
        }
    }
}
