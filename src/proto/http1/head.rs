//! The head of a request, read strictly: what hyper would pass over or mend is refused here.

use crate::proto::limits::Limits;
use crate::proto::refusal::Refusal;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    None,
    /// That many bytes, at least one.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What is to be known of a complete, valid head to find the end of its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the head, empty lines before it included.
    pub bytes: usize,
    /// How its body is delimited.
    pub body: Framing,
    /// Whether nothing after this message is a request (`Connection: close`, or HTTP/1.0 without keep-alive).
    pub last: bool,
}

/// Reads one head, in as many steps as its bytes come in. Every line is looked at when it is complete, so the result
/// does not depend on how the bytes were cut.
#[derive(Clone, Debug, Default)]
pub struct HeadReader {
    /// Where the line to be read starts.
    line: usize,
    /// Up to where no LF was found in it.
    searched: usize,
    blank_lines: usize,
    fields: usize,
    request_line: Option<RequestLine>,
    host: Option<Span>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

#[derive(Clone, Copy, Debug)]
struct RequestLine {
    minor: u8,
    /// The authority of an absolute-form target.
    authority: Option<Span>,
}

/// A part of the head, by its place.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
}

impl HeadReader {
    /// Reads on in `bytes`, which are all bytes of the head so far and perhaps more; `None` while it is incomplete.
    ///
    /// # Errors
    /// The refusal, when the bytes are not the head of a request that we take.
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Head>, Refusal> {
        loop {
            let rest = bytes.get(self.line..).unwrap_or_default();
            let found = rest
                .get(self.searched..)
                .and_then(|unsearched| memchr::memchr(b'\n', unsearched))
                .map(|at| self.searched + at);
            let (line, ended) = match found {
                Some(at) => (rest.get(..at).unwrap_or_default(), true),
                None => (rest, false),
            };
            self.check_size(line, limits)?;
            if !ended {
                self.searched = line.len();
                return Ok(None);
            }
            let Some((b'\r', line)) = line.split_last() else {
                return Err(Refusal::bad("line ends without CR"));
            };
            let start = self.line;
            self.line = start + line.len() + 2;
            self.searched = 0;
            if self.request_line.is_none() {
                if line.is_empty() {
                    self.blank_lines += 1;
                    if self.blank_lines > limits.blank_lines {
                        return Err(Refusal::bad("too many empty lines before the request"));
                    }
                    continue;
                }
                self.request_line = Some(read_request_line(line, start)?);
            } else if line.is_empty() {
                return self.finish(bytes).map(Some);
            } else {
                self.fields += 1;
                if self.fields > limits.fields {
                    return Err(Refusal::new(431, "too many fields"));
                }
                self.read_field(line, start)?;
            }
        }
    }

    /// `line` is the line up to its LF, or as much of it as there is.
    fn check_size(&self, line: &[u8], limits: &Limits) -> Result<(), Refusal> {
        // One byte more is the CR.
        let long_line = line.len() > limits.line_bytes.saturating_add(1);
        let long_head = self.line + line.len() >= limits.head_bytes;
        match (long_line || long_head, self.request_line.is_none()) {
            (false, _) => Ok(()),
            (true, true) => Err(Refusal::new(414, "request line too long")),
            (true, false) if long_line => Err(Refusal::new(431, "field too long")),
            (true, false) => Err(Refusal::new(431, "head too long")),
        }
    }

