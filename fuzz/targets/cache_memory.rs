//! See `checks/cache_memory.rs`.
#![no_main]

#[path = "../checks/cache_memory.rs"]
mod cache_memory;

libfuzzer_sys::fuzz_target!(|input: &[u8]| cache_memory::check(input));
