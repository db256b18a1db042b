//! When a worker wants to be replaced.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::host::Host;
use crate::config::instance::WorkerSpec;
use crate::sys::{clock, own};
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
        let requests = self.requests.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let reason = match self.limit.filter(|limit| requests >= *limit) {
            Some(limit) => Some(format!("max-requests reached ({requests} >= {limit})")),
            None => self.too_large(),
        };
        let Some(reason) = reason else { return };
        let least = Duration::from_secs(u64::from(self.host.spec.workers.min_lifetime_s));
        if clock::now().since(self.born) >= least {
            self.ask(reason);
        }
    }

    /// How long the worker may live; `None`: it has no end.
    pub(super) fn longest(&self) -> Option<Duration> {
        let WorkerSpec { max_lifetime_s, max_lifetime_delta_s, .. } = self.host.spec.workers;
        let others = u64::from(self.host.worker_number().saturating_sub(1));
        let delta = max_lifetime_delta_s.saturating_mul(others);
        (max_lifetime_s > 0).then(|| Duration::from_secs(max_lifetime_s.saturating_add(delta)))
    }

    /// The worker has lived as long as it may.
    pub(super) fn expire(&self) {
        self.ask("max-worker-lifetime reached".to_owned());
    }

    /// Why the process is larger than it may be.
    fn too_large(&self) -> Option<String> {
        let WorkerSpec { reload_on_rss_mib, reload_on_as_mib, .. } = self.host.spec.workers;
        if reload_on_rss_mib == 0 && reload_on_as_mib == 0 {
            return None;
        }
        let (vsz, rss) = own::size_of(std::process::id())?;
        let reached = |limit: u64, bytes: u64| limit > 0 && bytes >> 20 >= limit;
        if reached(reload_on_rss_mib, rss) {
            return Some(format!("reload-on-rss reached ({} MiB >= {reload_on_rss_mib} MiB)", rss >> 20));
        }
        reached(reload_on_as_mib, vsz)
            .then(|| format!("reload-on-as reached ({} MiB >= {reload_on_as_mib} MiB)", vsz >> 20))
    }

    /// Asks for a replacement, once.
    pub(super) fn ask(&self, reason: String) {
        if !self.has_asked.swap(true, Ordering::Relaxed) {
            self.host.tell(&FromWorker::Recycle { reason });
        }
    }
}

/// `max-requests`, staggered by the worker's number so that not all are replaced at once.
fn limit(workers: &WorkerSpec, number: u32) -> Option<u64> {
    let delta = workers.max_requests_delta.saturating_mul(u64::from(number.saturating_sub(1)));
    (workers.max_requests > 0).then(|| workers.max_requests.saturating_add(delta))
}
