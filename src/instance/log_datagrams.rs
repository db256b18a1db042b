//! Lines as datagrams to a socket of this host or another: sent at once where that is possible, kept for a while where
//! it is not, within a limit.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::spawn_local;

use crate::config::logger::Peer;
use crate::sys::{clock, reactor};
use crate::tick::Tick;

/// What waits for the receiver, in messages and bytes.
const WAITING: usize = 1024;
const WAITING_BYTES: usize = 256 * 1024;
/// After a failure nothing is tried again before.
const PAUSE: Duration = Duration::from_secs(1);

/// Datagrams to one receiver.
#[derive(Debug)]
pub(super) struct Datagrams {
    peer: Peer,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    socket: Option<Socket>,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    /// A task sends what waits.
    is_sending: bool,
    not_before: Tick,
    /// Messages that waited in vain.
    lost: u64,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Socket {
    fn to_unix(path: &std::path::Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Self::Unix(socket))
    }

    fn to_address(address: SocketAddr) -> io::Result<Self> {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        socket.connect(address)?;
        Ok(Self::Udp(socket))
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.send(message).map(drop),
            // What a packet before has met is told by the next one, which is not sent then.
            Self::Udp(socket) => match socket.send(message) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send(message),
                sent => sent,
            }
            .map(drop),
        }
    }

    fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(socket) => socket.try_clone().map(OwnedFd::from),
            Self::Udp(socket) => socket.try_clone().map(OwnedFd::from),
        }
    }
}

impl Datagrams {
    pub(super) fn new(peer: Peer) -> Rc<Self> {
        Rc::new(Self { peer, state: RefCell::default() })
    }

    /// Sends a message, or keeps it for a while.
    ///
    /// # Errors
    /// It is lost: nobody receives it, or too much waits.
    pub(super) fn send(self: &Rc<Self>, message: Vec<u8>) -> io::Result<()> {
        let mut state = self.state.borrow_mut();
        if state.socket.is_none() && !state.is_sending {
            if clock::now() < state.not_before {
                return Err(io::ErrorKind::NotConnected.into());
            }
            match self.at_once() {
                Some(opened) => state.open(opened)?,
                None => return state.wait(message).map(|()| self.start(&mut state)),
            }
        }
        let Some(socket) = state.socket.as_ref().filter(|_| state.waiting.is_empty()) else {
            return state.wait(message);
        };
        match socket.send(&message) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                state.wait(message)?;
                self.start(&mut state);
                Ok(())
            }
            // The receiver may have been started anew.
            Err(error) => {
                state.socket = None;
                state.open(self.at_once().unwrap_or(Err(error)))?;
                let sent = state.socket.as_ref().map_or(Ok(()), |socket| socket.send(&message));
                sent.inspect_err(|_| {
                    state.socket = None;
                    state.not_before = clock::now() + PAUSE;
                })
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sends what waits, as far as that is possible now; the rest is lost. How many messages were, since the last time.
    pub(super) fn finish(&self) -> u64 {
        let mut state = self.state.borrow_mut();
        if let Err(error) = state.flush() {
            state.give_up(&error);
        }
        std::mem::take(&mut state.lost)
    }

    /// How many messages waited in vain since the last time.
    pub(super) fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.state.borrow_mut().lost)
    }

    /// A socket, if its name need not be looked up.
    fn at_once(&self) -> Option<io::Result<Socket>> {
        match &self.peer {
            Peer::Unix(path) => Some(Socket::to_unix(path)),
            Peer::Host(host, port) => {
                let address = host.parse::<IpAddr>().ok()?;
                Some(Socket::to_address((address, *port).into()))
            }
        }
    }

    fn start(self: &Rc<Self>, state: &mut State) {
        if !std::mem::replace(&mut state.is_sending, true) {
            let sender = Rc::clone(self);
            spawn_local(async move {
                let sent = sender.send_waiting().await;
                let mut state = sender.state.borrow_mut();
                state.is_sending = false;
                if let Err(error) = sent {
                    state.give_up(&error);
                }
            });
        }
    }

    async fn send_waiting(&self) -> io::Result<()> {
        if self.state.borrow().socket.is_none()
            && let Peer::Host(host, port) = &self.peer
        {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
            let address = found.first().ok_or(io::ErrorKind::NotFound)?;
            self.state.borrow_mut().socket = Some(Socket::to_address(*address)?);
        }
        loop {
            let duplicate = self.state.borrow().socket.as_ref().map(Socket::duplicate).transpose()?;
            let Some(duplicate) = duplicate else { return Err(io::ErrorKind::NotConnected.into()) };
            let room = reactor::register(duplicate)?;
            match self.state.borrow_mut().flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            room.writable().await?.clear_ready();
        }
    }
}

