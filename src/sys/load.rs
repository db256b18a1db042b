//! How many processes want a CPU of this host (proc_loadavg(5)).

use std::fs;

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
