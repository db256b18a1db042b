//! Regions of files as the kernel's record locks name them, for whoever takes one with `fcntl`.

use std::io;

use nix::errno::Errno;

/// So many bytes from `start`, to be locked for writing or freed (`F_WRLCK`, `F_UNLCK`); 0 bytes: all from there.
pub(super) fn of(kind: libc::c_int, start: u32, length: u8) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or_default(),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: start.into(),
        l_len: length.into(),
        l_pid: 0,
    }
}

/// Whether trying to lock a region came to that, and not to somebody else's lock.
pub(super) fn is_locked(tried: nix::Result<libc::c_int>) -> io::Result<bool> {
    match tried {
        Ok(_) => Ok(true),
        Err(Errno::EACCES | Errno::EAGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
