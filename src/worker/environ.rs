//! The environ: a fresh dict for each request, copied from one with everything that stays the same.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use super::errors::Errors;
use super::exchange::Exchange;
use super::file::FileWrapper;
use super::host::Host;
use super::input::Input;
use super::job::Head;
use crate::gateway::environ::{self, UwsgiRequest};
use crate::gateway::peer::{Connection, Scheme};
use crate::gateway::variable::{NAMES, Variable};
use crate::proto::refusal::Refusal;
use crate::proto::uwsgi::Variables;

/// Makes environs in one thread.
#[derive(Debug)]
pub(super) struct EnvironMaker {
    /// What is the same in every environ.
    constant: Py<PyDict>,
    /// The known names as Python strings.
    names: Vec<Py<PyString>>,
    input: Py<PyString>,
    scheme: Py<PyString>,
    https: Py<PyString>,
    server_name: String,
    /// For requests of a front end that does not say where they arrived.
    nowhere: Connection,
}

/// What an environ was made of, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub(super) variables: usize,
    pub(super) bytes: usize,
}

impl EnvironMaker {
    /// For the thread with this number of a worker.
    pub(super) fn new(py: Python<'_>, host: &Host, core: usize, server_name: String) -> PyResult<Self> {
        let workers = &host.spec.workers;
        let constant = PyDict::new(py);
        constant.set_item("wsgi.version", (1, 0))?;
        constant.set_item("wsgi.url_scheme", Scheme::Http.as_str())?;
        constant.set_item("wsgi.errors", Py::new(py, Errors)?)?;
        constant.set_item("wsgi.multithread", workers.threads > 1)?;
        constant.set_item("wsgi.multiprocess", workers.processes > 1)?;
        constant.set_item("wsgi.run_once", false)?;
        constant.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        // A body of unknown length has an end that the input knows.
        constant.set_item("wsgi.input_terminated", true)?;
        constant.set_item("uwsgi.version", PyBytes::new(py, super::uwsgi_module::VERSION.as_bytes()))?;
        constant.set_item("uwsgi.node", PyBytes::new(py, server_name.as_bytes()))?;
        if workers.threads > 1 {
            constant.set_item("uwsgi.core", core)?;
        }
        Ok(Self {
            constant: constant.unbind(),
            names: NAMES.iter().map(|name| PyString::intern(py, name).unbind()).collect(),
            input: PyString::intern(py, "wsgi.input").unbind(),
            scheme: PyString::intern(py, "wsgi.url_scheme").unbind(),
            https: PyString::intern(py, Scheme::Https.as_str()).unbind(),
            server_name,
            nowhere: Connection::default(),
        })
    }

    /// The environ of a request.
    pub(super) fn make<'py>(
        &self,
        py: Python<'py>,
        head: &Head,
        exchange: &Arc<Exchange>,
    ) -> PyResult<(Bound<'py, PyDict>, Weight)> {
        let dict = self.constant.bind(py).copy()?;
        let mut weight = Weight::default();
        let set = |name: Variable<'_>, value: &[u8]| {
            weight.variables += 1;
            weight.bytes += name.name().len() + value.len() + 4;
            let value = latin1(py, value);
            match name {
                Variable::Known(index) => match self.names.get(usize::from(index)) {
                    Some(name) => dict.set_item(name, value),
                    None => Ok(()),
                },
                Variable::Other(name) => dict.set_item(name, value),
            }
        };
        let scheme = match head {
            Head::Http(parts, origin) => {
                let peer = origin.peer(parts, &self.server_name);
                environ::of_http(parts, &peer, set)?;
                peer.scheme
            }
            Head::Packet(block) => match packet(block) {
                Ok(request) => {
                    request.environ(&self.nowhere.peer(&self.server_name), set)?;
                    request.scheme
                }
                Err(refusal) => return Err(pyo3::exceptions::PyValueError::new_err(refusal.reason)),
            },
        };
        if scheme == Scheme::Https {
            dict.set_item(&self.scheme, &self.https)?;
        }
        dict.set_item(&self.input, Py::new(py, Input::new(Arc::clone(exchange)))?)?;
        Ok((dict, weight))
    }
}

/// The request in a block of variables, which was looked at when it came in.
pub(super) fn packet(block: &[u8]) -> Result<UwsgiRequest<'_>, Refusal> {
    let variables = Variables::new(block).ok_or(Refusal::bad("malformed variables"))?;
    UwsgiRequest::new(variables, false)
}

/// Bytes as the native string of PEP 3333.
fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &bytes.iter().map(|&byte| char::from(byte)).collect::<String>()),
    }
}
