//! The options that are accepted with a warning because serving does not miss them until they exist.

use super::Kind::{Flag, Number, Path, Text};
use super::{Kind, Row, Standing};

const fn later(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Later, "", doc)
}

pub(super) static ROWS: &[Row] = &[
    // Logging.
    // Workers.
    later(&["fs-reload", "fs-brutal-reload"], Path, "use `touch-reload`"),
    later(&["exit-on-reload"], Flag, "a reload reloads"),
    later(&["post-buffering-bufsize"], Number, "what waits in a file moves in pieces of 256 KiB"),
    later(&["prio"], Number, "the limits of the service manager hold"),
    later(&["cpu-affinity"], Number, "the kernel chooses the CPU"),
    later(&["skip-atexit", "skip-atexit-teardown"], Flag, "the usual behaviour holds"),
    later(&["reaper"], Flag, "the usual behaviour holds").short('r'),
    later(&["procname", "procname-master", "procname-append"], Text, "the title is that of `auto-procname`"),
    later(&["stats-no-metrics"], Flag, "the statistics have no metrics"),
    later(
        &["fallback-config"],
        Path,
        "a configuration that cannot be used is reported, and the one before serves on",
    ),
    // Sockets and the router.
    later(
        &["http-connect-timeout"],
        Number,
        "workers take requests from the router: nothing is connected to",
    ),
    later(&["http-buffer-size"], Number, "the router's buffers grow as they are needed, up to fixed limits"),
    later(&["http-cheap"], Flag, "it is about routers that instances subscribe to"),
    later(&["http-auto-gzip"], Flag, "answers go out as the application made them"),
    later(&["http-harakiri"], Number, "a router that ends is replaced; one that hangs is not found out"),
];
