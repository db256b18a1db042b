//! The environ: a fresh dict for each request, copied from one with everything that stays the same.

use std::cell::RefCell;
use std::sync::Arc;

use http::request::Parts;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use super::errors::Errors;
use super::exchange::Exchange;
use super::file::FileWrapper;
use super::host::Host;
use super::http::Origin;
use super::input::Input;
use super::job::Head;
use crate::config::router::RouterSpec;
use crate::config::stats_push::RequestVars;
use crate::gateway::environ;
use crate::gateway::peer::{Connection, Scheme};
use crate::gateway::shown;
use crate::gateway::variable::{NAMES, Variable};
use crate::stats::scoreboard::Core;
use crate::stats::variables::Variables;

/// Names that every environ has.
const ALWAYS: [&str; 8] = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.input",
];
/// How many entries more there is room for.
const ROOM: usize = 6;
/// Names whose values are mostly those of the request before, and no secrets.
const LASTING: [&str; 20] = [
    "CONTENT_TYPE",
    "DOCUMENT_ROOT",
    "HTTPS",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_CACHE_CONTROL",
    "HTTP_CONNECTION",
    "HTTP_HOST",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
    "HTTP_USER_AGENT",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "REMOTE_ADDR",
    "REQUEST_METHOD",
    "REQUEST_SCHEME",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
];
/// A longer value is not kept.
const LASTING_BYTES: usize = 256;

/// Makes environs in one thread.
#[derive(Debug)]
pub(super) struct EnvironMaker {
    /// What is the same in every environ.
    constant: Py<PyDict>,
    /// The known names.
    names: Vec<Name>,
    input: Py<PyString>,
    scheme: Py<PyString>,
    https: Py<PyString>,
    server_name: String,
    /// What requests of the router's clients get besides.
    routed: RouterSpec,
    /// For requests of a front end that does not say where they arrived.
    nowhere: Connection,
    /// Which variables are shown on the scoreboard, and where.
    shows: Option<(RequestVars, Core<'static>)>,
}

/// What an environ was made of, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    pub(super) variables: usize,
    pub(super) bytes: usize,
}

impl EnvironMaker {
    /// For the thread with this number of a worker.
    pub(super) fn new(
        py: Python<'_>,
        host: &'static Host,
        core: usize,
        server_name: String,
    ) -> PyResult<Self> {
        let workers = &host.spec.workers;
        let constant = PyDict::new(py);
        constant.set_item("wsgi.version", (1, 0))?;
        constant.set_item("wsgi.url_scheme", Scheme::Http.as_str())?;
        constant.set_item("wsgi.errors", Py::new(py, Errors)?)?;
        constant.set_item("wsgi.multithread", workers.gevent.greenlets == 0 && workers.threads > 1)?;
        constant.set_item("wsgi.multiprocess", workers.processes > 1)?;
        constant.set_item("wsgi.run_once", false)?;
        if !host.spec.app.no_file_wrapper {
            constant.set_item("wsgi.file_wrapper", py.get_type::<FileWrapper>())?;
        }
        // A body of unknown length has an end that the input knows.
        constant.set_item("wsgi.input_terminated", true)?;
        constant.set_item("uwsgi.version", PyBytes::new(py, super::uwsgi_module::VERSION.as_bytes()))?;
        constant.set_item("uwsgi.node", PyBytes::new(py, server_name.as_bytes()))?;
        if workers.cores() > 1 {
            constant.set_item("uwsgi.core", core)?;
        }
        // Each environ gets values for these; what stands here makes room, or is the last value.
        for name in ALWAYS {
            constant.set_item(PyString::intern(py, name), py.None())?;
        }
        // A copied table has the size of the original: one that need not grow for the usual request.
        let more = PyList::new(py, 0..ROOM)?;
        more.iter().try_for_each(|key| constant.set_item(key, py.None()))?;
        more.iter().try_for_each(|key| constant.del_item(key))?;
        Ok(Self {
            constant: constant.unbind(),
            names: NAMES.iter().map(|name| Name::new(py, name)).collect(),
            input: PyString::intern(py, "wsgi.input").unbind(),
            scheme: PyString::intern(py, "wsgi.url_scheme").unbind(),
            https: PyString::intern(py, Scheme::Https.as_str()).unbind(),
            server_name,
            routed: host.spec.router.clone(),
            nowhere: Connection::default(),
            shows: host
                .slot()
                .and_then(|slot| slot.core(core))
                .map(|core| (host.spec.request_vars, core))
                .filter(|(vars, _)| vars.shown),
        })
    }

