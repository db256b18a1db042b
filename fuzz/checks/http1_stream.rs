//! A stream of HTTP/1.1 requests: any cutting of it must give the same result, and no bytes may panic.

use liege::proto::http1::reader::Reader;
use liege::proto::limits::Limits;

/// The last byte says how long the pieces are.
pub(crate) fn check(input: &[u8]) {
    let Some((&cut, bytes)) = input.split_last() else { return };
    // Small, so that the limits are met too.
    let limits = Limits {
        head_bytes: 400,
        line_bytes: 150,
        fields: 8,
        chunk_extension_bytes: 16,
        trailer_bytes: 16,
        ..Limits::default()
    };
    let whole = read(bytes.chunks(bytes.len().max(1)), limits);
    let pieces = read(bytes.chunks(usize::from(cut).max(1)), limits);
    assert_eq!(whole, pieces);
}

/// Bytes accepted, requests, and the status of the refusal.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: Limits) -> (usize, u64, Option<u16>) {
    let mut reader = Reader::new(limits);
    let (mut held, mut accepted) = (Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let taken = reader.accept(&held);
        held.drain(..taken);
        accepted += taken;
    }
    (accepted, reader.requests(), reader.refusal().map(|refusal| refusal.status))
}
