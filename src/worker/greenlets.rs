//! Requests as greenlets: the main thread runs gevent's hub, an I/O thread everything else. A bell in the hub's loop says
//! that requests or greenlets are ready.

mod hub;
mod preparation;

use std::cell::{OnceCell, RefCell};
use std::future::Future as _;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Context;
use std::thread;

use hub::Hub;
pub(super) use preparation::{after_fork, prepare};
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};

use super::call::Caller;
use super::driver::Callers;
use super::job::Job;
use super::server::Server;
use super::traceback;
use super::waiter::{Greenlet, Waiter};

thread_local! {
    /// What answers requests in this thread, the one that runs the hub.
    static CREW: RefCell<Option<Rc<Crew>>> = const { RefCell::new(None) };
}

/// What answers requests.
struct Crew {
    callers: Callers,
    hub: Arc<Hub>,
    /// Of each core its own, made for its first request.
    cores: Vec<OnceCell<Caller>>,
}

/// What the I/O thread and the hub share.
#[derive(Debug)]
struct Desk {
    server: Arc<Server>,
    hub: Arc<Hub>,
    spawn: Py<PyAny>,
    /// Requests that came in, each for a core.
    fresh: Mutex<Vec<(usize, Job)>>,
    /// Of each core whether its request is over.
    free: Vec<Notify>,
}

/// Serves until the worker has drained.
///
/// # Errors
/// gevent cannot be used, or a thread not be started.
pub(super) fn run(py: Python<'_>, runtime: Arc<Runtime>, callers: Callers) -> PyResult<()> {
    let server = Arc::clone(&callers.server);
    let spec = &server.host.spec.workers.gevent;
    if spec.monkey_patch && !spec.early_monkey_patch {
        preparation::patch(py)?;
    }
    let hub = Hub::new(py, server.handle.clone())?;
    let desk = Arc::new(Desk {
        server: Arc::clone(&server),
        hub: Arc::clone(&hub),
        spawn: py.import("gevent")?.getattr("spawn")?.unbind(),
        fresh: Mutex::default(),
        free: std::iter::repeat_with(Notify::new).take(server.threads()).collect(),
    });
    let keepers: Vec<_> =
        (0..server.threads()).map(|core| server.handle.spawn(keep(Arc::clone(&desk), core))).collect();
    let (over, is_over) = oneshot::channel::<()>();
    let io = thread::Builder::new().name("liege-io".to_owned()).spawn({
        let server = Arc::clone(&server);
        move || {
            runtime.block_on(async {
                server.emptied().await;
                for keeper in keepers {
                    // A panic was reported by its hook; the others have finished.
                    let _ = keeper.await;
                }
            });
            drop((runtime, over));
        }
    })?;
    let cores = std::iter::repeat_with(OnceCell::new).take(server.threads()).collect();
    CREW.set(Some(Rc::new(Crew { callers, hub: Arc::clone(&hub), cores })));
    let watcher = hub.watch(py, Py::new(py, Look(desk))?.into_any())?;
    // What the hub throws at its main greenlet (a greenlet of the application called `sys.exit`) ends no requests.
    let mut is_over = pin!(is_over);
    hub.wait(py, &mut |cx| is_over.as_mut().poll(cx).is_ready(), &mut |error| traceback::log(py, &error));
    watcher.call_method0(py, "stop")?;
    if spec.wait_for_hub {
        let _ = hub.join(py).map_err(|error| traceback::log(py, &error));
    }
    drop(CREW.take());
    // A panic was reported by its hook.
    let _ = py.detach(|| io.join());
    Ok(())
}

/// Brings a core one request after the other.
async fn keep(desk: Arc<Desk>, core: usize) {
    while let Some(job) = desk.server.next(core).await {
        lock(&desk.fresh).push((core, job));
        desk.hub.ring();
        if let Some(free) = desk.free.get(core) {
            free.notified().await;
        }
    }
}

/// What the hub calls when the bell was rung.
#[pyclass(frozen)]
struct Look(Arc<Desk>);

#[pymethods]
impl Look {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let desk = &self.0;
        desk.hub.resume(py)?;
        let fresh = std::mem::take(&mut *lock(&desk.fresh));
        for (core, job) in fresh {
            let turn = Turn { job, seat: Seat { desk: Arc::clone(desk), core } };
            desk.spawn.call1(py, (Request(Mutex::new(Some(turn))),))?;
        }
        Ok(())
    }
}

/// What a greenlet runs: one request.
#[pyclass(frozen)]
struct Request(Mutex<Option<Turn>>);

struct Turn {
    job: Job,
    seat: Seat,
}

/// A core as long as it is taken.
struct Seat {
    desk: Arc<Desk>,
    core: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.desk.server.done();
        if let Some(free) = self.desk.free.get(self.core) {
            free.notify_one();
        }
    }
}

#[pymethods]
impl Request {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let Some(Turn { job, seat }) = lock(&self.0).take() else { return Ok(()) };
        let Some(crew) = CREW.with_borrow(Clone::clone) else { return Ok(()) };
        if let Some(caller) = crew.caller(py, seat.core)? {
            caller.answer(py, job);
        }
        drop(seat);
        Ok(())
    }
}

impl Crew {
    fn caller(&self, py: Python<'_>, core: usize) -> PyResult<Option<&Caller>> {
        let Some(place) = self.cores.get(core) else { return Ok(None) };
        if place.get().is_none() {
            let waiting = Waiting { hub: Arc::clone(&self.hub), thrown: Mutex::default() };
            let _ = place.set(self.callers.caller(py, core, Waiter::Greenlet(Arc::new(waiting)))?);
        }
        Ok(place.get())
    }
}

/// How the greenlet of one request waits.
#[derive(Debug)]
struct Waiting {
    hub: Arc<Hub>,
    thrown: Mutex<Option<PyErr>>,
}

impl Greenlet for Waiting {
    fn wait(&self, is_ready: &mut dyn FnMut(&mut Context<'_>) -> bool) {
        Python::attach(|py| {
            self.hub.wait(py, is_ready, &mut |error| {
                lock(&self.thrown).get_or_insert(error);
            });
        });
    }

    fn for_request(&self) -> Arc<dyn Greenlet> {
        Arc::new(Self { hub: Arc::clone(&self.hub), thrown: Mutex::default() })
    }

    fn thrown(&self) -> PyResult<()> {
        lock(&self.thrown).take().map_or(Ok(()), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
