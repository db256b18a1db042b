//! See `checks/api_request.rs`.
#![no_main]

#[path = "../checks/api_request.rs"]
mod api_request;

libfuzzer_sys::fuzz_target!(|input: &[u8]| api_request::check(input));
