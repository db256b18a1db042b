//! What master and router say to each other.

use serde::{Deserialize, Serialize};

use crate::config::address::Listen;
use crate::config::instance::InstanceSpec;

/// Master → router.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ToRouter {
    /// Serve. Descriptors: one listener for each entry of `listeners`, then for each of them on which TLS is spoken,
    /// in the same order, the sealed memory file with its [`crate::proto::tls::Material`]. Sent again when they change.
    Serve {
        /// In the order of the descriptors.
        listeners: Vec<Listen>,
        /// The configuration.
        spec: Box<InstanceSpec>,
    },
    /// Count here from now on. Descriptor: the scoreboard.
    Scoreboard,
    /// A worker is ready. Descriptors: the router's ends of its connections, each carries one request at a time.
    AddWorker {
        /// Its slot on the scoreboard.
        slot: u32,
        /// Its generation.
        generation: u64,
    },
    /// Send it no further request and say [`FromRouter::PassedOver`]; close its connections when they are idle and say
    /// [`FromRouter::Released`].
    ReleaseWorker {
        /// Its slot.
        slot: u32,
        /// Its generation.
        generation: u64,
    },
    /// Say that you are there: [`FromRouter::IAmThere`].
    AreYouThere,
    /// The sockets go away: let those in who wait at them, and have all who come later refused at once. Followed by
    /// [`ToRouter::Drain`].
    LastCall,
    /// Accept nothing new, answer what is there (workers stay until then), close, exit with status 0.
    Drain,
}

/// Router → master.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum FromRouter {
    /// It accepts connections. Descriptor: the memory of its queue.
    Ready,
    /// It runs.
    IAmThere,
    /// An application wrote over the queue, and it was put right. Told at most every ten seconds.
    Spoilt,
    /// The worker gets no further request.
    PassedOver {
        /// Its slot.
        slot: u32,
        /// Its generation.
        generation: u64,
    },
    /// The worker's connections are closed.
    Released {
        /// Its slot.
        slot: u32,
        /// Its generation.
        generation: u64,
    },
    /// A connection of the worker ended without having been released: the worker is dead or finishing, or the router
    /// cut off an endless answer whose client is gone. A worker that is alive should be replaced: it may have no
    /// connection left.
    Lost {
        /// Its slot.
        slot: u32,
        /// Its generation.
        generation: u64,
    },
}
