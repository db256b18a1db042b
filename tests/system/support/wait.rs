//! Waiting for an event, with a deadline that keeps a test from hanging.

use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before a test gives it up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer, for [`PATIENCE`] at most.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until it is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    eventually(what, || is_so().then_some(()));
}
