//! See `checks/proxy_header.rs`.
#![no_main]

#[path = "../checks/proxy_header.rs"]
mod proxy_header;

libfuzzer_sys::fuzz_target!(|input: &[u8]| proxy_header::check(input));
