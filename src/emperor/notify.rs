//! What the service manager is told: ready, how many vassals serve, that the emperor is alive.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    status: String,
}

impl ServiceManager {
    /// As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say.
    #[must_use]
    pub fn from_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET");
        let address = socket.as_ref().and_then(|name| address(name.as_bytes()).ok());
        let to = address.and_then(|address| {
            let socket = UnixDatagram::unbound().ok()?;
            // A manager that does not read must not hold up the loop.
            socket.set_nonblocking(true).ok()?;
            Some((socket, address))
        });
        let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| for_us && to.is_some());
        Self { to, watchdog: watchdog.map(Duration::from_micros), status: String::new() }
    }

    /// Whether there is one.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.to.is_some()
    }

    /// How often [`ServiceManager::alive`] is to be said.
    #[must_use]
    pub fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|watchdog| watchdog / 2)
    }

    /// The emperor is up.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// It re-executes itself; [`ServiceManager::ready`] follows.
    pub fn reloading(&self, monotonic_us: u64) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={monotonic_us}"));
    }

    /// It is on its way out.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// It is alive.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// A line for people, said when it differs from the last.
    pub fn status(&mut self, status: String) {
        if self.to.is_some() && status != self.status {
            self.say(&format!("STATUS={status}"));
            self.status = status;
        }
    }

    fn say(&self, what: &str) {
        if let Some((socket, address)) = &self.to
            && let Err(error) = socket.send_to_addr(what.as_bytes(), address)
        {
            tracing::warn!("cannot notify the service manager: {error}");
        }
    }
}

fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name.split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest),
        Some((b'/', _)) => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor an abstract name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(address: SocketAddr) -> ServiceManager {
        let socket = UnixDatagram::unbound().unwrap();
        ServiceManager { to: Some((socket, address)), ..ServiceManager::default() }
    }

    #[test]
    fn the_manager_hears_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("@liege-notify-test-{}", std::process::id());
        for name in [path.to_str().unwrap(), &abstract_name] {
            let address = address(name.as_bytes()).unwrap();
            let hears = UnixDatagram::bind_addr(&address).unwrap();
            let mut manager = manager(address);
            manager.ready();
            manager.status("1 of 1 vassals serve".to_owned());
            manager.status("1 of 1 vassals serve".to_owned());
            manager.stopping();
            for expected in ["READY=1", "STATUS=1 of 1 vassals serve", "STOPPING=1"] {
                let mut buffer = [0; 100];
                let length = hears.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], expected.as_bytes());
            }
        }
        assert!(address(b"vsock:2").is_err());
    }
}
