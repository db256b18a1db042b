//! `py-tracebacker`: who connects to a worker's socket gets the stacks of its threads, in uWSGI's form.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use std::{fs, io};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::host::Host;
use super::traceback;
use crate::sys::socket::{self, FileIdentity, UnixOptions};
use crate::sys::wait;

/// How long a client may let us wait; the others wait behind it.
const PATIENCE: Duration = Duration::from_secs(4);
const BACKLOG: u32 = 16;
/// Stacks tell what the code is: nobody else's business.
const MODE: u32 = 0o600;

/// The socket of a worker, as long as it serves.
#[derive(Debug)]
pub(super) struct Tracebacker {
    path: PathBuf,
    made: Option<FileIdentity>,
}

/// Tells stacks from now on, where that was asked for. What goes wrong is only logged.
pub(super) fn start(py: Python<'_>, host: &'static Host) -> Option<Tracebacker> {
    let base = host.spec.app.tracebacker.as_ref()?;
    let mut path = base.clone().into_os_string();
    path.push(host.worker_number().to_string());
    let path = PathBuf::from(path);
    // Loaded by the main thread: `threading` takes whoever imports it for that.
    for module in ["threading", "traceback"] {
        if let Err(error) = py.import(module) {
            traceback::log(py, &error);
        }
    }
    match open(&path, host.spec.chmod_socket.unwrap_or(MODE)) {
        Ok(listener) => {
            let (number, shown) = (host.worker_number(), path.display());
            tracing::info!("python tracebacker for worker {number} available on {shown}");
            let made = socket::identity(&path);
            let started = thread::Builder::new().name("uWSGITraceBacker".to_owned()).spawn(move || {
                let error = serve(listener).err();
                tracing::warn!(
                    "the tracebacker ended: {}",
                    error.map_or_else(String::new, |e| e.to_string())
                );
            });
            if let Err(error) = started {
                tracing::error!("no tracebacker: {error}");
            }
            Some(Tracebacker { path, made })
        }
        Err(error) => {
            tracing::error!("no tracebacker on {}: {error}", path.display());
            None
        }
    }
}

impl Drop for Tracebacker {
    fn drop(&mut self) {
        if let Some(made) = self.made {
            // The next worker of this number has made its own by now, or nobody has.
            let _ = socket::remove_unix(&self.path, made);
        }
    }
}

/// Takes the place of the worker before, which may still tell its own: by a rename nobody ever finds none.
fn open(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    if path.exists() && socket::identity(path).is_none() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something is there that is not a socket"));
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(format!(".{}", std::process::id()));
    let fresh = PathBuf::from(fresh);
    let listener = socket::listen_unix(&fresh, UnixOptions { mode, ..UnixOptions::default() }, BACKLOG)?;
    if let Err(error) = fs::rename(&fresh, path) {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    Ok(listener)
}

fn serve(listener: OwnedFd) -> io::Result<()> {
    let listener = UnixListener::from(listener);
    loop {
        wait::readable(listener.as_fd(), None)?;
        let mut client = match listener.accept() {
            Ok((client, _)) => client,
            // It hung up before, or descriptors are short for the moment.
            Err(error) => {
                tracing::debug!("tracebacker: {error}");
                thread::sleep(Duration::from_millis(10));
                continue;
            }
        };
        let text = Python::attach(|py| stacks(py).unwrap_or_else(|error| traceback::text(py, &error)));
        // A client that hangs up has what it wants.
        let _ = client
            .set_nonblocking(false)
            .and_then(|()| client.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| client.write_all(text.as_bytes()));
    }
}

/// The stacks of all threads that run Python.
fn stacks(py: Python<'_>) -> PyResult<String> {
    let frames = py.import("sys")?.call_method0("_current_frames")?.cast_into::<PyDict>()?;
    // Not `enumerate`, which takes a lock that somebody may hold who is to be looked at.
    let threads = py.import("threading")?.getattr("_active").and_then(|active| active.call_method0("copy"));
    let extract = py.import("traceback")?.getattr("extract_stack")?;
    let mut text = "*** uWSGI Python tracebacker output ***\n\n".to_owned();
    for (id, frame) in frames {
        let thread = threads.as_ref().ok().and_then(|threads| threads.get_item(&id).ok());
        let name = thread.and_then(|thread| thread.getattr("name").ok()?.extract::<String>().ok());
        let name = name.as_deref().unwrap_or("<UnnamedPythonThread>");
        for place in extract.call1((frame,))?.try_iter()? {
            let place = place?;
            let part = |part: &str| place.getattr(part).and_then(|part| Ok(part.str()?.to_string()));
            let (file, line, function) = (part("filename")?, part("lineno")?, part("name")?);
            let _ =
                write!(text, "thread_id = {name} filename = {file} lineno = {line} function = {function}");
            let code = part("line")?;
            let code = if code.is_empty() { code } else { format!(" line = {code}") };
            let _ = writeln!(text, "{code}");
        }
        text.push('\n');
    }
    Ok(text)
}
