//! Listeners: who is let in, and what is known of him.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::task::{JoinHandle, spawn_local};

use super::client;
use super::fields::Facts;
use super::front::{Front, Held};
use super::socket::{Socket, Stream};
use crate::config::address::{Address, Listen};
use crate::gateway::peer::Connection;

/// How long nobody is accepted after descriptors or memory ran out, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The open doors.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Vec<(Listen, JoinHandle<()>)>,
}

impl Doors {
    /// Opens what is new, closes what is not named any more, and leaves the others as they are.
    ///
    /// # Errors
    /// A listener that is none; the others are open.
    pub(super) fn replace(
        &mut self,
        front: &Rc<Front>,
        listeners: Vec<Listen>,
        fds: Vec<OwnedFd>,
    ) -> io::Result<()> {
        self.open.retain(|(listen, task)| {
            let kept = listeners.contains(listen);
            if !kept {
                task.abort();
            }
            kept
        });
        let mut result = if fds.len() < listeners.len() {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a listener came without its descriptor"))
        } else {
            Ok(())
        };
        for (listen, fd) in listeners.into_iter().zip(fds) {
            if self.open.iter().any(|(open, _)| *open == listen) {
                continue;
            }
            match Listener::new(&listen.address, fd) {
                Ok(listener) => {
                    let task = spawn_local(accept(Rc::clone(front), listener, listen.address.to_string()));
                    self.open.push((listen, task));
                }
                Err(error) => result = Err(error),
            }
        }
        result
    }

    /// Lets nobody in any more.
    pub(super) fn close(&mut self) {
        for (_, task) in self.open.drain(..) {
            task.abort();
        }
    }
}

async fn accept(front: Rc<Front>, listener: Listener, name: String) {
    let mut pause = FIRST_PAUSE;
    loop {
        front.vacancy().await;
        match listener.accept().await {
            Ok((socket, facts)) => {
                pause = FIRST_PAUSE;
                let held = Held::new(&front);
                spawn_local(client::serve(held, socket, facts));
            }
            // The client left before it was its turn.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(error) => {
                if front.may_log() {
                    tracing::warn!("cannot accept on {name}: {error}");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener),
}

impl Listener {
    fn new(address: &Address, fd: OwnedFd) -> io::Result<Self> {
        match address {
            Address::Tcp { .. } => {
                let listener = std::net::TcpListener::from(fd);
                listener.set_nonblocking(true)?;
                let local = listener.local_addr()?;
                Ok(Self::Tcp(TcpListener::from_std(listener)?, local))
            }
            Address::Unix(_) | Address::Abstract(_) => {
                let listener = std::os::unix::net::UnixListener::from(fd);
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?))
            }
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Facts)> {
        match self {
            Self::Tcp(listener, local) => {
                let (stream, remote) = listener.accept().await?;
                // A response leaves in whole writes; what streams must not wait for an acknowledgement.
                stream.set_nodelay(true)?;
                let facts = Facts {
                    remote: Some(remote),
                    peer: Connection::new(Some(remote), Some(local.port())).to_field(),
                };
                Ok((Socket::new(Stream::Tcp(stream)), facts))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let facts = Facts { remote: None, peer: Connection::new(None, None).to_field() };
                Ok((Socket::new(Stream::Unix(stream)), facts))
            }
        }
    }
}
