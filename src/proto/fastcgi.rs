//! FastCGI as a responder: records come in, of one request at a time, and go out.

use bytes::{Buf as _, Bytes, BytesMut};

use super::limits::Limits;
use super::uwsgi::{Block, Checked, Fault, TOO_LONG};

/// Bytes before the content of a record.
pub const HEAD_BYTES: usize = 8;
/// The most that a record of ours carries: a multiple of eight needs no padding.
pub const CONTENT_BYTES: usize = 65_528;

const VERSION: u8 = 1;
const BEGIN_REQUEST: u8 = 1;
const ABORT_REQUEST: u8 = 2;
const END_REQUEST: u8 = 3;
const PARAMS: u8 = 4;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;
const GET_VALUES: u8 = 9;
const GET_VALUES_RESULT: u8 = 10;
const UNKNOWN_TYPE: u8 = 11;

const RESPONDER: u16 = 1;
const KEEP_CONNECTION: u8 = 1;
const REQUEST_COMPLETE: u8 = 0;
const UNKNOWN_ROLE: u8 = 3;

/// How many records may come between two requests, which are answered or passed over.
const BETWEEN: usize = 16;

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request with all its variables; its body follows.
    Request(Request),
    /// A part of the body, never empty.
    Body(Bytes),
    /// The end of the body. What comes next belongs to the next request.
    End,
    /// The front end does not want the answer to the request of this number any more.
    Abort(u16),
    /// Send this.
    Reply(Vec<u8>),
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number, which its answer bears.
    pub id: u16,
    /// Whether another one may follow on the connection.
    pub keeps: bool,
    /// The variables as a block of uwsgi.
    pub block: Checked,
}

/// What comes on one connection. Several requests at once are not taken, as the answer to `FCGI_GET_VALUES` says.
#[derive(Debug)]
pub struct Receiver {
    bytes: BytesMut,
    stage: Stage,
    /// Records since the last request.
    between: usize,
}

#[derive(Debug)]
enum Stage {
    Between,
    /// The variables come, as they are.
    Variables {
        id: u16,
        keeps: bool,
        raw: Vec<u8>,
    },
    Body {
        id: u16,
    },
}

/// A complete record.
struct Record {
    kind: u8,
    id: u16,
    content: Bytes,
}

impl Default for Receiver {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), stage: Stage::Between, between: 0 }
    }
}

