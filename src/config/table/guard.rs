//! The options of what the master holds the workers to.

use super::Kind::Number;
use super::{Row, obeyed_by_master as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["evil-reload-on-rss"],
        Number,
        "off",
        "MiB of memory at which the master kills a worker, even inside of a request",
    ),
    row(
        &["evil-reload-on-as"],
        Number,
        "off",
        "MiB of address space at which the master kills a worker, even inside of a request",
    ),
    row(
        &["mem-collector-freq"],
        Number,
        "3",
        "Seconds between two looks at the memory of workers, for those",
    ),
];