impl State {
    fn open(&mut self, opened: io::Result<Socket>) -> io::Result<()> {
        self.socket = opened.inspect_err(|_| self.not_before = clock::now() + PAUSE).map(Some)?;
        Ok(())
    }

    fn wait(&mut self, message: Vec<u8>) -> io::Result<()> {
        if self.waiting.len() >= WAITING || self.waiting_bytes + message.len() > WAITING_BYTES {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.waiting_bytes += message.len();
        self.waiting.push_back(message);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while let Some(message) = self.waiting.front() {
            let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
            socket.send(message)?;
            self.waiting_bytes -= message.len();
            self.waiting.pop_front();
        }
        Ok(())
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::debug!("{} log messages are lost: {error}", self.waiting.len());
        self.lost += u64::try_from(self.waiting.len()).unwrap_or(0);
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.socket = None;
        self.not_before = clock::now() + PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_loop(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test);
    }

    fn received(socket: &UnixDatagram, count: usize) -> Vec<Vec<u8>> {
        let mut buffer = [0; 64];
        (0..count)
            .map(|_| {
                let length = socket.recv(&mut buffer).unwrap();
                buffer[..length].to_vec()
            })
            .collect()
    }

    #[test]
    fn what_finds_no_room_waits_and_keeps_its_order() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        let receiver = UnixDatagram::bind(&path).unwrap();
        on_a_loop(async {
            let datagrams = Datagrams::new(Peer::Unix(path));
            let mut sent = 0;
            while datagrams.state.borrow().waiting.len() < 3 {
                datagrams.send(format!("{sent}").into_bytes()).unwrap();
                sent += 1;
            }
            let mut all = received(&receiver, sent - 3);
            while !datagrams.state.borrow().waiting.is_empty() {
                tokio::task::yield_now().await;
            }
            all.extend(received(&receiver, 3));
            let expected: Vec<Vec<u8>> = (0..sent).map(|n| n.to_string().into_bytes()).collect();
            assert_eq!(all, expected);
            assert_eq!(datagrams.finish(), 0);
        });
    }

    #[test]
    fn what_nobody_takes_is_lost_within_the_limit() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("log");
        on_a_loop(async {
            let datagrams = Datagrams::new(Peer::Unix(path.clone()));
            assert_eq!(datagrams.send(b"a".to_vec()).unwrap_err().kind(), io::ErrorKind::NotFound);
            assert_eq!(datagrams.send(b"a".to_vec()).unwrap_err().kind(), io::ErrorKind::NotConnected);
            datagrams.state.borrow_mut().not_before = Tick::default();
            let _receiver = UnixDatagram::bind(&path).unwrap();
            while datagrams.send(b"a".to_vec()).is_ok() {
                assert!(datagrams.state.borrow().waiting.len() <= WAITING);
            }
            assert_eq!(datagrams.state.borrow().waiting.len(), WAITING);
            assert_eq!(datagrams.finish(), WAITING as u64);
        });
    }

    #[test]
    fn a_name_is_looked_up_beside_the_work() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        on_a_loop(async {
            let datagrams = Datagrams::new(Peer::Host("localhost".to_owned(), port));
            datagrams.send(b"one".to_vec()).unwrap();
            datagrams.send(b"two".to_vec()).unwrap();
            while datagrams.state.borrow().is_sending {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // `localhost` may be an address of version 6, where nobody listens.
            if datagrams.take_lost() == 0 {
                receiver.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let mut buffer = [0; 8];
                let length = receiver.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], b"one");
            }
        });
    }
}
