//! gevent's hub, and how a greenlet waits for what happens outside of it.

use std::collections::HashMap;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tokio::runtime::Handle;

use crate::sys::bell::Bell;

/// Watch for reading, in libev's and libuv's words.
const READ: u32 = 1;
/// How long a greenlet sleeps, with all others, when there is no hub that it could leave the time to.
const BROKEN_PAUSE: Duration = Duration::from_millis(1);

/// The hub of the thread that made this.
#[derive(Debug)]
pub(super) struct Hub {
    bell: Bell,
    thread: ThreadId,
    /// For what is waited for.
    runtime: Handle,
    hub: Py<PyAny>,
    /// gevent's class `Waiter`, in which a greenlet waits until it is switched to.
    waiter: Py<PyAny>,
    /// What tells which greenlet runs.
    current: Py<PyAny>,
    /// Exceptions of a hub that cannot be switched to.
    broken: Py<PyAny>,
    /// Greenlets that wait, by number.
    waiting: Mutex<HashMap<u64, Py<PyAny>>>,
    /// Which of them need not wait any more.
    woken: Mutex<Vec<u64>>,
    number: AtomicU64,
}

impl Hub {
    /// The hub of this thread.
    ///
    /// # Errors
    /// gevent cannot be imported, or has not what is needed.
    pub(super) fn new(py: Python<'_>, runtime: Handle) -> PyResult<Arc<Self>> {
        let gevent = py.import("gevent")?;
        let broken =
            [py.import("gevent.exceptions")?.getattr("LoopExit")?, py.import("greenlet")?.getattr("error")?];
        Ok(Arc::new(Self {
            bell: Bell::new()?,
            thread: thread::current().id(),
            runtime,
            hub: gevent.call_method0("get_hub")?.unbind(),
            waiter: py.import("gevent.hub")?.getattr("Waiter")?.unbind(),
            current: gevent.getattr("getcurrent")?.unbind(),
            broken: PyTuple::new(py, broken)?.into_any().unbind(),
            waiting: Mutex::default(),
            woken: Mutex::default(),
            number: AtomicU64::new(0),
        }))
    }

    /// Has the hub call this whenever the bell was rung; gives the watcher.
    pub(super) fn watch(&self, py: Python<'_>, look: Py<PyAny>) -> PyResult<Py<PyAny>> {
        let event_loop = self.hub.getattr(py, "loop")?;
        let watcher = event_loop.call_method1(py, "io", (self.bell.as_fd().as_raw_fd(), READ))?;
        watcher.call_method1(py, "start", (look,))?;
        Ok(watcher)
    }

    /// Has the hub look, from any thread.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Has the greenlets go on that need not wait any more, after the hub's other callbacks.
    pub(super) fn resume(&self, py: Python<'_>) -> PyResult<()> {
        self.bell.hear();
        let woken = std::mem::take(&mut *lock(&self.woken));
        let event_loop = self.hub.getattr(py, "loop")?;
        for number in woken {
            let waiter = lock(&self.waiting).remove(&number);
            if let Some(waiter) = waiter {
                let switch = waiter.getattr(py, "switch")?;
                event_loop.call_method1(py, "run_callback", (switch, py.None()))?;
            }
        }
        Ok(())
    }

    /// Waits until nothing is left that the hub would wait for.
    pub(super) fn join(&self, py: Python<'_>) -> PyResult<()> {
        self.hub.call_method0(py, "join").map(drop)
    }

    /// Waits until it is ready, while other greenlets run; what is thrown into this one meanwhile goes to `thrown`. A
    /// thread of another kind, and the hub itself, sleep.
    pub(super) fn wait(
        self: &Arc<Self>,
        py: Python<'_>,
        is_ready: &mut dyn FnMut(&mut Context<'_>) -> bool,
        thrown: &mut dyn FnMut(PyErr),
    ) {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let may_switch = self.may_switch(py);
        let waker = if may_switch {
            Waker::from(Arc::new(Parked { hub: Arc::clone(self), number }))
        } else {
            Waker::from(Arc::new(Asleep(thread::current())))
        };
        let mut cx = Context::from_waker(&waker);
        loop {
            let ready = {
                // Left before anything else runs in this thread.
                let _inside = self.runtime.enter();
                is_ready(&mut cx)
            };
            if ready {
                return;
            }
            if !may_switch {
                py.detach(thread::park);
                continue;
            }
            if let Err(error) = self.switch(py, number) {
                let is_broken = error.matches(py, self.broken.bind(py)).unwrap_or(true);
                thrown(error);
                if is_broken {
                    // Nobody would come back here.
                    py.detach(|| thread::sleep(BROKEN_PAUSE));
                }
            }
        }
    }

    fn may_switch(&self, py: Python<'_>) -> bool {
        let is_here = thread::current().id() == self.thread;
        is_here && self.current.call0(py).is_ok_and(|current| !current.is(&self.hub))
    }

    /// Has others run until this greenlet is woken, or something is thrown into it.
    fn switch(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let waiter = self.waiter.call1(py, (&self.hub,))?;
        lock(&self.waiting).insert(number, waiter.clone_ref(py));
        let switched = waiter.call_method0(py, "get");
        lock(&self.waiting).remove(&number);
        switched.map(drop)
    }
}

/// A greenlet that waits.
struct Parked {
    hub: Arc<Hub>,
    number: u64,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        lock(&self.hub.woken).push(self.number);
        self.hub.ring();
    }
}

/// A thread that sleeps.
struct Asleep(thread::Thread);

impl Wake for Asleep {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
