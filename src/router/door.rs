//! Listeners: who is let in, and what is known of him.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, UnixStream};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::arrival::{self, Ends, Reception};
use super::client;
use super::front::Front;
use super::held::Held;
use super::redirect::Redirect;
use super::socket::{Socket, Stream};
use crate::config::address::{Address, Listen, Protocol};
use crate::config::router::RouterSpec;
use crate::proto::tls::Material;
use crate::sys::{memfd, own, reactor, socket, stream};

/// How long nobody is accepted after descriptors or memory ran out, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long those who wait are let in when the sockets go away: in that time all of them are.
const MOMENT: Duration = Duration::from_millis(50);

/// The longest certificate, key and list of authorities, as they come from the master.
const MATERIAL_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// The open doors.
#[derive(Debug, Default)]
pub(super) struct Doors {
    open: Vec<Door>,
}

/// A door that is open. How those who come are received may change, for the next ones.
#[derive(Debug)]
struct Door {
    listen: Listen,
    reception: Rc<RefCell<Rc<Reception>>>,
    listener: OwnedFd,
    task: JoinHandle<()>,
}

impl Doors {
    /// Opens what is new, closes what is not named any more, and leaves the others open. `fds` are the listeners, and
    /// then what those need on which TLS is spoken.
    ///
    /// # Errors
    /// A listener that is none, or whose certificate cannot be used; the others are open.
    pub(super) fn replace(
        &mut self,
        front: &Rc<Front>,
        listeners: Vec<Listen>,
        fds: Vec<OwnedFd>,
        spec: &RouterSpec,
    ) -> io::Result<()> {
        self.open.retain(|door| {
            let kept = listeners.contains(&door.listen);
            if !kept {
                door.task.abort();
            }
            kept
        });
        let mut result = if fds.len() < listeners.len() {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a listener came without its descriptor"))
        } else {
            Ok(())
        };
        let mut fds = fds.into_iter();
        let sockets: Vec<OwnedFd> = fds.by_ref().take(listeners.len()).collect();
        for (listen, fd) in listeners.into_iter().zip(sockets) {
            let received = reception(&listen, spec, &mut fds);
            if let Err(error) = received.and_then(|reception| self.open(front, listen, fd, reception)) {
                result = Err(error);
            }
        }
        result
    }

    fn open(
        &mut self,
        front: &Rc<Front>,
        listen: Listen,
        fd: OwnedFd,
        reception: Reception,
    ) -> io::Result<()> {
        let reception = Rc::new(reception);
        if let Some(door) = self.open.iter().find(|door| door.listen == listen) {
            door.reception.replace(reception);
            return Ok(());
        }
        let own = fd.try_clone()?;
        let listener = Listener::new(&listen.address, fd)?;
        let reception = Rc::new(RefCell::new(reception));
        let accepting = accept(Rc::clone(front), listener, listen.address.to_string(), Rc::clone(&reception));
        self.open.push(Door { listen, reception, listener: own, task: spawn_local(accepting) });
        Ok(())
    }

    /// Lets those in who wait, for a moment; after that all are refused who come, wherever else the sockets are open.
    pub(super) fn last_call(&mut self) {
        let open = std::mem::take(&mut self.open);
        spawn_local(async move {
            sleep(MOMENT).await;
            for door in open {
                socket::refuse_all(&door.listener);
                door.task.abort();
            }
        });
    }

    /// Lets nobody in any more.
    pub(super) fn close(&mut self) {
        for door in self.open.drain(..) {
            door.task.abort();
        }
    }
}

/// How those are received who come to an address. Takes what it needs of `materials`.
fn reception(
    listen: &Listen,
    spec: &RouterSpec,
    materials: &mut impl Iterator<Item = OwnedFd>,
) -> io::Result<Reception> {
    let tls = match listen.protocol {
        Protocol::Https => {
            let missing = || io::Error::new(io::ErrorKind::InvalidData, "a certificate did not come");
            let bytes = memfd::read_all(materials.next().ok_or_else(missing)?, MATERIAL_LIMIT_BYTES)?;
            let material: Material = serde_json::from_slice(&bytes)?;
            // Workers are of the same user: they must not find the key in this process.
            own::hide_memory()?;
            Some(material.server_config().map_err(io::Error::other)?)
        }
        _ => None,
    };
    let redirect = spec
        .redirects
        .iter()
        .find(|redirect| listen.protocol == Protocol::Redirect && redirect.address == listen.address);
    Ok(Reception {
        tls,
        exports_certificate: spec.export_certificate,
        is_behind_proxy: spec.proxy_protocol,
        redirect: redirect.map(|redirect| Redirect { port: redirect.port }),
    })
}

async fn accept(front: Rc<Front>, listener: Listener, name: String, reception: Rc<RefCell<Rc<Reception>>>) {
    let mut pause = FIRST_PAUSE;
    loop {
        front.vacancy().await;
        match listener.accept().await {
            Ok((socket, ends)) => {
                pause = FIRST_PAUSE;
                let held = Held::new(&front);
                let reception = Rc::clone(&reception.borrow());
                if reception.is_plain() {
                    let stream = socket.clone();
                    spawn_local(client::serve(held, socket, stream, ends.facts(), reception.redirect));
                } else {
                    spawn_local(arrival::receive(held, socket, ends, reception));
                }
            }
            // It refuses everybody, by order of the master.
            Err(error) if stream::is_closed(&error) => return,
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
    Unix(AsyncFd<OwnedFd>),
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
            Address::Unix(_) | Address::Abstract(_) => Ok(Self::Unix(reactor::register_readable(fd)?)),
        }
    }

    async fn accept(&self) -> io::Result<(Socket, Ends)> {
        match self {
            Self::Tcp(listener, local) => {
                let (stream, remote) = listener.accept().await?;
                // A response leaves in whole writes; what streams must not wait for an acknowledgement.
                // Of one that is gone already it fails, which is no fault of the listener's.
                let _ = stream.set_nodelay(true);
                let ends = Ends { remote: Some(remote), port: Some(local.port()) };
                Ok((Socket::new(Stream::Tcp(stream)), ends))
            }
            Self::Unix(listener) => loop {
                let mut ready = listener.readable().await?;
                if let Some(socket) = reactor::accept(listener, &mut ready)? {
                    let stream = UnixStream::from_std(socket.into())?;
                    return Ok((Socket::new(Stream::Unix(stream)), Ends { remote: None, port: None }));
                }
            },
        }
    }
}
