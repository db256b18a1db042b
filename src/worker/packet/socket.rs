//! The socket of a request, shared by its input and its output.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use super::inlet::Inlet;
use super::outlet::Outlet;
use crate::sys::{reactor, stream};
use crate::worker::server::Held;
use crate::worker::waiter::Waiter;

/// The socket of a request, shared by its input and its output. Its methods wait; call them detached.
#[derive(Debug)]
pub(in crate::worker) struct PacketSocket {
    fd: OwnedFd,
    read_timeout: Duration,
    /// A front end that passes a slow client's pace on may pause for longer than one that sends.
    write_timeout: Duration,
    inlet: Mutex<Inlet>,
    outlet: Outlet,
    /// How many requests came on it.
    requests: u64,
    held: Held,
}

/// What is left of a body that nobody wants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Nothing.
    Over,
    /// More will come.
    Coming,
    /// It is too much, broken, or someone still reads it.
    Lost,
}

impl PacketSocket {
    /// Of a request whose variables have come.
    pub(super) fn new(
        held: Held,
        fd: OwnedFd,
        read_timeout: Duration,
        inlet: Inlet,
        outlet: Outlet,
        requests: u64,
    ) -> Self {
        let server = held.server();
        let write_timeout = match server.host.spec.exchange.send_timeout_s {
            0 => read_timeout.max(server.limits.write_stall),
            _ => server.limits.write_stall,
        };
        Self { fd, read_timeout, write_timeout, inlet: Mutex::new(inlet), outlet, requests, held }
    }

    /// Reads at least a byte of the body; 0 is its end.
    ///
    /// # Errors
    /// The front end is gone or silent for too long.
    pub(in crate::worker) fn read(&self, buffer: &mut [u8], waiter: &Waiter) -> io::Result<usize> {
        loop {
            // Not held while waiting: others run meanwhile, in this very thread, too.
            let read = self.inlet().read(&self.fd, buffer, &self.held.server().limits);
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !waiter.readable(self.fd.as_fd(), self.read_timeout)? {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing"));
                    }
                }
                other => return other,
            }
        }
    }

    /// Writes everything, the head and the body in one piece.
    ///
    /// # Errors
    /// The front end is gone or does not read for too long.
    pub(in crate::worker) fn write(&self, head: &[u8], body: &[u8], waiter: &Waiter) -> io::Result<()> {
        self.outlet.pieces(head, body, |pieces| self.write_all(&mut pieces.map(IoSlice::new), waiter))
    }

    /// Sends the head of an answer that another protocol follows, and gives the connection to it.
    ///
    /// # Errors
    /// Not by this front end's protocol; it is gone, or does not read.
    pub(in crate::worker) fn switch(&self, head: &[u8], waiter: &Waiter) -> io::Result<OwnedFd> {
        if self.outlet != Outlet::Uwsgi {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "not over FastCGI or SCGI"));
        }
        self.write(head, &[], waiter)?;
        self.fd.try_clone()
    }

    fn write_all(&self, mut left: &mut [IoSlice<'_>], waiter: &Waiter) -> io::Result<()> {
        // Empty slices in front would look like a write that made no progress.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match stream::send(&self.fd, left) {
                Ok(length) => IoSlice::advance_slices(&mut left, length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !waiter.writable(self.fd.as_fd(), self.write_timeout)? {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the answer, which is whole or broke off, and the connection unless the front end keeps it. What is left of
    /// the body is read and thrown away for a while: closing before that would reset the connection, and the front end
    /// would lose the response.
    pub(in crate::worker) fn end(self: Arc<Self>, is_whole: bool, waiter: &Waiter) {
        let end = if is_whole { self.outlet.end() } else { Vec::new() };
        let is_told = self.write_all(&mut [IoSlice::new(&end)], waiter).is_ok();
        let keeps = self.outlet.keeps() && is_whole && is_told;
        match self.discard() {
            Rest::Over if keeps => self.keep(),
            Rest::Over | Rest::Lost => {}
            Rest::Coming => {
                if !keeps {
                    let _ = stream::end_writing(&self.fd);
                }
                self.linger(keeps);
            }
        }
    }

    /// Throws the rest of the body away as it comes.
    fn linger(self: Arc<Self>, keeps: bool) {
        let server = Arc::clone(self.held.server());
        let limit = server.limits.linger_time;
        server.handle.clone().spawn(async move {
            let Ok(socket) = self.fd.try_clone().and_then(reactor::register_readable) else { return };
            let linger = async {
                while let Ok(mut ready) = socket.readable().await {
                    match self.discard() {
                        Rest::Coming => ready.clear_ready(),
                        rest => return rest,
                    }
                }
                Rest::Lost
            };
            if timeout(limit, linger).await == Ok(Rest::Over) && keeps {
                drop(socket);
                self.keep();
            }
        });
    }

    /// Has the next request of the connection served.
    fn keep(self: Arc<Self>) {
        let server = self.held.server();
        // Nobody follows; a front end finds that out here, or sooner than at the next request.
        if server.is_draining() && server.entrance().is_none() {
            return;
        }
        let inlet = std::mem::replace(&mut *self.inlet(), Inlet::Plain { left: 0 });
        if let (Some(receiver), Ok(fd)) = (inlet.into_receiver(), self.fd.try_clone()) {
            super::keep(Held::new(server), fd, receiver, self.requests);
        }
    }

    /// Throws away what is there.
    fn discard(&self) -> Rest {
        let Ok(mut inlet) = self.inlet.try_lock() else { return Rest::Lost };
        if inlet.is_ended() {
            return Rest::Over;
        }
        let limits = &self.held.server().limits;
        let mut buffer = [0; 8 * 1024];
        let mut discarded = 0;
        while discarded < limits.linger_bytes {
            match inlet.read(&self.fd, &mut buffer, limits) {
                Ok(0) => return Rest::Over,
                Ok(length) => discarded += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Rest::Coming,
                Err(_) => return Rest::Lost,
            }
        }
        Rest::Lost
    }

    fn inlet(&self) -> MutexGuard<'_, Inlet> {
        self.inlet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
