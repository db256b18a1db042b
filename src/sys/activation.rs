//! Listening sockets that whoever started this process has made for it: as systemd passes them, or by number.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use super::fd;
use super::socket::{self, Name};

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;
/// How many are taken; nobody means more.
const MOST: i32 = 8192;

/// A listening socket that was passed to this process.
#[derive(Debug)]
pub struct Passed {
    /// Its number, as it was passed.
    pub number: RawFd,
    /// What it is called by whoever passed it (`LISTEN_FDNAMES`).
    pub name: Option<String>,
    /// Where it listens.
    pub local: Name,
    /// Itself.
    pub socket: OwnedFd,
    /// By the protocol of systemd, so that it is to be served; otherwise it is there for whoever names its number.
    pub offered: bool,
}

/// What was passed to this process.
#[derive(Debug, Default)]
pub struct Activation {
    /// The sockets.
    pub passed: Vec<Passed>,
    /// What systemd passed and cannot be served: numbers and names.
    pub strange: Vec<(RawFd, Option<String>)>,
}

/// Takes all of them, those that systemd passes first. What is no listening stream socket stays where it is. For a process
/// that was just started: what [`fd::keep_private`] found is meant, and the environment is still its own.
#[must_use]
pub fn take() -> Activation {
    let offered = FIRST..FIRST.saturating_add(count());
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':').map(str::to_owned);
    let mut all = Activation::default();
    for number in offered.clone() {
        let name = names.next().filter(|name| !name.is_empty() && name != "unknown");
        match fd::duplicate_passed(number).and_then(listening) {
            Ok((socket, local)) => all.passed.push(Passed { number, name, local, socket, offered: true }),
            Err(_) => all.strange.push((number, name)),
        }
    }
    for number in fd::inherited().iter().copied().filter(|number| !offered.contains(number)) {
        if let Ok((socket, local)) = fd::duplicate_inherited(number).and_then(listening) {
            all.passed.push(Passed { number, name: None, local, socket, offered: false });
        }
    }
    all
}

impl Activation {
    /// Takes out what systemd has passed under a name of these. Their numbers are closed: only who gets them has them.
    #[must_use]
    pub fn split_off(&mut self, is_meant: impl Fn(&str) -> bool) -> Self {
        let is_meant = |name: &Option<String>| name.as_deref().is_some_and(&is_meant);
        let (passed, rest) =
            std::mem::take(&mut self.passed).into_iter().partition(|passed| is_meant(&passed.name));
        let (strange, others) =
            std::mem::take(&mut self.strange).into_iter().partition(|(_, name)| is_meant(name));
        (self.passed, self.strange) = (rest, others);
        let taken = Self { passed, strange };
        let numbers = taken.passed.iter().map(|passed| passed.number);
        for number in numbers.chain(taken.strange.iter().map(|(number, _)| *number)) {
            drop(fd::adopt(number));
        }
        taken
    }

    /// Says in the log what systemd has passed.
    pub fn tell(&self) {
        if self.passed.iter().any(|passed| passed.offered) {
            tracing::info!("- SystemD socket activation detected -");
        }
        for (number, _) in &self.strange {
            tracing::warn!(
                "descriptor {number} of LISTEN_FDS is no listening stream socket: it is not served"
            );
        }
    }
}

/// How many are passed to this very process.
fn count() -> i32 {
    let number = |name: &str| env::var(name).ok()?.trim().parse::<i32>().ok();
    let is_meant = number("LISTEN_PID").is_some_and(|pid| u32::try_from(pid) == Ok(std::process::id()));
    if is_meant { number("LISTEN_FDS").unwrap_or_default().clamp(0, MOST) } else { 0 }
}

/// The listener that a descriptor is, not blocking, and its address.
fn listening(socket: OwnedFd) -> io::Result<(OwnedFd, Name)> {
    let local = socket::local_name(socket.as_fd()).filter(|_| socket::is_listening(&socket));
    let local = local.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    fd::set_nonblocking(&socket, true)?;
    Ok((socket, local))
}
