//! The options about what a request and its response may cost.

use super::By::Worker;
use super::Kind::{Flag, Number};
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["so-send-timeout", "socket-send-timeout", "so-write-timeout", "socket-write-timeout"],
        Number,
        Worker,
        "`socket-timeout`, but at least 30",
        "Seconds in which a client of the workers' own sockets must take something of its answer; for `http` there is \
         `http-timeout`",
    ),
    row(
        &["chunked-input-limit"],
        Number,
        Worker,
        "any length",
        "Bytes that a chunk of a request's body may have; a longer one is answered with 413",
    ),
    row(
        &["chunked-input-timeout"],
        Number,
        Worker,
        "as for any body",
        "Seconds in which something of a chunked body must come",
    ),
    row(
        &["response-headers-limit"],
        Number,
        Worker,
        "65535",
        "Bytes of all names and values in a response's head; more of them raise in `start_response`",
    ),
    row(
        &["body-read-warning"],
        Number,
        Worker,
        "8",
        "MiB of a body beyond which who reads them in one piece is warned in the log",
    ),
    row(
        &["write-errors-tolerance"],
        Number,
        Worker,
        "0",
        "Writes to a client that is gone that an application is not told of",
    ),
    row(
        &["wsgi-accept-buffer", "wsgi-accept-buffers"],
        Flag,
        Worker,
        "off",
        "Items of a response may be whatever has bytes (`bytearray`, `memoryview`), against PEP 3333",
    ),
];
