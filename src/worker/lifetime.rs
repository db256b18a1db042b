//! When a worker wants to be replaced.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::host::Host;
use crate::config::instance::WorkerSpec;
use crate::sys::clock;
use crate::tick::Tick;
use crate::wire::message::FromWorker;

/// When a worker wants to be replaced. It serves on until the master tells it to finish.
#[derive(Debug)]
pub(super) struct Lifetime {
    host: &'static Host,
    limit: Option<u64>,
    born: Tick,
    requests: AtomicU64,
    has_asked: AtomicBool,
}

impl Lifetime {
    /// A worker that starts now.
    pub(super) fn new(host: &'static Host) -> Self {
        let limit = limit(&host.spec.workers, host.worker_number());
        Self {
            host,
            limit,
            born: clock::now(),
            requests: AtomicU64::new(0),
            has_asked: AtomicBool::new(false),
        }
    }

    /// A request is over: asks for a replacement, once, when that was the last one that the worker should serve.
    pub(super) fn count(&self) {
        let Some(limit) = self.limit else { return };
        let requests = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if requests < limit {
            return;
        }
        let least = Duration::from_secs(u64::from(self.host.spec.workers.min_lifetime_s));
        if clock::now().since(self.born) >= least && !self.has_asked.swap(true, Ordering::Relaxed) {
            let reason = format!("max-requests reached ({requests} >= {limit})");
            self.host.tell(&FromWorker::Recycle { reason });
        }
    }
}

/// `max-requests`, staggered by the worker's number so that not all are replaced at once.
fn limit(workers: &WorkerSpec, number: u32) -> Option<u64> {
    let delta = workers.max_requests_delta.saturating_mul(u64::from(number.saturating_sub(1)));
    (workers.max_requests > 0).then(|| workers.max_requests.saturating_add(delta))
}
