//! Request bodies, read whole before a worker sees the request: in memory, or in a file that has no name.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::proto::budget::{Budget, Share};

/// A body up to this length stays in memory.
pub(super) const MEMORY_LIMIT_BYTES: u64 = 1024 * 1024;
/// All bodies in memory together; beyond it they go to files at once.
pub(super) const MEMORY_BUDGET_BYTES: u64 = 64 * 1024 * 1024;
/// The longest body taken at all; a longer one is answered with 413.
pub(super) const BODY_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
/// All temporary files together; when that is used up, 503.
pub(super) const SPOOL_BUDGET_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// How much is written to or read from a temporary file at once.
const PIECE_BYTES: usize = 256 * 1024;

/// What all uploads share.
#[derive(Debug)]
pub(super) struct Room {
    memory: Budget,
    spool: Budget,
}

impl Default for Room {
    fn default() -> Self {
        Self { memory: Budget::new(MEMORY_BUDGET_BYTES), spool: Budget::new(SPOOL_BUDGET_BYTES) }
    }
}

/// A complete body. Cheap to clone, so that a request can be sent a second time.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    /// None, or an empty one.
    Empty,
    /// In memory.
    Memory(Bytes, #[expect(dead_code, reason = "goes back to its budget when dropped")] Rc<Share>),
    /// In a file.
    Spooled(Rc<Spool>),
}

/// A temporary file without a name. It is written and read by the threads of the blocking pool, because a disk can
/// make anybody wait; each upload has at most one piece under way there and reads no more of its client meanwhile.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<File>,
    length: u64,
    /// Held for the file's life.
    share: Share,
}

/// Why a body could not be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    /// Longer than [`BODY_LIMIT_BYTES`].
    #[error("body longer than the limit")]
    TooLong,
    /// [`SPOOL_BUDGET_BYTES`] are in use.
    #[error("too many bodies in temporary files")]
    NoRoom,
    /// The temporary file.
    #[error("temporary file for a body: {0}")]
    File(#[from] io::Error),
    /// The client: it broke off, or sent what is no body.
    #[error("{0}")]
    Client(#[from] hyper::Error),
}

impl Payload {
    /// Reads a body to its end.
    pub(super) async fn receive(mut body: Incoming, room: &Room) -> Result<Self, UploadError> {
        let announced = body.size_hint().lower();
        if announced > BODY_LIMIT_BYTES {
            return Err(UploadError::TooLong);
        }
        let mut share = room.memory.share();
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        let mut in_memory = announced <= MEMORY_LIMIT_BYTES;
        while in_memory {
            let Some(frame) = body.frame().await else {
                let whole = if rest.is_empty() { first } else { rest.freeze() };
                return Ok(if whole.is_empty() { Self::Empty } else { Self::Memory(whole, Rc::new(share)) });
            };
            // Trailers are dropped: nobody asks for them, and they must not pass for fields.
            let Ok(data) = frame?.into_data() else { continue };
            if first.is_empty() {
                first = data;
            } else {
                if rest.is_empty() {
                    rest.extend_from_slice(&first);
                }
                rest.extend_from_slice(&data);
            }
            let held = first.len().max(rest.len()) as u64;
            in_memory = held <= MEMORY_LIMIT_BYTES && share.resize(held);
        }
        let held = if rest.is_empty() { BytesMut::from(&first[..]) } else { rest };
        drop((first, share));
        Self::spool(body, held, room).await
    }

    async fn spool(mut body: Incoming, mut piece: BytesMut, room: &Room) -> Result<Self, UploadError> {
        let mut spool = Spool {
            file: Arc::new(spawn_blocking(tempfile::tempfile).await.map_err(io::Error::other)??),
            length: 0,
            share: room.spool.share(),
        };
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            piece.extend_from_slice(&data);
            if piece.len() >= PIECE_BYTES {
                spool.append(piece.split()).await?;
            }
        }
        spool.append(piece).await?;
        Ok(Self::Spooled(Rc::new(spool)))
    }

    /// Its length; `None` when there is none.
    pub(super) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Memory(bytes, _) => Some(bytes.len() as u64),
            Self::Spooled(spool) => Some(spool.length),
        }
    }

    /// The body of a request to a worker.
    pub(super) fn to_body(&self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Memory(Bytes::new()),
            Self::Memory(bytes, _) => RequestBody::Memory(bytes.clone()),
            Self::Spooled(spool) => RequestBody::Spooled { spool: Rc::clone(spool), at: 0, read: None },
        }
    }
}

impl Spool {
    async fn append(&mut self, piece: BytesMut) -> Result<(), UploadError> {
        let at = self.length;
        self.length = at.saturating_add(piece.len() as u64);
        if self.length > BODY_LIMIT_BYTES {
            return Err(UploadError::TooLong);
        }
        if !self.share.resize(self.length) {
            return Err(UploadError::NoRoom);
        }
        let file = Arc::clone(&self.file);
        spawn_blocking(move || file.write_all_at(&piece, at)).await.map_err(io::Error::other)??;
        Ok(())
    }
}

/// A body on its way to a worker.
#[derive(Debug)]
pub(super) enum RequestBody {
    Memory(Bytes),
    Spooled { spool: Rc<Spool>, at: u64, read: Option<JoinHandle<io::Result<Bytes>>> },
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Memory(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Spooled { spool, at, read } => {
                if *at >= spool.length {
                    return Poll::Ready(None);
                }
                let reading = read.get_or_insert_with(|| {
                    let (file, at, left) = (Arc::clone(&spool.file), *at, spool.length - *at);
                    spawn_blocking(move || read_piece(&file, at, left))
                });
                let piece = ready!(Pin::new(reading).poll(cx)).map_err(io::Error::other)?;
                *read = None;
                let piece = piece?;
                *at += piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl RequestBody {
    fn left(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Spooled { spool, at, .. } => spool.length.saturating_sub(*at),
        }
    }
}

fn read_piece(file: &File, at: u64, left: u64) -> io::Result<Bytes> {
    let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(left).unwrap_or(PIECE_BYTES))];
    file.read_exact_at(&mut piece, at)?;
    Ok(Bytes::from(piece))
}