    fn read_field(&mut self, line: &[u8], start: usize) -> Result<(), Refusal> {
        let length = line.iter().take_while(|&&byte| is_token(byte)).count();
        let (name, rest) = line.split_at_checked(length).unwrap_or((line, &[]));
        match (name, rest.first()) {
            ([], Some(b' ' | b'\t')) => return Err(Refusal::bad("folded field")),
            ([], Some(b':')) => return Err(Refusal::bad("field without a name")),
            (_, Some(b':')) => {}
            (_, Some(b' ' | b'\t')) => return Err(Refusal::bad("space after a field's name")),
            (_, Some(_)) => return Err(Refusal::bad("field's name is not a token")),
            (_, None) => return Err(Refusal::bad("field without a colon")),
        }
        let value = rest.get(1..).unwrap_or_default();
        if !is_text(value) {
            return Err(Refusal::bad("control byte in a field's value"));
        }
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let host = trim(value);
                if !is_host(host) {
                    return Err(Refusal::bad("invalid Host"));
                }
                let start = start + length + 1 + leading_blanks(value);
                if self.host.replace(Span { start, end: start + host.len() }).is_some() {
                    return Err(Refusal::bad("more than one Host"));
                }
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in value.split(|&byte| byte == b',').map(trim) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = read_length(trim(value)).ok_or(Refusal::bad("invalid Content-Length"))?;
                if self.length.replace(length).is_some() {
                    return Err(Refusal::bad("more than one Content-Length"));
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if std::mem::replace(&mut self.chunked, true) {
                    return Err(Refusal::bad("more than one Transfer-Encoding"));
                }
                if !trim(value).eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::new(501, "transfer coding other than chunked"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&self, bytes: &[u8]) -> Result<Head, Refusal> {
        let RequestLine { minor, authority } =
            self.request_line.ok_or(Refusal::bad("head without a request line"))?;
        let text = |span: Span| bytes.get(span.start..span.end).unwrap_or_default();
        let host = self.host.map(text);
        if minor >= 1 && host.is_none() {
            return Err(Refusal::bad("HTTP/1.1 without Host"));
        }
        if let (Some(authority), Some(host)) = (authority.map(text), host)
            && !authority.eq_ignore_ascii_case(host)
        {
            return Err(Refusal::bad("Host differs from the target's authority"));
        }
        let body = match (self.chunked, self.length) {
            (true, _) if minor == 0 => return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0")),
            (true, Some(_)) => return Err(Refusal::bad("Transfer-Encoding together with Content-Length")),
            (true, None) => Framing::Chunked,
            (false, None | Some(0)) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        };
        let last = self.close || (minor == 0 && !self.keep_alive);
        Ok(Head { bytes: self.line, body, last })
    }
}

fn read_request_line(line: &[u8], start: usize) -> Result<RequestLine, Refusal> {
    let mut parts = line.split(|&byte| byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::bad("request line is not method, target and version"));
    };
    if method.is_empty() || !method.iter().all(|&byte| is_token(byte)) {
        return Err(Refusal::bad("method is not a token"));
    }
    let minor = match version {
        b"HTTP/1.1" => 1,
        b"HTTP/1.0" => 0,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Refusal::new(505, "version other than HTTP/1.0 and 1.1"));
        }
        _ => return Err(Refusal::bad("malformed version")),
    };
    if target.is_empty() || !target.iter().fold(true, |all, &byte| all & is_target(byte)) {
        return Err(Refusal::bad("control byte, space or fragment in the target"));
    }
    if method == b"CONNECT" {
        return Err(Refusal::new(501, "CONNECT"));
    }
    let authority = match target {
        [b'/', ..] => None,
        b"*" if method == b"OPTIONS" => None,
        _ => Some(read_authority(target, start + method.len() + 1)?),
    };
    Ok(RequestLine { minor, authority })
}

/// The authority of an absolute-form target, which must be `http` or `https`.
fn read_authority(target: &[u8], start: usize) -> Result<Span, Refusal> {
    let bad = Refusal::bad("target is neither a path nor an http URL");
    let colon = target.iter().position(|&byte| byte == b':').ok_or(bad)?;
    let (scheme, rest) = target.split_at_checked(colon).ok_or(bad)?;
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(bad);
    }
    let rest = rest.strip_prefix(b"://").ok_or(bad)?;
    let length = rest.iter().position(|&byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let authority = rest.get(..length).unwrap_or_default();
    if authority.is_empty() || !is_host(authority) {
        return Err(Refusal::bad("invalid authority in the target"));
    }
    let start = start + colon + 3;
    Ok(Span { start, end: start + length })
}

/// Digits only, and no more than fits 63 bits.
#[must_use]
pub fn read_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut length = 0_u64;
    for byte in text {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length = length.checked_mul(10)?.checked_add(digit)?;
    }
    (length <= i64::MAX.unsigned_abs()).then_some(length)
}

/// `host[:port]` in the characters that RFC 3986 gives a host, or nothing at all, which RFC 9112 allows.
fn is_host(text: &[u8]) -> bool {
    let (host, port) = if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
        let (address, rest) = literal.split_at_checked(end).unwrap_or((literal, &[]));
        let valid = !address.is_empty()
            && address.iter().all(|&byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        match (valid, rest.get(1..)) {
            (true, Some([])) => return true,
            (true, Some([b':', port @ ..])) => return is_port(port),
            _ => return false,
        }
    } else {
        match text.iter().position(|&byte| byte == b':') {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..).unwrap_or_default()),
            None => (text, &b""[..]),
        }
    };
    (!host.is_empty() || text.is_empty())
        && host.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte))
        && is_port(port)
}

/// A port of a Host: up to five digits, or none.
fn is_port(text: &[u8]) -> bool {
    text.len() <= 5
        && text.iter().all(u8::is_ascii_digit)
        && read_length(text).is_none_or(|port| port <= 65_535)
}

/// Whether a byte may stand in a target; hyper refuses some more.
const fn is_target(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && byte != b'#'
}

/// Without the spaces and tabs around it.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let start = leading_blanks(text);
    let end = text.iter().rposition(|&byte| !matches!(byte, b' ' | b'\t')).map_or(start, |at| at + 1);
    text.get(start..end).unwrap_or_default()
}

fn leading_blanks(text: &[u8]) -> usize {
    text.iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count()
}

/// Whether a byte may stand in a method or a field's name.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKENS.get(usize::from(byte)).copied().unwrap_or(false)
}

/// Whether a byte may stand in a field's value: not a control byte, except TAB.
pub(crate) const fn is_value(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether all bytes may stand in a field's value. Without an early end, so that many are looked at at once.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, &byte| all & is_value(byte))
}

static TOKENS: [bool; 256] = tokens();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which checks the indices")]
const fn tokens() -> [bool; 256] {
    let mut table = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut n = 0;
    while n < marks.len() {
        table[marks[n] as usize] = true;
        n += 1;
    }
    table
}
