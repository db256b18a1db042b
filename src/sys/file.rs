//! Opening files that somebody else put there, without being held up or fooled by what they are.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a path for reading: never waits (a FIFO, a device), never becomes our terminal, is not inherited. What it
/// is must be asked of the open file.
///
/// # Errors
/// `open`.
pub fn open_untrusted(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY).open(path)
}

/// Why a file cannot be opened, as far as it matters to who looks for files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// There is none, or a symbolic link leads nowhere.
    Missing,
    /// Symbolic links lead in a circle.
    Loop,
    /// This process may not read it.
    Denied,
    /// It is a socket, or a device without a driver.
    Socket,
    /// This process or the machine is short of something; the file may be fine.
    Shortage,
    /// Anything else: the file's own fault.
    Other,
}

impl Trouble {
    /// What kind of trouble an error of `open` tells of.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => Self::Missing,
            Some(libc::ELOOP) => Self::Loop,
            Some(libc::EACCES | libc::EPERM) => Self::Denied,
            Some(libc::ENXIO) => Self::Socket,
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINTR | libc::EIO | libc::ESTALE) => {
                Self::Shortage
            }
            _ => Self::Other,
        }
    }
}
