//! See `checks/route_rules.rs`.
#![no_main]

#[path = "../checks/route_rules.rs"]
mod route_rules;

libfuzzer_sys::fuzz_target!(|input: &[u8]| route_rules::check(input));
