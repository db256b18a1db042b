//! What the service manager is told: ready, how many vassals serve, that the emperor is alive.

use std::env;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::sleep;

use crate::sys::datagram::Way;
use crate::sys::reactor;

/// How long it takes the service manager at most to close what it throws away, after it has read that.
const CLOSES: Duration = Duration::from_millis(100);

/// The way to the service manager, if there is one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    to: Option<Way>,
    watchdog: Option<Duration>,
    store: usize,
    status: String,
}

impl ServiceManager {
    /// As `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `FDSTORE` say.
    #[must_use]
    pub fn from_environment() -> Self {
        let to = env::var_os("NOTIFY_SOCKET").and_then(|name| Way::to(name.as_bytes()).ok());
        let number = |name: &str| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| for_us && to.is_some());
        let store = number("FDSTORE").filter(|_| to.is_some()).unwrap_or_default();
        Self {
            to,
            watchdog: watchdog.map(Duration::from_micros),
            store: usize::try_from(store).unwrap_or(usize::MAX),
            status: String::new(),
        }
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

    /// How many descriptors it keeps for this service, over its death and its restart; 0: none.
    #[must_use]
    pub const fn store(&self) -> usize {
        self.store
    }

    /// It is to keep this listener under this name; what it keeps already it does not keep twice.
    ///
    /// # Errors
    /// It does not read now, or is gone.
    pub fn keep(&self, name: &str, listener: BorrowedFd<'_>) -> io::Result<()> {
        // A listener that somebody ends for good is told of by us: nothing is to be found out by watching it.
        self.try_to_say(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &[listener])
    }

    /// It is to close what it keeps under this name.
    ///
    /// # Errors
    /// As [`ServiceManager::keep`].
    pub fn close(&self, name: &str) -> io::Result<()> {
        self.try_to_say(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[])
    }

    /// Whether it keeps so many more, at the cost of nothing: it is given as many that are of no use, and what it throws away
    /// is seen to be closed. They are all of this name, which is to be closed after the answer.
    ///
    /// # Errors
    /// As [`ServiceManager::keep`]; descriptors have run out.
    pub fn ask_for_room(&self, name: &str, count: usize) -> io::Result<Question> {
        let pairs = (0..=count).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
        let (mut ours, theirs): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut given: Vec<BorrowedFd<'_>> = theirs.iter().map(AsFd::as_fd).collect();
        let (Some(barrier), Some(until)) = (given.pop(), ours.pop()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        self.try_to_say(&format!("FDSTORE=1\nFDPOLL=0\nFDNAME={name}"), &given)?;
        self.try_to_say("BARRIER=1", &[barrier])?;
        Ok(Question { given: ours, barrier: until })
    }

    fn say(&self, what: &str) {
        if let Err(error) = self.try_to_say(what, &[]) {
            tracing::warn!("cannot notify the service manager: {error}");
        }
    }

    fn try_to_say(&self, what: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.to.as_ref().map_or(Ok(()), |way| way.send(what.as_bytes(), fds))
    }
}

/// What the service manager was asked.
#[derive(Debug)]
pub struct Question {
    /// Our ends of what it was given.
    given: Vec<UnixStream>,
    /// Ends when it has read all of it.
    barrier: UnixStream,
}

impl Question {
    /// How many of them it keeps. Waits until it has read the question, however long that takes.
    ///
    /// # Errors
    /// The runtime takes no more descriptors.
    pub async fn answer(self) -> io::Result<usize> {
        let barrier = reactor::register_readable(self.barrier.into())?;
        drop(barrier.readable().await?);
        // It closes what it throws away beside its other work.
        sleep(CLOSES).await;
        let is_kept = |end: &UnixStream| {
            let read = end.set_nonblocking(true).and_then(|()| (&*end).read(&mut [0]));
            read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        Ok(self.given.iter().filter(|end| is_kept(end)).count())
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    use super::*;

    #[test]
    fn the_manager_hears_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("@liege-notify-test-{}", std::process::id());
        for name in [path.to_str().unwrap(), &abstract_name] {
            let address = match name.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(name),
            };
            let hears = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
            let to = Way::to(name.as_bytes()).ok();
            let mut manager = ServiceManager { to, ..ServiceManager::default() };
            manager.ready();
            manager.status("1 of 1 vassals serve".to_owned());
            manager.status("1 of 1 vassals serve".to_owned());
            manager.stopping();
            manager.close("a.ini/1").unwrap();
            for expected in
                ["READY=1", "STATUS=1 of 1 vassals serve", "STOPPING=1", "FDSTOREREMOVE=1\nFDNAME=a.ini/1"]
            {
                let mut buffer = [0; 100];
                let length = hears.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], expected.as_bytes());
            }
        }
        assert!(Way::to(b"vsock:2").is_err());
    }
}
