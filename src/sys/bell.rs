//! A bell: a descriptor by which any thread wakes the event loop of another one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A descriptor that can be read from when the bell was rung, until that is heard.
#[derive(Debug)]
pub struct Bell {
    fd: EventFd,
    is_rung: AtomicBool,
}

impl Bell {
    /// A silent one, close-on-exec.
    ///
    /// # Errors
    /// `eventfd`.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self { fd: EventFd::from_value_and_flags(0, flags)?, is_rung: AtomicBool::new(false) })
    }

    /// Rings. Say first what there is to see.
    pub fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            // It fails only when it was rung 2⁶⁴ times unheard.
            let _ = self.fd.write(1);
        }
    }

    /// Silences it: look afterwards what there is to see.
    pub fn hear(&self) {
        // It fails only where it was not rung.
        let _ = self.fd.read();
        self.is_rung.store(false, Ordering::SeqCst);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::wait::readable;

    #[test]
    fn it_is_heard_once_however_often_it_was_rung() {
        let bell = Bell::new().unwrap();
        let rings = || readable(&bell, Some(Duration::ZERO)).unwrap();
        assert!(!rings());
        for _ in 0..2 {
            bell.ring();
            bell.ring();
            assert!(rings());
            bell.hear();
            assert!(!rings());
        }
    }
}
