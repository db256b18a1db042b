//! The uwsgi packet: a head of four bytes, then variables as pairs of strings with 16-bit lengths.

use bytes::Bytes;

use super::limits::Limits;
use super::refusal::Refusal;

/// Bytes before the variables.
pub const HEAD_BYTES: usize = 4;
/// The answer to a ping.
pub const PONG: [u8; HEAD_BYTES] = [100, 0, 0, 1];

const MODIFIER_WSGI: u8 = 0;
const MODIFIER_PING: u8 = 100;

/// What the bytes at the start of a connection are. Nothing but a request is served from the network: no signal,
/// no remote call, no cache, no spooler, no reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// Not complete: so many bytes are needed in all, as far as is known yet.
    Incomplete(usize),
    /// A ping: answer with [`PONG`] and close.
    Ping,
    /// A request: after the head a block of variables, which nobody has checked; its body follows after so many bytes.
    Request(usize),
}

/// Why a packet is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Malformed: the connection is cut off without an answer.
    Malformed(&'static str),
    /// A packet for another plugin.
    Modifier(u8),
    /// Well-formed as far as it was read, and refused with an answer.
    Refused(Refusal),
}

/// Reads the packet at the start of `bytes`, which is everything received so far.
///
/// # Errors
/// The fault; close the connection, after the answer where it has one.
pub fn read(bytes: &[u8], limits: &Limits) -> Result<Packet, Fault> {
    let [modifier, low, high, _, rest @ ..] = bytes else { return Ok(Packet::Incomplete(HEAD_BYTES)) };
    let size = usize::from(u16::from_le_bytes([*low, *high]));
    match *modifier {
        MODIFIER_WSGI => {}
        MODIFIER_PING => return Ok(Packet::Ping),
        other => return Err(Fault::Modifier(other)),
    }
    if size == 0 {
        return Err(Fault::Malformed("packet without variables"));
    }
    if size > limits.packet_bytes {
        return Err(Fault::Refused(Refusal::new(431, "uwsgi packet longer than buffer-size")));
    }
    let length = HEAD_BYTES + size;
    Ok(if rest.len() < size { Packet::Incomplete(length) } else { Packet::Request(length) })
}

/// The variables of a packet: pairs of key and value in their order, borrowed from its bytes. All lengths were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variables<'a> {
    rest: &'a [u8],
}

/// A block of variables that was checked, with its bytes: pairs from end to end, with keys that are not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked(Bytes);

impl Checked {
    /// Checks a block that came.
    ///
    /// # Errors
    /// It is something else.
    pub fn new(block: impl Into<Bytes>) -> Result<Self, Fault> {
        const LENGTHS: Fault = Fault::Malformed("uwsgi packet whose lengths do not fit its variables");
        let block = block.into();
        let mut rest = &block[..];
        while !rest.is_empty() {
            let (_, after) = split_string(rest).filter(|(key, _)| !key.is_empty()).ok_or(LENGTHS)?;
            (_, rest) = split_string(after).ok_or(LENGTHS)?;
        }
        Ok(Self(block))
    }

    /// The same with one more variable.
    ///
    /// # Errors
    /// As [`Block::add`].
    pub fn with(&self, name: &[u8], value: &[u8]) -> Result<Self, Fault> {
        let mut block = Block { bytes: self.0.to_vec(), limit: usize::MAX };
        block.add(name, value)?;
        Ok(block.finish())
    }

    /// The variables.
    #[must_use]
    pub fn variables(&self) -> Variables<'_> {
        Variables { rest: &self.0 }
    }

    /// The block.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Variables on their way into a block: those of another protocol, or of a request that we send.
#[derive(Clone, Debug)]
pub struct Block {
    bytes: Vec<u8>,
    limit: usize,
}

impl Block {
    /// An empty one under these limits.
    pub(super) const fn new(limits: &Limits) -> Self {
        Self { bytes: Vec::new(), limit: limits.packet_bytes }
    }

    /// An empty one of a packet that we send.
    #[must_use]
    pub fn of_packet() -> Self {
        Self { bytes: Vec::new(), limit: u16::MAX.into() }
    }

    /// Adds a variable.
    ///
    /// # Errors
    /// An empty name, or more than a packet may have.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.is_empty() {
            return Err(Fault::Malformed("variable without a name"));
        }
        for text in [name, value] {
            let length = u16::try_from(text.len()).map_err(|_| TOO_LONG)?;
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(text);
        }
        if self.bytes.len() > self.limit { Err(TOO_LONG) } else { Ok(()) }
    }

    /// A request: the block with its head.
    #[must_use]
    pub fn into_packet(self) -> Vec<u8> {
        let [low, high] = u16::try_from(self.bytes.len()).unwrap_or_default().to_le_bytes();
        [&[MODIFIER_WSGI, low, high, 0], &self.bytes[..]].concat()
    }

    /// The block: all of it was checked on its way.
    pub(super) fn finish(self) -> Checked {
        Checked(self.bytes.into())
    }
}

