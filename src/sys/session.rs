//! What a process shares with everybody of its session: the terminal, and the keyring that the kernel keeps for it.

use std::io;
use std::os::fd::AsRawFd;

/// `KEYCTL_JOIN_SESSION_KEYRING`, which libc does not name.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

/// Gives up the terminal of the session, for this process and all that it starts: whoever has it could type into the
/// shell of the one who started the session.
///
/// # Errors
/// The terminal does not let go.
pub fn leave_terminal() -> io::Result<()> {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return Ok(()) };
    // SAFETY: TIOCNOTTY takes no argument; the descriptor is open because it is borrowed from `terminal`.
    #[expect(unsafe_code, reason = "there is no safe wrapper for this ioctl")]
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives this process, and all that it starts, an empty session keyring: every key in that which it was born with
/// could be read.
///
/// # Errors
/// The user has as many keys as he may have, or the kernel has none.
pub fn own_keyring() -> io::Result<()> {
    // SAFETY: with this operation keyctl takes a name, and none is allowed.
    #[expect(unsafe_code, reason = "there is no wrapper for keyctl")]
    let done =
        unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