impl Receiver {
    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether nothing of a next request is here.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        matches!(self.stage, Stage::Between) && self.bytes.is_empty()
    }

    /// What comes next, `None` when more bytes are needed. Ask until then after each [`Self::push`], so that no more
    /// than a record is held.
    ///
    /// # Errors
    /// The fault; close the connection, after the answer where it has one.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Event>, Fault> {
        while let Some(record) = self.record()? {
            if let Some(event) = self.take(record, limits)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// The number of the request whose parts come at the moment.
    #[must_use]
    pub const fn id(&self) -> Option<u16> {
        match self.stage {
            Stage::Between => None,
            Stage::Variables { id, .. } | Stage::Body { id } => Some(id),
        }
    }

    fn record(&mut self) -> Result<Option<Record>, Fault> {
        let [version, kind, id1, id0, length1, length0, padding, _, ..] = *self.bytes.as_ref() else {
            return match self.bytes.first() {
                Some(&version) if version != VERSION => Err(OTHER_VERSION),
                _ => Ok(None),
            };
        };
        if version != VERSION {
            return Err(OTHER_VERSION);
        }
        let length = usize::from(u16::from_be_bytes([length1, length0]));
        if self.bytes.len() < HEAD_BYTES + length + usize::from(padding) {
            return Ok(None);
        }
        self.bytes.advance(HEAD_BYTES);
        let content = self.bytes.split_to(length).freeze();
        self.bytes.advance(usize::from(padding));
        Ok(Some(Record { kind, id: u16::from_be_bytes([id1, id0]), content }))
    }

    fn take(&mut self, record: Record, limits: &Limits) -> Result<Option<Event>, Fault> {
        let Record { kind, id, content } = record;
        match (&mut self.stage, kind) {
            (Stage::Between, _) => {
                self.between += 1;
                if self.between > BETWEEN {
                    return Err(Fault::Malformed("FastCGI records without a request"));
                }
                self.begin(kind, id, &content)
            }
            (Stage::Variables { id: own, .. } | Stage::Body { id: own }, ABORT_REQUEST) if *own == id => {
                self.stage = Stage::Between;
                Ok(Some(Event::Abort(id)))
            }
            (Stage::Variables { id: own, keeps, raw }, PARAMS) if *own == id => {
                if !content.is_empty() {
                    if raw.len() + content.len() > limits.packet_bytes {
                        return Err(TOO_LONG);
                    }
                    raw.extend_from_slice(&content);
                    return Ok(None);
                }
                let request = Request { id, keeps: *keeps, block: block(raw, limits)? };
                self.stage = Stage::Body { id };
                Ok(Some(Event::Request(request)))
            }
            (Stage::Body { id: own }, STDIN) if *own == id => {
                if !content.is_empty() {
                    return Ok(Some(Event::Body(content)));
                }
                self.stage = Stage::Between;
                self.between = 0;
                Ok(Some(Event::End))
            }
            _ => Err(Fault::Malformed("FastCGI record that does not belong to the request")),
        }
    }

    /// A record between requests.
    fn begin(&mut self, kind: u8, id: u16, content: &[u8]) -> Result<Option<Event>, Fault> {
        match (kind, id, content) {
            (BEGIN_REQUEST, 1.., [role1, role0, flags, _, _, _, _, _]) => {
                if u16::from_be_bytes([*role1, *role0]) != RESPONDER {
                    return Ok(Some(Event::Reply(end_request(id, UNKNOWN_ROLE).to_vec())));
                }
                let keeps = flags & KEEP_CONNECTION != 0;
                self.stage = Stage::Variables { id, keeps, raw: Vec::new() };
                Ok(None)
            }
            (GET_VALUES, 0, names) => Ok(Some(Event::Reply(values(names)?))),
            // It came when the body had ended: the answer is on its way.
            (ABORT_REQUEST, 1.., _) => Ok(None),
            (BEGIN_REQUEST | ABORT_REQUEST | PARAMS | STDIN, ..) | (_, 1.., _) => {
                Err(Fault::Malformed("FastCGI record without a request"))
            }
            (unknown, 0, _) => {
                let head = record_head(UNKNOWN_TYPE, 0, 8);
                Ok(Some(Event::Reply([head, [unknown, 0, 0, 0, 0, 0, 0, 0]].concat())))
            }
        }
    }
}

const OTHER_VERSION: Fault = Fault::Malformed("not FastCGI 1");

/// The variables as a block of uwsgi.
fn block(raw: &[u8], limits: &Limits) -> Result<Checked, Fault> {
    let mut block = Block::new(limits);
    let mut rest = raw;
    while !rest.is_empty() {
        let ((name, value), after) = pair(rest).ok_or(LENGTHS)?;
        block.add(name, value)?;
        rest = after;
    }
    Ok(block.finish())
}

const LENGTHS: Fault = Fault::Malformed("FastCGI variables whose lengths do not fit");

type Pair<'a> = (&'a [u8], &'a [u8]);

fn pair(bytes: &[u8]) -> Option<(Pair<'_>, &[u8])> {
    let (name, rest) = length(bytes)?;
    let (value, rest) = length(rest)?;
    let (name, rest) = rest.split_at_checked(name)?;
    let (value, rest) = rest.split_at_checked(value)?;
    Some(((name, value), rest))
}

/// A length of one byte, or of four whose first bit is set.
fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    match bytes {
        [short @ ..=127, rest @ ..] => Some((usize::from(*short), rest)),
        [a, b, c, d, rest @ ..] => {
            let long = u32::from_be_bytes([a & 127, *b, *c, *d]);
            Some((usize::try_from(long).ok()?, rest))
        }
        _ => None,
    }
}

