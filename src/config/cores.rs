//! How many requests a worker runs at the same time, uWSGI's cores, and as what.

use serde::{Deserialize, Serialize};

use super::instance::WorkerSpec;

/// The most requests of the router that a worker runs at the same time: each has a connection, and one message brings
/// them all.
pub const ROUTED_LIMIT: u32 = 250;

/// What runs requests as greenlets on gevent's loop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeventSpec {
    /// `gevent`: requests that a worker runs at the same time; 0: without gevent.
    pub greenlets: u32,
    /// `gevent-early-monkey-patch`: the standard library is patched before the application is loaded …
    pub early_monkey_patch: bool,
    /// `gevent-monkey-patch`: … or after it.
    pub monkey_patch: bool,
    /// `gevent-wait-for-hub`: a worker ends when all greenlets have, not only those of requests.
    pub wait_for_hub: bool,
}

impl WorkerSpec {
    /// How many requests a worker runs at the same time, at least 1: uWSGI's cores.
    #[must_use]
    pub fn cores(&self) -> u32 {
        if self.gevent.greenlets > 0 { self.gevent.greenlets } else { self.threads.max(1) }
    }
}
