//! See `checks/http1_stream.rs`.
#![no_main]

#[path = "../checks/http1_stream.rs"]
mod http1_stream;

libfuzzer_sys::fuzz_target!(|input: &[u8]| http1_stream::check(input));
