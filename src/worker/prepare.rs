//! The interpreter before and after the application is loaded.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::host::Host;
use super::{app, traceback};

/// Environment, working directory, module search path and streams, as the spec says.
pub(super) fn interpreter(py: Python<'_>, host: &'static Host) -> PyResult<()> {
    let os = py.import("os")?;
    let environment = os.getattr("environ")?;
    for (name, value) in &host.spec.env {
        match value {
            Some(value) => environment.set_item(name, value)?,
            None => environment.call_method1("pop", (name, py.None())).map(drop)?,
        }
    }
    if !host.spec.app.argv.is_empty() {
        py.import("sys")?.setattr("argv", host.spec.app.argv.clone())?;
    }
    if let Some(directory) = &host.spec.app.chdir {
        os.call_method1("chdir", (directory.as_os_str(),))?;
    }
    app::prepare_path(py, &host.spec.app)?;
    let options = PyDict::new(py);
    options.set_item("line_buffering", true)?;
    options.set_item("errors", "backslashreplace")?;
    for name in ["stdout", "stderr"] {
        // An interpreter may have been started without one of them.
        if let Ok(reconfigure) = py.import("sys")?.getattr(name).and_then(|s| s.getattr("reconfigure")) {
            reconfigure.call((), Some(&options))?;
        }
    }
    Ok(())
}

/// Collects garbage and moves what is left out of the collector's sight, so that it stays shared after a fork.
pub(super) fn settle(py: Python<'_>) {
    let done = py.import("gc").and_then(|gc| {
        gc.call_method0("collect")?;
        gc.call_method0("freeze")
    });
    if let Err(error) = done {
        traceback::log(py, &error);
    }
}

/// Whether Python threads run beside the main one.
pub(super) fn has_python_threads(py: Python<'_>) -> bool {
    let frames = py.import("sys").and_then(|sys| sys.call_method0("_current_frames"));
    frames.and_then(|frames| frames.len()).is_ok_and(|threads| threads > 1)
}

/// Ends this process at once: without what was registered for its end, and without what Python does then.
pub(super) fn leave(py: Python<'_>, status: u8) -> PyResult<()> {
    flush(py);
    py.import("os")?.call_method1("_exit", (status,)).map(drop)
}

/// What is buffered would be written by both sides of a fork.
pub(super) fn flush(py: Python<'_>) {
    for name in ["stdout", "stderr"] {
        let _ = py.import("sys").and_then(|sys| sys.getattr(name)?.call_method0("flush"));
    }
}
