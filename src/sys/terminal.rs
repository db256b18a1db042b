//! The terminal, if there is one.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// How many columns the terminal has behind this descriptor; `None`: it is no terminal, or does not know.
#[must_use]
pub fn columns(fd: impl AsFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, and that is what it is given.
    #[expect(unsafe_code, reason = "there is no safe wrapper for this ioctl")]
    let done = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (done == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether the terminal only prints, by `TERM`: it has no colours, and its cursor cannot be moved.
#[must_use]
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// How a terminal takes and shows what is typed.
#[derive(Debug)]
pub struct Modes(Termios);

impl Modes {
    /// Those of the standard input; `None`: it is no terminal.
    #[must_use]
    pub fn of_stdin() -> Option<Self> {
        tcgetattr(io::stdin()).ok().map(Self)
    }

    /// Gives them back to it, unless another job has the terminal now.
    pub fn restore(&self) {
        if tcgetpgrp(io::stdin()).is_ok_and(|group| group == getpgrp()) {
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.0);
        }
    }
}
