//! An SCGI request: its variables are a block of uwsgi, the same whatever follows it, incomplete in every part.

use liege::proto::limits::Limits;
use liege::proto::scgi::{Packet, read};
use liege::proto::uwsgi::Checked;

/// Reads the bytes as the first of a connection.
pub(crate) fn check(input: &[u8]) {
    let limits = Limits::default();
    let Ok(Packet::Request(block, length)) = read(input, &limits) else { return };
    assert!(length <= input.len() && block.bytes().len() <= limits.packet_bytes);
    assert_eq!(Checked::new(block.bytes().to_vec()).as_ref(), Ok(&block));
    // A NUL after each text, before them the length and a colon, and a comma after them.
    let pairs: usize = block.variables().map(|(name, value)| name.len() + value.len() + 2).sum();
    assert_eq!(length, pairs + pairs.to_string().len() + 2);
    let part = |end: usize| input.get(..end).unwrap_or_default();
    assert_eq!(read(part(length), &limits), Ok(Packet::Request(block, length)));
    assert!(matches!(read(part(length - 1 - input.len() % length), &limits), Ok(Packet::Incomplete(_))));
}
