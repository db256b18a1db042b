//! An exception of the application, as `catch-exceptions` and `reload-on-exception` see it.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::traceback;
use crate::gateway::exception::{self, Exception, Frame};

/// The exception as text.
pub(super) fn told(py: Python<'_>, error: &PyErr) -> Exception {
    let module = error.get_type(py).module().map(|module| module.to_string_lossy().into_owned());
    let kind = traceback::kind(py, error);
    Exception {
        class: module.map_or_else(|_| kind.clone(), |module| format!("{module}.{kind}")),
        text: error.value(py).str().map(|text| text.to_string_lossy().into_owned()).unwrap_or_default(),
        frames: frames(py, error).unwrap_or_default(),
    }
}

/// The page about it, with the strings of an environ.
pub(super) fn page(exception: &Exception, variables: Option<&Bound<'_, PyDict>>) -> Vec<u8> {
    let variables =
        variables.into_iter().flat_map(|variables| variables.iter()).filter_map(|(name, value)| {
            let name: String = name.extract().ok().filter(|name: &String| !name.contains('.'))?;
            let value = value.cast_into::<PyString>().ok()?;
            // Native strings of PEP 3333: each character is a byte of the request.
            let bytes = value.to_string_lossy().chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            Some((name, bytes))
        });
    exception::page(exception, &variables.collect::<Vec<_>>())
}

fn frames(py: Python<'_>, error: &PyErr) -> PyResult<Vec<Frame>> {
    let places = py.import("traceback")?.call_method1("extract_tb", (error.traceback(py),))?;
    let frame = |place: PyResult<Bound<'_, PyAny>>| {
        let place = place?;
        let text = |name: &str| -> PyResult<String> {
            let text = place.getattr(name)?;
            Ok(if text.is_none() { String::new() } else { text.str()?.to_string_lossy().into_owned() })
        };
        Ok(Frame {
            file: text("filename")?,
            line: place.getattr("lineno")?.extract().unwrap_or_default(),
            function: text("name")?,
            code: text("line")?,
        })
    };
    places.try_iter()?.map(frame).collect()
}
