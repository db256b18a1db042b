//! Plays a router's master: starts it, gives it listeners and workers, hears what it says.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use liege::config::address::{Address, Listen, Protocol};
use liege::config::instance::{InstanceSpec, RouterSpec};
use liege::proto::tls::Material;
use liege::sys::memfd;
use liege::sys::process::{self, Child, Launch, Signal};
use liege::sys::wait;
use liege::wire::channel;
use liege::wire::message::{FromRouter, ToRouter};

use crate::client::Client;
use crate::worker::Worker;

/// For whatever must happen, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

pub(crate) struct Master {
    channel: Option<OwnedFd>,
    router: Child,
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Master {
    /// A router that accepts on a port of its own.
    pub(crate) fn start() -> Self {
        let (ours, theirs) = channel::pair().unwrap();
        let router = Launch::new(env!("CARGO_BIN_EXE_liege"))
            .arg("router")
            .arg("test")
            .env("LIEGE_CHANNEL_FD", "0")
            .stdin(theirs)
            .spawn()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let master = Self { channel: Some(ours), router, listener, address };
        master.serve(vec![(listen(address), master.listener())]);
        master
    }

    /// Names the listeners, and waits until they are used.
    pub(crate) fn serve(&self, listeners: Vec<(Listen, OwnedFd)>) {
        let (listeners, fds): (Vec<_>, Vec<_>) = listeners.into_iter().unzip();
        self.serve_as(listeners, fds, RouterSpec::default());
    }

    /// The same with settings; `fds` are the listeners, and then what TLS needs.
    pub(crate) fn serve_as(&self, listeners: Vec<Listen>, fds: Vec<OwnedFd>, router: RouterSpec) {
        let spec = Box::new(InstanceSpec { router, ..InstanceSpec::default() });
        self.send(&ToRouter::Serve { listeners, spec }, &fds);
        assert!(matches!(self.receive(), FromRouter::Ready));
    }

    /// Has its one listener serve this protocol, with these settings.
    pub(crate) fn speak(&self, protocol: Protocol, tls: Option<&Material>, router: RouterSpec) {
        let material = tls.map(|tls| memfd::sealed("test", &serde_json::to_vec(tls).unwrap()).unwrap());
        let fds = std::iter::once(self.listener()).chain(material).collect();
        self.serve_as(vec![Listen { protocol, ..listen(self.address) }], fds, router);
    }

    /// A worker with one connection.
    pub(crate) fn worker(&self, slot: u32) -> Worker {
        self.workers(slot, 1).remove(0)
    }

    /// The connections of a worker.
    pub(crate) fn workers(&self, slot: u32, connections: usize) -> Vec<Worker> {
        let pairs = (0..connections).map(|_| UnixStream::pair().unwrap());
        let (ours, theirs): (Vec<_>, Vec<OwnedFd>) =
            pairs.map(|(ours, theirs)| (Worker::new(ours), theirs.into())).unzip();
        self.send(&ToRouter::AddWorker { slot, generation: 1 }, &theirs);
        ours
    }

    pub(crate) fn release(&self, slot: u32) {
        self.send(&ToRouter::ReleaseWorker { slot, generation: 1 }, &[]);
    }

    pub(crate) fn drain(&self) {
        self.send(&ToRouter::Drain, &[]);
    }

    /// Dies.
    pub(crate) fn vanish(&mut self) {
        self.channel = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.router.signal(signal).unwrap();
    }

    /// What the router says next.
    pub(crate) fn receive(&self) -> FromRouter {
        let socket = self.channel.as_ref().unwrap();
        loop {
            match channel::receive(socket) {
                Ok(Some((message, _))) => return message,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let readable = wait::readable(socket, Some(PATIENCE)).unwrap();
                    assert!(readable, "the router should have said something");
                }
                other => panic!("the router should have said something, not {other:?}"),
            }
        }
    }

    pub(crate) fn assert_passed_over(&self, expected: u32) {
        match self.receive() {
            FromRouter::PassedOver { slot, generation: 1 } if slot == expected => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn assert_released(&self, expected: u32) {
        match self.receive() {
            FromRouter::Released { slot, generation: 1 } if slot == expected => {}
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn assert_lost(&self, expected: u32) {
        match self.receive() {
            FromRouter::Lost { slot, generation: 1 } if slot == expected => {}
            other => panic!("{other:?}"),
        }
    }

    /// Waits for its end.
    pub(crate) fn assert_ends_well(&self) {
        assert!(wait::readable(&self.router, Some(PATIENCE)).unwrap(), "the router should have ended");
        assert!(process::wait(&self.router).unwrap().is_success());
    }

    /// Waits until everything sent to the router before this was read: it looks at connections in the order in which
    /// they became readable.
    pub(crate) fn settle(&self) {
        let mut probe = TcpStream::connect(self.address).unwrap();
        probe.set_read_timeout(Some(PATIENCE)).unwrap();
        probe.write_all(b"probe\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        probe.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 400 "));
    }

    /// The same where nobody accepts: a request and its answer on a connection that is there.
    pub(crate) fn settle_on(&self, client: &mut Client, worker: &mut Worker) {
        client.send_get("/settle");
        assert_eq!(worker.answer("settled"), "/settle");
        assert_eq!(client.answer().body, "settled");
    }

    /// The first listener once more.
    pub(crate) fn listener(&self) -> OwnedFd {
        self.listener.try_clone().unwrap().into()
    }

    fn send(&self, message: &ToRouter, fds: &[OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        channel::send(self.channel.as_ref().unwrap(), message, &fds).unwrap();
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.router.kill();
        let _ = process::wait(&self.router);
    }
}

pub(crate) fn listen(address: SocketAddr) -> Listen {
    let address = Address::Tcp { host: address.ip().to_string(), port: address.port() };
    Listen { address, protocol: Protocol::Router }
}
