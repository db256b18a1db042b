//! The applications of an instance, and which one answers a request.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::environ::latin1;
use super::job::Head;
use super::{app, traceback};
use crate::config::instance::AppSpec;
use crate::gateway::environ::path_info;
use crate::gateway::mount;
use crate::wire::failure::Failure;

/// The applications that could be loaded.
#[derive(Debug, Default)]
pub(super) struct Apps {
    /// For requests that are for none of the others.
    default: Option<Py<PyAny>>,
    mounted: Vec<(String, Py<PyAny>)>,
    by_path: bool,
}

/// What a mounted application finds in its environ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    script_name: Vec<u8>,
    path_info: Vec<u8>,
}

impl Apps {
    /// Loads them all; and why the first of those that cannot be loaded cannot. Tracebacks are logged as well.
    pub(super) fn load(py: Python<'_>, spec: &AppSpec) -> (Self, Option<Failure>) {
        for name in &spec.imports {
            if let Err(error) = app::load_besides(py, name) {
                traceback::log(py, &error);
            }
        }
        if let Err(failure) = app::alias(py, &spec.post_aliases) {
            return (Self::default(), Some(failure));
        }
        let mut apps = Self { by_path: spec.manage_script_name, ..Self::default() };
        let mut failure = None;
        let mut keep = |loaded: Result<Py<PyAny>, Failure>| match loaded {
            Ok(app) => Some(app),
            Err(why) => {
                failure.get_or_insert(why);
                None
            }
        };
        if let Some(source) = &spec.load {
            apps.default = keep(app::load(py, source, spec));
        } else if spec.mounts.is_empty() {
            keep(Err(Failure::new("no application is named")
                .with_hint("name one with `module = package.module:callable` or `wsgi-file = path`")));
        }
        for (place, source) in &spec.mounts {
            if let Some(app) = keep(app::load(py, source, spec)) {
                apps.mounted.push((place.clone(), app));
            }
        }
        (apps, failure)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.default.is_none() && self.mounted.is_empty()
    }

    /// The same, for another thread.
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self {
            default: self.default.as_ref().map(|app| app.clone_ref(py)),
            mounted: self.mounted.iter().map(|(place, app)| (place.clone(), app.clone_ref(py))).collect(),
            by_path: self.by_path,
        }
    }

    /// The application that answers a request, and its place, if the environ must tell that.
    pub(super) fn choose(&self, head: &Head) -> Option<(&Py<PyAny>, Option<Place>)> {
        // As in uWSGI, the first is for what is for none, where no other was named for that.
        let default = self.default.as_ref().or_else(|| self.mounted.first().map(|(_, app)| app));
        if self.mounted.is_empty() {
            return Some((default?, None));
        }
        let (script_name, path) = match head {
            Head::Http(parts, _) => (Vec::new(), path_info(parts.uri.path()).into_owned()),
            Head::Packet(packet) => {
                let request = packet.view();
                let script_name = request.variable(b"SCRIPT_NAME").unwrap_or_default();
                (script_name.to_vec(), request.path.to_vec())
            }
        };
        let places = self.mounted.iter().map(|(place, _)| place.as_bytes());
        let Some((at, taken)) = mount::choose(places, self.by_path, &script_name, &path) else {
            return Some((default?, None));
        };
        let (_, app) = self.mounted.get(at)?;
        let place = taken.map(|taken| Place {
            script_name: taken.to_vec(),
            path_info: path.get(taken.len()..).unwrap_or_default().to_vec(),
        });
        Some((app, place))
    }
}

impl Place {
    /// Says it in an environ.
    pub(super) fn tell(&self, environ: &Bound<'_, PyDict>) -> PyResult<()> {
        let py = environ.py();
        environ.set_item(pyo3::intern!(py, "SCRIPT_NAME"), latin1(py, &self.script_name))?;
        environ.set_item(pyo3::intern!(py, "PATH_INFO"), latin1(py, &self.path_info))
    }
}
