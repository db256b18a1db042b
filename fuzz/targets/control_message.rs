//! See `checks/control_message.rs`.
#![no_main]

#[path = "../checks/control_message.rs"]
mod control_message;

libfuzzer_sys::fuzz_target!(|input: &[u8]| control_message::check(input));
