//! Which core's request runs where this code runs: known by the thread, or, where greenlets share one, by the context of
//! the greenlet.

use std::cell::Cell;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::host::Host;
use super::traceback;
use crate::stats::scoreboard::{Core, CoreField};

thread_local! {
    static CORE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The context variable of greenlets: a core and when its request started.
static CONTEXT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The request of this core runs here, which started at this time.
pub(super) fn enter(py: Python<'_>, host: &Host, core: usize, started_us: u64) {
    if host.spec.workers.gevent.greenlets == 0 {
        return CORE.set(Some(core));
    }
    let set = context(py).and_then(|context| context.call_method1("set", ((core, started_us),)).map(drop));
    if let Err(error) = set {
        traceback::log(py, &error);
    }
}

/// It is over.
pub(super) fn leave(py: Python<'_>, host: &Host) {
    if host.spec.workers.gevent.greenlets == 0 {
        return CORE.set(None);
    }
    let _ = context(py).and_then(|context| context.call_method1("set", (py.None(),)).map(drop));
}

/// The core whose request runs here, for functions that the application calls.
pub(super) fn core(py: Python<'_>, host: &'static Host) -> Option<Core<'static>> {
    host.slot()?.core(number(py, host)?)
}

/// Its number.
pub(super) fn number(py: Python<'_>, host: &'static Host) -> Option<usize> {
    if host.spec.workers.gevent.greenlets == 0 {
        return CORE.get();
    }
    let request = context(py).ok()?.call_method1("get", (py.None(),)).ok()?;
    let (number, started_us): (usize, u64) = request.extract().ok()?;
    let core = host.slot()?.core(number)?;
    // A context may be copied to where it outlives the request.
    let is_running = core.get(CoreField::InRequest) == 1 && core.get(CoreField::StartedUs) == started_us;
    is_running.then_some(number)
}

fn context(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let make = || {
        let class = py.import("contextvars")?.getattr("ContextVar")?;
        Ok::<_, PyErr>(class.call1(("liege_request",))?.unbind())
    };
    Ok(CONTEXT.get_or_try_init(py, make)?.bind(py))
}
