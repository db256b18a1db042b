//! Who calls the application: the I/O thread itself between its rounds, threads of their own, or greenlets.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;
use tokio::runtime::Runtime;

use super::apps::Apps;
use super::call::Caller;
use super::deputy::Deputy;
use super::environ::EnvironMaker;
use super::greenlets;
use super::job::{Job, Reply};
use super::listen::Door;
use super::routes::Routes;
use super::server::Server;
use super::static_file::StaticFiles;
use super::waiter::Waiter;
use crate::config::address::Protocol;

/// How long requests are answered one after the other before the loop looks at its sockets.
const ROUND_US: u64 = 1000;

/// Makes what calls the application, for each thread.
#[derive(Debug)]
pub(super) struct Callers {
    pub(super) server: Arc<Server>,
    apps: Apps,
    files: Option<Arc<StaticFiles>>,
    routes: Option<Arc<Routes>>,
    server_name: String,
}

impl Callers {
    /// For the thread, or the core, with this number.
    ///
    /// # Errors
    /// The constant part of the environ could not be made.
    pub(super) fn caller(&self, py: Python<'_>, core: usize, waiter: Waiter) -> PyResult<Caller> {
        Ok(Caller {
            server: Arc::clone(&self.server),
            apps: self.apps.clone_ref(py),
            environs: EnvironMaker::new(py, self.server.host, core, self.server_name.clone())?,
            waiter,
            files: self.files.clone(),
            routes: self.routes.clone(),
            core,
        })
    }
}

/// Serves until the worker has drained.
///
/// # Errors
/// A thread could not be started, the constant part of the environ not be made, or gevent not be used.
pub(super) fn run(
    py: Python<'_>,
    server: &Arc<Server>,
    runtime: Arc<Runtime>,
    apps: Apps,
    server_name: &str,
    doors: Vec<(Protocol, Door)>,
) -> PyResult<()> {
    let files = StaticFiles::new(&server.host.spec).map(Arc::new);
    let routes = Routes::new(server.host, server_name).map(Arc::new);
    let server_name = server_name.to_owned();
    let callers = Callers { server: Arc::clone(server), apps, files, routes, server_name };
    let mut own = Vec::new();
    for (protocol, door) in doors {
        if protocol.has_variables() && server.is_inline {
            own.push(door);
        } else {
            server.handle.spawn(door);
        }
    }
    if server.host.spec.workers.gevent.greenlets > 0 {
        return greenlets::run(py, runtime, callers);
    }
    if server.is_inline {
        let waiter = Waiter::inside(runtime, Arc::clone(&server.connections));
        let deputy = Deputy::new(Arc::clone(&server.room_for_bodies), &waiter);
        run_inline(py, &callers.caller(py, 0, waiter)?, deputy, own);
        return Ok(());
    }
    let mut threads = Vec::new();
    for core in 0..server.threads() {
        threads.push(spawn(callers.caller(py, core, Waiter::Sleep)?)?);
    }
    py.detach(|| {
        runtime.block_on(server.emptied());
        for thread in threads {
            // A panic was reported by its hook; the other threads have finished their requests.
            let _ = thread.join();
        }
    });
    Ok(())
}

/// One thread for everything: requests that hyper completed wait in the queue, the loop is left to call the
/// application, and entered again whenever the application reads or writes.
fn run_inline(py: Python<'_>, caller: &Caller, mut deputy: Deputy, mut doors: Vec<Door>) {
    let (server, waiter, core) = (&caller.server, &caller.waiter, caller.core);
    let mut job = py.detach(|| waiter.wait(next(server, core, &mut doors)));
    let mut round_us = 0;
    while let Some(request) = job {
        deputy.call();
        let is_routed = matches!(request.reply, Reply::Routed(_));
        let now_us = caller.answer(py, request);
        // A loop that always finds a request would never look at its sockets.
        let ends_round = now_us.saturating_sub(round_us) >= ROUND_US;
        if ends_round {
            round_us = now_us;
        }
        if is_routed {
            server.done();
            // The answer is where it belongs: nothing else need be done first.
            job = if ends_round { None } else { next_at_once(py, caller) };
            if job.is_some() {
                continue;
            }
        }
        job = py.detach(|| {
            waiter.wait(async {
                if !is_routed {
                    server.done();
                }
                if ends_round {
                    tokio::task::yield_now().await;
                }
                next(server, core, &mut doors).await
            })
        });
    }
    py.detach(|| {
        drop(deputy);
        server.connections.clear();
    });
}

/// The next request, if it is one of the router's clients and waits: taking it costs no turn of the loop.
fn next_at_once(py: Python<'_>, caller: &Caller) -> Option<Job> {
    let (server, waiter) = (&caller.server, &caller.waiter);
    let mut next = pin!(server.next_at_once(caller.core)?);
    // Only what is too long for its place in the queue is not there at once.
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(job) => job,
        Poll::Pending => py.detach(|| waiter.wait(next)),
    }
}

/// The next request; `None` when all are done and none follows. Behind these doors a request comes with each connection,
/// so that whoever calls the application looks there itself: a task of the loop would cost a look at all sockets on its
/// way out.
async fn next(server: &Server, core: usize, doors: &mut Vec<Door>) -> Option<Job> {
    let mut queued = pin!(server.next(core));
    poll_fn(|cx| {
        if server.owes_turn() {
            doors.retain_mut(|door| door.as_mut().poll(cx).is_pending());
        }
        let found = queued.as_mut().poll(cx);
        if found.is_ready() || doors.is_empty() {
            return found;
        }
        doors.retain_mut(|door| door.as_mut().poll(cx).is_pending());
        queued.as_mut().poll(cx)
    })
    .await
}

fn spawn(caller: Caller) -> io::Result<JoinHandle<()>> {
    let number = caller.server.host.worker_number();
    let name = format!("uWSGIWorker{number}Core{}", caller.core);
    thread::Builder::new().name(name).spawn(move || {
        // Attached for the thread's whole life, so that the application's thread-locals live as long.
        Python::attach(|py| {
            let (server, waiter, core) = (&caller.server, &caller.waiter, caller.core);
            while let Some(job) = py.detach(|| waiter.wait(server.next(core))) {
                caller.answer(py, job);
                server.done();
            }
            drop(caller);
        });
    })
}
