//! The options of what the master holds the workers to.

use super::By::Master;
use super::Kind::Number;
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Obeyed(Master), default, doc)
}

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
