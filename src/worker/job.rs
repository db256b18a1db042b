//! A request whose head is complete, with the way to answer it: what the I/O side gives an application thread.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;

use super::http::Origin;
use super::packet::PacketSocket;
use super::reply::ReplySender;
use crate::proto::http1::Watch;

/// A request with the way to answer it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) head: Head,
    pub(super) body: RequestBody,
    pub(super) reply: Reply,
}

/// What the environ is made of.
#[derive(Debug)]
pub(super) enum Head {
    /// An HTTP request.
    Http(Box<Parts>, Arc<Origin>),
    /// The variables of a uwsgi packet.
    Packet(Bytes),
}

/// Where the request's body comes from.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// All of it is here.
    Whole(Bytes),
    /// hyper reads it as the application asks for it.
    Streamed(Incoming),
    /// What came with the packet, and so many bytes that are still to be read.
    Socket(Bytes, u64, Arc<PacketSocket>),
}

/// Where the response goes.
#[derive(Debug)]
pub(super) enum Reply {
    /// To hyper, whose connection is watched.
    Http(ReplySender, Watch),
    /// Straight to the socket.
    Socket(Arc<PacketSocket>),
}