/// The answer to a front end that asks what we can.
fn values(names: &[u8]) -> Result<Vec<u8>, Fault> {
    const ONE_AT_A_TIME: &[u8] = b"\x0f\x01FCGI_MPXS_CONNS0";
    let mut rest = names;
    let mut content: &[u8] = &[];
    while !rest.is_empty() {
        let ((name, _), after) = pair(rest).ok_or(LENGTHS)?;
        if name == b"FCGI_MPXS_CONNS" {
            content = ONE_AT_A_TIME;
        }
        rest = after;
    }
    Ok([&record_head(GET_VALUES_RESULT, 0, content.len()), content].concat())
}

/// What stands before so many bytes of an answer, at most [`CONTENT_BYTES`].
#[must_use]
pub fn stdout(id: u16, length: usize) -> [u8; HEAD_BYTES] {
    record_head(STDOUT, id, length)
}

/// The end of an answer.
#[must_use]
pub fn end(id: u16) -> Vec<u8> {
    [&record_head(STDOUT, id, 0)[..], &end_request(id, REQUEST_COMPLETE)].concat()
}

fn end_request(id: u16, status: u8) -> [u8; HEAD_BYTES + 8] {
    let [a, b, c, d, e, f, g, h] = record_head(END_REQUEST, id, 8);
    [a, b, c, d, e, f, g, h, 0, 0, 0, 0, status, 0, 0, 0]
}

