//! `py-autoreload`: a thread of the first worker that asks for a reload when the file of a loaded module changes.

use std::ffi::CString;

use pyo3::prelude::*;

use super::host::Host;

const SOURCE: &str = include_str!("autoreload.py");

/// Starts watching, where that was asked for.
pub(super) fn start(py: Python<'_>, host: &Host) -> PyResult<()> {
    let seconds = host.spec.app.autoreload_s;
    if seconds == 0 || host.worker_number() != 1 {
        return Ok(());
    }
    let module = PyModule::from_code(py, &CString::new(SOURCE)?, c"autoreload.py", c"liege_autoreload")?;
    let reload = py.import("uwsgi")?.getattr("reload")?;
    module.call_method1("watch", (seconds, host.spec.app.autoreload_ignore.clone(), reload)).map(drop)
}
