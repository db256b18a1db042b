//! The functions of the `uwsgi` module for websockets. Each failure is an `OSError`, as in uWSGI.

use std::os::fd::RawFd;
use std::sync::Arc;

use bytes::Bytes;
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::gateway::websocket::Grant;
use crate::worker::upgrade::Upgrade;
use crate::worker::websocket::{Kind, Parting, WebSocket};

/// Makes the request a websocket. What is not said is as the client said it.
#[pyfunction]
#[pyo3(signature = (key = None, origin = None, proto = None, /))]
pub(super) fn websocket_handshake(
    py: Python<'_>,
    key: Option<&Bound<'_, PyAny>>,
    origin: Option<&Bound<'_, PyAny>>,
    proto: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let said = |value: Option<&Bound<'_, PyAny>>| value.map_or_else(|| Ok(Bytes::new()), bytes);
    let (key, origin, protocol) = (said(key)?, said(origin)?, said(proto)?);
    let grant = Grant { key: &key, origin: &origin, protocol: &protocol };
    Upgrade::current(py)?.shake_hands(py, grant)
}

/// Waits for the next message of the client.
#[pyfunction]
pub(super) fn websocket_recv(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let message = with(py, "receive", WebSocket::receive)?;
    Ok(PyBytes::new(py, &message))
}

/// The next message of the client, if one is there, or nothing.
#[pyfunction]
pub(super) fn websocket_recv_nb(py: Python<'_>) -> PyResult<Bound<'_, PyBytes>> {
    let message = with(py, "receive", WebSocket::receive_now)?.unwrap_or_default();
    Ok(PyBytes::new(py, &message))
}

/// Sends a text.
#[pyfunction]
#[pyo3(signature = (message, /))]
pub(super) fn websocket_send(py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let message = bytes(message)?;
    with(py, "send", |websocket| websocket.send(Kind::Text, message))
}

/// Sends bytes.
#[pyfunction]
#[pyo3(signature = (message, /))]
pub(super) fn websocket_send_binary(py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<()> {
    let message = bytes(message)?;
    with(py, "send", |websocket| websocket.send(Kind::Binary, message))
}

/// The descriptor of the websocket's connection, to wait until something can be read; before the handshake the number
/// that it will have.
#[pyfunction]
pub(super) fn connection_fd(py: Python<'_>) -> PyResult<RawFd> {
    Ok(Upgrade::current(py)?.number()?)
}

/// Ends the websocket.
#[pyfunction]
pub(super) fn disconnect(py: Python<'_>) {
    if let Ok(upgrade) = Upgrade::current(py)
        && let Ok(websocket) = upgrade.websocket()
    {
        websocket.part(Parting::Done);
    }
}

/// Does something with the websocket of this request, that may wait.
fn with<T: Send>(
    py: Python<'_>,
    verb: &str,
    work: impl FnOnce(&WebSocket) -> Result<T, Arc<str>> + Send,
) -> PyResult<T> {
    let upgrade = Upgrade::current(py)?;
    let websocket = upgrade.websocket()?;
    let waiter = upgrade.waiter();
    let done = waiter.detached(py, || work(websocket));
    waiter.thrown()?;
    done.map_err(|why| PyOSError::new_err(format!("unable to {verb} websocket message: {why}")))
}

/// The bytes of a text or of bytes.
fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Bytes::copy_from_slice(text.to_str()?.as_bytes()));
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    // bytearray, memoryview and the like.
    let bytes = value.py().get_type::<PyBytes>();
    let is_number = value.extract::<i64>().is_ok();
    let copy = (!is_number).then(|| bytes.call1((value,))).transpose()?;
    match copy.as_ref().and_then(|copy| copy.cast::<PyBytes>().ok()) {
        Some(copy) => Ok(Bytes::copy_from_slice(copy.as_bytes())),
        None => Err(PyTypeError::new_err("a message must be str or bytes")),
    }
}
