//! `uwsgi.lock` and its like: locks between all workers of the instance, those of other generations included, and between
//! the threads of each.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyTuple};

use super::host::Host;
use crate::sys::locks::Locks;

/// How soon is tried again what seemed to be a deadlock.
const AGAIN: Duration = Duration::from_millis(10);

/// The locks of the instance, as a process sees them.
#[derive(Debug)]
pub(super) struct Shared {
    between: Locks,
    taken: Mutex<Vec<Option<Taken>>>,
    freed: Condvar,
}

/// A lock that a thread has, or waits for before all others of its process.
#[derive(Clone, Copy, Debug)]
struct Taken {
    by: Owner,
    is_held: bool,
}

/// A thread. A process that was forked has no lock of its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    process: u32,
    thread: ThreadId,
}

impl Owner {
    fn here() -> Self {
        Self { process: std::process::id(), thread: thread::current().id() }
    }
}

impl Shared {
    /// So many.
    pub(super) fn new(between: Locks, count: usize) -> Self {
        Self { between, taken: Mutex::new(vec![None; count]), freed: Condvar::new() }
    }

    /// Takes a lock for a thread; `false` when somebody has it and `waits` is not said.
    fn take(&self, number: u32, by: Owner, waits: bool) -> io::Result<bool> {
        let mut taken = self.lock();
        while find(&taken, number).is_some() {
            if !waits {
                return Ok(false);
            }
            taken = self.freed.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        set(&mut taken, number, Some(Taken { by, is_held: false }));
        drop(taken);
        let got = if waits { self.between.wait(number).map(|()| true) } else { self.between.take(number) };
        match got {
            Ok(true) => set(&mut self.lock(), number, Some(Taken { by, is_held: true })),
            Ok(false) | Err(_) => self.give(number),
        }
        got
    }

    /// Frees a lock that this thread has.
    fn free(&self, number: u32) -> io::Result<()> {
        let taken = find(&self.lock(), number);
        if taken.is_some_and(|taken| taken.is_held && taken.by == Owner::here()) {
            self.between.free(number)?;
            self.give(number);
        }
        Ok(())
    }

    /// Whether anybody has a lock.
    fn is_taken(&self, number: u32) -> bool {
        let taken = find(&self.lock(), number);
        taken.is_some() || self.between.holder(number).is_some()
    }

    fn give(&self, number: u32) {
        set(&mut self.lock(), number, None);
        self.freed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Option<Taken>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which thread of this process has a lock, or waits for it.
fn find(taken: &[Option<Taken>], number: u32) -> Option<Taken> {
    let found = (*taken.get(usize::try_from(number).ok()?)?)?;
    (found.by.process == std::process::id()).then_some(found)
}

fn set(taken: &mut [Option<Taken>], number: u32, now: Option<Taken>) {
    if let Some(place) = usize::try_from(number).ok().and_then(|number| taken.get_mut(number)) {
        *place = now;
    }
}

/// Waits for a lock and takes it.
#[pyfunction]
#[pyo3(signature = (number = 0))]
pub(super) fn lock(py: Python<'_>, number: i64) -> PyResult<()> {
    let ((host, number), by) = (named(number)?, Owner::here());
    if host.spec.workers.gevent.greenlets == 0 {
        return wait(py, host, number, by);
    }
    if host.locks.take(number, by, false)? {
        return Ok(());
    }
    // Other greenlets run while a thread of gevent's waits: for the kernel it is the process that has the lock.
    let waits =
        move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| wait(args.py(), host, number, by);
    let waits = PyCFunction::new_closure(py, None, None, waits)?;
    let hub = py.import("gevent")?.call_method0("get_hub")?;
    hub.getattr("threadpool")?.call_method1("apply", (waits,)).map(drop)
}

fn wait(py: Python<'_>, host: &Host, number: u32, by: Owner) -> PyResult<()> {
    loop {
        match py.detach(|| host.locks.take(number, by, true)) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => py.check_signals()?,
            // The kernel takes the threads of a process for one: another of them may free what seems to be in the way.
            Err(error) if error.kind() == io::ErrorKind::Deadlock => py.detach(|| thread::sleep(AGAIN)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Frees a lock that this thread has.
#[pyfunction]
#[pyo3(signature = (number = 0))]
pub(super) fn unlock(number: i64) -> PyResult<()> {
    let (host, number) = named(number)?;
    Ok(host.locks.free(number)?)
}

/// Whether anybody has a lock.
#[pyfunction]
#[pyo3(signature = (number = 0))]
pub(super) fn is_locked(number: i64) -> PyResult<bool> {
    let (host, number) = named(number)?;
    Ok(host.locks.is_taken(number))
}

fn named(number: i64) -> PyResult<(&'static Host, u32)> {
    let invalid = || PyValueError::new_err("Invalid lock number");
    let host = Host::get().ok_or_else(invalid)?;
    let known = u32::try_from(number).ok().filter(|number| *number <= host.spec.app.locks);
    Ok((host, known.ok_or_else(invalid)?))
}
