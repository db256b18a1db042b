//! `emperor-stats`: uWSGI's JSON document to whoever connects. A client that does not read holds up nobody.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use super::handle::Handle;
use super::stats_document;
use crate::config::address::Address;
use crate::sys::socket::{self, UnixOptions};
use crate::sys::{clock, reactor, user};

/// A client that does not read for so long is left.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
/// How many clients are served at the same time; more wait in the kernel's queue.
const CLIENTS: usize = 16;
const BACKLOG: u32 = 100;
/// How long nothing is accepted after accepting failed: no descriptor is left, most likely.
const PAUSE: Duration = Duration::from_secs(1);
/// Who may read a unix socket's statistics: its user and group.
const MODE: u32 = 0o660;

/// Listens.
///
/// # Errors
/// The address cannot be listened on.
pub fn bind(address: &Address) -> io::Result<OwnedFd> {
    match address {
        Address::Tcp { host, port } => socket::listen_tcp(socket::resolve(host, *port)?, BACKLOG),
        Address::Abstract(name) => socket::listen_abstract(name, BACKLOG),
        Address::Unix(path) => {
            let options =
                UnixOptions { mode: MODE, runs_as: Some(user::current_uid()), ..UnixOptions::default() };
            socket::listen_unix(path, options, BACKLOG)
        }
    }
}

/// Answers whoever connects.
///
/// # Errors
/// Registering the listener.
pub fn serve(listener: OwnedFd, handle: Handle) -> io::Result<()> {
    drop(spawn_local(answer_all(reactor::Listener::new(listener)?, handle)));
    Ok(())
}

async fn answer_all(listener: reactor::Listener, handle: Handle) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&clients).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(mut client) => {
                let document = document(&handle);
                spawn_local(async move {
                    let write = async {
                        if client.write_all(&document).await.is_ok() {
                            let _ = client.shutdown().await;
                        }
                    };
                    let _ = tokio::time::timeout(WRITE_TIMEOUT, write).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn document(handle: &Handle) -> Vec<u8> {
    let offset = clock::epoch_ms().saturating_sub(clock::now().as_ms());
    stats_document::document(&handle.fleet(), offset)
}
