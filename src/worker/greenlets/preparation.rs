//! gevent before requests come: whether it is there, its patches of the standard library, its loop after a fork.

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

use crate::config::cores::GeventSpec;
use crate::wire::failure::Failure;
use crate::worker::traceback;

/// Imports gevent before the application is loaded, and has it patch the standard library if it is to.
///
/// # Errors
/// It is not there, or cannot be used.
pub(in crate::worker) fn prepare(py: Python<'_>, spec: &GeventSpec) -> Result<(), Failure> {
    let option = match (spec.greenlets, spec.early_monkey_patch) {
        (0, false) => return Ok(()),
        (0, true) => "gevent-early-monkey-patch",
        _ => "gevent",
    };
    let imported = py.import("gevent").and_then(|_| py.import("gevent.hub")).map(drop);
    let done = imported.and_then(|()| if spec.early_monkey_patch { patch(py) } else { Ok(()) });
    done.map_err(|error| {
        let why = traceback::summary(py, &error);
        let failure = Failure::new(format!("`{option}` needs the package gevent: {why}"));
        if error.is_instance_of::<PyImportError>(py) {
            let python = py.import("sys").and_then(|sys| sys.getattr("executable"));
            let python = python.map_or_else(|_| "python".to_owned(), |python| python.to_string());
            return failure.with_hint(format!("install it: {python} -m pip install gevent"));
        }
        failure.with_traceback(&traceback::text(py, &error))
    })
}

/// Has gevent patch the standard library.
pub(super) fn patch(py: Python<'_>) -> PyResult<()> {
    py.import("gevent.monkey")?.call_method0("patch_all").map(drop)
}

/// Has a hub that the application already uses work in this process, too.
pub(in crate::worker) fn after_fork(py: Python<'_>) {
    let modules = py.import("sys").and_then(|sys| sys.getattr("modules"));
    let renewed = modules
        .and_then(|modules| modules.call_method1("get", ("gevent",)))
        .and_then(|gevent| if gevent.is_none() { Ok(()) } else { gevent.call_method0("reinit").map(drop) });
    if let Err(error) = renewed {
        traceback::log(py, &error);
    }
}
