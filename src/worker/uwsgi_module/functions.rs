//! The functions of the `uwsgi` module.

use std::os::fd::AsFd;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::stats::scoreboard::{CoreField, Field, Slot};
use crate::sys::{clock, socket, title};
use crate::wire::message::FromWorker;
use crate::worker::host::Host;
use crate::worker::{current, log, mule};

/// Reloads the application: a new generation is brought up beside this one.
#[pyfunction]
pub(super) fn reload() -> bool {
    tell(&FromWorker::ReloadRequested)
}

/// Stops the instance.
#[pyfunction]
pub(super) fn stop() -> bool {
    tell(&FromWorker::StopRequested)
}

/// The worker's number, from 1; 0 while the application is loaded for all of them.
#[pyfunction]
pub(super) fn worker_id() -> u32 {
    Host::get().map_or(0, Host::worker_number)
}

/// The workers of the instance.
#[pyfunction]
pub(super) fn workers(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let mut dicts = Vec::new();
    if let Some(host) = Host::get() {
        let mut slots: Vec<Slot<'_>> =
            host.board.iter().filter(|slot| slot.get(Field::WorkerId) > 0).collect();
        // During a reload a number is there twice: the new generation stands for it.
        slots.sort_by_key(|slot| (slot.get(Field::WorkerId), std::cmp::Reverse(slot.get(Field::Generation))));
        slots.dedup_by_key(|slot| slot.get(Field::WorkerId));
        for slot in slots {
            dicts.push(worker_dict(py, slot)?);
        }
    }
    PyTuple::new(py, dicts)
}

fn worker_dict<'py>(py: Python<'py>, slot: Slot<'_>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, field) in [
        ("id", Field::WorkerId),
        ("pid", Field::Pid),
        ("requests", Field::Requests),
        ("delta_requests", Field::Requests),
        ("exceptions", Field::Exceptions),
        ("rss", Field::RssBytes),
        ("vsz", Field::VszBytes),
        ("running_time", Field::RunningUs),
        ("last_spawn", Field::LastSpawnEpochS),
        ("tx", Field::TxBytes),
        ("avg_rt", Field::AverageUs),
    ] {
        dict.set_item(name, slot.get(field))?;
    }
    dict.set_item("signals", 0)?;
    dict.set_item("respawn_count", slot.get(Field::RespawnCount).saturating_sub(1))?;
    let status: &[u8] = if slot.is_busy() { b"busy" } else { b"idle" };
    dict.set_item("status", PyBytes::new(py, status))?;
    dict.set_item("apps", PyTuple::empty(py))?;
    Ok(dict)
}

/// The master's pid.
#[pyfunction]
pub(super) fn masterpid() -> u32 {
    Host::get().map_or(0, |host| host.master)
}

/// Requests answered by all workers.
#[pyfunction]
pub(super) fn total_requests() -> u64 {
    Host::get().map_or(0, |host| host.board.requests())
}

/// Requests answered by this worker.
#[pyfunction]
pub(super) fn request_id() -> u64 {
    Host::get().and_then(Host::slot).map_or(0, |slot| slot.get(Field::Requests))
}

/// Writes a line to the log.
#[pyfunction]
#[pyo3(name = "log")]
pub(super) fn log_line(py: Python<'_>, line: &str) -> bool {
    log::write(py, &format!("{line}\n"));
    true
}

/// Resident and virtual size of this process in bytes.
#[pyfunction]
pub(super) fn mem() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches([':', ' ', '\t']).split(' ').next()?.parse::<u64>().ok()
    };
    (kib("VmRSS").unwrap_or(0).saturating_mul(1024), kib("VmSize").unwrap_or(0).saturating_mul(1024))
}

/// Microseconds since the epoch.
#[pyfunction]
pub(super) fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// How many connections wait on a socket; 0 where the system does not tell.
#[pyfunction]
#[pyo3(signature = (number = 0))]
pub(super) fn listen_queue(number: usize) -> u32 {
    let listener = Host::get().and_then(|host| host.listeners.get(number));
    listener.and_then(|(_, fd)| socket::tcp_queue(fd.as_fd())).map_or(0, |(waiting, _)| waiting)
}

/// Sets the process title.
#[pyfunction]
pub(super) fn setprocname(name: &str) {
    title::set(name);
}

/// Gives the running request, or the mule, so many seconds from now; 0 takes its limit away.
#[pyfunction]
pub(super) fn set_user_harakiri(py: Python<'_>, seconds: u32) {
    if let Some(host) = Host::get().filter(|host| host.mule.get().is_some()) {
        return mule::limit(host, seconds);
    }
    let Some(core) = Host::get().and_then(|host| current::core(py, host)) else { return };
    let deadline_ms = clock::now().as_ms().saturating_add(u64::from(seconds) * 1000);
    core.set(CoreField::DeadlineMs, if seconds == 0 { 0 } else { deadline_ms });
    tell(&FromWorker::DeadlineSet);
}

/// `True` once the worker accepts requests.
#[pyfunction]
pub(super) fn ready() -> Option<bool> {
    let slot = Host::get().and_then(Host::slot)?;
    (slot.get(Field::Accepting) == 1).then_some(true)
}

/// Says whether the worker counts as accepting requests.
#[pyfunction]
#[pyo3(signature = (on = true))]
pub(super) fn accepting(on: bool) {
    if let Some(slot) = Host::get().and_then(Host::slot) {
        slot.set(Field::Accepting, u64::from(on));
    }
}

fn tell(message: &FromWorker) -> bool {
    if let Some(host) = Host::get() {
        host.tell(message);
    }
    true
}
