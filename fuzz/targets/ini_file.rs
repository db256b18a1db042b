//! See `checks/ini_file.rs`.
#![no_main]

#[path = "../checks/ini_file.rs"]
mod ini_file;

libfuzzer_sys::fuzz_target!(|input: &[u8]| ini_file::check(input));
