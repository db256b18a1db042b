//! See `checks/scgi_request.rs`.
#![no_main]

#[path = "../checks/scgi_request.rs"]
mod scgi_request;

libfuzzer_sys::fuzz_target!(|input: &[u8]| scgi_request::check(input));
