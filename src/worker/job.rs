//! A request whose head is complete, with the way to answer it: what the I/O side gives an application thread.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::http::Origin;
use super::packet::PacketSocket;
use super::reply::ReplySender;
use super::routed::{Answer, Pulled};
use super::upload::Received;
use crate::gateway::packet::PacketRequest;
use crate::proto::http1::Watch;

/// A request with the way to answer it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) head: Head,
    pub(super) body: RequestBody,
    pub(super) reply: Reply,
    /// Since when it waits for a thread, in microseconds on the monotonic clock.
    pub(super) since_us: u64,
    /// It is the first of its connection.
    pub(super) is_first: bool,
}

/// What the environ is made of.
#[derive(Debug)]
pub(super) enum Head {
    /// An HTTP request.
    Http(Box<Parts>, Arc<Origin>),
    /// The variables that a front end sent.
    Packet(Box<PacketRequest>),
}

/// Where the request's body comes from.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// All of it is here.
    Whole(Bytes),
    /// It was received in advance, as far as there was room.
    Received(Box<Received>),
    /// The router has it.
    Routed(Pulled),
    /// What came with the variables; the rest is still to be read.
    Socket(Bytes, Arc<PacketSocket>),
}

/// A body that hyper reads as the application asks for it.
#[derive(Debug)]
pub(super) struct Upload(Incoming);

impl Upload {
    /// A body that begins.
    pub(super) const fn new(incoming: Incoming) -> Self {
        Self(incoming)
    }

    /// The next data, `None` at the end; trailers are left out.
    ///
    /// # Errors
    /// It broke off.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(frame) = self.0.frame().await {
            if let Ok(data) = frame.map_err(io::Error::other)?.into_data()
                && data.has_remaining()
            {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// Where the response goes.
#[derive(Debug)]
pub(super) enum Reply {
    /// To hyper, whose connection is watched.
    Http(ReplySender, Watch),
    /// To the router.
    Routed(Answer),
    /// Straight to the socket.
    Socket(Arc<PacketSocket>),
}
