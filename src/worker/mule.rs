//! A mule's life: a process of the application that serves no request. It runs its own code, or gives messages to the
//! application.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::host::{Host, Mule};
use super::zygote::Loaded;
use super::{app, greenlets, serve, stacks, traceback, uwsgi_module};
use crate::config::companions::{MuleCode, MuleSpec};
use crate::config::instance::{AppSource, AppSpec};
use crate::sys::mailbox::Mailbox;
use crate::sys::process::Signal;
use crate::sys::{clock, fd, orphan, title, wait};
use crate::wire::channel;
use crate::wire::message::{FromWorker, ToWorker};
use crate::wire::mule::MuleOrder;

/// How long code that waits for nothing outlives its master, in seconds.
const ORPHAN_S: u32 = 1;

/// The application works on a message, and is not interrupted.
static BUSY: AtomicBool = AtomicBool::new(false);
/// The mule was told to end meanwhile.
static ENDING: AtomicBool = AtomicBool::new(false);

/// What a mule starts with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) order: MuleOrder,
    pub(super) channel: OwnedFd,
    pub(super) loaded: Loaded,
}

/// What came of waiting for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// One, so many bytes long.
    Message(usize),
    /// None in time.
    Nothing,
    /// The mule is to end.
    End,
}

/// Lives until it is told to end, or its code ends; gives the exit status.
///
/// # Errors
/// Somebody raised `SystemExit`, which the interpreter obeys.
pub(super) fn run(py: Python<'_>, host: &'static Host, start: Start) -> PyResult<u8> {
    let number = start.order.number;
    let done = live(py, host, start);
    uwsgi_module::at_exit(py);
    match done {
        Ok(()) => Ok(0),
        Err(error) if error.is_instance_of::<PySystemExit>(py) => Err(error),
        Err(error) => {
            tracing::error!("mule {number} ends: {}", traceback::summary(py, &error));
            traceback::log(py, &error);
            Ok(1)
        }
    }
}

fn live(py: Python<'_>, host: &'static Host, start: Start) -> PyResult<()> {
    let Start { order, channel, loaded } = start;
    let far = fd::duplicate_high(&channel)?;
    drop(channel);
    let mule = host.mule.get_or_init(|| Mule { number: order.number, channel: far });
    leave_listeners(host)?;
    title::set(&host.title(&format!("mule {}", order.number)));
    let all = &host.spec.companions.mules;
    let spec = all.iter().find(|spec| spec.number == order.number);
    let spec = spec.ok_or_else(|| io::Error::other(format!("there is no mule {}", order.number)))?;
    // One that works on a message gets its time; other code would live beside that of the next master's mule.
    let orphan_s = if spec.code.is_some() { ORPHAN_S } else { spec.mercy_s };
    if let Err(error) = orphan::die_after_parent(host.master, orphan_s) {
        tracing::warn!("this mule may outlive its master: {error}");
    }
    answer_signals(py)?;
    stacks::answer_signal(py);
    greenlets::after_fork(py);
    let _app = match loaded {
        Loaded::Later if order.load => serve::load(py, host).map_or(Loaded::Later, Loaded::Now),
        loaded => loaded,
    };
    uwsgi_module::mule_forked(py)?;
    match &spec.code {
        None => take_messages(py, host, mule, spec),
        Some(MuleCode::File(path)) => app::execute_as(py, path, "__main__").map(drop),
        Some(MuleCode::Function(target)) => {
            match app::load(py, &AppSource::Module(target.clone()), &AppSpec::default()) {
                Ok(function) => function.call0(py).map(drop),
                // Its traceback was logged.
                Err(failure) => {
                    tracing::error!("mule {}: {failure}", order.number);
                    Err(PySystemExit::new_err(1))
                }
            }
        }
    }
}

/// A port that nobody serves any more must not stay open because of us.
fn leave_listeners(host: &Host) -> io::Result<()> {
    if host.listeners.is_empty() {
        return Ok(());
    }
    let nothing = File::open("/dev/null")?;
    host.listeners.iter().try_for_each(|(_, listener)| fd::replace(&nothing, listener.as_raw_fd()))
}

/// Has the signals that end a mule raise `SystemExit` in its main thread: what the code opened is closed.
fn answer_signals(py: Python<'_>) -> PyResult<()> {
    // Not `signal`, which would bring `enum` and others into every mule.
    let signal = py.import("_signal")?;
    let answer = handler(py)?;
    for number in [Signal::Term, Signal::Hup, Signal::Int].map(Signal::number) {
        signal.call_method1("signal", (number, &answer))?;
    }
    Ok(())
}