/// Variables as a block, whatever its length; `None`: one of them is too long for it.
#[must_use]
pub fn to_block<'a>(variables: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Option<Checked> {
    let mut block = Block { bytes: Vec::new(), limit: usize::MAX };
    for (name, value) in variables {
        block.add(name, value).ok()?;
    }
    Some(block.finish())
}

/// The variables are longer than `buffer-size` allows.
pub(super) const TOO_LONG: Fault = Fault::Refused(Refusal::new(431, "variables longer than buffer-size"));

impl<'a> Iterator for Variables<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, after) = split_string(self.rest)?;
        let (value, rest) = split_string(after)?;
        self.rest = rest;
        Some((key, value))
    }
}

fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [low, high, rest @ ..] = bytes else { return None };
    rest.split_at_checked(usize::from(u16::from_le_bytes([*low, *high])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut block = Vec::new();
        for text in pairs.iter().flat_map(|(key, value)| [key, value]) {
            block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
            block.extend_from_slice(text);
        }
        block
    }

    fn packet(modifier: u8, block: &[u8]) -> Vec<u8> {
        let [low, high] = u16::try_from(block.len()).unwrap().to_le_bytes();
        [&[modifier, low, high, 0], block].concat()
    }

    /// The variables and the length of a complete request.
    fn request(bytes: &[u8]) -> Result<(Checked, usize), Fault> {
        match read(bytes, &Limits::default())? {
            Packet::Request(length) => {
                let block = Bytes::copy_from_slice(&bytes[HEAD_BYTES..length]);
                Ok((Checked::new(block)?, length))
            }
            _ => Err(Fault::Malformed("incomplete")),
        }
    }

    #[test]
    fn the_example_of_the_protocol() {
        let pairs: [(&[u8], &[u8]); 5] = [
            (b"REQUEST_METHOD", b"GET"),
            (b"PATH_INFO", b"/a"),
            (b"QUERY_STRING", b""),
            (b"SERVER_PROTOCOL", b"HTTP/1.1"),
            (b"HTTP_HOST", b"x"),
        ];
        let mut bytes = packet(0, &block(&pairs));
        assert_eq!(bytes[..4], [0, 0x5d, 0, 0]);
        bytes.extend(b"body");
        let (block, length) = request(&bytes).unwrap();
        assert_eq!(block.variables().collect::<Vec<_>>(), pairs);
        assert_eq!(length, 97);
    }

    #[test]
    fn more_than_128_variables_are_taken() {
        let many: Vec<(&[u8], &[u8])> = vec![(b"HTTP_A", b"1"); 3000];
        let bytes = packet(0, &block(&many));
        let (block, _) = request(&bytes).unwrap();
        assert_eq!(block.variables().count(), 3000);
    }

    #[test]
    fn malformed_packets_and_other_modifiers_are_refused() {
        let cases: [(&str, Vec<u8>, Fault); 9] = [
            ("size 0", packet(0, b""), Fault::Malformed("packet without variables")),
            ("key past the end", packet(0, b"\xff\xffab"), lengths()),
            ("value past the end", packet(0, b"\x01\x00A\x09\x00x"), lengths()),
            ("key without value", packet(0, b"\x01\x00A"), lengths()),
            ("half a length", packet(0, b"\x01\x00A\x01"), lengths()),
            ("empty key", packet(0, b"\x00\x00\x01\x00x"), lengths()),
            ("signal", packet(110, b""), Fault::Modifier(110)),
            ("remote call", packet(173, b"x"), Fault::Modifier(173)),
            ("spooler", packet(17, b"x"), Fault::Modifier(17)),
        ];
        for (name, bytes, fault) in cases {
            assert_eq!(request(&bytes), Err(fault), "{name}");
        }
        let long = packet(0, &block(&[(b"A", &[b'x'; 300])]));
        let limits = Limits { packet_bytes: 200, ..Limits::default() };
        assert!(matches!(read(&long[..4], &limits), Err(Fault::Refused(Refusal { status: 431, .. }))));
        assert_eq!(read(&packet(100, b""), &limits), Ok(Packet::Ping));
    }

    fn lengths() -> Fault {
        Fault::Malformed("uwsgi packet whose lengths do not fit its variables")
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((block, length)) = request(&bytes) {
                prop_assert!(length <= bytes.len());
                let total: usize = block.variables().map(|(key, value)| 4 + key.len() + value.len()).sum();
                prop_assert_eq!(total + HEAD_BYTES, length);
            }
        }

        #[test]
        fn a_prefix_is_incomplete_or_refused_as_the_whole(
            pairs in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 1..20), proptest::collection::vec(any::<u8>(), 0..20)), 1..10),
            cut in any::<proptest::sample::Index>(),
        ) {
            let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(k, v)| (&k[..], &v[..])).collect();
            let bytes = packet(0, &block(&pairs));
            let prefix = &bytes[..cut.index(bytes.len())];
            let needed = if prefix.len() < HEAD_BYTES { HEAD_BYTES } else { bytes.len() };
            prop_assert_eq!(read(prefix, &Limits::default()), Ok(Packet::Incomplete(needed)));
        }
    }
}
