//! Mutations of seeds: an endless row of inputs, the same in each run.

/// Numbers at the edges of their types, as text and as bytes, and what ends things in one of the formats.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n\n",
    b"\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x00\x00\x00\x00\x80",
    b"\xff\x7f",
    b"-1",
    b"4294967296",
    b"18446744073709551616",
    b"1e999",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: localhost\n",
    b"HTTP/1.1",
    b"[uwsgi]\n",
    b"%(x)",
    b"null",
    b"{\"a\":[",
    b"\"\\ud800\"",
    b"\xc3\x28",
    b"\x1b[2J",
];
const LONGEST_BYTES: usize = 8192;

/// Mutated seeds.
pub(crate) struct Mutations<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutations<'a> {
    /// Begins at the same place each time.
    pub(crate) fn new(seeds: &'a [Vec<u8>]) -> Self {
        Self { seeds, state: 0x9E37_79B9_7F4A_7C15 }
    }

    /// A number below `end`, and 0 if that is 0 (xorshift64*).
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap_or(0).checked_rem(end).unwrap_or(0)
    }

    /// A part of these bytes, up to 64 of them.
    fn part(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let length = self.below(64.min(bytes.len() - start) + 1);
        start..start + length
    }

    fn seed(&mut self) -> Vec<u8> {
        let number = self.below(self.seeds.len());
        self.seeds.get(number).cloned().unwrap_or_default()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        match self.below(8) {
            0 => {
                let bit = self.below(8);
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            1 => {
                let value = self.below(256).to_le_bytes();
                bytes.iter_mut().skip(at).zip(value).take(1).for_each(|(byte, value)| *byte = value);
            }
            2 => {
                let part = self.part(bytes);
                bytes.drain(part);
            }
            3 => {
                let part = self.part(bytes);
                let again = bytes.get(part).unwrap_or_default().to_vec();
                bytes.splice(at..at, again);
            }
            4 => {
                let piece = self.below(PIECES.len());
                bytes.splice(at..at, PIECES.get(piece).copied().unwrap_or_default().iter().copied());
            }
            5 => {
                let piece = self.below(PIECES.len());
                let piece = PIECES.get(piece).copied().unwrap_or_default();
                bytes.iter_mut().skip(at).zip(piece).for_each(|(byte, other)| *byte = *other);
            }
            6 => {
                let other = self.seed();
                let part = self.part(&other);
                bytes.splice(at..at, other.get(part).unwrap_or_default().iter().copied());
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(LONGEST_BYTES);
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.seed();
        for _ in 0..=self.below(6) {
            self.mutate(&mut bytes);
        }
        Some(bytes)
    }
}
