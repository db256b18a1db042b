//! The options of what the master holds the workers to.

use super::By::Worker;
use super::Kind::{Flag, Number};
use super::{Row, obeyed_by, obeyed_by_master as row};

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
    row(
        &["harakiri-graceful-timeout"],
        Number,
        "0",
        "Seconds that a worker which overran `harakiri` gets to finish before it is killed; it takes nothing new, and another takes its place",
    ),
    row(
        &["harakiri-graceful-signal"],
        Number,
        "15",
        "With `harakiri-graceful-timeout`: the number of the signal that it gets; 12 has it log its stacks",
    ),
    row(
        &["harakiri-queue-threshold"],
        Number,
        "0",
        "A worker that overran `harakiri` is let alone while fewer connections and requests than this wait",
    ),
    obeyed_by(
        &["harakiri-no-arh", "no-harakiri-arh", "no-harakiri-after-req-hook"],
        Flag,
        Worker,
        "off",
        "`harakiri` does not count the time of `uwsgi.after_req_hook`",
    ),
];
