//! Requests whose clients ask for a websocket, as the functions of the `uwsgi` module reach them: by the core on which
//! they run.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

use super::current;
use super::exchange::Exchange;
use super::host::Host;
use super::job::Head;
use super::server::Server;
use super::switch::Taken;
use super::waiter::Waiter;
use super::websocket::{Parting, WebSocket};
use crate::gateway::websocket::{Grant, Wish};
use crate::sys::stream;

/// The requests of this worker that could become websockets, or did, by their cores.
static RUNNING: Mutex<BTreeMap<usize, Arc<Upgrade>>> = Mutex::new(BTreeMap::new());

/// A request whose client asks for a websocket.
#[derive(Debug)]
pub(super) struct Upgrade {
    wish: Wish,
    exchange: Arc<Exchange>,
    server: Arc<Server>,
    waiter: Waiter,
    /// The number that the connection is to have, where the application asked before the handshake.
    place: Mutex<Option<OwnedFd>>,
    websocket: OnceLock<WebSocket>,
}

/// Such a request on its core.
#[derive(Debug)]
pub(super) struct Seat {
    core: usize,
    upgrade: Arc<Upgrade>,
}

impl Upgrade {
    /// Lets the application's calls find the request that begins on this core, if its client asks for a websocket.
    pub(super) fn seat(
        server: &Arc<Server>,
        core: usize,
        head: &Head,
        exchange: &Arc<Exchange>,
        waiter: &Waiter,
    ) -> Option<Seat> {
        let wish = match head {
            Head::Http(parts, _) => Wish::of_http(parts)?,
            Head::Packet(packet) => Wish::of_variables(&packet.view())?,
        };
        let upgrade = Arc::new(Self {
            wish,
            exchange: Arc::clone(exchange),
            server: Arc::clone(server),
            waiter: waiter.clone(),
            place: Mutex::default(),
            websocket: OnceLock::new(),
        });
        lock(&RUNNING).insert(core, Arc::clone(&upgrade));
        Some(Seat { core, upgrade })
    }

    /// That of the request which runs here.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn current(py: Python<'_>) -> PyResult<Arc<Self>> {
        let core = Host::get().and_then(|host| current::number(py, host));
        let upgrade = core.and_then(|core| lock(&RUNNING).get(&core).map(Arc::clone));
        upgrade.ok_or_else(|| PyOSError::new_err("no request for a websocket runs here"))
    }

    /// The websocket.
    ///
    /// # Errors
    /// There was no handshake.
    pub(super) fn websocket(&self) -> PyResult<&WebSocket> {
        self.websocket.get().ok_or_else(|| PyOSError::new_err("websocket_handshake was not called"))
    }

    /// How what waits for the websocket does so.
    pub(super) const fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    /// The number that the websocket's connection has, or will have after the handshake.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn number(&self) -> io::Result<RawFd> {
        if let Some(websocket) = self.websocket.get() {
            return Ok(websocket.fd().as_raw_fd());
        }
        let mut place = lock(&self.place);
        if let Some(place) = &*place {
            return Ok(place.as_raw_fd());
        }
        let (own, _) = stream::pair()?;
        Ok(place.insert(own).as_raw_fd())
    }

    /// Answers the client's wish.
    ///
    /// # Errors
    /// Something else was answered, the client is gone, or what the application says has no place in a head.
    pub(super) fn shake_hands(&self, py: Python<'_>, grant: Grant<'_>) -> PyResult<()> {
        let cannot = |why: &str| PyOSError::new_err(format!("unable to complete websocket handshake: {why}"));
        let fields = self.wish.granted(grant).map_err(|fault| cannot(&fault.to_string()))?;
        let taken = self.exchange.with_output(py, |output| output.switch(&fields))?;
        let Taken { mut fd, unread } = taken
            .ok_or_else(|| cannot("the request is over"))?
            .map_err(|error| cannot(&error.to_string()))?;
        if let Some(mut place) = lock(&self.place).take() {
            stream::put_in_place(&fd, &mut place)?;
            fd = place;
        }
        let websocket = WebSocket::new(&self.server, Taken { fd, unread }, self.waiter.clone());
        self.websocket.set(websocket).map_err(|_| cannot("it was called twice"))
    }
}

impl Seat {
    /// The request is over; gives the bytes of messages that were sent.
    pub(super) fn leave(&self, parting: Parting) -> u64 {
        let websocket = self.upgrade.websocket.get();
        if let Some(websocket) = websocket {
            websocket.part(parting);
        }
        websocket.map_or(0, WebSocket::sent_bytes)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _gone = lock(&RUNNING).remove(&self.core);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