fn record_head(kind: u8, id: u16, length: usize) -> [u8; HEAD_BYTES] {
    let [id1, id0] = id.to_be_bytes();
    let [length1, length0] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    [VERSION, kind, id1, id0, length1, length0, 0, 0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::refusal::Refusal;
    use super::*;

    fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
        let mut record = record_head(kind, id, content.len()).to_vec();
        record[6] = 3;
        [&record, content, b"pad"].concat()
    }

    fn begin(id: u16, flags: u8) -> Vec<u8> {
        record(BEGIN_REQUEST, id, &[0, 1, flags, 0, 0, 0, 0, 0])
    }

    /// All events of these records, given in pieces of so many bytes; a fault is the last.
    fn told(records: &[Vec<u8>], piece: usize) -> Vec<String> {
        let mut receiver = Receiver::default();
        let mut told = Vec::new();
        for bytes in records.concat().chunks(piece) {
            receiver.push(bytes);
            loop {
                match receiver.next(&Limits::default()) {
                    Ok(Some(Event::Request(request))) => {
                        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
                        let variables: Vec<String> = request
                            .block
                            .variables()
                            .map(|(k, v)| format!("{}={}", text(k), text(v)))
                            .collect();
                        told.push(format!("{} {} {}", request.id, request.keeps, variables.join(" ")));
                    }
                    Ok(Some(Event::Body(bytes))) => told.push(bytes.escape_ascii().to_string()),
                    Ok(Some(Event::End)) => told.push("end".to_owned()),
                    Ok(Some(Event::Abort(_))) => told.push("abort".to_owned()),
                    Ok(Some(Event::Reply(bytes))) => told.push(format!("reply {}", bytes.escape_ascii())),
                    Ok(None) => break,
                    Err(Fault::Malformed(reason)) => {
                        told.push(reason.to_owned());
                        return told;
                    }
                    Err(fault) => panic!("{fault:?}"),
                }
            }
        }
        told
    }

    #[test]
    fn records_become_events_however_they_come() {
        let a = || record(PARAMS, 1, b"\x01\x01AB");
        let long = [&b"\x01\x80\x00\x01\x00C"[..], &[b'x'; 256]].concat();
        let stray = "FastCGI record without a request";
        let foreign = "FastCGI record that does not belong to the request";
        let expected_long = format!("1 false C={}", "x".repeat(256));
        let rows: Vec<(Vec<Vec<u8>>, Vec<&str>)> = vec![
            (
                vec![
                    begin(1, 1),
                    a(),
                    record(PARAMS, 1, b""),
                    record(STDIN, 1, b"body"),
                    record(STDIN, 1, b""),
                ],
                vec!["1 true A=B", "body", "end"],
            ),
            (
                vec![
                    begin(1, 1),
                    record(PARAMS, 1, b"\x01\x01"),
                    record(PARAMS, 1, b"AB\x01\x00C"),
                    record(PARAMS, 1, b""),
                    record(STDIN, 1, b""),
                    begin(2, 0),
                    record(PARAMS, 2, b""),
                ],
                vec!["1 true A=B C=", "end", "2 false "],
            ),
            (vec![begin(1, 0), record(PARAMS, 1, &long), record(PARAMS, 1, b"")], vec![&expected_long]),
            (vec![begin(7, 0), record(ABORT_REQUEST, 7, b"")], vec!["abort"]),
            (
                vec![
                    begin(7, 0),
                    record(PARAMS, 7, b""),
                    record(STDIN, 7, b"x"),
                    record(ABORT_REQUEST, 7, b""),
                ],
                vec!["7 false ", "x", "abort"],
            ),
            (vec![record(ABORT_REQUEST, 7, b""), begin(7, 0), record(ABORT_REQUEST, 7, b"")], vec!["abort"]),
            (
                vec![record(GET_VALUES, 0, b"\x0f\x00FCGI_MPXS_CONNS\x01\x00X")],
                vec!["reply \\x01\\n\\x00\\x00\\x00\\x12\\x00\\x00\\x0f\\x01FCGI_MPXS_CONNS0"],
            ),
            (
                vec![record(77, 0, b"x")],
                vec!["reply \\x01\\x0b\\x00\\x00\\x00\\x08\\x00\\x00M\\x00\\x00\\x00\\x00\\x00\\x00\\x00"],
            ),
            (
                vec![record(BEGIN_REQUEST, 5, &[0, 2, 0, 0, 0, 0, 0, 0])],
                vec![
                    "reply \\x01\\x03\\x00\\x05\\x00\\x08\\x00\\x00\\x00\\x00\\x00\\x00\\x03\\x00\\x00\\x00",
                ],
            ),
            (vec![begin(0, 0)], vec![stray]),
            (vec![record(BEGIN_REQUEST, 1, b"short")], vec![stray]),
            (vec![record(STDIN, 1, b"x")], vec![stray]),
            (vec![begin(1, 0), begin(2, 0)], vec![foreign]),
            (vec![begin(1, 0), record(PARAMS, 2, b"")], vec![foreign]),
            (vec![begin(1, 0), record(STDIN, 1, b"")], vec![foreign]),
            (vec![begin(1, 0), record(GET_VALUES, 0, b"")], vec![foreign]),
            (
                vec![begin(1, 0), record(PARAMS, 1, b"\x01\x05A"), record(PARAMS, 1, b"")],
                vec!["FastCGI variables whose lengths do not fit"],
            ),
            (
                vec![begin(1, 0), record(PARAMS, 1, b"\x00\x01A"), record(PARAMS, 1, b"")],
                vec!["variable without a name"],
            ),
            (vec![b"GET / HTTP/1.1\r\n".to_vec()], vec!["not FastCGI 1"]),
            (vec![record(ABORT_REQUEST, 1, b""); 17], vec!["FastCGI records without a request"]),
        ];
        for (records, expected) in rows {
            for piece in [1, 7, 100_000] {
                assert_eq!(told(&records, piece), expected, "{piece}");
            }
        }
    }

    #[test]
    fn variables_have_a_limit() {
        let limits = Limits { packet_bytes: 100, ..Limits::default() };
        let refused = |records: &[Vec<u8>]| {
            let mut receiver = Receiver::default();
            receiver.push(&records.concat());
            matches!(receiver.next(&limits), Err(Fault::Refused(Refusal { status: 431, .. })))
        };
        assert!(refused(&[begin(1, 0), record(PARAMS, 1, &[0; 60]), record(PARAMS, 1, &[0; 60])]));
        let short: Vec<u8> = b"\x01\x01AB".repeat(20);
        assert!(refused(&[begin(1, 0), record(PARAMS, 1, &short), record(PARAMS, 1, b"")]));
    }

    #[test]
    fn answers_are_records() {
        assert_eq!(stdout(258, CONTENT_BYTES), [1, 6, 1, 2, 0xff, 0xf8, 0, 0]);
        assert_eq!(end(1), [1, 6, 0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut receiver = Receiver::default();
            receiver.push(&bytes);
            while let Ok(Some(_)) = receiver.next(&Limits::default()) {}
        }
    }
}