fn handler(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    wrap_pyfunction!(told_by_signal, py).map(Bound::into_any)
}

/// What a terminal says to the whole group, the master passes on.
#[pyfunction]
#[pyo3(signature = (number, _frame))]
fn told_by_signal(number: i32, _frame: Py<PyAny>) -> PyResult<()> {
    if number == Signal::Int.number() {
        return Ok(());
    }
    if BUSY.load(Ordering::Relaxed) {
        ENDING.store(true, Ordering::Relaxed);
        return Ok(());
    }
    Err(PySystemExit::new_err(0))
}

/// Gives messages to the application until the mule is told to end.
fn take_messages(py: Python<'_>, host: &Host, mule: &Mule, spec: &MuleSpec) -> PyResult<()> {
    let mut buffer = vec![0; longest(host, mule)?];
    while let Got::Message(length) = receive(py, host, mule, None, &mut buffer)? {
        BUSY.store(true, Ordering::Relaxed);
        if spec.harakiri_s > 0 {
            limit(host, spec.harakiri_s);
        }
        let handled = hand(py, mule, buffer.get(..length).unwrap_or_default());
        if spec.harakiri_s > 0 {
            limit(host, 0);
        }
        let pending = py.check_signals();
        BUSY.store(false, Ordering::Relaxed);
        handled.and(pending)?;
        if ENDING.load(Ordering::Relaxed) {
            return Ok(());
        }
    }
    Ok(())
}

/// The mule is killed in so many seconds; 0: it is not.
pub(super) fn limit(host: &Host, seconds: u32) {
    let at = clock::now() + Duration::from_secs(seconds.into());
    host.tell(&FromWorker::MuleDeadline((seconds > 0).then(|| at.as_ms())));
}

/// Gives a message to the application. What it raises is logged, unless that ends the mule.
fn hand(py: Python<'_>, mule: &Mule, message: &[u8]) -> PyResult<()> {
    let Some(hook) = uwsgi_module::callable(py, "mule_msg_hook") else {
        tracing::info!("*** mule {} received a {} bytes message ***", mule.number, message.len());
        return Ok(());
    };
    match hook.call1((PyBytes::new(py, message),)) {
        Err(error) if error.is_instance_of::<PySystemExit>(py) => Err(error),
        Err(error) => {
            traceback::log(py, &error);
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// What waits for a mule: its own messages, and those for any mule.
fn queues<'a>(host: &'a Host, mule: &Mule) -> io::Result<[&'a Mailbox; 2]> {
    let own = usize::try_from(mule.number).ok().and_then(|number| host.mules.get(number));
    own.zip(host.mules.first())
        .map(|(own, all)| [own, all])
        .ok_or_else(|| io::Error::other(format!("mule {} has no queue", mule.number)))
}

/// The length of the longest message that a mule can get.
///
/// # Errors
/// `getsockopt`.
pub(super) fn longest(host: &Host, mule: &Mule) -> io::Result<usize> {
    queues(host, mule)?.iter().try_fold(0, |most, queue| Ok(queue.capacity()?.max(most)))
}

/// Waits for the next message, with the interpreter free for others meanwhile.
///
/// # Errors
/// What a signal handler of the application raised, or `SystemExit`: the master is gone.
pub(super) fn receive(
    py: Python<'_>,
    host: &Host,
    mule: &Mule,
    timeout: Option<Duration>,
    buffer: &mut [u8],
) -> PyResult<Got> {
    let queues = queues(host, mule)?;
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        match channel::receive::<ToWorker>(&mule.channel) {
            Ok(None) => return Err(PySystemExit::new_err(0)),
            Ok(Some(_)) => {
                py.check_signals()?;
                return Ok(Got::End);
            }
            Err(error) if is_nothing(&error) => {}
            Err(error) => tracing::debug!("a message of the master: {error}"),
        }
        for queue in queues {
            match queue.receive(buffer) {
                Err(error) if is_nothing(&error) => {}
                received => return Ok(Got::Message(received?)),
            }
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Got::Nothing);
        }
        let waited = py.detach(|| {
            let [own, all] = queues.map(Mailbox::receiver);
            wait::any_readable_or_signal(&[mule.channel.as_fd(), own, all], left)
        });
        py.check_signals()?;
        match waited {
            Err(error) if !is_nothing(&error) => return Err(error.into()),
            _ => {}
        }
    }
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Whether the application leaves it to us what a signal does that ends the mule.
pub(super) fn answers_signals(py: Python<'_>) -> PyResult<bool> {
    let now = py.import("_signal")?.call_method1("getsignal", (Signal::Term.number(),))?;
    now.eq(handler(py)?)
}
