//! How many processes want a CPU of this host (proc_loadavg(5)).

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Longer than any line of `/proc/loadavg`.
const LINE_BYTES: usize = 128;

/// The way to know it, kept open for who asks often.
#[derive(Debug)]
pub struct Load(Option<File>);

impl Load {
    /// Of this host; it is taken for one that rests when the system does not tell.
    #[must_use]
    pub fn of_host() -> Self {
        Self(File::open("/proc/loadavg").ok())
    }

    /// How many processes and threads of this host run, or wait for a CPU.
    #[must_use]
    pub fn runnable(&self) -> u64 {
        let mut line = [0; LINE_BYTES];
        let length = self.0.as_ref().and_then(|file| file.read_at(&mut line, 0).ok()).unwrap_or_default();
        runnable_in(&String::from_utf8_lossy(line.get(..length).unwrap_or_default()))
    }
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
        let load = Load::of_host();
        for _ in 0..2 {
            assert!(load.runnable() >= 1, "who asks runs");
        }
    }
}
