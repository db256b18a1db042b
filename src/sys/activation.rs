//! Listening sockets that whoever started this process has made for it: as systemd passes them, or by number.

use std::env;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use super::fd;
use super::socket::{self, Name};

/// The first descriptor that systemd passes.
const FIRST: RawFd = 3;
/// How many are taken; nobody means more.
const MOST: i32 = 1024;

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
    /// The numbers of what systemd passed and cannot be served.
    pub strange: Vec<RawFd>,
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
        match listening(number) {
            Some((socket, local)) => all.passed.push(Passed { number, name, local, socket, offered: true }),
            None => all.strange.push(number),
        }
    }
    for number in fd::inherited().iter().copied().filter(|number| !offered.contains(number)) {
        if let Some((socket, local)) = listening(number) {
            all.passed.push(Passed { number, name: None, local, socket, offered: false });
        }
    }
    all
}

impl Activation {
    /// Says in the log what systemd has passed.
    pub fn tell(&self) {
        if self.passed.iter().any(|passed| passed.offered) {
            tracing::info!("- SystemD socket activation detected -");
        }
        for number in &self.strange {
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

fn listening(number: RawFd) -> Option<(OwnedFd, Name)> {
    // The number itself stays open, and close-on-exec: others may know it, too.
    let socket = fd::duplicate_inherited(number).ok().filter(|socket| socket::is_listening(socket))?;
    fd::set_nonblocking(&socket, true).ok()?;
    let local = socket::local_name(socket.as_fd())?;
    Some((socket, local))
}
