//! How short the CPUs of this host are: the kernel tells who waits for that (pressure stall information).

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reactor;

const FILE: &str = "/proc/pressure/cpu";

/// Somebody waited for a CPU for so many microseconds of so many: what is asked for, the best first. Only who has
/// `CAP_SYS_RESOURCE` may have it told sooner than every two seconds (Linux 6.4).
const ASKED: [&[u8]; 2] = [b"some 250000 500000\0", b"some 250000 2000000\0"];

/// Tells when processes wait for a CPU. Nothing is done while none does.
#[derive(Debug)]
pub struct Pressure {
    file: AsyncFd<OwnedFd>,
}

impl Pressure {
    /// Begins to be told.
    ///
    /// # Errors
    /// The kernel does not tell, or does not tell us.
    pub fn watch() -> io::Result<Self> {
        let mut refusal = None;
        for asked in ASKED {
            // What was refused leaves nothing behind, but each file tells one thing only.
            let mut file = fs::OpenOptions::new().read(true).write(true).open(FILE)?;
            match file.write_all(asked) {
                Ok(()) => return Ok(Self { file: reactor::register_changes(file.into())? }),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| io::ErrorKind::Unsupported.into()))
    }

    /// Waits until processes wait again.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn rises(&self) -> io::Result<()> {
        self.file.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

/// How many processes and threads of this host run, or wait for a CPU; 0 when the system does not tell.
#[must_use]
pub fn runnable() -> u64 {
    runnable_in(&fs::read_to_string("/proc/loadavg").unwrap_or_default())
}

fn runnable_in(text: &str) -> u64 {
    let field = text.split(' ').nth(3).and_then(|field| field.split_once('/'));
    field.and_then(|(runnable, _)| runnable.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_field_of_the_load_tells_who_is_runnable() {
        for (text, expected) in [
            ("24.95 10.17 4.15 63/197 9372\n", 63),
            ("0.00 0.00 0.00 1/97 2\n", 1),
            ("0.00 0.00 0.00", 0),
            ("0 0 0 x/97 2", 0),
            ("0 0 0 9 2", 0),
            ("", 0),
        ] {
            assert_eq!(runnable_in(text), expected, "{text}");
        }
        // Who asks runs.
        assert!(runnable() >= 1);
    }
}
