//! The zygote: loads the application once, never serves, forks workers when it is told to.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::host::Host;
use super::{app, fork, log, serve, traceback, uwsgi_module};
use crate::config::address::Listen;
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::fork::Side;
use crate::sys::{clock, fd, title, wait};
use crate::trace;
use crate::wire::failure::Failure;
use crate::wire::message::{FromZygote, ToZygote};
use crate::wire::{PROTOCOL, channel};

/// Runs the zygote, and in each process that it forks the worker. Returns the exit status.
#[pyfunction]
pub(super) fn zygote(py: Python<'_>, channel: i32) -> u8 {
    match take_channel(channel).and_then(|channel| run(py, channel)) {
        Ok(status) => status,
        Err(error) => {
            log::write(py, &format!("liege zygote: {error}\n"));
            1
        }
    }
}

/// A loaded application, or the wish to load it later.
#[derive(Debug)]
pub(super) enum Loaded {
    /// It is there; `None` when it could not be loaded and every request is answered with 500.
    Now(Option<Py<PyAny>>),
    /// Each worker loads it.
    Later,
}

struct Ready {
    host: &'static Host,
    loaded: Loaded,
}

fn run(py: Python<'_>, channel: OwnedFd) -> io::Result<u8> {
    trace::start(true);
    channel::send(&channel, &hello(py).map_err(io::Error::other)?, &[])?;
    let mut ready = None;
    loop {
        let Some((message, mut fds)) = py.detach(|| next(&channel))? else { return Ok(0) };
        match message {
            ToZygote::Load { protocol, .. } if protocol != PROTOCOL => {
                let reason = format!("the master speaks protocol {protocol}, its extension {PROTOCOL}");
                channel::send(&channel, &FromZygote::LoadFailed(Failure::new(reason)), &[])?;
                return Ok(1);
            }
            ToZygote::Load { generation, spec, listeners, .. } => {
                match load(py, generation, *spec, listeners, fds) {
                    Ok((now_ready, answer)) => {
                        ready = Some(now_ready);
                        channel::send(&channel, &answer, &[])?;
                    }
                    Err(failure) => {
                        channel::send(&channel, &FromZygote::LoadFailed(failure), &[])?;
                        return Ok(1);
                    }
                }
            }
            ToZygote::Fork { worker, slot, .. } => {
                let refusal = match (&ready, fds.is_empty()) {
                    (None, _) => "a worker was asked for before the application",
                    (_, true) => "a worker was asked for without a channel",
                    (Some(_), false) => "",
                };
                if !refusal.is_empty() {
                    let failure = Failure::new(refusal);
                    channel::send(&channel, &FromZygote::ForkFailed { slot, failure }, &[])?;
                    continue;
                }
                flush(py);
                match fork::fork(py) {
                    Ok(Side::Parent(pid)) => {
                        channel::send(&channel, &FromZygote::Forked { slot, pid }, &[])?;
                    }
                    Ok(Side::Child) => {
                        drop(channel);
                        let Some(Ready { host, loaded }) = ready else { return Ok(1) };
                        let channel = fds.remove(0);
                        let start = serve::Start { worker, slot, channel, routed: fds, loaded };
                        return Ok(serve::run(py, host, start));
                    }
                    Err(error) => {
                        let failure = Failure::new(format!("cannot fork a worker: {error}"));
                        channel::send(&channel, &FromZygote::ForkFailed { slot, failure }, &[])?;
                    }
                }
            }
        }
    }
}

