//! The channel that a process of ours was started with.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use crate::sys::fd;

/// Names the channel's descriptor: 0 at birth, another number after a re-exec.
pub const VARIABLE: &str = "LIEGE_CHANNEL_FD";

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
