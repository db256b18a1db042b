//! The terminal, if there is one.

use std::os::fd::{AsFd, AsRawFd};

/// How many columns the terminal has behind this descriptor; `None`: it is no terminal, or does not know.
#[must_use]
pub fn columns(fd: impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, and that is what it is given.
    #[expect(unsafe_code, reason = "there is no safe wrapper for this ioctl")]
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (done == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
