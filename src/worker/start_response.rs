//! `start_response`, and the `write` that it returns.

use std::borrow::Cow;
use std::sync::Arc;

use pyo3::exceptions::{PyAssertionError, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::exchange::Exchange;
use super::host::Host;
use super::output::{AnyHead, ItemError};
use crate::gateway::head::Fault;
use crate::gateway::response::StartFault;

/// What stands around the status in a head: `HTTP/1.1 `, the end of its line, and the empty line.
pub(super) const STATUS_LINE_BYTES: usize = 13;

/// How much of a refused status or header is shown.
const SHOWN_CHARS: usize = 100;

/// `start_response` of one request.
#[pyclass(frozen, module = "uwsgi", name = "_StartResponse")]
pub(super) struct StartResponse(Arc<Exchange>);

/// `write` of one request.
#[pyclass(frozen, module = "uwsgi", name = "_Write")]
pub(super) struct Write(Arc<Exchange>);

impl StartResponse {
    /// For one request.
    pub(super) const fn new(exchange: Arc<Exchange>) -> Self {
        Self(exchange)
    }
}

#[pymethods]
impl StartResponse {
    #[pyo3(signature = (status, headers, exc_info = None, /))]
    fn __call__(
        &self,
        py: Python<'_>,
        status: &Bound<'_, PyAny>,
        headers: &Bound<'_, PyAny>,
        exc_info: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Write> {
        let exc_info = exc_info.filter(|info| info.is_truthy().unwrap_or(true));
        let line = native("status", status)?;
        let mut head = AnyHead::new(self.0.medium, &line).map_err(|fault| refused(fault, status))?;
        if let Some(limit) = Host::get().map(|host| host.spec.exchange.response_head_bytes) {
            head = head.limited_to(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        let (mut fields, mut bytes) = (0, line.len() + STATUS_LINE_BYTES);
        let headers = headers
            .cast::<PyList>()
            .map_err(|_| PyTypeError::new_err("start_response: headers must be a list of tuples"))?;
        for header in headers.iter() {
            let Ok((name, value)) = pair(&header) else {
                return Err(PyTypeError::new_err("start_response: a header must be a tuple of two str"));
            };
            let (name, value) = (native("header name", &name)?, native("header value", &value)?);
            head.field(&name, &value).map_err(|fault| refused(fault, &header))?;
            fields += 1;
            bytes += name.len() + value.len() + 4;
        }
        for (name, value) in Host::get().iter().flat_map(|host| &host.spec.app.add_headers) {
            head.field(name.as_bytes(), value.as_bytes())
                .map_err(|fault| refused(fault, PyString::new(py, name).as_any()))?;
            fields += 1;
            bytes += name.len() + value.len() + 4;
        }
        let with_exc_info = exc_info.is_some();
        let started = self.0.look(py, |output| output.start(head, with_exc_info, fields, bytes))?;
        match (started, exc_info) {
            (Some(Ok(())), _) => Ok(Write(Arc::clone(&self.0))),
            (Some(Err(StartFault::HeadSent)), Some(info)) => Err(PyErr::from_value(info.get_item(1)?)),
            (Some(Err(_)), _) => {
                Err(PyAssertionError::new_err("start_response was called a second time without exc_info"))
            }
            (None, _) => Err(PyValueError::new_err("start_response of a request that is over")),
        }
    }
}

#[pymethods]
impl Write {
    #[pyo3(signature = (data, /))]
    fn __call__(&self, py: Python<'_>, data: &Bound<'_, PyBytes>) -> PyResult<()> {
        let data = data.as_bytes();
        match self.0.with_output(py, |output| output.item(data, false))? {
            Some(Ok(())) => Ok(()),
            Some(Err(ItemError::Gone(_)))
                if Host::get().is_some_and(|host| host.spec.app.no_write_exception) =>
            {
                Ok(())
            }
            Some(Err(error)) => Err(PyOSError::new_err(error.to_string())),
            None => Err(PyValueError::new_err("write of a request that is over")),
        }
    }
}

fn pair<'py>(header: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let header = header.cast::<PyTuple>()?;
    if header.len() != 2 {
        return Err(PyTypeError::new_err("not two"));
    }
    Ok((header.get_item(0)?, header.get_item(1)?))
}

/// The bytes of a native string of PEP 3333.
fn native<'a>(what: &str, text: &'a Bound<'_, PyAny>) -> PyResult<Cow<'a, [u8]>> {
    let text = text.cast::<PyString>().map_err(|_| {
        let kind = text.get_type().name().map_or_else(|_| String::new(), |name| name.to_string());
        PyTypeError::new_err(format!("start_response: {what} must be str, not {kind}"))
    })?;
    let not_latin1 = || PyValueError::new_err(format!("start_response: {what} is not Latin-1"));
    let utf8 = text.to_str().map_err(|_| not_latin1())?;
    if utf8.is_ascii() {
        return Ok(Cow::Borrowed(utf8.as_bytes()));
    }
    let bytes: PyResult<Vec<u8>> =
        utf8.chars().map(|c| u8::try_from(u32::from(c)).map_err(|_| not_latin1())).collect();
    Ok(Cow::Owned(bytes?))
}

fn refused(fault: Fault, what: &Bound<'_, PyAny>) -> PyErr {
    let mut shown = what.repr().map_or_else(|_| String::new(), |repr| repr.to_string_lossy().into_owned());
    if let Some((end, _)) = shown.char_indices().nth(SHOWN_CHARS) {
        shown.replace_range(end.., "…");
    }
    PyValueError::new_err(format!("start_response: {fault}: {shown}"))
}
