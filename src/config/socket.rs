//! What is said of the sockets of an instance beyond their addresses.

use std::collections::{BTreeMap, BTreeSet};

use super::address::Address;
use crate::sys::activation::Passed;
use serde::{Deserialize, Serialize};

/// What the kernel is told of the sockets for requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketSpec {
    /// `freebind`: an address may be one that the host does not have yet.
    pub freebind: bool,
    /// `reuse-port`: another instance may listen on the same port, if it says so, too.
    pub reuse_port: bool,
    /// `so-keepalive`: connections whose other end is gone are found out.
    pub keepalive: bool,
    /// `socket-sndbuf`, in bytes; 0: as the kernel likes.
    pub send_buffer_bytes: u32,
    /// `socket-rcvbuf`, in bytes; 0: as the kernel likes.
    pub receive_buffer_bytes: u32,
}

/// A socket on which whoever started the instance has it listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassedSocket {
    /// The number of the descriptor, by which `fd://NUMBER` names it; `None`: it has none of its own.
    pub number: Option<i32>,
    /// Where it listens.
    pub address: Address,
    /// It is served also where no option names it, as uWSGI does with those that systemd passes.
    pub offered: bool,
}

impl PassedSocket {
    /// What a configuration can know of these.
    #[must_use]
    pub fn all(passed: &[Passed]) -> Vec<Self> {
        let one = |passed: &Passed| Self {
            number: Some(passed.number),
            address: passed.local.clone().into(),
            offered: passed.offered,
        };
        passed.iter().map(one).collect()
    }

    /// One that is a vassal's by the name that systemd gave it.
    #[must_use]
    pub const fn by_name(address: Address) -> Self {
        Self { number: None, address, offered: true }
    }
}

/// `map-socket`: which workers serve which socket. Sockets are counted from 0, without those of the router; one that is
/// not in it is served by all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketMap(pub BTreeMap<usize, BTreeSet<u32>>);

impl SocketMap {
    /// Whether every worker serves every socket.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a worker serves a socket.
    #[must_use]
    pub fn has(&self, socket: usize, worker: u32) -> bool {
        self.0.get(&socket).is_none_or(|workers| workers.contains(&worker))
    }

    /// How many workers, the first ones, serve every socket between them.
    #[must_use]
    pub fn needs(&self) -> u32 {
        let firsts = self.0.values().filter_map(BTreeSet::first);
        firsts.copied().max().unwrap_or_default()
    }
}
