//! Reading the clocks.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::tick::Tick;

/// The monotonic clock now.
#[must_use]
pub fn now() -> Tick {
    Tick::from_ms(monotonic_us() / 1000)
}

/// Microseconds on the monotonic clock.
#[must_use]
pub fn monotonic_us() -> u64 {
    // CLOCK_MONOTONIC exists on every Linux; zero would only make deadlines late.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0) / 1000
    })
}

/// What the clock on the wall shows at a time since the epoch, as the C library tells it.
#[must_use]
pub fn local(epoch_s: i64) -> libc::tm {
    // SAFETY: a structure of numbers and a pointer to a name, which may be null.
    #[expect(unsafe_code, reason = "a structure of the C library")]
    let mut shown: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both places are valid for the call; on failure nothing is written, and all zero stays.
    #[expect(unsafe_code, reason = "there is no wrapper for localtime_r")]
    unsafe {
        libc::localtime_r(&raw const epoch_s, &raw mut shown)
    };
    shown
}

/// Seconds since the epoch.
#[must_use]
pub fn epoch_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Microseconds since the epoch.
#[must_use]
pub fn epoch_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(u64::MAX))
}

/// Milliseconds since the epoch.
#[must_use]
pub fn epoch_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
