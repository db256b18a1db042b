//! An ini file: any text is read or refused, within the limits, without a panic.

use liege::config::ini;

/// Bytes that are no text never get to the reader.
pub(crate) fn check(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input) {
        let _ = ini::read(text, "uwsgi", |value, _| value.to_owned());
    }
}
