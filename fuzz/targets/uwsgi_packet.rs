//! See `checks/uwsgi_packet.rs`.
#![no_main]

#[path = "../checks/uwsgi_packet.rs"]
mod uwsgi_packet;

libfuzzer_sys::fuzz_target!(|input: &[u8]| uwsgi_packet::check(input));
