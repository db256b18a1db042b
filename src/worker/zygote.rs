//! The zygote: loads the application once, never serves, forks workers when it is told to.

use std::io;
use std::os::fd::{IntoRawFd, OwnedFd};

use pyo3::prelude::*;

use super::apps::Apps;
use super::host::Host;
use super::locks::Shared;
use super::{app, autoreload, fork, greenlets, hooks, log, mule, prepare, serve, traceback, uwsgi_module};
use crate::config::address::Listen;
use crate::config::hook::Point;
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::fork::{Side, know_copies};
use crate::sys::fork_limit::ForkLimit;
use crate::sys::locks::Locks;
use crate::sys::mailbox::Mailbox;
use crate::sys::{background, clock, fd, signals, title, wait};
use crate::trace;
use crate::wire::cache::Cache;
use crate::wire::failure::Failure;
use crate::wire::message::{FromZygote, ToZygote};
use crate::wire::mule::MuleBirth;
use crate::wire::{PROTOCOL, channel, limits};

/// Runs the zygote, and in each process that it forks the worker. Returns the worker's exit status.
#[pyfunction]
pub(super) fn zygote(py: Python<'_>, channel: i32) -> PyResult<u8> {
    let status = match take_channel(channel).and_then(|channel| run(py, channel)) {
        Ok(Ended::Worker(status)) => return Ok(status),
        Ok(Ended::Mule(done)) => return done,
        Ok(Ended::Zygote(status)) => status,
        Err(error) => {
            log::write(py, &format!("liege zygote: {error}\n"));
            1
        }
    };
    // What the application registered for the end, and the threads it would wait for, are the workers' to end.
    prepare::leave(py, status)?;
    Ok(status)
}

/// Which process came to its end, and with what status.
enum Ended {
    Zygote(u8),
    Worker(u8),
    Mule(PyResult<u8>),
}

/// A loaded application, or the wish to load it later.
#[derive(Debug)]
pub(super) enum Loaded {
    /// It is there; without one every request is answered with 500.
    Now(Apps),
    /// Each worker loads it.
    Later,
}

/// Whoever forks a worker makes two processes: the one between ends at once.
const AT_ONCE: u64 = 2;

struct Ready {
    host: &'static Host,
    loaded: Loaded,
    startup_ms: u64,
}

fn run(py: Python<'_>, channel: OwnedFd) -> io::Result<Ended> {
    trace::start(true);
    know_copies()?;
    signals::outlast_stop()?;
    channel::send(&channel, &hello(py).map_err(io::Error::other)?, &[])?;
    let mut ready = None;
    loop {
        let Some((message, mut fds)) = py.detach(|| next(&channel))? else { return Ok(Ended::Zygote(0)) };
        match message {
            ToZygote::Load { protocol, generation, spec, listeners } => {
                let loaded = if protocol == PROTOCOL {
                    load(py, &channel, generation, *spec, listeners, fds)
                } else {
                    let reason = format!("the master speaks protocol {protocol}, its extension {PROTOCOL}");
                    Err(FromZygote::LoadFailed(Failure::new(reason)))
                };
                match loaded {
                    Ok((loaded, answer)) => {
                        ready = Some(loaded);
                        channel::send(&channel, &answer, &[])?;
                    }
                    Err(answer) => {
                        channel::send(&channel, &answer, &[])?;
                        return Ok(Ended::Zygote(1));
                    }
                }
            }
            ToZygote::ForkMule(order) => {
                let answer = |pid| {
                    let birth = MuleBirth { life: order.life, pid };
                    channel::send(&channel, &FromZygote::Mule(birth), &[])
                };
                let (Some(Ready { host, loaded, .. }), Some(own)) = (&mut ready, fds.pop()) else {
                    answer(Err(Failure::new(
                        "it was asked for before the application, or without a channel",
                    )))?;
                    continue;
                };
                prepare::flush(py);
                match fork::fork(py) {
                    Ok(Side::Parent(pid)) => answer(Ok(pid))?,
                    Err(error) => answer(Err(error.into()))?,
                    Ok(Side::Child) => {
                        drop(channel);
                        let loaded = std::mem::replace(loaded, Loaded::Later);
                        let start = mule::Start { order, channel: own, loaded };
                        return Ok(Ended::Mule(mule::run(py, host, start)));
                    }
                }
            }
            ToZygote::Fork { worker, slot, first, .. } => {
                let refuse = |reason: String| {
                    let failure = Failure::new(reason);
                    channel::send(&channel, &FromZygote::ForkFailed { slot, failure }, &[])
                };
                let (Some(Ready { host, loaded, startup_ms }), false) = (&mut ready, fds.is_empty()) else {
                    refuse("a worker was asked for before the application, or without a channel".to_owned())?;
                    continue;
                };
                prepare::flush(py);
                match fork::fork(py) {
                    Ok(Side::Parent(pid)) => {
                        channel::send(&channel, &FromZygote::Forked { slot, pid }, &[])?;
                    }
                    Err(error) => {
                        let limit = match error.kind() {
                            io::ErrorKind::WouldBlock => format!(" ({})", ForkLimit::reached(AT_ONCE)),
                            _ => String::new(),
                        };
                        refuse(format!("cannot fork a worker: {error}{limit}"))?;
                    }
                    Ok(Side::Child) => {
                        drop(channel);
                        let loaded = std::mem::replace(loaded, Loaded::Later);
                        let channel = fds.remove(0);
                        let start = serve::Start {
                            worker,
                            slot,
                            first,
                            channel,
                            routed: fds,
                            loaded,
                            startup_ms: *startup_ms,
                        };
                        return Ok(Ended::Worker(serve::run(py, host, start)));
                    }
                }
            }
        }
    }
}

