//! The options of what is made of the application: what becomes of its exceptions.

use super::By::Worker;
use super::Kind::{Flag, FreeText, Text};
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["catch-exceptions"],
        Flag,
        Worker,
        "off",
        "An exception's answer shows its traceback and the request's variables, but for credentials; for development",
    ),
    row(&["reload-on-exception"], Flag, Worker, "off", "A worker is replaced after any exception"),
    row(
        &["reload-on-exception-type"],
        Text,
        Worker,
        "none",
        "A worker is replaced after an exception of this class, `module.Class` or `Class`; repeatable",
    ),
    row(
        &["reload-on-exception-value"],
        FreeText,
        Worker,
        "none",
        "A worker is replaced after an exception with this text; repeatable",
    ),
    row(
        &["reload-on-exception-repr"],
        FreeText,
        Worker,
        "none",
        "A worker is replaced after this exception, as `module.Class: text` or `Class: text`; repeatable",
    ),
];
