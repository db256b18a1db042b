//! What comes before the first request on some connections: the word of a proxy for its client, and the handshake of TLS.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::client;
use super::fields::Facts;
use super::front::{Front, Phase};
use super::held::Held;
use super::redirect::Redirect;
use super::socket::Socket;
use crate::gateway::peer::{Connection, certificate_fields};
use crate::proto::proxy::{self, Beginning};
use crate::proto::tls;

/// How many connections are before their first request at once. One more, and the oldest of them is given up: who only
/// begins keeps nobody out.
const LIMIT: usize = 2048;

/// How those who come by a door are received.
#[derive(Clone, Debug, Default)]
pub(super) struct Reception {
    /// TLS is spoken.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Workers get the certificates of clients.
    pub(super) exports_certificate: bool,
    /// A proxy may say who its client is.
    pub(super) is_behind_proxy: bool,
    /// They are sent to another address.
    pub(super) redirect: Option<Redirect>,
}

/// Who comes by a door: the ends of a connection, as far as they are internet addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) remote: Option<SocketAddr>,
    pub(super) port: Option<u16>,
}

impl Reception {
    /// Whether requests are the first that comes.
    pub(super) const fn is_plain(&self) -> bool {
        self.tls.is_none() && !self.is_behind_proxy
    }
}

impl Ends {
    /// What is known of a connection without TLS.
    pub(super) fn facts(self) -> Facts {
        Facts { remote: self.remote, peer: self.connection().to_field(), certificate: Vec::new() }
    }

    fn connection(self) -> Connection {
        Connection::new(self.remote, self.port)
    }
}

/// The connections that are before their first request, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    running: RefCell<BTreeMap<u64, Rc<Notify>>>,
    count: Cell<u64>,
}

/// One of them.
struct Arrival<'a> {
    all: &'a Arrivals,
    number: u64,
    given_up: Rc<Notify>,
}

impl Arrivals {
    fn begin(&self) -> Arrival<'_> {
        let number = self.count.get();
        self.count.set(number.wrapping_add(1));
        let given_up = Rc::new(Notify::new());
        let mut running = self.running.borrow_mut();
        while running.len() >= LIMIT {
            if let Some((_, oldest)) = running.pop_first() {
                oldest.notify_one();
            }
        }
        running.insert(number, Rc::clone(&given_up));
        Arrival { all: self, number, given_up }
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.all.running.borrow_mut().remove(&self.number);
    }
}

/// Why a connection ends before its first request.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("{0}")]
    Proxy(#[from] proxy::Malformed),
    #[error("TLS: {0}")]
    Tls(io::Error),
    #[error("it sends nothing more")]
    Late,
    /// It left, or so many others came, or the router ends.
    #[error("it is gone")]
    Gone,
}

/// Receives a connection, and serves it to its end.
pub(super) async fn receive(held: Held, socket: Socket, mut ends: Ends, reception: Rc<Reception>) {
    let front = Rc::clone(held.front());
    let name = ends.connection();
    let arrival = front.arrivals.begin();
    let received = tokio::select! {
        received = timeout(front.limits.get().head_time, Box::pin(welcome(&socket, &mut ends, &reception))) => {
            received.unwrap_or(Err(Failed::Late))
        }
        () = arrival.given_up.notified() => Err(Failed::Gone),
        () = front.after(Phase::Draining) => Err(Failed::Gone),
    };
    drop(arrival);
    match received {
        Ok(None) => {
            let stream = socket.clone();
            client::serve(held, socket, stream, ends.facts(), reception.redirect).await;
        }
        Ok(Some(stream)) => {
            let facts = facts_of(&stream, ends, reception.exports_certificate);
            Box::pin(client::serve(held, socket, *stream, facts, reception.redirect)).await;
        }
        Err(Failed::Gone) => {}
        Err(failed) => tell(&front, &name, &failed),
    }
}

fn tell(front: &Front, name: &Connection, failed: &Failed) {
    if front.may_log() {
        tracing::info!("no request of {name}: {failed}");
    }
}

/// Hears what the proxy says, and shakes hands.
async fn welcome(
    socket: &Socket,
    ends: &mut Ends,
    reception: &Reception,
) -> Result<Option<Box<TlsStream<Socket>>>, Failed> {
    if reception.is_behind_proxy
        && let Some(client) = hear_proxy(socket.clone()).await?
    {
        ends.remote = Some(client);
    }
    let Some(config) = &reception.tls else { return Ok(None) };
    match TlsAcceptor::from(Arc::clone(config)).accept(socket.clone()).await {
        Ok(stream) => Ok(Some(Box::new(stream))),
        Err(error) if is_end(&error) => Err(Failed::Gone),
        Err(error) => Err(Failed::Tls(error)),
    }
}

/// Whom the proxy speaks for; `None`: for itself, or there is no proxy.
async fn hear_proxy(mut socket: Socket) -> Result<Option<SocketAddr>, Failed> {
    let mut bytes = Vec::new();
    loop {
        let length = socket.read_buf(&mut bytes).await;
        match proxy::read(&bytes)? {
            Beginning::Header { length, client } => {
                socket.unread(bytes.get(length..).unwrap_or_default());
                return Ok(client);
            }
            Beginning::Absent => {
                socket.unread(&bytes);
                return Ok(None);
            }
            Beginning::Incomplete => match length {
                Ok(0) | Err(_) => return Err(Failed::Gone),
                Ok(_) => {}
            },
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

fn facts_of(stream: &TlsStream<Socket>, ends: Ends, exports_certificate: bool) -> Facts {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first()).map(AsRef::as_ref);
    let subject = certificate.and_then(tls::subject);
    Facts {
        remote: ends.remote,
        peer: ends.connection().over_tls().to_field(),
        certificate: certificate_fields(subject.as_deref(), certificate.filter(|_| exports_certificate)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_begins_keeps_nobody_out() {
        let arrivals = Arrivals::default();
        let mut all: Vec<Arrival<'_>> = (0..LIMIT).map(|_| arrivals.begin()).collect();
        let last = all.pop().map(|arrival| arrival.number);
        assert_eq!((last, arrivals.running.borrow().len()), (Some(LIMIT as u64 - 1), LIMIT - 1));
        let more: Vec<Arrival<'_>> = (0..2).map(|_| arrivals.begin()).collect();
        assert_eq!(arrivals.running.borrow().first_key_value().map(|(number, _)| *number), Some(1));
        drop((all, more));
        assert!(arrivals.running.borrow().is_empty());
    }
}
