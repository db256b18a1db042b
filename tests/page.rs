//! The live page in a real browser: what it shows, what it does, and what it never does.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test says what is wrong by panicking, also in its helpers"
)]

#[path = "page/browser.rs"]
mod browser;
#[path = "door/api.rs"]
#[expect(dead_code, reason = "it is shared, and not every test uses all of it")]
mod door;
#[path = "page/fleet.rs"]
mod fleet;
#[path = "page/several_hosts.rs"]
mod several_hosts;
#[path = "page/steering.rs"]
mod steering;
#[path = "system/support/mod.rs"]
#[expect(dead_code, reason = "it is shared, and not every test uses all of it")]
mod support;
