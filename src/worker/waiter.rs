//! How an application thread waits for the network.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::connections::{Connections, Runner};

/// How an application thread waits for the network. Wait detached from the interpreter only.
#[derive(Clone, Debug)]
pub(super) enum Waiter {
    /// The application runs in the I/O thread: the loop runs on while it waits.
    Loop(Arc<Inside>, Runner),
    /// Another thread runs the loop: this one sleeps.
    Sleep,
}

/// The loop, entered now and then by the thread that calls the application.
#[derive(Debug)]
pub(super) struct Inside {
    runtime: Arc<Runtime>,
    connections: Arc<Connections>,
    /// Tasks to be woken at the next entrance: from outside each would cost a system call.
    woken: Mutex<Vec<Waker>>,
}

impl Waiter {
    /// For the thread that runs the loop as well.
    pub(super) fn inside(runtime: Arc<Runtime>, connections: Arc<Connections>) -> Self {
        let inside = Inside { runtime, connections, woken: Mutex::default() };
        Self::Loop(Arc::new(inside), Runner::Caller)
    }

    /// For the thread that runs the loop meanwhile.
    pub(super) fn for_deputy(&self) -> Self {
        match self {
            Self::Loop(inside, _) => Self::Loop(Arc::clone(inside), Runner::Deputy),
            Self::Sleep => Self::Sleep,
        }
    }

    /// Waits for `future`.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Loop(inside, runner) => {
                let mut future = pin!(future);
                inside.runtime.block_on(poll_fn(|cx| {
                    inside.wake_all();
                    inside.connections.poll(*runner, cx);
                    future.as_mut().poll(cx)
                }))
            }
            Self::Sleep => {
                let mut future = pin!(future);
                loop {
                    if let Some(output) = sleep_for(Duration::MAX, future.as_mut()) {
                        return output;
                    }
                }
            }
        }
    }

    /// The same for so long at most.
    pub(super) fn wait_for<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        match self {
            Self::Loop(..) => self.wait(async { timeout(limit, future).await.ok() }),
            Self::Sleep => sleep_for(limit, future),
        }
    }

    /// Wakes a task of the loop, at the latest when this thread waits.
    pub(super) fn wake(&self, waker: Option<Waker>) {
        match (self, waker) {
            (Self::Loop(inside, _), Some(waker)) => inside.lock().push(waker),
            (Self::Sleep, Some(waker)) => waker.wake(),
            (_, None) => {}
        }
    }
}

impl Inside {
    fn wake_all(&self) {
        let woken = mem::take(&mut *self.lock());
        woken.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct WakeThread(Thread);

impl Wake for WakeThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn sleep_for<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let waker = Arc::new(WakeThread(thread::current())).into();
    let mut context = Context::from_waker(&waker);
    let since = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        thread::park_timeout(limit.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeping_thread_is_woken_from_another() {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let other = thread::spawn(move || sender.send(7));
        assert_eq!(Waiter::Sleep.wait(receiver), Ok(7));
        other.join().unwrap().unwrap();
        let never = std::future::pending::<()>();
        assert_eq!(Waiter::Sleep.wait_for(Duration::from_millis(1), never), None);
    }
}
