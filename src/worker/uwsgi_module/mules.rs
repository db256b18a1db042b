//! The functions of the `uwsgi` module about mules.

use std::time::Duration;

use pyo3::exceptions::{PySystemExit, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::sys::mailbox::Mailbox;
use crate::worker::host::Host;
use crate::worker::mule::{self, Got};

/// The mule's number, from 1; 0 in every other process.
#[pyfunction]
pub(super) fn mule_id() -> u32 {
    Host::get().and_then(|host| host.mule.get()).map_or(0, |mule| mule.number)
}

/// Sends a message to a mule, or to whichever takes it first; `False` when too many wait already.
#[pyfunction]
#[pyo3(signature = (message, mule = None))]
pub(super) fn mule_msg(
    py: Python<'_>,
    message: &Bound<'_, PyAny>,
    mule: Option<&Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let queues = Host::get().map_or(&[][..], |host| host.mules.as_slice());
    if queues.is_empty() {
        return Err(PyValueError::new_err("no mule configured"));
    }
    let number = match mule {
        None => 0,
        Some(mule) => mule.extract::<i64>().map_err(|_| PyValueError::new_err("invalid mule"))?,
    };
    let queue = usize::try_from(number).ok().and_then(|number| queues.get(number));
    let queue = queue.ok_or_else(|| PyValueError::new_err("invalid mule number"))?;
    if let Ok(bytes) = message.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        return Ok(py.detach(|| send(queue, bytes)));
    }
    let text = message.cast::<PyString>();
    let text = text.map_err(|_| PyTypeError::new_err("a message is bytes or a string"))?.to_str()?;
    Ok(py.detach(|| send(queue, text.as_bytes())))
}

fn send(queue: &Mailbox, message: &[u8]) -> bool {
    let Err(error) = queue.send(message) else { return true };
    let size = queue.capacity().unwrap_or_default();
    if error.kind() == std::io::ErrorKind::WouldBlock {
        tracing::warn!(
            "*** MULE MSG QUEUE IS FULL: buffer size {size} bytes (you can tune it with --mule-msg-size) ***"
        );
    } else {
        tracing::warn!("mule_send_msg(): {} bytes, where {size} fit: {error}", message.len());
    }
    false
}

/// Waits for a message to this mule, or to any; at most so many seconds, then it is empty. `None` when the mule is to
/// end and the application has its own answer to the signal that says so.
#[pyfunction]
#[pyo3(signature = (signals = None, farms = None, buffer_size = 65536, timeout = -1))]
#[expect(unused_variables, reason = "the names are uWSGI's; there are neither signals nor farms")]
pub(super) fn mule_get_msg<'py>(
    py: Python<'py>,
    signals: Option<Py<PyAny>>,
    farms: Option<Py<PyAny>>,
    buffer_size: usize,
    timeout: i64,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let host = Host::get();
    let Some((host, mule)) = host.and_then(|host| Some((host, host.mule.get()?))) else {
        return Err(PyValueError::new_err("you can receive mule messages only in a mule !!!"));
    };
    let timeout = u64::try_from(timeout).ok().map(Duration::from_secs);
    let mut buffer = vec![0; buffer_size.min(mule::longest(host, mule)?)];
    match mule::receive(py, host, mule, timeout, &mut buffer)? {
        Got::Message(length) => Ok(Some(PyBytes::new(py, buffer.get(..length).unwrap_or_default()))),
        Got::Nothing => Ok(Some(PyBytes::new(py, b""))),
        Got::End if mule::answers_signals(py)? => Err(PySystemExit::new_err(0)),
        Got::End => Ok(None),
    }
}
