//! A header of the PROXY protocol: no longer than the limit, the same whatever follows it, incomplete in every part.

use liege::proto::proxy::{Beginning, LIMIT_BYTES, read};

/// Reads the bytes as the first of a connection.
pub(crate) fn check(input: &[u8]) {
    match read(input) {
        Ok(Beginning::Header { length, client }) => {
            assert!(length <= input.len() && length <= LIMIT_BYTES);
            let part = |end: usize| input.get(..end).unwrap_or_default();
            assert_eq!(read(part(length)), Ok(Beginning::Header { length, client }));
            let shorter = length.saturating_sub(1 + input.len() % length);
            assert_eq!(read(part(shorter)), Ok(Beginning::Incomplete));
        }
        Ok(Beginning::Incomplete) => assert!(input.len() < LIMIT_BYTES),
        // More bytes make it no header.
        Ok(Beginning::Absent) => assert_eq!(read(&[input, b"\r\n"].concat()), Ok(Beginning::Absent)),
        Err(_) => assert!(read(&[input, b"\r\n"].concat()).is_err()),
    }
}
