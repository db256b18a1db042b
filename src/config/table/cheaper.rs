//! The options of a number of workers that follows the load.

use super::Kind::{Flag, Number, Text};
use super::{Row, obeyed_by_master as row};

pub(super) static ROWS: &[Row] = &[
    row(
        &["cheaper"],
        Number,
        "off",
        "The fewest workers: more come under load, at most `processes`, and go after it; below `processes`",
    ),
    row(&["cheaper-initial"], Number, "`cheaper`", "How many workers there are at the start"),
    row(&["cheaper-step"], Number, "1", "How many workers come at once"),
    row(
        &["cheaper-overload"],
        Number,
        "3",
        "Seconds of overload before workers come, and of rest before one goes; the cycle of `busyness`; for `backlog` how many requests may wait",
    ),
    row(&["cheaper-idle"], Number, "10", "`spare2`: seconds with too many idle workers before one goes"),
    row(
        &["cheaper-algo", "cheaper-algorithm"],
        Text,
        "spare",
        "What decides: `spare` (all workers are busy), `spare2` (fewer than `cheaper` are idle), `backlog` (requests that wait), `busyness` (the share of time), `manual` (an operator)",
    ),
    row(&["cheaper-busyness-max"], Number, "50", "`busyness`: percent above which workers come"),
    row(&["cheaper-busyness-min"], Number, "25", "`busyness`: percent below which workers go"),
    row(
        &["cheaper-busyness-multiplier"],
        Number,
        "10",
        "`busyness`: cycles below the least before a worker goes",
    ),
    row(
        &["cheaper-busyness-penalty"],
        Number,
        "2",
        "`busyness`: added to the multiplier when a worker that went is needed again soon",
    ),
    row(
        &["cheaper-busyness-backlog-alert"],
        Number,
        "33",
        "`busyness`: more waiting requests than that bring workers at once",
    ),
    row(&["cheaper-busyness-backlog-step"], Number, "1", "`busyness`: how many come then"),
    row(
        &["cheaper-busyness-backlog-multiplier"],
        Number,
        "3",
        "`busyness`: the multiplier while workers that came so are there",
    ),
    row(
        &["cheaper-busyness-backlog-nonzero"],
        Number,
        "60",
        "`busyness`: seconds in which requests always wait before workers come",
    ),
    row(&["cheaper-busyness-verbose"], Flag, "off", "`busyness`: every cycle is logged"),
    row(
        &["cheaper-rss-limit-soft"],
        Number,
        "off",
        "Bytes of memory of all workers together from which on no more come",
    ),
    row(
        &["cheaper-rss-limit-hard"],
        Number,
        "off",
        "Bytes of memory of all workers together from which on workers go; above the soft limit",
    ),
    row(&["cheap"], Flag, "off", "There are no workers before the first connection"),
];
