//! A request whose head is complete, with the way to answer it: what the I/O side gives an application thread.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::runtime::Handle;

use super::http::Origin;
use super::packet::PacketSocket;
use super::reply::ReplySender;
use super::upload::Received;
use crate::proto::http1::Watch;

/// How much of a body is read and thrown away that the application did not want, so that its connection can go on.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;

/// A request with the way to answer it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) head: Head,
    pub(super) body: RequestBody,
    pub(super) reply: Reply,
    /// Since when it waits for a thread, in microseconds on the monotonic clock.
    pub(super) since_us: u64,
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
    Streamed(Upload),
    /// It was received in advance, as far as there was room.
    Received(Box<Received>),
    /// What came with the packet, and so many bytes that are still to be read.
    Socket(Bytes, u64, Arc<PacketSocket>),
}

/// A body that hyper reads as the application asks for it.
#[derive(Debug)]
pub(super) struct Upload {
    incoming: Option<Incoming>,
    /// Where the rest is read that the application leaves; without it hyper closes the connection.
    rest: Option<Handle>,
}

impl Upload {
    /// A body on a connection that may be closed behind it, or, with the loop, on one that is to go on.
    pub(super) const fn new(incoming: Incoming, rest: Option<Handle>) -> Self {
        Self { incoming: Some(incoming), rest }
    }

    /// The next data, `None` at the end; trailers are left out.
    ///
    /// # Errors
    /// It broke off.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.incoming {
            Some(incoming) => next_piece(incoming).await,
            None => Ok(None),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let (Some(mut incoming), Some(handle)) = (self.incoming.take(), self.rest.take()) else { return };
        if incoming.is_end_stream() {
            return;
        }
        handle.spawn(async move {
            let mut left = DISCARD_BYTES;
            while let Ok(Some(piece)) = next_piece(&mut incoming).await
                && left >= piece.len()
            {
                left -= piece.len();
            }
        });
    }
}

async fn next_piece(incoming: &mut Incoming) -> io::Result<Option<Bytes>> {
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data()
            && data.has_remaining()
        {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Where the response goes.
#[derive(Debug)]
pub(super) enum Reply {
    /// To hyper, whose connection is watched.
    Http(ReplySender, Watch),
    /// Straight to the socket.
    Socket(Arc<PacketSocket>),
}
