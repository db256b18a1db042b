//! Applications that PasteDeploy loads.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::traceback;
use crate::config::instance::PasteSpec;

/// Loads `config:/path.ini` or `egg:name`; names of files that are relative are found where the application runs.
///
/// # Errors
/// There is no PasteDeploy, or it could not load it.
pub(super) fn load(py: Python<'_>, uri: &str, spec: &PasteSpec) -> PyResult<Py<PyAny>> {
    tracing::info!("Loading paste environment: {uri}");
    let here = py.import("os")?.call_method0("getcwd")?;
    if let Some(file) = uri.strip_prefix("config:").filter(|_| spec.logger) {
        let file = file.split('#').next().unwrap_or(file);
        // As in uWSGI, the application is loaded all the same.
        if let Err(error) = set_up_loggers(py, file) {
            traceback::log(py, &error);
        }
    }
    let options = PyDict::new(py);
    options.set_item("relative_to", here)?;
    options.set_item("name", spec.name.as_deref())?;
    Ok(py.import("paste.deploy")?.call_method("loadapp", (uri,), Some(&options))?.unbind())
}

/// With the names for its folder and itself that the other sections of the file know.
fn set_up_loggers(py: Python<'_>, file: &str) -> PyResult<()> {
    let path = py.import("os.path")?;
    let whole = path.call_method1("abspath", (file,))?;
    let names = PyDict::new(py);
    names.set_item("here", path.call_method1("dirname", (&whole,))?)?;
    names.set_item("__file__", &whole)?;
    py.import("logging.config")?.call_method1("fileConfig", (whole, names)).map(drop)
}
