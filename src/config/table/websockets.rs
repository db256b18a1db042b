//! The options of the websockets of an application.

use super::By::Worker;
use super::Kind::Number;
use super::{Row, obeyed_by as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["websockets-ping-freq", "websocket-ping-freq"],
        Number,
        Worker,
        "30",
        "Seconds of silence after which the client of a websocket is asked whether it is there; 0 never asks",
    ),
    row(
        &["websockets-pong-tolerance", "websocket-pong-tolerance"],
        Number,
        Worker,
        "3",
        "Seconds that it has to answer; then the websocket is over",
    ),
    row(
        &["websockets-max-size", "websocket-max-size"],
        Number,
        Worker,
        "1024",
        "KiB that a message of the client of a websocket may have",
    ),
];