    /// The environ of a request.
    pub(super) fn make<'py>(
        &self,
        py: Python<'py>,
        head: &Head,
        exchange: &Arc<Exchange>,
    ) -> PyResult<(Bound<'py, PyDict>, Weight)> {
        let constant = self.constant.bind(py);
        let dict = constant.copy()?;
        let mut weight = Weight::default();
        let mut shown = self.shows.map(|(vars, _)| (vars, Variables::default()));
        let set = |name: Variable<'_>, value: &[u8]| {
            if let Some((vars, shown)) = &mut shown {
                shown.push(name.name(), &shown::shown(name.name(), value, vars.queries));
            }
            weight.variables += 1;
            weight.bytes += name.name().len() + value.len() + 4;
            match name {
                Variable::Known(index) => match self.names.get(usize::from(index)) {
                    Some(name) => name.set(&dict, constant, value),
                    None => Ok(()),
                },
                Variable::Other(name) => dict.set_item(name, latin1(py, value)),
            }
        };
        let scheme = match head {
            Head::Http(parts, origin) => of_http_head(parts, origin, &self.server_name, &self.routed, set)?,
            Head::Packet(packet) => {
                let request = packet.view();
                request.environ(&self.nowhere.peer(&self.server_name), set)?;
                request.scheme
            }
        };
        if let (Some((_, core)), Some((_, shown))) = (self.shows, &shown) {
            core.show(shown);
        }
        if scheme == Scheme::Https {
            dict.set_item(&self.scheme, &self.https)?;
        }
        dict.set_item(&self.input, Py::new(py, Input::new(Arc::clone(exchange)))?)?;
        Ok((dict, weight))
    }
}

/// Gives `set` the entries of a request that came by HTTP; gives its scheme.
pub(super) fn of_http_head<E>(
    parts: &Parts,
    origin: &Origin,
    server_name: &str,
    routed: &RouterSpec,
    mut set: impl FnMut(Variable<'_>, &[u8]) -> Result<(), E>,
) -> Result<Scheme, E> {
    match origin {
        Origin::Router => environ::of_routed(parts, server_name, routed, set),
        Origin::Client(connection) => {
            let peer = connection.peer(server_name);
            environ::of_http(parts, &peer, &mut set)?;
            Ok(peer.scheme)
        }
    }
}

/// A known name.
#[derive(Debug)]
struct Name {
    text: Py<PyString>,
    /// It is in every environ, so that what it is copied from has the last value.
    is_in_all: bool,
    last: RefCell<Last>,
}

/// The last value of a name.
#[derive(Debug)]
enum Last {
    /// It is not kept.
    Never,
    /// There was none.
    New,
    Is(Vec<u8>, Py<PyString>),
}

impl Name {
    fn new(py: Python<'_>, name: &str) -> Self {
        let last = RefCell::new(if LASTING.contains(&name) { Last::New } else { Last::Never });
        Self { text: PyString::intern(py, name).unbind(), is_in_all: ALWAYS.contains(&name), last }
    }

    /// Sets its value in an environ, a copy of `constant`: to the string of an earlier request, where it is the same.
    fn set(&self, environ: &Bound<'_, PyDict>, constant: &Bound<'_, PyDict>, value: &[u8]) -> PyResult<()> {
        let py = environ.py();
        let mut last = self.last.borrow_mut();
        match &*last {
            Last::Is(bytes, _) if self.is_in_all && bytes == value => return Ok(()),
            Last::Is(bytes, text) if bytes == value => return environ.set_item(&self.text, text),
            _ => {}
        }
        let text = latin1(py, value);
        environ.set_item(&self.text, &text)?;
        let is_kept = !matches!(*last, Last::Never);
        if is_kept && self.is_in_all {
            constant.set_item(&self.text, &text)?;
        }
        if is_kept && (self.is_in_all || value.len() <= LASTING_BYTES) {
            *last = Last::Is(value.to_vec(), text.unbind());
        }
        Ok(())
    }
}

/// Bytes as the native string of PEP 3333.
pub(super) fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => PyString::new(py, text),
        _ => PyString::new(py, &bytes.iter().map(|&byte| char::from(byte)).collect::<String>()),
    }
}
