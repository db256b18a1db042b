//! Request bodies, read whole before a worker sees the request: in memory, or in a file that has no name.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::task::spawn_blocking;

use crate::proto::budget::{Budget, Share};

/// A body up to this length stays in memory.
pub(super) const MEMORY_LIMIT_BYTES: u64 = 1024 * 1024;
/// All bodies in memory together; beyond it they go to files at once.
pub(super) const MEMORY_BUDGET_BYTES: u64 = 64 * 1024 * 1024;
/// The longest body taken at all; a longer one is answered with 413.
pub(super) const BODY_LIMIT_BYTES: u64 = 1024 * 1024 * 1024;
/// All temporary files together; when that is used up, 503.
pub(super) const SPOOL_BUDGET_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// How much is written to a temporary file at once.
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

/// A complete body. Cheap to clone, to read from it while its request may go.
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
    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

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

    /// The body, where all of it is in memory.
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Memory(bytes, _) => Some(bytes),
            Self::Spooled(_) => None,
        }
    }

    /// A part of it, at most so many bytes.
    ///
    /// # Errors
    /// Reading the temporary file.
    pub(super) async fn part(&self, at: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::Empty => Ok(Bytes::new()),
            Self::Memory(bytes, _) => {
                let start = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(start..start.saturating_add(length).min(bytes.len())))
            }
            Self::Spooled(spool) => {
                let left = usize::try_from(spool.length.saturating_sub(at)).unwrap_or(usize::MAX);
                let file = Arc::clone(&spool.file);
                let read = spawn_blocking(move || read_part(&file, at, length.min(left)));
                read.await.map_err(io::Error::other)?
            }
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

fn read_part(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut part = vec![0; length];
    file.read_exact_at(&mut part, at)?;
    Ok(Bytes::from(part))
}