fn load(
    py: Python<'_>,
    generation: u64,
    spec: InstanceSpec,
    listeners: Vec<Listen>,
    fds: Vec<OwnedFd>,
) -> Result<(Ready, FromZygote), Failure> {
    let started = clock::now();
    let mut fds = fds.into_iter();
    let board = fds.next().ok_or_else(|| Failure::new("the scoreboard is missing"))?;
    let board = Scoreboard::open(board, true)
        .map_err(|error| Failure::new(format!("cannot open the scoreboard: {error}")))?;
    let wanted = listeners.len();
    let listeners: Vec<(Listen, OwnedFd)> = listeners.into_iter().zip(fds).collect();
    if listeners.len() != wanted {
        return Err(Failure::new(format!("{} of {wanted} listeners came", listeners.len())));
    }
    let host = Host {
        spec,
        board,
        listeners,
        generation,
        master: std::os::unix::process::parent_id(),
        worker: std::sync::OnceLock::new(),
    }
    .install();
    title::set(&host.title("zygote"));
    prepare(py, host).map_err(|error| {
        Failure::new(format!("cannot prepare the interpreter: {}", traceback::summary(py, &error)))
            .with_traceback(&traceback::text(py, &error))
    })?;
    let (loaded, failure) = if host.spec.workers.lazy_apps {
        (Loaded::Later, None)
    } else {
        match app::load(py, &host.spec.app) {
            Ok(callable) => (Loaded::Now(Some(callable)), None),
            Err(failure) if host.spec.app.need_app => return Err(failure),
            Err(failure) => (Loaded::Now(None), Some(failure)),
        }
    };
    if let Some(failure) = &failure {
        tracing::error!("no application: {failure}; every request is answered with 500");
    }
    let threads = has_threads(py);
    settle(py);
    let startup_ms = u64::try_from(clock::now().since(started).as_millis()).unwrap_or(u64::MAX);
    let answer = FromZygote::Loaded { startup_ms, app: failure.is_none(), threads, failure };
    Ok((Ready { host, loaded }, answer))
}

/// Environment, working directory, module search path, streams and the `uwsgi` module, as the spec says.
fn prepare(py: Python<'_>, host: &'static Host) -> PyResult<()> {
    let os = py.import("os")?;
    let environment = os.getattr("environ")?;
    for (name, value) in &host.spec.env {
        match value {
            Some(value) => environment.set_item(name, value)?,
            None => environment.call_method1("pop", (name, py.None())).map(drop)?,
        }
    }
    if let Some(directory) = &host.spec.app.chdir {
        os.call_method1("chdir", (directory,))?;
    }
    app::prepare_path(py, &host.spec.app)?;
    let options = PyDict::new(py);
    options.set_item("line_buffering", true)?;
    options.set_item("errors", "backslashreplace")?;
    for name in ["stdout", "stderr"] {
        // An interpreter may have been started without one of them.
        if let Ok(reconfigure) = py.import("sys")?.getattr(name).and_then(|s| s.getattr("reconfigure")) {
            reconfigure.call((), Some(&options))?;
        }
    }
    uwsgi_module::install(py, host)
}

/// Collects garbage and moves what is left out of the collector's sight, so that it stays shared after a fork.
fn settle(py: Python<'_>) {
    let done = py.import("gc").and_then(|gc| {
        gc.call_method0("collect")?;
        gc.call_method0("freeze")
    });
    if let Err(error) = done {
        traceback::log(py, &error);
    }
}

fn has_threads(py: Python<'_>) -> bool {
    let frames = py.import("sys").and_then(|sys| sys.call_method0("_current_frames"));
    frames.and_then(|frames| frames.len()).is_ok_and(|threads| threads > 1)
}

/// What is buffered would be written by both sides of a fork.
fn flush(py: Python<'_>) {
    for name in ["stdout", "stderr"] {
        let _ = py.import("sys").and_then(|sys| sys.getattr(name)?.call_method0("flush"));
    }
}

fn hello(py: Python<'_>) -> PyResult<FromZygote> {
    let version = py.version_info();
    Ok(FromZygote::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        python: format!("{}.{}.{}", version.major, version.minor, version.patch),
        executable: py.import("sys")?.getattr("executable")?.extract()?,
    })
}

fn next(channel: &OwnedFd) -> io::Result<Option<channel::Received<ToZygote>>> {
    loop {
        wait::readable(channel, None)?;
        match channel::receive(channel) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            other => return other,
        }
    }
}

/// Moves the channel to where no subprocess of the application meets it, and `/dev/null` to descriptor 0.
fn take_channel(number: i32) -> io::Result<OwnedFd> {
    let given = fd::adopt(number)?;
    let channel = fd::duplicate_high(&given)?;
    if number == 0 {
        fd::replace(std::fs::File::open("/dev/null")?, 0)?;
        // Descriptor 0 is `/dev/null` now, and stays open.
        let _ = given.into_raw_fd();
    }
    Ok(channel)
}
