//! The channel that a process of ours was started with.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use crate::sys::fd;

/// Names the channel's descriptor: 0 at birth, another number after a re-exec.
pub const VARIABLE: &str = "LIEGE_CHANNEL_FD";

/// What is said to one process, and means nothing, or the wrong thing, to those that it starts: by the service manager, by an
/// emperor, by the image before.
pub const OF_ONE_PROCESS: [&str; 12] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "UWSGI_RELOADS",
    "UWSGI_EMPEROR_FD_CONFIG",
    VARIABLE,
    RESUME_VARIABLE,
    RECORD_VARIABLE,
];

/// Names the descriptor of the record of a master's image before.
pub const RESUME_VARIABLE: &str = "LIEGE_RESUME_FD";
/// The same of an emperor's.
pub const RECORD_VARIABLE: &str = "LIEGE_EMPEROR_RECORD";

/// Takes the channel over and moves it to where no subprocess meets it; descriptor 0 becomes `/dev/null`. The first
/// act of a process of ours, to be done once.
///
/// # Errors
/// There is none: the process was started by hand.
pub fn take() -> io::Result<OwnedFd> {
    let missing =
        || io::Error::other(format!("no channel: {VARIABLE} names none (liege starts this itself)"));
    let number = env::var(VARIABLE).ok().and_then(|text| text.parse().ok()).ok_or_else(missing)?;
    let given = fd::adopt(number).map_err(|_| missing())?;
    let channel = fd::duplicate_high(&given)?;
    if number == 0 {
        fd::replace(File::open("/dev/null")?, 0)?;
        // Descriptor 0 is `/dev/null` now, and stays open.
        let _ = given.into_raw_fd();
    }
    Ok(channel)
}
