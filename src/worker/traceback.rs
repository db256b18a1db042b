//! Python exceptions as text.

use pyo3::prelude::*;

use super::log;

/// The exception with its traceback, as the interpreter would print it.
pub(super) fn text(py: Python<'_>, error: &PyErr) -> String {
    let formatted = || -> PyResult<String> {
        let lines = py
            .import(pyo3::intern!(py, "traceback"))?
            .call_method1("format_exception", (error.get_type(py), error.value(py), error.traceback(py)))?;
        let whole = pyo3::types::PyString::new(py, "").call_method1("join", (lines,))?;
        Ok(whole.cast::<pyo3::types::PyString>()?.to_string_lossy().into_owned())
    };
    // An exception whose own text fails is still named.
    formatted().unwrap_or_else(|_| format!("{}: (no text)\n", kind(py, error)))
}

/// The name of the exception's class.
pub(super) fn kind(py: Python<'_>, error: &PyErr) -> String {
    error
        .get_type(py)
        .name()
        .map_or_else(|_| "exception".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// One line: class and text of the exception.
pub(super) fn summary(py: Python<'_>, error: &PyErr) -> String {
    let kind = kind(py, error);
    match error.value(py).str() {
        Ok(text) if text.len().is_ok_and(|length| length > 0) => {
            format!("{kind}: {}", text.to_string_lossy())
        }
        _ => kind,
    }
}

/// Writes the exception with its traceback to the log.
pub(super) fn log(py: Python<'_>, error: &PyErr) {
    log::write(py, &text(py, error));
}
