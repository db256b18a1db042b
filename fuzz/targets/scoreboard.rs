//! See `checks/scoreboard.rs`.
#![no_main]

#[path = "../checks/scoreboard.rs"]
mod scoreboard;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scoreboard::check(input));
