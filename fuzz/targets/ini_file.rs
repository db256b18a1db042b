//! An ini file: any text is read or refused, within the limits, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use liege::config::ini;

fuzz_target!(|text: &str| {
    let _ = ini::read(text, "uwsgi", |value, _| value.to_owned());
});
