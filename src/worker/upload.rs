//! Bodies of requests, received before a thread is taken for them, so that a client that sends slowly holds nobody.

use std::io;
use std::mem;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::task::spawn_blocking;

use super::job::{RequestBody, Upload};
use super::spool::{PIECE_BYTES, Part, Room, Spool};
use crate::proto::budget::Share;

/// A body up to this length stays in memory, whatever others hold there.
const SMALL_BYTES: usize = 64 * 1024;
/// A body up to this length stays in memory while there is room.
const MEMORY_BYTES: usize = 1024 * 1024;
/// How much of a body is received in advance; the rest of a longer one is read as the application asks for it.
const ADVANCE_BYTES: u64 = 1024 * 1024 * 1024;

/// A body that was received in advance: first what is in a file, then what is in memory, then what was not received.
#[derive(Debug)]
pub(super) struct Received {
    file: Option<(Part, Spool)>,
    memory: Bytes,
    #[expect(dead_code, reason = "goes back to its budget when dropped")]
    share: Share,
    rest: Option<Upload>,
}

/// Receives a body.
///
/// # Errors
/// It broke off.
pub(super) async fn receive(mut incoming: Incoming, room: &Arc<Room>) -> Result<RequestBody, hyper::Error> {
    let hint = incoming.size_hint();
    if hint.exact().is_some_and(|length| length <= SMALL_BYTES as u64) {
        return Ok(RequestBody::Whole(incoming.collect().await?.to_bytes()));
    }
    let _client = room.enter();
    let mut share = room.memory.share();
    let mut memory = BytesMut::new();
    let mut spool: Option<Spool> = None;
    let mut is_whole = true;
    while let Some(frame) = incoming.frame().await {
        // Trailers are dropped: nobody asks for them, and they must not pass for fields.
        let Ok(data) = frame?.into_data() else { continue };
        memory.extend_from_slice(&data);
        let length = memory.len();
        let stays = spool.is_none()
            && (length <= SMALL_BYTES || (length <= MEMORY_BYTES && share.resize(length as u64)));
        if stays || length < PIECE_BYTES {
            continue;
        }
        share.force(0);
        is_whole = spool.as_ref().map_or(0, Spool::length) < ADVANCE_BYTES
            && write(&mut spool, &mut memory, room).await;
        if !is_whole {
            break;
        }
    }
    Ok(RequestBody::Received(Box::new(Received {
        file: spool.map(|spool| (spool.whole(), spool)),
        memory: memory.freeze(),
        share,
        rest: (!is_whole).then(|| Upload::new(incoming)),
    })))
}

/// Moves what is in memory to the file, in a thread of the blocking pool, because a disk can make anybody wait;
/// `false` when it had to stay.
async fn write(spool: &mut Option<Spool>, memory: &mut BytesMut, room: &Arc<Room>) -> bool {
    let (own, piece, room) = (spool.take(), mem::take(memory), Arc::clone(room));
    let written = spawn_blocking(move || {
        let mut own = match own.map_or_else(|| Spool::new(&room), Ok) {
            Ok(own) => own,
            Err(error) => return (None, piece, Err(error)),
        };
        let written = own.append(&piece);
        (Some(own), piece, written)
    });
    // The pool is gone only with the runtime, and this task with it.
    let Ok((own, mut piece, written)) = written.await else { return false };
    *spool = own;
    match written {
        Ok(_) => piece.clear(),
        Err(error) => tracing::warn!("a request's body cannot be received in advance: {error}"),
    }
    *memory = piece;
    memory.is_empty()
}

impl Received {
    /// The length of the body, if all of it is here.
    pub(super) fn length(&self) -> Option<u64> {
        let file = self.file.as_ref().map_or(0, |(part, _)| part.left());
        self.rest.is_none().then(|| file.saturating_add(self.memory.len() as u64))
    }

    /// The next data, `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or the rest broke off.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if let Some((part, _)) = self.file.as_mut().filter(|(part, _)| part.left() > 0) {
            return part.split().read().map(Some);
        }
        self.file = None;
        if !self.memory.is_empty() {
            return Ok(Some(mem::take(&mut self.memory)));
        }
        match &mut self.rest {
            Some(rest) => rest.next().await,
            None => Ok(None),
        }
    }
}
