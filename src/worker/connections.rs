//! The HTTP connections of a worker with one thread, and the orders of its master. Whoever runs the loop sees to them
//! before anything else: an answer is written before the application is called again, and at the price of no look at
//! the sockets.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::task::AtomicWaker;

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The HTTP connections of a worker with one thread.
pub(super) struct Connections {
    fresh: Mutex<Vec<Connection>>,
    served: Mutex<FuturesUnordered<Connection>>,
    loops: Arc<Loops>,
    /// The same, for the connections.
    waker: Waker,
}

/// Who runs the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Runner {
    /// The thread that calls the application.
    Caller,
    /// The one that runs the loop meanwhile.
    Deputy,
}

/// Whoever runs the loop, one or both: which of them takes part at the moment nobody need know.
#[derive(Debug, Default)]
struct Loops {
    caller: AtomicWaker,
    deputy: AtomicWaker,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

impl Default for Connections {
    fn default() -> Self {
        let loops = Arc::<Loops>::default();
        let mut served = FuturesUnordered::<Connection>::new();
        // With one that never is ready no round is a round through all, after which the set would have the loop look at
        // its sockets first.
        served.push(Box::pin(std::future::pending()));
        let _ = served.poll_next_unpin(&mut Context::from_waker(Waker::noop()));
        let waker = Waker::from(Arc::clone(&loops));
        Self { fresh: Mutex::default(), served: Mutex::new(served), loops, waker }
    }
}

impl Connections {
    /// Serves one more connection. A panic, which its hook reports, ends that one alone.
    pub(super) fn add(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let connection = AssertUnwindSafe(connection).catch_unwind().map(drop);
        lock(&self.fresh).push(Box::pin(connection));
        self.waker.wake_by_ref();
    }

    /// Serves those that are ready; wakes the loop of `runner` when there are more.
    pub(super) fn poll(&self, runner: Runner, cx: &Context<'_>) {
        match runner {
            Runner::Caller => self.loops.caller.register(cx.waker()),
            Runner::Deputy => self.loops.deputy.register(cx.waker()),
        }
        let mut served = lock(&self.served);
        served.extend(std::mem::take(&mut *lock(&self.fresh)));
        let mut cx = Context::from_waker(&self.waker);
        while let Poll::Ready(Some(())) = served.poll_next_unpin(&mut cx) {}
    }

    /// Forgets them all.
    pub(super) fn clear(&self) {
        lock(&self.served).clear();
    }
}

impl Wake for Loops {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.caller.wake();
        self.deputy.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn whoever_ran_the_loop_last_hears_of_a_connection_that_is_ready() {
        let connections = Connections::default();
        let polls = Arc::new(AtomicUsize::new(0));
        let (wakers, counted) = (Arc::new(Mutex::new(None::<Waker>)), Arc::clone(&polls));
        let kept = Arc::clone(&wakers);
        connections.add(poll_fn(move |cx| {
            *lock(&kept) = Some(cx.waker().clone());
            if counted.fetch_add(1, Ordering::Relaxed) < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        let (caller, deputy) = (Arc::<Count>::default(), Arc::<Count>::default());
        let wakings = || (caller.0.load(Ordering::Relaxed), deputy.0.load(Ordering::Relaxed));
        let run = |runner, count: &Arc<Count>| {
            let waker = Waker::from(Arc::clone(count));
            connections.poll(runner, &Context::from_waker(&waker));
            polls.load(Ordering::Relaxed)
        };
        let ready = || lock(&wakers).clone().unwrap().wake();
        assert_eq!((run(Runner::Caller, &caller), wakings()), (1, (0, 0)));
        ready();
        assert_eq!(wakings(), (1, 0));
        assert_eq!((run(Runner::Deputy, &deputy), wakings()), (2, (1, 0)));
        // The caller took part, and left to call the application.
        assert_eq!(run(Runner::Caller, &caller), 2);
        ready();
        assert_eq!(wakings(), (2, 1));
        assert_eq!((run(Runner::Deputy, &deputy), run(Runner::Deputy, &deputy)), (3, 3));
        ready();
        assert_eq!(run(Runner::Caller, &caller), 4);
        assert_eq!(lock(&connections.served).len(), 1, "it is over");
    }
}
