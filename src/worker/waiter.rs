//! How an application thread waits for the network.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use pyo3::{PyResult, Python};
use tokio::runtime::Runtime;
use tokio::task::unconstrained;
use tokio::time::timeout;

use super::connections::{Connections, Runner};
use crate::sys::{reactor, wait};

/// How an application thread waits for the network: detached from the interpreter, unless greenlets do.
#[derive(Clone, Debug)]
pub(super) enum Waiter {
    /// The application runs in the I/O thread: the loop runs on while it waits.
    Loop(Arc<Inside>, Runner),
    /// Another thread runs the loop: this one sleeps.
    Sleep,
    /// Another thread runs the loop: other greenlets of this one run. They switch only while attached.
    Greenlet(Arc<dyn Greenlet>),
}

/// How the greenlet of one request waits. What is thrown into it meanwhile is raised when the wait is over: what is under
/// way (a frame to the router, a piece of a body) is finished, and each wait has its limit.
pub(super) trait Greenlet: Debug + Send + Sync {
    /// Waits until it is ready, while other greenlets run.
    fn wait(&self, is_ready: &mut dyn FnMut(&mut Context<'_>) -> bool);
    /// For the next request.
    fn for_request(&self) -> Arc<dyn Greenlet>;
    /// What was thrown, once.
    fn thrown(&self) -> PyResult<()>;
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
            Self::Greenlet(greenlet) => Self::Greenlet(Arc::clone(greenlet)),
        }
    }

    /// For the next request of this core.
    pub(super) fn for_request(&self) -> Self {
        match self {
            Self::Greenlet(greenlet) => Self::Greenlet(greenlet.for_request()),
            other => other.clone(),
        }
    }

    /// Whether it may only be waited while attached to the interpreter.
    pub(super) const fn is_greenlet(&self) -> bool {
        matches!(self, Self::Greenlet(..))
    }

    /// Does what may wait.
    pub(super) fn detached<T: Send>(&self, py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
        if self.is_greenlet() { work() } else { py.detach(work) }
    }

    /// What was thrown into the greenlet while it waited.
    pub(super) fn thrown(&self) -> PyResult<()> {
        match self {
            Self::Greenlet(greenlet) => greenlet.thrown(),
            _ => Ok(()),
        }
    }

    /// Waits for `future`.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Loop(inside, runner) => {
                let mut future = pin!(future);
                // Without tokio's budget: what it puts off would be forgotten when the loop is left, and a connection
                // with much to write would never be heard of again.
                inside.runtime.block_on(unconstrained(poll_fn(|cx| {
                    inside.wake_all();
                    inside.connections.poll(*runner, cx);
                    future.as_mut().poll(cx)
                })))
            }
            Self::Sleep => {
                let mut future = pin!(future);
                loop {
                    if let Some(output) = sleep_for(Duration::MAX, future.as_mut()) {
                        return output;
                    }
                }
            }
            Self::Greenlet(greenlet) => {
                // Others may point into it, and the stack of a greenlet that does not run is elsewhere.
                let mut future = Box::pin(future);
                loop {
                    let mut output = None;
                    greenlet.wait(&mut |cx| {
                        if let Poll::Ready(ready) = future.as_mut().poll(cx) {
                            output = Some(ready);
                        }
                        output.is_some()
                    });
                    if let Some(output) = output {
                        return output;
                    }
                }
            }
        }
    }

    /// The same for so long at most.
    pub(super) fn wait_for<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        match self {
            Self::Loop(..) | Self::Greenlet(..) => self.wait(async { timeout(limit, future).await.ok() }),
            Self::Sleep => sleep_for(limit, future),
        }
    }

    /// Wakes a task of the loop, at the latest when this thread waits.
    pub(super) fn wake(&self, waker: Option<Waker>) {
        match (self, waker) {
            (Self::Loop(inside, _), Some(waker)) => lock(&inside.woken).push(waker),
            (Self::Sleep | Self::Greenlet(..), Some(waker)) => waker.wake(),
            (_, None) => {}
        }
    }

    /// Has the loop send what is ready to be sent; other threads do without being asked.
    pub(super) fn flush(&self) {
        if let Self::Loop(..) = self {
            self.wait(async {});
        }
    }

    /// Waits until `fd` can be read; `false` when the time is over.
    ///
    /// # Errors
    /// `poll`, or registering it.
    pub(super) fn readable(&self, fd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
        if self.is_greenlet() { self.readable_at_length(fd, limit) } else { wait::readable(fd, Some(limit)) }
    }

    /// The same where it may take long: whoever runs the loop does so meanwhile.
    ///
    /// # Errors
    /// As [`Waiter::readable`].
    pub(super) fn readable_at_length(&self, fd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
        if matches!(self, Self::Sleep) {
            return wait::readable(fd, Some(limit));
        }
        let ready = async {
            let fd = reactor::register(fd.try_clone_to_owned()?)?;
            fd.readable().await.map(drop)
        };
        self.wait_for(limit, ready).transpose().map(|ready| ready.is_some())
    }

    /// The same for writing.
    ///
    /// # Errors
    /// As [`Waiter::readable`].
    pub(super) fn writable(&self, fd: BorrowedFd<'_>, limit: Duration) -> io::Result<bool> {
        if !self.is_greenlet() {
            return wait::writable(fd, Some(limit));
        }
        let ready = async {
            let fd = reactor::register(fd.try_clone_to_owned()?)?;
            fd.writable().await.map(drop)
        };
        self.wait_for(limit, ready).transpose().map(|ready| ready.is_some())
    }
}

impl Inside {
    fn wake_all(&self) {
        let woken = mem::take(&mut *lock(&self.woken));
        woken.into_iter().for_each(Waker::wake);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;
    use tokio::task::consume_budget;

    use super::*;

    #[test]
    fn a_connection_with_much_to_do_is_not_forgotten_when_the_loop_is_left() {
        let runtime = Arc::new(Builder::new_current_thread().enable_time().build().unwrap());
        let connections = Arc::<Connections>::default();
        let waiter = Waiter::inside(runtime, Arc::clone(&connections));
        let (done, is_done) = oneshot::channel();
        connections.add(async {
            for _ in 0..10_000 {
                consume_budget().await;
            }
            done.send(()).unwrap();
        });
        waiter.flush();
        assert_eq!(waiter.wait_for(Duration::from_secs(10), is_done), Some(Ok(())));
    }

    #[test]
    fn a_sleeping_thread_is_woken_from_another() {
        let (sender, receiver) = oneshot::channel();
        let other = thread::spawn(move || sender.send(7));
        assert_eq!(Waiter::Sleep.wait(receiver), Ok(7));
        other.join().unwrap().unwrap();
        let never = std::future::pending::<()>();
        assert_eq!(Waiter::Sleep.wait_for(Duration::from_millis(1), never), None);
    }
}
