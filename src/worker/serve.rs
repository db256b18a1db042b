//! A worker's life: from the fork to the last answered request.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use pyo3::prelude::*;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::apps::Apps;
use super::host::{Host, Worker};
use super::server::{Held, Server};
use super::zygote::Loaded;
use super::{
    autoreload, driver, greenlets, hooks, lane, listen, passage, prepare, stacks, traceback, tracebacker,
    uwsgi_module,
};
use crate::config::hook::Point;
use crate::proto::limits::Limits;
use crate::stats::scoreboard::Field;
use crate::sys::{clock, cpus, fd, orphan, reactor, socket, title};
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::message::{FromWorker, ToWorker};

/// How long an idle connection may still send a request when the worker is to hurry …
const HURRIED_SILENCE: Duration = Duration::from_secs(2);
/// … and when nobody serves after it.
const STOP_SILENCE: Duration = Duration::from_millis(500);

/// What a worker starts with.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) worker: u32,
    pub(super) slot: u32,
    /// The first worker of its number in its generation.
    pub(super) first: bool,
    pub(super) channel: OwnedFd,
    pub(super) routed: Vec<OwnedFd>,
    pub(super) loaded: Loaded,
    /// Milliseconds that loading it took.
    pub(super) startup_ms: u64,
}

/// Serves until told to finish; gives the exit status.
pub(super) fn run(py: Python<'_>, host: &'static Host, start: Start) -> u8 {
    match serve(py, host, start) {
        Ok(()) => 0,
        Err(Unready::Load(failure)) => {
            tracing::error!("worker {}: {failure}", host.worker_number());
            host.tell(&FromWorker::LoadFailed(failure));
            1
        }
        Err(Unready::Hook(failure)) => {
            host.tell(&FromWorker::HookFailed(failure));
            1
        }
    }
}

/// Why a worker cannot serve.
enum Unready {
    Load(Failure),
    Hook(Failure),
}

impl<E: Into<Failure>> From<E> for Unready {
    fn from(error: E) -> Self {
        Self::Load(error.into())
    }
}

fn serve(py: Python<'_>, host: &'static Host, start: Start) -> Result<(), Unready> {
    let Start { worker: number, slot, first, channel, routed, loaded, mut startup_ms } = start;
    let near = channel;
    let channel = fd::duplicate_high(&near)?;
    drop(near);
    let slot = usize::try_from(slot).unwrap_or(usize::MAX);
    let for_threads = channel.try_clone()?;
    let _ = host.worker.set(Worker { number, slot, channel: for_threads });
    let slot = host.slot().ok_or_else(|| Failure::new(format!("the scoreboard has no slot {slot}")))?;
    title::set(&host.title(&format!("worker {number}")));
    keep_to_cpus(host, number);
    let act = |points: &[Point]| {
        let tell = |doing| host.tell(&FromWorker::Doing(doing));
        hooks::perform(py, host, points, &tell).map_err(Unready::Hook)
    };
    act(&[Point::PostFork])?;
    let apps = match loaded {
        Loaded::Now(apps) => apps,
        Loaded::Later => {
            let started = clock::now();
            act(&[Point::PreApp])?;
            let apps = load(py, host)?;
            act(&[Point::PostApp])?;
            if let Err(error) = autoreload::remember(py, host) {
                traceback::log(py, &error);
            }
            startup_ms = milliseconds(clock::now().since(started));
            apps
        }
    };
    slot.set(Field::StartupMs, startup_ms);
    if let Some(directory) = &host.spec.app.chdir2 {
        let failed = |error| format!("cannot chdir to {} (chdir2): {error}", directory.display());
        env::set_current_dir(directory).map_err(|error| Failure::new(failed(error)))?;
    }
    let has_app = !apps.is_empty();
    // A request that never ends would have nobody who ends it.
    if let Err(error) = orphan::die_after_parent(host.master, host.spec.workers.reload_mercy_s) {
        tracing::warn!("this worker may outlive its master: {error}");
    }
    greenlets::after_fork(py);
    uwsgi_module::after_fork(py);
    stacks::answer_signal(py);
    act(&about_to_accept(number, first))?;
    let runtime = Arc::new(Builder::new_current_thread().enable_all().build()?);
    let mut doors = Vec::new();
    let server = {
        let _inside = runtime.enter();
        let exchange = &host.spec.exchange;
        let mut limits = Limits::with_buffer_size(host.spec.workers.buffer_size_bytes)
            .with_chunks(exchange.chunk_bytes, exchange.chunk_timeout_s);
        if exchange.send_timeout_s > 0 {
            limits.write_stall = Duration::from_secs(exchange.send_timeout_s.into());
        }
        let server = Arc::new(Server::new(host, limits, runtime.handle().clone()));
        let control = Control::new(Arc::clone(&server), channel)?;
        for (thread, socket) in routed.into_iter().enumerate() {
            lane::connect(Held::new(&server), thread, socket)?;
        }
        for (index, (listen, listener)) in host.listeners.iter().enumerate() {
            if !host.spec.socket_map.has(index, number) {
                continue;
            }
            if !host.spec.socket_map.is_empty() {
                tracing::info!("mapped socket {index} ({}) to worker {number}", listen.address);
            }
            doors.push((listen.protocol, listen::open(&server, listen, listener)?));
        }
        server.spawn(control.run());
        Server::start_ageing(&server);
        server
    };
    if !slot.begin() {
        tracing::info!("worker {number} is not wanted any more");
        return Ok(());
    }
    let tracebacker = tracebacker::start(py, host);
    slot.set(Field::Accepting, 1);
    host.tell(&FromWorker::Ready { pid: std::process::id(), app: has_app });
    if let Err(error) = autoreload::start(py, host) {
        traceback::log(py, &error);
    }
    let server_name = uwsgi_module::host_name(py).unwrap_or_default();
    driver::run(py, &server, Arc::clone(&runtime), apps, &server_name, doors)
        .map_err(|error| Failure::new(traceback::summary(py, &error)))?;
    slot.set(Field::Accepting, 0);
    drop(tracebacker);
    finish(py, runtime);
    if !host.spec.app.skip_atexit {
        uwsgi_module::at_exit(py);
    }
    if host.spec.app.skip_atexit || host.spec.app.skip_teardown {
        prepare::leave(py, 0).map_err(|error| Failure::new(traceback::summary(py, &error)))?;
    }
    Ok(())
}