/// Loads the application; answers what the master is to hear, as an error when there is nothing to fork from.
fn load(
    py: Python<'_>,
    channel: &OwnedFd,
    generation: u64,
    spec: InstanceSpec,
    listeners: Vec<Listen>,
    fds: Vec<OwnedFd>,
) -> Result<(Ready, FromZygote), FromZygote> {
    let (host, started) =
        (host(generation, spec, listeners, fds).map_err(FromZygote::LoadFailed)?, clock::now());
    title::set(&host.title("zygote"));
    // Its master may have begun with others.
    limits::set(&host.spec).map_err(FromZygote::LoadFailed)?;
    let failed = |error| {
        let reason = format!("cannot prepare the interpreter: {}", traceback::summary(py, &error));
        FromZygote::LoadFailed(Failure::new(reason).with_traceback(&traceback::text(py, &error)))
    };
    prepare::interpreter(py, host).map_err(failed)?;
    app::alias(py, &host.spec.app.aliases).map_err(FromZygote::LoadFailed)?;
    uwsgi_module::install(py, host).map_err(failed)?;
    greenlets::prepare(py, &host.spec.workers.gevent).map_err(FromZygote::LoadFailed)?;
    let tell = |doing| drop(channel::send(channel, &FromZygote::Doing(doing), &[]));
    for name in &host.spec.app.shared_imports {
        if let Err(error) = app::load_besides(py, name) {
            traceback::log(py, &error);
        }
    }
    let act = |point| hooks::perform(py, host, &[point], &tell).map_err(FromZygote::HookFailed);
    let (loaded, failure) = if host.spec.workers.lazy_apps {
        (Loaded::Later, None)
    } else {
        act(Point::PreApp)?;
        let loaded = match Apps::load(py, &host.spec.app) {
            (_, Some(failure)) if host.spec.app.need_app => return Err(FromZygote::LoadFailed(failure)),
            (apps, failure) => (Loaded::Now(apps), failure),
        };
        act(Point::PostApp)?;
        loaded
    };
    if let Err(error) = autoreload::remember(py, host) {
        traceback::log(py, &error);
    }
    let threads = prepare::has_python_threads(py);
    if !threads && background::task_count().is_ok_and(|threads| threads > 1) {
        tracing::warn!(
            "the application started native threads while it was loaded; workers are forked without them"
        );
    }
    prepare::settle(py);
    let startup_ms = serve::milliseconds(clock::now().since(started));
    let answer = FromZygote::Loaded { startup_ms, app: failure.is_none(), threads, failure };
    Ok((Ready { host, loaded, startup_ms }, answer))
}

/// What every part of the extension knows, from the order and its descriptors.
fn host(
    generation: u64,
    spec: InstanceSpec,
    listeners: Vec<Listen>,
    fds: Vec<OwnedFd>,
) -> Result<&'static Host, Failure> {
    let mut fds = fds.into_iter();
    let board = fds.next().ok_or_else(|| Failure::new("the scoreboard is missing"))?;
    let board = Scoreboard::open(board, true)
        .map_err(|error| Failure::new(format!("cannot open the scoreboard: {error}")))?;
    let stdin = if spec.honour_stdin { fds.next() } else { None };
    if let Some(stdin) = stdin {
        fd::replace(stdin, 0)
            .map_err(|error| Failure::new(format!("cannot keep the standard input: {error}")))?;
    }
    let wanted = listeners.len();
    let listeners: Vec<(Listen, OwnedFd)> = listeners.into_iter().zip(fds.by_ref()).collect();
    if listeners.len() != wanted {
        return Err(Failure::new(format!("{} of {wanted} listeners came", listeners.len())));
    }
    let mut mules = Vec::new();
    for _ in 0..spec.companions.queues() {
        let ends = fds.next().zip(fds.next());
        let (sender, receiver) = ends.ok_or_else(|| Failure::new("a queue of the mules is missing"))?;
        mules.push(Mailbox::of_ends(sender, receiver));
    }
    let mut caches = Vec::new();
    for cache in &spec.caches {
        let memory =
            fds.next().ok_or_else(|| Failure::new(format!("the cache {} is missing", cache.name)))?;
        let opened = Cache::open(cache.clone(), memory);
        let failed = |error| Failure::new(format!("cannot open the cache {}: {error}", cache.name));
        caches.push(opened.map_err(failed)?);
    }
    trace::date_lines(spec.log.date.as_deref());
    if spec.log.routing.has_requests()
        && let Some(way) = fds.next()
    {
        log::send_requests_to(way);
    }
    let locks = match fds.next() {
        Some(file) => fd::duplicate_high(file).map(Locks::of),
        None => Locks::create(),
    };
    let locks = locks.map_err(|error| Failure::new(format!("no locks: {error}")))?;
    let count = usize::try_from(spec.app.locks).unwrap_or_default().saturating_add(1);
    let host = Host {
        spec,
        board,
        locks: Shared::new(locks, count),
        listeners,
        generation,
        master: std::os::unix::process::parent_id(),
        worker: std::sync::OnceLock::new(),
        caches,
        mules,
        mule: std::sync::OnceLock::new(),
    };
    Ok(host.install())
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
