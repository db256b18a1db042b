//! `wsgi.input`: the body of a request as a file.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pyo3::exceptions::{PyOSError, PyStopIteration, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::exchange::Exchange;
use super::host::Host;
use super::job::RequestBody;
use super::packet::PacketSocket;
use super::routed::Pulled;
use super::upload::Received;
use super::waiter::Waiter;

/// How much is read from a socket at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The body of a request.
#[derive(Debug)]
pub(super) struct Body {
    /// Received and not yet given to the application.
    held: BytesMut,
    source: Source,
    waiter: Waiter,
    /// How many bytes in one piece are too many; `None` once that was said.
    warns_at: Option<u64>,
}

#[derive(Debug)]
enum Source {
    Ended,
    Received(Box<Received>),
    Routed(Pulled),
    Socket(Arc<PacketSocket>),
    /// It broke off; every further read says so again.
    Broken(String),
}

impl Body {
    /// The body of a request that begins.
    pub(super) fn new(body: RequestBody, waiter: Waiter) -> Self {
        let (held, source) = match body {
            RequestBody::Whole(bytes) => (bytes, Source::Ended),
            RequestBody::Received(received) => (Bytes::new(), Source::Received(received)),
            RequestBody::Routed(pulled) => (Bytes::new(), Source::Routed(pulled)),
            RequestBody::Socket(bytes, socket) => (bytes, Source::Socket(socket)),
        };
        let warns_at =
            Host::get().map(|host| host.spec.exchange.body_read_warning_mib.saturating_mul(1 << 20));
        Self { held: BytesMut::from(held), source, waiter, warns_at }
    }

    /// The next `limit` bytes, fewer only at the end of the body.
    fn read(&mut self, limit: usize) -> io::Result<BytesMut> {
        while self.held.len() < limit && self.fill()? {}
        self.weigh("read()", limit);
        Ok(self.held.split_to(limit.min(self.held.len())))
    }

    /// The next line with its end, cut at `limit` bytes.
    fn read_line(&mut self, limit: usize) -> io::Result<BytesMut> {
        let mut searched = 0;
        loop {
            self.weigh("readline()", limit);
            let fresh = self.held.get(searched..).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                return Ok(self.held.split_to((searched + at + 1).min(limit)));
            }
            searched = self.held.len();
            if searched >= limit || !self.fill()? {
                return Ok(self.held.split_to(limit.min(searched)));
            }
        }
    }

    /// Warns of an application that has much of a body in memory at once.
    fn weigh(&mut self, what: &str, limit: usize) {
        let bytes = u64::try_from(self.held.len().min(limit)).unwrap_or(u64::MAX);
        if self.warns_at.is_some_and(|most| bytes > most) {
            self.warns_at = None;
            tracing::warn!(
                "[uwsgi-warning] you are using {what} on request body allocating over than {} MB, that is really bad and can be avoided...",
                bytes >> 20
            );
        }
    }

    /// Receives more; whether there was any.
    fn fill(&mut self) -> io::Result<bool> {
        let piece = match &mut self.source {
            Source::Ended => return Ok(false),
            Source::Broken(reason) => Err(io::Error::other(reason.clone())),
            Source::Received(received) => self.waiter.wait(received.next()),
            Source::Routed(pulled) => self.waiter.wait(pulled.next()),
            Source::Socket(socket) => {
                let before = self.held.len();
                self.held.resize(before + PIECE_BYTES, 0);
                let read = socket.read(self.held.get_mut(before..).unwrap_or_default(), &self.waiter);
                let length = read.as_ref().map_or(0, |length| *length);
                self.held.truncate(before + length);
                read.map(|length| (length > 0).then(Bytes::new))
            }
        };
        match piece {
            Ok(Some(piece)) => {
                self.held.extend_from_slice(&piece);
                Ok(true)
            }
            Ok(None) => {
                self.source = Source::Ended;
                Ok(false)
            }
            Err(error) => {
                self.source = Source::Broken(error.to_string());
                Err(error)
            }
        }
    }
}

/// `wsgi.input`.
#[pyclass(frozen, module = "uwsgi", name = "_Input")]
pub(super) struct Input(Arc<Exchange>);

impl Input {
    /// For one request.
    pub(super) const fn new(exchange: Arc<Exchange>) -> Self {
        Self(exchange)
    }

    fn take<'py>(
        &self,
        py: Python<'py>,
        limit: Option<i64>,
        read: fn(&mut Body, usize) -> io::Result<BytesMut>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // Negative means all, as with a file.
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        match self.0.with_input(py, |body| read(body, limit))? {
            Some(Ok(bytes)) => Ok(PyBytes::new(py, &bytes)),
            Some(Err(error)) => Err(PyOSError::new_err(format!("cannot read the request's body: {error}"))),
            None => Err(PyValueError::new_err("wsgi.input of a request that is over")),
        }
    }
}

#[pymethods]
impl Input {
    /// Up to `size` bytes, fewer only at the end; all without one.
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, size, Body::read)
    }

    /// The next line, or up to `size` bytes of it.
    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<i64>) -> PyResult<Bound<'py, PyBytes>> {
        self.take(py, size, Body::read_line)
    }

    /// The lines that are left, or as many as `hint` bytes hold.
    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<i64>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let mut left = hint.filter(|&hint| hint > 0).unwrap_or(i64::MAX);
        while left > 0 {
            let line = self.readline(py, None)?;
            let length = line.as_bytes().len();
            if length == 0 {
                break;
            }
            left = left.saturating_sub(i64::try_from(length).unwrap_or(i64::MAX));
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let line = self.readline(py, None)?;
        if line.as_bytes().is_empty() { Err(PyStopIteration::new_err(())) } else { Ok(line) }
    }
}
