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
    us_of(ClockId::CLOCK_MONOTONIC)
}

/// Microseconds of CPU time that the calling thread has had.
#[must_use]
pub fn own_cpu_us() -> u64 {
    us_of(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn us_of(clock: ClockId) -> u64 {
    // Each that is asked for exists on every Linux; zero would only make deadlines late.
    clock_gettime(clock).map_or(0, |t| {
        u64::try_from(t.tv_sec()).unwrap_or(0) * 1_000_000 + u64::try_from(t.tv_nsec()).unwrap_or(0) / 1000
    })
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
