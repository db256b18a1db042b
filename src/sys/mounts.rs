//! What is mounted where, as far as this process sees: that it has changed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reactor;

/// An ear for changes.
#[derive(Debug)]
pub struct Mounts {
    file: AsyncFd<OwnedFd>,
}

impl Mounts {
    /// Listens from now on.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn watch() -> io::Result<Self> {
        let file = fs::File::open("/proc/self/mountinfo")?;
        Ok(Self { file: reactor::register_changes(file.into())? })
    }

    /// Waits until something was mounted or unmounted since this was told last. Cancel-safe.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn change(&self) -> io::Result<()> {
        self.file.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}
