//! The chunked coding, checked byte by byte: it finds the end of a body and accepts exactly one reading of it.

use super::head::{is_token, is_value};
use crate::proto::limits::Limits;
use crate::proto::refusal::Refusal;

/// Follows a chunked body to its end.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: State,
    /// Of the chunk's size while it is read, of its data afterwards.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    #[default]
    Size,
    /// After a digit.
    SizeOrEnd,
    /// In a chunk's extensions.
    Extension,
    /// In a quoted string of an extension.
    Quoted,
    /// After a backslash in it.
    Escaped,
    /// After the CR of a size line.
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunks {
    /// Goes on in `bytes` up to the end of the body at most: how many of them belong to it, and the refusal of what
    /// comes after those.
    pub fn read(&mut self, bytes: &[u8], limits: &Limits) -> (usize, Option<Refusal>) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at)
            && self.state != State::End
        {
            if self.state == State::Data {
                let here = bytes.len() - at;
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(here);
                self.left -= u64::try_from(taken).unwrap_or(0);
                at += taken;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            match self.step(byte, limits) {
                Ok(state) => self.state = state,
                Err(refusal) => return (at, Some(refusal)),
            }
            at += 1;
        }
        (at, None)
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    fn step(&mut self, byte: u8, limits: &Limits) -> Result<State, Refusal> {
        use State::{
            Data, DataCr, DataLf, End, EndLf, Escaped, Extension, Quoted, Size, SizeLf, SizeOrEnd, Trailer,
            TrailerLf, TrailerName, TrailerValue,
        };
        if matches!(self.state, Extension | Quoted | Escaped) {
            self.extension_bytes += 1;
            if self.extension_bytes > limits.chunk_extension_bytes {
                return Err(Refusal::bad("chunk extensions too long"));
            }
        }
        if matches!(self.state, Trailer | TrailerName | TrailerValue) {
            self.trailer_bytes += 1;
            if self.trailer_bytes > limits.trailer_bytes {
                return Err(Refusal::new(431, "trailers too long"));
            }
        }
        Ok(match (self.state, byte) {
            (Size | SizeOrEnd, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                if self.left > i64::MAX.unsigned_abs() >> 4 {
                    return Err(Refusal::bad("chunk size does not fit"));
                }
                self.left = self.left << 4 | digit;
                SizeOrEnd
            }
            (SizeOrEnd, b';') => Extension,
            (SizeOrEnd | Extension, b'\r') => SizeLf,
            (Extension, b'"') => Quoted,
            (Extension, b';' | b'=' | b' ' | b'\t') => Extension,
            (Extension, byte) if is_token(byte) => Extension,
            (Quoted, b'"') => Extension,
            (Quoted, b'\\') => Escaped,
            (Quoted | Escaped, byte) if is_value(byte) => Quoted,
            (SizeLf, b'\n') if self.left == 0 => Trailer,
            (SizeLf, b'\n') if self.left > limits.chunk_bytes => {
                return Err(Refusal::new(413, "chunk too long"));
            }
            (SizeLf, b'\n') => Data,
            (DataCr, b'\r') => DataLf,
            (DataLf, b'\n') => Size,
            (Trailer, b'\r') => EndLf,
            (Trailer | TrailerName, byte) if is_token(byte) => TrailerName,
            (TrailerName, b':') => TrailerValue,
            (TrailerValue, b'\r') => TrailerLf,
            (TrailerValue, byte) if is_value(byte) => TrailerValue,
            (TrailerLf, b'\n') => Trailer,
            (EndLf, b'\n') => End,
            (Size | SizeOrEnd, _) => return Err(Refusal::bad("malformed chunk size")),
            (Extension | Quoted | Escaped, _) => return Err(Refusal::bad("malformed chunk extension")),
            (DataCr | DataLf, _) => return Err(Refusal::bad("chunk longer than its size")),
            (Trailer | TrailerName | TrailerValue, _) => return Err(Refusal::bad("malformed trailer")),
            (SizeLf | TrailerLf | EndLf, _) => return Err(Refusal::bad("CR without LF")),
            (Data | End, _) => self.state,
        })
    }
}
