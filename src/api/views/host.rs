//! The host, and what is on it besides vassals and workers: sockets, companions.

use serde::{Deserialize, Serialize};

use super::{Attached, Socket};

/// `GET /v1/host`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The host's name.
    pub name: String,
    /// CPUs online.
    pub cpus: u32,
    /// Physical memory in bytes.
    pub memory_bytes: u64,
    /// What new processes could have of it, as the kernel guesses.
    pub memory_available_bytes: u64,
    /// Processes that ran or wanted to, on average over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Seconds since the boot.
    pub uptime_s: u64,
}

/// `GET /v1/sockets`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketList {
    /// By vassal.
    pub sockets: Vec<VassalSocket>,
}

/// A socket with its vassal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VassalSocket {
    /// The vassal.
    pub vassal: String,
    /// Address and protocol.
    #[serde(flatten)]
    pub socket: Socket,
}

/// `GET /v1/vassals/{name}/companions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompanionList {
    /// By pid, the first hundred.
    pub companions: Vec<Companion>,
    /// What its file attaches, in its order, the first hundred.
    #[serde(default)]
    pub attached: Vec<Attached>,
}

/// A process of an instance that is neither its master nor a worker: a router, a zygote, a keeper of a daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Companion {
    /// Its pid.
    pub pid: u32,
    /// What it is: `router`, `zygote`, `keeper` and the name of its program; of another program its name, as the kernel has it.
    pub name: String,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Virtual memory in bytes.
    pub vsz_bytes: u64,
}
