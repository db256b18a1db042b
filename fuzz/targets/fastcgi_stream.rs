//! See `checks/fastcgi_stream.rs`.
#![no_main]

#[path = "../checks/fastcgi_stream.rs"]
mod fastcgi_stream;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fastcgi_stream::check(input));
