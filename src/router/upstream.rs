//! The servers of `http-to`: whose turn it is, and how they are reached.

use std::cell::Cell;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net;
use std::time::Duration;

use http::request::Parts;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::job::Trouble;
use super::socket::{Socket, Stream};
use crate::config::address::Address;
use crate::config::router::RouterSpec;
use crate::gateway::environ;
use crate::gateway::variable::Variable;
use crate::proto::uwsgi::Block;
use crate::sys::host;

/// How long a server that cannot be reached has no turn while there are others, as in uWSGI.
const GRACE: Duration = Duration::from_secs(30);
/// How soon a unix socket is tried again at which too many wait: the kernel does not wait there by itself.
const PAUSE: Duration = Duration::from_millis(10);

/// The servers.
#[derive(Debug)]
pub(super) struct Upstreams {
    servers: Vec<Server>,
    next: Cell<usize>,
    /// What requests say besides, and how long connecting may take.
    spec: RouterSpec,
    server_name: String,
}

#[derive(Debug)]
struct Server {
    address: Address,
    /// It could not be reached, and has no turn before.
    dead_until: Cell<Option<Instant>>,
}

impl Upstreams {
    /// Those of this configuration; `None`: there are none. What is known of them by those of an `earlier` one stays.
    pub(super) fn new(spec: &RouterSpec, earlier: Option<&Self>) -> Option<Self> {
        let known = |address: &Address| {
            let servers = earlier.map(|earlier| &earlier.servers).into_iter().flatten();
            servers.filter(|server| server.address == *address).find_map(|server| server.dead_until.get())
        };
        let server =
            |address: &Address| Server { address: address.clone(), dead_until: Cell::new(known(address)) };
        let servers: Vec<Server> = spec.to.iter().map(server).collect();
        (!servers.is_empty()).then(|| Self {
            servers,
            next: Cell::new(0),
            spec: spec.clone(),
            server_name: host::name(),
        })
    }

    /// A request in the form of the protocol; `None`: it does not fit.
    pub(super) fn packet(&self, head: &Parts) -> Option<Vec<u8>> {
        let mut block = Block::of_packet();
        block.add(b"UWSGI_ROUTER", b"http").ok()?;
        let set = |name: Variable<'_>, value: &[u8]| block.add(name.name().as_bytes(), value);
        environ::of_routed(head, &self.server_name, &self.spec, set).ok()?;
        Some(block.into_packet())
    }

    /// Connects to the one whose turn it is, or else to the next one that can be reached.
    pub(super) async fn connect(&self) -> Result<Socket, Trouble> {
        let seconds = match self.spec.connect_timeout_s {
            0 => self.spec.timeout_s.max(1),
            seconds => seconds,
        };
        let limit = Duration::from_secs(seconds.into());
        let mut trouble = Trouble::Unreachable;
        for server in self.turns(Instant::now()) {
            let error = match timeout(limit, server.connect()).await {
                Ok(Ok(socket)) => {
                    if server.dead_until.take().is_some() {
                        tracing::info!("http-to: {} is reached again", server.address);
                    }
                    return Ok(socket);
                }
                Ok(Err(error)) => {
                    trouble = Trouble::Unreachable;
                    error
                }
                Err(_) => {
                    trouble = Trouble::Late;
                    io::ErrorKind::TimedOut.into()
                }
            };
            if server.dead_until.replace(Some(Instant::now() + GRACE)).is_none() {
                tracing::warn!("http-to: cannot connect to {}: {error}", server.address);
            }
        }
        Err(trouble)
    }

    /// All of them in turn, those last that could not be reached.
    fn turns(&self, now: Instant) -> Vec<&Server> {
        let start = self.next.get();
        self.next.set(start.wrapping_add(1).checked_rem(self.servers.len()).unwrap_or(0));
        let in_turn = self.servers.iter().cycle().skip(start).take(self.servers.len());
        let (mut turns, dead): (Vec<&Server>, Vec<&Server>) =
            in_turn.partition(|server| server.dead_until.get().is_none_or(|until| until <= now));
        turns.extend(dead);
        turns
    }
}

impl Server {
    async fn connect(&self) -> io::Result<Socket> {
        let stream = match &self.address {
            Address::Tcp { host, port } => {
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                let stream = TcpStream::connect((host, *port)).await?;
                // It is told everything at once.
                let _ = stream.set_nodelay(true);
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(patiently(|| UnixStream::connect(path)).await?),
            Address::Abstract(name) => {
                let address = net::SocketAddr::from_abstract_name(name)?;
                let connect = || async { net::UnixStream::connect_addr(&address).and_then(register) };
                Stream::Unix(patiently(connect).await?)
            }
        };
        Ok(Socket::new(stream))
    }
}

fn register(stream: net::UnixStream) -> io::Result<UnixStream> {
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Connects to a unix socket once there is room in its queue.
async fn patiently<F: Future<Output = io::Result<UnixStream>>>(
    connect: impl Fn() -> F,
) -> io::Result<UnixStream> {
    loop {
        match connect().await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE).await,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_and_the_unreachable_ones_come_last() {
        let to = ["a", "b", "c"].iter().map(|n| Address::Abstract((*n).to_owned())).collect();
        let mut spec = RouterSpec { to, ..RouterSpec::default() };
        let upstreams = Upstreams::new(&spec, None).unwrap();
        let now = Instant::now();
        let turns = |now| {
            upstreams.turns(now).iter().map(|server| server.address.to_string()).collect::<Vec<_>>().join("")
        };
        assert_eq!((turns(now), turns(now)), ("@a@b@c".to_owned(), "@b@c@a".to_owned()));
        upstreams.servers[2].dead_until.set(Some(now + GRACE));
        assert_eq!((turns(now), turns(now)), ("@a@b@c".to_owned(), "@a@b@c".to_owned()));
        assert_eq!((turns(now), turns(now + GRACE)), ("@b@a@c".to_owned(), "@c@a@b".to_owned()));
        spec.to.remove(0);
        let later = Upstreams::new(&spec, Some(&upstreams)).unwrap();
        let known: Vec<bool> = later.servers.iter().map(|server| server.dead_until.get().is_some()).collect();
        assert_eq!(known, [false, true]);
        assert!(Upstreams::new(&RouterSpec::default(), None).is_none());
    }
}
