//! Accepting connections, only while a thread is free.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;

use super::server::{Held, Server};
use super::{http, packet};
use crate::config::address::{Listen, Protocol};
use crate::sys::{clock, reactor, socket, stream};
use crate::tick::Tick;

/// How long nothing is accepted when the process or the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// How often that is told.
const TOLD_APART: Duration = Duration::from_secs(10);

/// A listener that is accepted on as long as this is polled; it ends when the worker finishes.
pub(super) type Door = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A door for a listener.
///
/// # Errors
/// Registering it with the loop.
pub(super) fn open(server: &Arc<Server>, listen: &Listen, listener: &OwnedFd) -> io::Result<Door> {
    stream::set_no_delay(listener);
    let listener = reactor::register_readable(listener.try_clone()?)?;
    Ok(Box::pin(accept(Arc::clone(server), listener, listen.clone())))
}

/// Serves a connection.
pub(super) fn admit(server: &Arc<Server>, socket: OwnedFd, protocol: Protocol, server_port: Option<u16>) {
    let held = Held::new(server);
    if protocol.has_variables() {
        packet::serve(held, socket, protocol);
    } else {
        http::serve(held, socket, server_port, 0);
    }
}

async fn accept(server: Arc<Server>, listener: AsyncFd<OwnedFd>, listen: Listen) {
    let server_port = socket::local_port(listener.get_ref().as_fd());
    let mut told: Option<Tick> = None;
    loop {
        let ready = tokio::select! {
            biased;
            () = server.closed() => return,
            ready = listener.readable() => ready,
        };
        let Ok(mut ready) = ready else { return };
        tokio::select! {
            biased;
            () = server.closed() => return,
            () = server.turn() => {}
        }
        // Who was in the application meanwhile hears of it only later.
        if server.is_closed() {
            return;
        }
        match reactor::accept(&listener, &mut ready) {
            Ok(None) => {}
            Ok(Some(socket)) => {
                admit(&server, socket, listen.protocol, server_port);
                if !listen.protocol.has_variables() {
                    // Its request, which usually is there already, counts before the next connection is taken.
                    tokio::task::yield_now().await;
                }
            }
            Err(error) if stream::is_exhausted(&error) => {
                let now = clock::now();
                if told.is_none_or(|at| now.since(at) >= TOLD_APART) {
                    told = Some(now);
                    tracing::warn!("cannot accept on {}: {error}", listen.address);
                }
                tokio::time::sleep(PAUSE).await;
            }
            // It refuses everybody, by order of the master or of another worker.
            Err(error) if stream::is_closed(&error) => return,
            // The client gave up while it waited, or the network did.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