/// Has the worker, and every thread that it starts, keep to its own CPUs, as in uWSGI only if that is possible.
fn keep_to_cpus(host: &Host, number: u32) {
    let count = host.spec.workers.cpus;
    if count == 0 {
        return;
    }
    match cpus::keep_to(number, count) {
        Ok(own) => {
            let own: Vec<String> = own.iter().map(usize::to_string).collect();
            tracing::info!("mapping worker {number} to CPUs: {}", own.join(" "));
        }
        Err(error) => tracing::warn!("worker {number} cannot keep to its CPUs: {error}"),
    }
}

/// What is done before a worker accepts.
fn about_to_accept(number: u32, first: bool) -> Vec<Point> {
    let points = [
        (Point::Accepting, true),
        (Point::AcceptingOnce, first),
        (Point::Accepting1, number == 1),
        (Point::Accepting1Once, number == 1 && first),
    ];
    points.into_iter().filter_map(|(point, wanted)| wanted.then_some(point)).collect()
}

/// Whole milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Loads the application in the worker itself.
pub(super) fn load(py: Python<'_>, host: &Host) -> Result<Apps, Failure> {
    match Apps::load(py, &host.spec.app) {
        (apps, None) => Ok(apps),
        (_, Some(failure)) if host.spec.app.need_app => Err(failure),
        (apps, Some(failure)) => {
            tracing::error!("no application: {failure}; every request for it is answered with 500");
            host.tell(&FromWorker::AppFailed(failure));
            Ok(apps)
        }
    }
}

/// Ends the loop, with what still lingers on it.
fn finish(py: Python<'_>, runtime: Arc<Runtime>) {
    py.detach(|| {
        if let Ok(runtime) = Arc::try_unwrap(runtime) {
            runtime.shutdown_background();
        }
    });
}

/// What tells the worker to finish.
struct Control {
    server: Arc<Server>,
    channel: AsyncFd<OwnedFd>,
    terminate: Signal,
    interrupt: Signal,
    /// uWSGI's workers finish on it too; its default would end every request when a terminal closes.
    hangup: Signal,
}

impl Control {
    fn new(server: Arc<Server>, channel: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            server,
            channel: reactor::register_readable(channel)?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn run(mut self) {
        let mut order = tokio::select! {
            order = told(&self.server, &self.channel) => order,
            _ = self.terminate.recv() => ToWorker::Hurry,
            _ = self.interrupt.recv() => ToWorker::Hurry,
            _ = self.hangup.recv() => ToWorker::Hurry,
        };
        self.server.start_drain();
        self.server.host.tell(&FromWorker::Draining);
        while order == ToWorker::Drain {
            order = told(&self.server, &self.channel).await;
        }
        self.server.hurry(if order == ToWorker::Stop { STOP_SILENCE } else { HURRIED_SILENCE });
    }
}

/// Waits for the order to finish, or for the end of the master, after which nobody follows.
async fn told(server: &Arc<Server>, channel: &AsyncFd<OwnedFd>) -> ToWorker {
    while let Ok(mut ready) = channel.readable().await {
        match channel::receive(channel.get_ref()) {
            Ok(Some((ToWorker::Passage, ends))) => passage::open(server, ends),
            Ok(Some((ToWorker::Farewell, _))) => {
                server.start_farewell();
                server.host.tell(&FromWorker::Draining);
            }
            Ok(Some((ToWorker::Admit(protocol), connections))) => {
                for connection in connections {
                    let server_port = socket::local_port(connection.as_fd());
                    listen::admit(server, connection, protocol, server_port);
                }
            }
            Ok(Some((order, _))) => return order,
            Ok(None) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tracing::warn!("message from the master not understood: {error}"),
        }
    }
    ToWorker::Hurry
}
