//! The stats server: uWSGI's JSON document to whoever connects. A slow client holds up nobody.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::bind::Listener;
use crate::stats::uwsgi;
use crate::sys::reactor::{self, Visitor};

/// A client that does not read for so long is left.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many clients are served at the same time; more wait in the kernel's queue.
const CLIENTS: usize = 16;
/// How long nothing is accepted after accepting failed: no descriptor is left, most likely.
const PAUSE: Duration = Duration::from_secs(1);

/// Somebody asks for the document.
#[derive(Debug)]
pub(super) struct Ask {
    /// Where it goes.
    pub(super) to: oneshot::Sender<Vec<u8>>,
    /// Without a head of HTTP in any case.
    pub(super) plain: bool,
}

/// A running stats server; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct StatsServer {
    listener: Rc<Listener>,
    task: JoinHandle<()>,
}

impl StatsServer {
    /// Begins to answer on `listener`. Each client's question goes to `asks`.
    ///
    /// # Errors
    /// Registering the listener.
    pub(super) fn start(listener: &Rc<Listener>, asks: mpsc::Sender<Ask>) -> io::Result<Self> {
        let socket = reactor::Listener::new(listener.as_fd().try_clone_to_owned()?)?;
        let task = tokio::task::spawn_local(serve(socket, asks));
        Ok(Self { listener: Rc::clone(listener), task })
    }

    /// Whether it serves this very listener.
    pub(super) fn serves(&self, listener: &Rc<Listener>) -> bool {
        Rc::ptr_eq(&self.listener, listener)
    }
}

impl Drop for StatsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: reactor::Listener, asks: mpsc::Sender<Ask>) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&clients).acquire_owned().await else { return };
        match socket.accept().await {
            Ok(client) => {
                let asks = asks.clone();
                tokio::task::spawn_local(async move {
                    let _ = tokio::time::timeout(WRITE_TIMEOUT, answer(client, asks)).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn answer(mut client: Box<dyn Visitor>, asks: mpsc::Sender<Ask>) -> io::Result<()> {
    let (to, document) = oneshot::channel();
    if asks.send(Ask { to, plain: false }).await.is_ok()
        && let Ok(document) = document.await
    {
        uwsgi::tell(client.as_mut(), &document).await?;
    }
    Ok(())
}
