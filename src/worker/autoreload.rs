//! `py-autoreload`: a thread of the first worker that asks for a reload when the file of a loaded module changes.

use std::ffi::CString;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::host::Host;

const SOURCE: &str = include_str!("autoreload.py");

/// Made where the application is loaded; workers that are forked have it, too.
static WATCHER: PyOnceLock<Py<PyModule>> = PyOnceLock::new();

/// Remembers the files of the modules that are loaded by now. Done before any worker serves: another one may answer
/// with what was loaded before the first looks for changes.
pub(super) fn remember(py: Python<'_>, host: &Host) -> PyResult<()> {
    if host.spec.app.autoreload_s == 0 {
        return Ok(());
    }
    watcher(py)?.call_method1("remember", (host.spec.app.autoreload_ignore.clone(),)).map(drop)
}

/// Starts watching, where that was asked for.
pub(super) fn start(py: Python<'_>, host: &Host) -> PyResult<()> {
    let seconds = host.spec.app.autoreload_s;
    if seconds == 0 || host.worker_number() != 1 {
        return Ok(());
    }
    let reload = py.import("uwsgi")?.getattr("reload")?;
    watcher(py)?.call_method1("watch", (seconds, host.spec.app.autoreload_ignore.clone(), reload)).map(drop)
}

fn watcher(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    let made = || {
        let source = CString::new(SOURCE)?;
        PyModule::from_code(py, &source, c"autoreload.py", c"liege_autoreload").map(Bound::unbind)
    };
    Ok(WATCHER.get_or_try_init(py, made)?.bind(py))
}
