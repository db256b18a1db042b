//! The SCGI request: a netstring of variables, each a name and a value that end with NUL, then the body.

use super::limits::Limits;
use super::uwsgi::{Block, Checked, Fault, TOO_LONG};

/// The most digits that the length of the variables may have.
const DIGITS: usize = 5;

/// What the bytes at the start of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Not complete: so many bytes are needed in all, as far as is known yet.
    Incomplete(usize),
    /// A request: its variables as a block of uwsgi. Its body follows after so many bytes.
    Request(Checked, usize),
}

/// Reads the request at the start of `bytes`, which is everything received so far.
///
/// # Errors
/// The fault; close the connection, after the answer where it has one.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Packet, Fault> {
    const LENGTH: Fault = Fault::Malformed("SCGI request that does not begin with a length");
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match bytes.get(digits) {
        None if digits <= DIGITS => return Ok(Packet::Incomplete(bytes.len() + 1)),
        Some(b':') if (1..=DIGITS).contains(&digits) => {}
        _ => return Err(LENGTH),
    }
    let (number, rest) = bytes.split_at_checked(digits).ok_or(LENGTH)?;
    if number.starts_with(b"0") {
        return Err(LENGTH);
    }
    let size = number.iter().fold(0, |size, digit| size * 10 + usize::from(digit - b'0'));
    if size > limits.packet_bytes {
        return Err(TOO_LONG);
    }
    let length = digits + 1 + size + 1;
    let Some((pairs, end)) = rest.get(1..=size + 1).and_then(<[u8]>::split_last).map(|(end, p)| (p, end))
    else {
        return Ok(Packet::Incomplete(length));
    };
    if *end != b',' {
        return Err(Fault::Malformed("SCGI request whose length does not fit its variables"));
    }
    Ok(Packet::Request(block(pairs, limits)?, length))
}

/// The variables as a block.
fn block(pairs: &[u8], limits: &Limits) -> Result<Checked, Fault> {
    const PAIRS: Fault = Fault::Malformed("SCGI variables that are no pairs");
    let mut block = Block::new(limits);
    let mut texts = pairs.strip_suffix(b"\0").ok_or(PAIRS)?.split(|&byte| byte == 0);
    while let Some(name) = texts.next() {
        block.add(name, texts.next().ok_or(PAIRS)?)?;
    }
    Ok(block.finish())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::refusal::Refusal;
    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    /// The variables and the length of a request.
    fn request(bytes: &[u8]) -> Result<(Pairs, usize), String> {
        match read(bytes, &Limits::default()) {
            Ok(Packet::Request(block, length)) => {
                Ok((block.variables().map(|(k, v)| (k.to_vec(), v.to_vec())).collect(), length))
            }
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_example_of_the_protocol() {
        let bytes = b"70:CONTENT_LENGTH\x0027\0SCGI\x001\0REQUEST_METHOD\0POST\0REQUEST_URI\0/deepthought\0,\
                      What is the answer to life?";
        let (pairs, length) = request(bytes).unwrap();
        let expected = [
            ("CONTENT_LENGTH", "27"),
            ("SCGI", "1"),
            ("REQUEST_METHOD", "POST"),
            ("REQUEST_URI", "/deepthought"),
        ];
        let seen: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(k, v)| (std::str::from_utf8(k).unwrap(), std::str::from_utf8(v).unwrap()))
            .collect();
        assert_eq!((seen.as_slice(), length), (&expected[..], 74));
    }

    #[test]
    fn requests_are_read_or_refused() {
        let malformed = |bytes: &[u8]| matches!(read(bytes, &Limits::default()), Err(Fault::Malformed(_)));
        for bytes in [
            &b":"[..],
            b"x",
            b"5",
            b"05:",
            b"0:,",
            b"123456",
            b"1234567:",
            b"4:A\0B\0;",
            b"4:A\0BC,",
            b"2:A\0,",
            b"3:\0B\0,",
            b"5:A\0B\0C,",
        ] {
            assert_eq!(malformed(bytes), bytes != b"5", "{}", bytes.escape_ascii());
        }
        for (bytes, needed) in [(&b""[..], 1), (b"4", 2), (b"12345", 6), (b"4:", 7), (b"4:A\0B\0", 7)] {
            assert_eq!(
                read(bytes, &Limits::default()),
                Ok(Packet::Incomplete(needed)),
                "{}",
                bytes.escape_ascii()
            );
        }
        let (pairs, length) = request(b"4:A\0B\0,body").unwrap();
        assert_eq!((pairs, length), (vec![(b"A".to_vec(), b"B".to_vec())], 7));
        let (pairs, _) = request(b"3:A\0\0,").unwrap();
        assert_eq!(pairs, [(b"A".to_vec(), Vec::new())]);
        for text in ["300:", "5:A\0BB\0,"] {
            let limits = Limits { packet_bytes: 6, ..Limits::default() };
            let refused =
                matches!(read(text.as_bytes(), &limits), Err(Fault::Refused(Refusal { status: 431, .. })));
            assert!(refused, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((_, length)) = request(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
