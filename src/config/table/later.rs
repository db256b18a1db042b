//! The options that are accepted with a warning because serving does not miss them until they exist.

use super::Kind::{Flag, Number};
use super::{Kind, Row, Standing};

const fn later(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Later, "", doc)
}

pub(super) static ROWS: &[Row] = &[
    // Workers.
    later(&["post-buffering-bufsize"], Number, "what waits in a file moves in pieces of 256 KiB"),
    // Sockets and the router.
    later(&["http-buffer-size"], Number, "the router's buffers grow as they are needed, up to fixed limits"),
    later(&["http-cheap"], Flag, "it is about routers that instances subscribe to"),
    later(&["http-harakiri"], Number, "a router that ends is replaced; one that hangs is not found out"),
];
