//! The passage of idle kept-alive connections from a worker that finishes to those that serve on: their clients notice
//! nothing of a reload.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

use super::server::{Held, Server};
use super::{http, packet};
use crate::config::address::Protocol;
use crate::proto::fastcgi::Receiver;
use crate::stats::scoreboard::Field;
use crate::sys::{reactor, socket};
use crate::wire::channel;
use crate::wire::message::Passed;

/// How many connections more than an idle sibling a worker may have before it lets the sibling go first …
const LEAD: u64 = 2;
/// … for so long, in case it does not come.
const COURTESY: Duration = Duration::from_millis(2);

/// The end into which connections are given away. The queue behind it belongs to the kernel and is bounded by it.
#[derive(Debug)]
pub(super) struct Entrance {
    end: OwnedFd,
    /// One waits for room, the others for it.
    turn: Mutex<()>,
}

impl Entrance {
    /// Gives a connection away, as soon as there is room.
    ///
    /// # Errors
    /// The kernel takes no descriptor; it was not given away.
    pub(super) async fn give(&self, connection: &OwnedFd, passed: Passed) -> io::Result<()> {
        let give = || channel::send(&self.end, &passed, &[connection.as_fd()]);
        let _turn = self.turn.lock().await;
        match give() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        let end = reactor::register(self.end.try_clone()?)?;
        loop {
            let mut ready = end.writable().await?;
            match give() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => return other,
            }
        }
    }
}

/// Opens the passage: gives to its first end when this worker finishes, takes from its second as long as it serves.
pub(super) fn open(server: &Arc<Server>, ends: Vec<OwnedFd>) {
    let Ok([entrance, exit]) = <[OwnedFd; 2]>::try_from(ends) else { return };
    // Whoever took a connection there may not serve the socket that it came by.
    if server.host.spec.socket_map.is_empty() {
        server.set_entrance(Some(Entrance { end: entrance, turn: Mutex::default() }));
    }
    match reactor::register_readable(exit) {
        Ok(exit) => drop(server.handle.spawn(take(Arc::clone(server), exit))),
        Err(error) => tracing::warn!("connections of workers that finish are not taken over: {error}"),
    }
}

async fn take(server: Arc<Server>, exit: AsyncFd<OwnedFd>) {
    loop {
        let next = async {
            let ready = exit.readable().await;
            server.room().await;
            if is_ahead(&server) {
                tokio::time::sleep(COURTESY).await;
            }
            ready
        };
        let ready = tokio::select! {
            biased;
            () = server.closed() => return,
            ready = next => ready,
        };
        let Ok(mut ready) = ready else { return };
        if server.is_closed() {
            return;
        }
        match channel::receive::<Passed>(exit.get_ref()) {
            Ok(Some((passed, connections))) => {
                for connection in connections {
                    let held = Held::new(&server);
                    if passed.protocol == Protocol::Fastcgi {
                        packet::keep(held, connection, Receiver::default(), passed.requests);
                    } else {
                        let server_port = socket::local_port(connection.as_fd());
                        http::serve(held, connection, server_port, passed.requests);
                    }
                }
                tokio::task::yield_now().await;
            }
            Ok(None) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => tracing::warn!("cannot take over a connection: {error}"),
        }
    }
}

/// Whether a sibling that has nothing to do has markedly fewer connections.
fn is_ahead(server: &Server) -> bool {
    let own = server.host.slot().map_or(0, |slot| slot.get(Field::Connections));
    server.idle_siblings().any(|slot| slot.get(Field::Connections).saturating_add(LEAD) < own)
}
