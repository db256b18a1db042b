//! What the kernel is told of the sockets of an instance beyond their addresses.

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
