//! The trial run: reads a configuration in a child with limits, so that a bad one costs nobody anything. Run with a new
//! binary it also shows that the binary works.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::certificates::{self, Certificates};
use super::interpreter;
use super::launch::Interpreter;
use super::source::{FILE_LIMIT_BYTES, Said, Source};
use crate::config::address::Address;
use crate::sys::{limits, memfd, signals, socket, wait};
use crate::wire::failure::Failure;
use crate::wire::{channel, inherited};

/// What parsing may cost.
const CPU_SECONDS: u64 = 10;
const MEMORY_BYTES: u64 = 1024 * 1024 * 1024;

/// What is to be read. Descriptor: the vassal file, if there is one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    /// Where the configuration comes from.
    pub(super) source: Source,
    /// Where relative names start.
    pub(super) directory: PathBuf,
    /// The extension that the operator named for all vassals.
    pub(super) extension: Option<PathBuf>,
    /// The addresses that are listened on already: their hosts need not be looked up.
    #[serde(default)]
    pub(super) bound: Vec<Address>,
}

/// What was found.
pub(super) type Answer = Result<Rehearsed, Failure>;

/// A configuration that can be used, and what it needs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rehearsed {
    pub(super) said: Said,
    pub(super) python: PathBuf,
    pub(super) extension: PathBuf,
    /// The addresses of hosts: the master never waits for a name server.
    #[serde(default)]
    pub(super) hosts: BTreeMap<String, IpAddr>,
    /// The addresses whose certificates come along, a descriptor each.
    #[serde(default)]
    pub(super) certificates: Vec<Address>,
    /// Why none does: a right is missing.
    #[serde(default)]
    pub(super) denied: Option<Failure>,
}

/// The same, and what came along.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) rehearsed: Rehearsed,
    pub(super) certificates: Vec<OwnedFd>,
}

impl Rehearsed {
    /// What zygotes are started with.
    pub(super) fn interpreter(&self) -> Interpreter {
        Interpreter { python: self.python.clone(), extension: self.extension.clone() }
    }
}

/// The role `liege rehearse NAME`: one request, one answer.
#[must_use]
pub fn main() -> ExitCode {
    crate::trace::start(true);
    crate::trace::exit_code("the rehearsal failed", rehearse())
}

fn rehearse() -> io::Result<()> {
    signals::ignore_sigpipe()?;
    let channel = inherited::take()?;
    limits::limit_cpu_seconds(CPU_SECONDS)?;
    limits::limit_memory_bytes(MEMORY_BYTES)?;
    wait::readable(&channel, None)?;
    let Some((request, mut fds)) = channel::receive::<Request>(&channel)? else { return Ok(()) };
    let answer = match fds.pop().map(|file| memfd::read_all(file, FILE_LIMIT_BYTES)).transpose() {
        Ok(bytes) => read(&request, &bytes.unwrap_or_default()),
        Err(error) => Err(Failure::new(format!("the file cannot be read: {error}"))),
    };
    let (answer, certificates): (Answer, _) = match answer {
        Ok((rehearsed, certificates)) => (Ok(rehearsed), certificates),
        Err(failure) => (Err(failure), Certificates::default()),
    };
    let fds: Vec<BorrowedFd<'_>> = certificates.all().map(|(_, file)| file).collect();
    channel::send(&channel, &answer, &fds)
}

/// Reads the configuration and its certificates, and finds its interpreter.
fn read(request: &Request, bytes: &[u8]) -> Result<(Rehearsed, Certificates), Failure> {
    let said = request.source.load_again(bytes, request.directory.clone())?;
    let Interpreter { python, extension } = interpreter::find_all(&said.spec, request.extension.as_deref())?;
    let mut hosts = BTreeMap::new();
    let spec = &said.spec;
    let addresses = spec.listen.iter().map(|listen| &listen.address).chain(&spec.stats);
    for address in addresses.filter(|address| !request.bound.contains(address)) {
        if let Address::Tcp { host, port } = address {
            let found = socket::resolve(host, *port)
                .map_err(|error| Failure::new(format!("cannot listen on {address}: {error}")))
                .map_err(|failure| failure.at(spec.place_of_address(address)))?;
            hosts.insert(host.clone(), found.ip());
        }
    }
    let (certificates, denied) = match certificates::read(spec) {
        Ok(unchecked) => (Certificates::keep(&unchecked)?, None),
        Err(unread) if unread.denied => (Certificates::default(), Some(unread.failure)),
        Err(unread) => return Err(unread.failure),
    };
    let addresses = certificates.all().map(|(address, _)| address.clone()).collect();
    Ok((Rehearsed { said, python, extension, hosts, certificates: addresses, denied }, certificates))
}
