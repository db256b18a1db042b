//! `wsgi.file_wrapper`: files sent without Python in between, and everything else piece by piece.

use std::fs::File;
use std::io;
use std::sync::Arc;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use super::exchange::Exchange;
use super::host::Host;
use super::output::{ItemError, Output};
use super::spool::{PIECE_BYTES, Part};
use crate::sys::fd;

/// `wsgi.file_wrapper`.
#[pyclass(frozen, module = "uwsgi", name = "FileWrapper")]
#[derive(Debug)]
pub(super) struct FileWrapper {
    file: Py<PyAny>,
    block: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize = 8192))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        Self { file: filelike, block: blksize }
    }

    #[getter]
    fn filelike(&self, py: Python<'_>) -> Py<PyAny> {
        self.file.clone_ref(py)
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let data = self.file.bind(py).call_method1(pyo3::intern!(py, "read"), (self.block,))?;
        if data.is_truthy()? { Ok(data) } else { Err(PyStopIteration::new_err(())) }
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt(pyo3::intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

/// The part of a regular file on disk that is to be sent.
#[derive(Debug)]
pub(super) struct Plain(Part);

impl FileWrapper {
    /// The file on disk behind it, from its current position, if what it wraps is nothing but that. Objects that
    /// only have a descriptor (a decompressor has the one of its compressed file) are asked with `read` instead.
    pub(super) fn plain(&self, py: Python<'_>) -> Option<Plain> {
        let io = py.import(pyo3::intern!(py, "io")).ok()?;
        let mut object = self.file.bind(py).clone();
        if object.get_type().is(io.getattr("BufferedReader").ok()?)
            || object.get_type().is(io.getattr("BufferedRandom").ok()?)
        {
            let position: u64 = object.call_method0("tell").ok()?.extract().ok()?;
            object = object.getattr("raw").ok()?;
            return object.get_type().is(io.getattr("FileIO").ok()?).then(|| open(&object, position))?;
        }
        let position: u64 = object.call_method0("tell").ok()?.extract().ok()?;
        object.get_type().is(io.getattr("FileIO").ok()?).then(|| open(&object, position))?
    }
}

fn open(object: &Bound<'_, PyAny>, position: u64) -> Option<Plain> {
    let number: i32 = object.call_method0("fileno").ok()?.extract().ok()?;
    let file = File::from(fd::duplicate(number).ok()?);
    let metadata = file.metadata().ok()?;
    metadata.is_file().then(|| Plain(Part { file: Arc::new(file), at: position, end: metadata.len() }))
}

impl Plain {
    /// Sends it all, detached.
    pub(super) fn send(self, py: Python<'_>, exchange: &Exchange) -> PyResult<Result<(), ItemError>> {
        let sent = exchange.with_output(py, |output| self::send(output, self.0))?;
        Ok(sent.unwrap_or_else(|| Err(ItemError::Gone(io::ErrorKind::BrokenPipe.into()))))
    }
}

/// Sends a part of a file, detached.
pub(super) fn send(output: &mut Output, mut part: Part) -> Result<(), ItemError> {
    // What is small is in the kernel's memory; the rest is read when the client wants it.
    if part.left() > PIECE_BYTES as u64 && output.file(part.clone())? {
        return Ok(());
    }
    while part.left() > 0 {
        let piece = part.split().read()?;
        output.item(&piece, part.left() == 0 && !output.is_sending())?;
        if output.is_full() {
            break;
        }
    }
    Ok(())
}

/// An item of the body, which must be bytes, or what has some where that is allowed.
pub(super) fn item<'py>(item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        // The stable interface of the oldest interpreter has no buffers but by this object.
        Err(_) if accepts_buffers() && PyMemoryView::from(item).is_ok() => {
            let view = PyMemoryView::from(item)?;
            Ok(view.call_method0(pyo3::intern!(item.py(), "tobytes"))?.cast_into()?)
        }
        Err(_) => Err(pyo3::exceptions::PyTypeError::new_err(format!(
            "the response must consist of bytes, not {}",
            item.get_type().name()?
        ))),
    }
}

fn accepts_buffers() -> bool {
    Host::get().is_some_and(|host| host.spec.exchange.accept_buffers)
}
