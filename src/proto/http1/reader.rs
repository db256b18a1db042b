//! Message boundaries in a stream of requests: says how many of the bytes at hand are valid, whole heads and parts of bodies.

use super::chunked::Chunks;
use super::head::{Framing, HeadReader};
use crate::proto::limits::Limits;
use crate::proto::refusal::Refusal;

/// Where in the stream we are.
#[derive(Clone, Debug)]
enum Phase {
    Head(HeadReader),
    Length(u64),
    Chunked(Chunks),
    /// Nothing that follows is a request.
    Over,
}

/// Follows a stream of requests.
#[derive(Clone, Debug)]
pub struct Reader {
    limits: Limits,
    phase: Phase,
    /// The request being read asked for the connection to close after it.
    last: bool,
    requests: u64,
    refusal: Option<Refusal>,
    /// The refusal struck inside a body, whose head is accepted.
    refused_body: bool,
}

impl Reader {
    /// At the start of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self::after(limits, 0)
    }

    /// Behind so many requests.
    #[must_use]
    pub fn after(limits: Limits, requests: u64) -> Self {
        Self {
            limits,
            phase: Phase::Head(HeadReader::default()),
            last: false,
            requests,
            refusal: None,
            refused_body: false,
        }
    }

    /// Goes on in `bytes`, which start with the first byte not accepted before, and gives how many of them are
    /// accepted. Those of an incomplete head are not: they come again with what follows.
    pub fn accept(&mut self, bytes: &[u8]) -> usize {
        let mut accepted = 0;
        while let Some(rest) = bytes.get(accepted..).filter(|rest| !rest.is_empty()) {
            let (taken, refusal) = self.step(rest);
            accepted += taken;
            if let Some(refusal) = refusal {
                self.refuse(refusal);
            }
            if taken == 0 {
                break;
            }
        }
        accepted
    }

    /// Why the stream was cut off.
    #[must_use]
    pub const fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// The same where it struck before a head was complete, so that nobody else will answer it.
    #[must_use]
    pub fn refused_head(&self) -> Option<Refusal> {
        self.refusal.filter(|_| !self.refused_body)
    }

    /// Whether nothing that follows is accepted.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether the body of a request is being read.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(self.phase, Phase::Length(_) | Phase::Chunked(_))
    }

    /// Whether it is one in chunks.
    #[must_use]
    pub const fn is_in_chunks(&self) -> bool {
        matches!(self.phase, Phase::Chunked(_))
    }

    /// How many heads were accepted.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// Refuses what was being read, for a reason that lies outside of its bytes.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.refusal.is_none() {
            self.refusal = Some(refusal);
            self.refused_body = self.is_in_body();
        }
        self.phase = Phase::Over;
    }

    /// Ends the stream without a refusal.
    pub fn end(&mut self) {
        self.phase = Phase::Over;
    }

    fn step(&mut self, bytes: &[u8]) -> (usize, Option<Refusal>) {
        match &mut self.phase {
            Phase::Head(reader) => {
                let head = match reader.read(bytes, &self.limits) {
                    Ok(Some(head)) => head,
                    Ok(None) => return (0, None),
                    Err(refusal) => return (0, Some(refusal)),
                };
                self.requests += 1;
                self.last = head.last;
                match head.body {
                    Framing::None => self.next(),
                    Framing::Length(length) => self.phase = Phase::Length(length),
                    Framing::Chunked => self.phase = Phase::Chunked(Chunks::default()),
                }
                (head.bytes, None)
            }
            Phase::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= u64::try_from(taken).unwrap_or(0);
                if *left == 0 {
                    self.next();
                }
                (taken, None)
            }
            Phase::Chunked(chunks) => {
                let result = chunks.read(bytes, &self.limits);
                if chunks.is_complete() {
                    self.next();
                }
                result
            }
            Phase::Over => (0, None),
        }
    }

    fn next(&mut self) {
        self.phase = if self.last { Phase::Over } else { Phase::Head(HeadReader::default()) };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many bytes are accepted of a stream that comes in these pieces, and the refusal.
    fn read(pieces: &[&[u8]], limits: Limits) -> (usize, u64, Option<Refusal>) {
        let mut reader = Reader::new(limits);
        let (mut held, mut accepted) = (Vec::new(), 0);
        for piece in pieces {
            held.extend_from_slice(piece);
            let taken = reader.accept(&held);
            held.drain(..taken);
            accepted += taken;
        }
        (accepted, reader.requests(), reader.refusal())
    }

    fn whole(bytes: &[u8]) -> (usize, u64, Option<u16>) {
        let (accepted, requests, refusal) = read(&[bytes], Limits::default());
        (accepted, requests, refusal.map(|refusal| refusal.status))
    }

    #[test]
    fn requests_are_accepted_whole() {
        for (bytes, requests) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 1),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 1),
            ("GET / HTTP/1.0\r\n\r\n", 1),
            ("get /a?b=%20&c HTTP/1.1\r\nHost:x:80\r\nX-Empty:\r\nA:  \tb c\t \r\n\r\n", 1),
            ("GET http://x.example/ HTTP/1.1\r\nHost: X.example\r\n\r\n", 1),
            ("GET HTTPS://[::1]:8000?q HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", 1),
            ("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 1),
            ("GET / HTTP/1.1\r\nHost: x\r\nX: \u{e9}\r\n\r\n", 1),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 1),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 003\r\n\r\nabc", 1),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n",
                2,
            ),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \tChunked \r\n\r\n0\r\n\r\n", 1),
            (
                "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n003;a=b;c=\"d\\\"\"\r\nabc\r\n00\r\nX: y\r\nZ:\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
                2,
            ),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET / HTTP/1.0\r\n\r\n", 2),
        ] {
            assert_eq!(whole(bytes.as_bytes()), (bytes.len(), requests, None), "{bytes:?}");
        }
    }

    #[test]
    fn nothing_follows_the_last_request() {
        for head in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, CLOSE\r\n\r\n",
            "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
        ] {
            let bytes = format!("{head}GET / HTTP/1.1\r\nHost: x\r\n\r\n garbage");
            assert_eq!(whole(bytes.as_bytes()), (head.len(), 1, None), "{head:?}");
        }
    }

    #[test]
    fn heads_with_two_readings_are_refused() {
        let head = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let line = |line: &str| format!("{line}\r\nHost: x\r\n\r\n");
        for (bytes, status) in [
            // H1: the request line.
            (line("GET /"), 400),
            (line("GET  / HTTP/1.1"), 400),
            (line("GET / HTTP/1.1 "), 400),
            (line(" GET / HTTP/1.1"), 400),
            (line("GET\t/ HTTP/1.1"), 400),
            (line("G@T / HTTP/1.1"), 400),
            (line("GET /\u{1} HTTP/1.1"), 400),
            (line("GET /\u{7f} HTTP/1.1"), 400),
            (line("GET /a#b HTTP/1.1"), 400),
            (line("GET /\rHTTP/1.1"), 400),
            (line("GET x HTTP/1.1"), 400),
            (line("GET * HTTP/1.1"), 400),
            (line("GET ftp://x/ HTTP/1.1"), 400),
            (line("GET http:///x HTTP/1.1"), 400),
            (line("GET http://user@x/ HTTP/1.1"), 400),
            (line("GET http://other/ HTTP/1.1"), 400),
            (line("CONNECT x:443 HTTP/1.1"), 501),
            (line("GET / HTTP/1.2"), 505),
            (line("GET / HTTP/2.0"), 505),
            (line("GET / HTTP/0.9"), 505),
            (line("GET / http/1.1"), 400),
            (line("GET / HTTP/1.10"), 400),
            (line("GET / HTTP/1,1"), 400),
            (line("GET / HTTP/+1.1"), 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), 505),
            ("\u{16}\u{3}\u{1}\n".into(), 400),
            ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
            // H2: fields.
            ("GET / HTTP/1.1\nHost: x\n\n".into(), 400),
            (head("A: b\nB: c\r\n"), 400),
            (head("A: b\rc\r\n"), 400),
            (head("A: b\r\r\n"), 400),
            (head("A: b\u{0}\r\n"), 400),
            (head("A: b\u{1b}\r\n"), 400),
            (head("A : b\r\n"), 400),
            (head("A\t: b\r\n"), 400),
            (head(": b\r\n"), 400),
            (head("A\r\n"), 400),
            (head("A: b\r\n c\r\n"), 400),
            (head("A: b\r\n\tc: d\r\n"), 400),
            (head(" A: b\r\n"), 400),
            (head("\u{e9}: b\r\n"), 400),
            (head("A(: b\r\n"), 400),
            // H3: Host.
            ("GET / HTTP/1.1\r\n\r\n".into(), 400),
            (head("Host: x\r\n"), 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a:70000\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n".into(), 400),
            // H4: Content-Length.
            (head("Content-Length: +1\r\n"), 400),
            (head("Content-Length: -1\r\n"), 400),
            (head("Content-Length: 1, 1\r\n"), 400),
            (head("Content-Length: 1 1\r\n"), 400),
            (head("Content-Length: 0x1\r\n"), 400),
            (head("Content-Length:\r\n"), 400),
            (head("Content-Length: 9223372036854775808\r\n"), 400),
            (head("Content-Length: 18446744073709551617\r\n"), 400),
            (head("Content-Length: 1\r\nContent-Length: 2\r\n"), 400),
            (head("Content-Length: 1\r\ncontent-length: 1\r\n"), 400),
            // H5: Transfer-Encoding.
            (head("Transfer-Encoding: gzip, chunked\r\n"), 501),
            (head("Transfer-Encoding: chunked, identity\r\n"), 501),
            (head("Transfer-Encoding: chunked, chunked\r\n"), 501),
            (head("Transfer-Encoding: xchunked\r\n"), 501),
            (head("Transfer-Encoding: \u{b}chunked\r\n"), 400),
            (head("Transfer-Encoding:\r\n"), 501),
            (head("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
            (head("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400),
            (head("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 400),
            // H8: limits.
            (line(&format!("GET /{} HTTP/1.1", "a".repeat(16 * 1024))), 414),
            (head(&format!("A: {}\r\n", "a".repeat(16 * 1024))), 431),
            (head(&format!("A: {}\r\n", "a".repeat(8 * 1024)).repeat(8)), 431),
            (head(&"A: b\r\n".repeat(200)), 431),
        ] {
            assert_eq!(whole(bytes.as_bytes()), (0, 0, Some(status)), "{bytes:?}");
        }
    }

    #[test]
    fn what_must_fit_fits() {
        for bytes in [
            format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(16 * 1024 - 14)),
            format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(199)),
            format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", format!("A: {}\r\n", "a".repeat(8190)).repeat(7)),
        ] {
            assert_eq!(whole(bytes.as_bytes()), (bytes.len(), 1, None));
        }
    }

    #[test]
    fn chunked_bodies_with_two_readings_are_cut_off() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (body, accepted) in [
            ("\r\n", ""),
            (" 1\r\n", ""),
            ("+1\r\n", ""),
            ("-1\r\n", ""),
            ("0x1\r\n", "0"),
            ("1_0\r\n", "1"),
            ("1 \r\n", "1"),
            ("g\r\n", ""),
            ("1\n", "1"),
            ("1\ra", "1\r"),
            ("8000000000000000\r\n", "800000000000000"),
            ("fffffffffffffffff\r\n", ""),
            ("1;a\nb\r\n", "1;a"),
            ("1;a=\"\u{1}\"\r\n", "1;a=\""),
            ("1;(\r\n", "1;"),
            ("1\r\nab\r\n", "1\r\na"),
            ("1\r\na\n", "1\r\na"),
            ("1\r\na\r0\r\n", "1\r\na\r"),
            ("0\r\n\n", "0\r\n"),
            ("0\r\n\ra", "0\r\n\r"),
            ("0\r\n x: y\r\n", "0\r\n"),
            ("0\r\nx\r\n", "0\r\nx"),
            ("0\r\nx : y\r\n", "0\r\nx"),
            ("0\r\nx: y\n", "0\r\nx: y"),
        ] {
            let (all, requests, refusal) = whole(format!("{head}{body}").as_bytes());
            // Digits of a size that overflows are accepted until it does.
            if !body.starts_with("fff") && !body.starts_with("800") {
                assert_eq!(all, head.len() + accepted.len(), "{body:?}");
            }
            assert_eq!((requests, refusal), (1, Some(400)), "{body:?}");
        }
        let long = format!("{head}1;{}", "a".repeat(17 * 1024));
        assert_eq!(whole(long.as_bytes()).2, Some(400));
        let long = format!("{head}0\r\nx:{}", "a".repeat(17 * 1024));
        assert_eq!(whole(long.as_bytes()).2, Some(431));
    }

    /// Bytes near enough to requests that all paths are walked.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            Just(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
            Just(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello".to_vec()),
            Just(b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec()),
            Just(b"5;a=\"b\"\r\nhello\r\n0\r\nx: y\r\n\r\n".to_vec()),
            Just(b"GET / HTTP/1.0\r\n\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"A: bbbbbbbbbbbbbbbbbbbbbbbbb\r\n".to_vec()),
            Just(b"GET / HTTP/1.1\r\nHost: x\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..8),
        ];
        (proptest::collection::vec(part, 0..8), any::<proptest::sample::Index>(), any::<Option<u8>>())
            .prop_map(|(parts, at, byte)| {
                let mut bytes = parts.concat();
                if let (Some(byte), false) = (byte, bytes.is_empty()) {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
                bytes
            })
    }

    proptest! {
        #[test]
        fn what_is_accepted_hyper_reads_alike(bytes in streams()) {
            let Ok(Some(head)) = HeadReader::default().read(&bytes, &Limits::default()) else { return Ok(()) };
            let mut fields = [httparse::EMPTY_HEADER; 250];
            let mut request = httparse::Request::new(&mut fields);
            match request.parse(&bytes) {
                // Some bytes in targets are refused there only.
                Err(httparse::Error::Token) => {}
                parsed => prop_assert_eq!(parsed, Ok(httparse::Status::Complete(head.bytes))),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn any_cutting_gives_the_same_result(
            bytes in streams(),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            // Small limits, so that they are met.
            let limits = Limits { head_bytes: 120, line_bytes: 60, fields: 4, chunk_extension_bytes: 6, trailer_bytes: 8, ..Limits::default() };
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            places.extend([0, bytes.len()]);
            places.sort_unstable();
            let pieces: Vec<&[u8]> = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let expected = read(&[&bytes], limits);
            prop_assert_eq!(read(&pieces, limits), expected);
            prop_assert_eq!(read(&single, limits), expected);
        }
    }
}
