//! Who calls the application: the I/O thread itself between its rounds, or threads of their own.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use pyo3::prelude::*;
use tokio::runtime::Runtime;

use super::call::Caller;
use super::deputy::Deputy;
use super::environ::EnvironMaker;
use super::server::Server;
use super::waiter::Waiter;

/// Serves until the worker has drained.
///
/// # Errors
/// A thread could not be started, or the constant part of the environ not be made.
pub(super) fn run(
    py: Python<'_>,
    server: &Arc<Server>,
    runtime: Arc<Runtime>,
    app: Option<Py<PyAny>>,
    server_name: &str,
) -> PyResult<()> {
    let caller = |core: usize, app: Option<Py<PyAny>>, waiter: Waiter| {
        let environs = EnvironMaker::new(py, server.host, core, server_name.to_owned())?;
        Ok::<_, PyErr>(Caller { server: Arc::clone(server), app, environs, waiter, core })
    };
    if server.threads() == 1 {
        let deputy = Deputy::new(Arc::clone(&server.room_for_bodies), Arc::clone(&runtime));
        run_inline(py, &caller(0, app, Waiter::inside(runtime))?, deputy);
        return Ok(());
    }
    let mut threads = Vec::new();
    for core in 0..server.threads() {
        let app = app.as_ref().map(|app| app.clone_ref(py));
        threads.push(spawn(caller(core, app, Waiter::Sleep)?)?);
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
fn run_inline(py: Python<'_>, caller: &Caller, mut deputy: Deputy) {
    let server = &caller.server;
    let mut next = py.detach(|| caller.waiter.wait(server.next(caller.core)));
    while let Some(job) = next {
        deputy.call();
        caller.answer(py, job);
        next = py.detach(|| {
            caller.waiter.wait(async {
                server.done();
                server.next(caller.core).await
            })
        });
    }
    py.detach(|| drop(deputy));
}

fn spawn(caller: Caller) -> io::Result<JoinHandle<()>> {
    let number = caller.server.host.worker_number();
    let name = format!("uWSGIWorker{number}Core{}", caller.core);
    thread::Builder::new().name(name).spawn(move || {
        // Attached for the thread's whole life, so that the application's thread-locals live as long.
        Python::attach(|py| {
            while let Some(job) = py.detach(|| caller.waiter.wait(caller.server.next(caller.core))) {
                caller.answer(py, job);
                caller.server.done();
            }
            drop(caller);
        });
    })
}
