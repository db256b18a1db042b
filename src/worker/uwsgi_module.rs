//! The `uwsgi` module of the application: what uWSGI's has and liege can do. What it cannot do is absent, because
//! applications ask with `hasattr`.

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyModule};

use super::host::Host;
use super::{locks, traceback};
use crate::stats::scoreboard::Total;

mod caches;
mod functions;
mod mules;
mod websockets;

/// The release of uWSGI whose module this is like.
pub(super) const VERSION: &str = "2.0.31";

static MODULE: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// Makes the module and puts it where `import uwsgi` finds it.
pub(super) fn install(py: Python<'_>, host: &'static Host) -> PyResult<()> {
    let module = PyModule::new(py, "uwsgi")?;
    let bytes = |text: &str| PyBytes::new(py, text.as_bytes());
    let spec = &host.spec;
    module.add("version", bytes(VERSION))?;
    module.add("version_info", (2, 0, 31, 0, bytes("")))?;
    module.add("liege_version", env!("CARGO_PKG_VERSION"))?;
    module.add("opt", options(py, &spec.said)?)?;
    module.add("numproc", spec.workers.processes)?;
    module.add("cores", spec.workers.cores())?;
    module.add("has_threads", 1)?;
    module.add("buffer_size", spec.workers.buffer_size_bytes)?;
    module.add("hostname", bytes(&host_name(py)?))?;
    if let Some(path) = &spec.files.pidfile {
        module.add("pidfile", bytes(&path.to_string_lossy()))?;
    }
    module.add("started_on", host.board.total(Total::StartedEpochS))?;
    module.add("is_a_reload", host.generation > 1)?;
    for function in [
        wrap_pyfunction!(functions::reload, &module)?,
        wrap_pyfunction!(functions::stop, &module)?,
        wrap_pyfunction!(functions::worker_id, &module)?,
        wrap_pyfunction!(functions::workers, &module)?,
        wrap_pyfunction!(functions::masterpid, &module)?,
        wrap_pyfunction!(functions::total_requests, &module)?,
        wrap_pyfunction!(functions::request_id, &module)?,
        wrap_pyfunction!(functions::log_line, &module)?,
        wrap_pyfunction!(functions::mem, &module)?,
        wrap_pyfunction!(functions::micros, &module)?,
        wrap_pyfunction!(functions::listen_queue, &module)?,
        wrap_pyfunction!(functions::setprocname, &module)?,
        wrap_pyfunction!(functions::set_user_harakiri, &module)?,
        wrap_pyfunction!(functions::ready, &module)?,
        wrap_pyfunction!(functions::accepting, &module)?,
        wrap_pyfunction!(websockets::websocket_handshake, &module)?,
        wrap_pyfunction!(websockets::websocket_recv, &module)?,
        wrap_pyfunction!(websockets::websocket_recv_nb, &module)?,
        wrap_pyfunction!(websockets::websocket_send, &module)?,
        wrap_pyfunction!(websockets::websocket_send_binary, &module)?,
        wrap_pyfunction!(websockets::connection_fd, &module)?,
        wrap_pyfunction!(websockets::disconnect, &module)?,
        wrap_pyfunction!(caches::cache_get, &module)?,
        wrap_pyfunction!(caches::cache_num, &module)?,
        wrap_pyfunction!(caches::cache_exists, &module)?,
        wrap_pyfunction!(caches::cache_set, &module)?,
        wrap_pyfunction!(caches::cache_update, &module)?,
        wrap_pyfunction!(caches::cache_del, &module)?,
        wrap_pyfunction!(caches::cache_clear, &module)?,
        wrap_pyfunction!(caches::cache_keys, &module)?,
        wrap_pyfunction!(caches::cache_inc, &module)?,
        wrap_pyfunction!(caches::cache_dec, &module)?,
        wrap_pyfunction!(caches::cache_mul, &module)?,
        wrap_pyfunction!(caches::cache_div, &module)?,
        wrap_pyfunction!(mules::mule_id, &module)?,
        wrap_pyfunction!(mules::mule_msg, &module)?,
        wrap_pyfunction!(mules::mule_get_msg, &module)?,
        wrap_pyfunction!(locks::lock, &module)?,
        wrap_pyfunction!(locks::unlock, &module)?,
        wrap_pyfunction!(locks::is_locked, &module)?,
    ] {
        module.add_function(function)?;
    }
    py.import("sys")?.getattr("modules")?.set_item("uwsgi", &module)?;
    let _ = MODULE.set(py, module.unbind());
    Ok(())
}

/// Calls `uwsgi.post_fork_hook`, if the application set one.
pub(super) fn after_fork(py: Python<'_>) {
    call_hook(py, "post_fork_hook");
}

/// `uwsgi.after_req_hook`, if the application set one.
pub(super) fn after_request(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    callable(py, "after_req_hook")
}

/// Calls `uwsgi.atexit`, if the application set one.
pub(super) fn at_exit(py: Python<'_>) {
    call_hook(py, "atexit");
}

/// Gives the running request so many seconds from now; 0 takes its limit away.
pub(super) fn give_time(py: Python<'_>, seconds: u32) {
    functions::set_user_harakiri(py, seconds);
}

/// The host's name.
pub(super) fn host_name(py: Python<'_>) -> PyResult<String> {
    py.import("os")?.call_method0("uname")?.getattr("nodename")?.extract()
}

/// The same as `after_fork` in a mule, which `SystemExit` ends there.
///
/// # Errors
/// `SystemExit`.
pub(super) fn mule_forked(py: Python<'_>) -> PyResult<()> {
    match callable(py, "post_fork_hook").map(|hook| hook.call0()) {
        Some(Err(error)) if error.is_instance_of::<PySystemExit>(py) => Err(error),
        Some(Err(error)) => {
            traceback::log(py, &error);
            Ok(())
        }
        Some(Ok(_)) | None => Ok(()),
    }
}

/// Calls a hook; an exception is logged.
pub(super) fn call(hook: &Bound<'_, PyAny>) {
    if let Err(error) = hook.call0() {
        traceback::log(hook.py(), &error);
    }
}

fn call_hook(py: Python<'_>, name: &str) {
    callable(py, name).iter().for_each(call);
}

/// What the application has put into the module under this name, to be called.
pub(super) fn callable<'py>(py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
    let found = MODULE.get(py)?.bind(py).dict().get_item(name).ok()??;
    found.is_callable().then_some(found)
}

/// Options as uWSGI shows them: `True` for one without a value; of a repeated one the last stays.
fn options<'py>(py: Python<'py>, said: &[(String, String)]) -> PyResult<Bound<'py, PyDict>> {
    let options = PyDict::new(py);
    for (name, value) in said {
        if value.is_empty() {
            options.set_item(name, true)?;
        } else {
            options.set_item(name, PyBytes::new(py, value.as_bytes()))?;
        }
    }
    Ok(options)
}
