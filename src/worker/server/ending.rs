//! The end of a worker: what has to know that it comes, and how long it may wait.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Server;
use crate::stats::scoreboard::{Field, Slot};

/// How long an idle connection may still send a request when the worker finishes.
const SILENCE: Duration = Duration::from_secs(15);
/// The part of `worker-reload-mercy` that requests get which last as long as their clients like.
const FAREWELL: f32 = 0.75;

impl Server {
    /// Accepts nothing more, and from now on running requests have so much time as `worker-reload-mercy` says.
    pub(in crate::worker) fn start_farewell(&self) {
        self.has_farewell.store(true, Ordering::Relaxed);
        if let Some(slot) = self.host.slot() {
            slot.set(Field::Accepting, 0);
        }
        self.farewell.notify_waiters();
    }

    /// Whether nothing more is accepted: the worker was told so, or its master is about to tell it.
    pub(in crate::worker) fn is_closed(&self) -> bool {
        self.has_farewell.load(Ordering::Relaxed) || self.host.slot().is_some_and(Slot::is_dismissed)
    }

    /// Waits until nothing more is accepted.
    pub(in crate::worker) async fn closed(&self) {
        raised(&self.has_farewell, &self.farewell).await;
    }

    /// Waits until a request must come to an end that lasts as long as its client likes: before the worker has to.
    pub(in crate::worker) async fn farewell(&self) {
        self.closed().await;
        let mercy = Duration::from_secs(u64::from(self.host.spec.workers.reload_mercy_s));
        sleep(mercy.mul_f32(FAREWELL)).await;
    }

    /// Waits until the worker finishes.
    pub(in crate::worker) async fn drained(&self) {
        raised(&self.is_draining, &self.drain).await;
    }

    /// Waits until the worker is to hurry.
    pub(in crate::worker) async fn hurried(&self) {
        raised(&self.is_hurried, &self.hurry).await;
    }

    /// Has connections closed that are silent for so long from now on.
    pub(in crate::worker) fn hurry(&self, silence: Duration) {
        let _ = self.hurried_silence.set(silence);
        self.is_hurried.store(true, Ordering::Relaxed);
        self.hurry.notify_waiters();
    }

    /// Waits, in a worker that finishes, until a connection that stayed silent all the time is to be closed. A client
    /// may be sending on it at that very moment and would read the end of the connection, so there is patience as long
    /// as successors serve; what a busy client sends in that time is answered, with `Connection: close`.
    pub(in crate::worker) async fn silence_over(&self) {
        let mercy = Duration::from_secs(u64::from(self.host.spec.workers.reload_mercy_s));
        // A request that comes last still has half of the mercy.
        let patience = SILENCE.min(mercy / 2);
        tokio::select! {
            () = sleep(patience) => {}
            () = async {
                self.hurried().await;
                sleep(self.hurried_silence.get().copied().unwrap_or_default()).await;
            } => {}
        }
    }
}

/// Waits for a flag that is set before those who wait for it are told.
async fn raised(flag: &AtomicBool, told: &Notify) {
    let mut notified = pin!(told.notified());
    notified.as_mut().enable();
    if !flag.load(Ordering::Relaxed) {
        notified.await;
    }
}
