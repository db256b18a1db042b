//! The options that are accepted with a warning because serving does not miss them until they exist.

use super::Kind::Number;
use super::{Kind, Row, Standing};

const fn later(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Later, "", doc)
}

pub(super) static ROWS: &[Row] = &[
    // Sockets and the router.
    later(&["http-harakiri"], Number, "a router that ends is replaced; one that hangs is not found out"),
];
