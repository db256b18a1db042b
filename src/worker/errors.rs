//! `wsgi.errors`: text for the log.

use pyo3::prelude::*;
use pyo3::types::PyString;

use super::log;

/// `wsgi.errors`.
#[pyclass(frozen, module = "uwsgi", name = "_Errors")]
pub(super) struct Errors;

#[pymethods]
impl Errors {
    /// Writes text to the log; gives its length in characters.
    #[expect(clippy::unused_self, reason = "a method for Python")]
    fn write(&self, text: &Bound<'_, PyString>) -> PyResult<usize> {
        // Lone surrogates cannot be encoded; a log takes them all the same.
        let shown = text.call_method1("encode", ("utf-8", "backslashreplace"))?;
        let shown: Vec<u8> = shown.extract()?;
        log::write(text.py(), &String::from_utf8_lossy(&shown));
        text.len()
    }

    /// Writes several texts.
    fn writelines(&self, lines: &Bound<'_, PyAny>) -> PyResult<()> {
        for line in lines.try_iter()? {
            self.write(line?.cast()?)?;
        }
        Ok(())
    }

    /// Nothing is held back.
    #[expect(clippy::unused_self, reason = "a method for Python")]
    fn flush(&self) {}
}
