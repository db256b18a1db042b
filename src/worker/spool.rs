//! What waits for a slow client: in memory, or in temporary files without a name, each within a budget.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::proto::budget::{Budget, Share};

/// How much of a file is in memory at once.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// All bodies of requests and responses that wait in memory together; beyond it they go to files.
const MEMORY_BYTES: u64 = 32 * 1024 * 1024;
/// All temporary files together; beyond it application threads wait for their clients.
const FILES_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// What all connections of a worker share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) memory: Budget,
    pub(super) files: Budget,
    clients: AtomicUsize,
    served: Notify,
}

/// A client whose body is under way.
#[derive(Debug)]
pub(super) struct Client(Arc<Room>);

impl Default for Room {
    fn default() -> Self {
        Self::new(MEMORY_BYTES, FILES_BYTES)
    }
}

impl Room {
    /// For so many bytes in memory and in files.
    pub(super) fn new(memory: u64, files: u64) -> Self {
        let (memory, files) = (Budget::new(memory), Budget::new(files));
        Self { memory, files, clients: AtomicUsize::new(0), served: Notify::new() }
    }

    /// One more client.
    pub(super) fn enter(self: &Arc<Self>) -> Client {
        self.clients.fetch_add(1, Ordering::Relaxed);
        Client(Arc::clone(self))
    }

    /// Whether a client's body is under way.
    pub(super) fn has_clients(&self) -> bool {
        self.clients.load(Ordering::Relaxed) > 0
    }

    /// Waits until no client's body is under way.
    pub(super) async fn emptied(&self) {
        loop {
            let mut served = pin!(self.served.notified());
            served.as_mut().enable();
            if !self.has_clients() {
                return;
            }
            served.await;
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.0.clients.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.served.notify_waiters();
        }
    }
}

/// A temporary file that grows.
#[derive(Debug)]
pub(super) struct Spool {
    file: Arc<File>,
    share: Share,
}

/// A part of a file that is still to be read.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) file: Arc<File>,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Spool {
    /// An empty one.
    ///
    /// # Errors
    /// The file cannot be made.
    pub(super) fn new(room: &Room) -> io::Result<Self> {
        Ok(Self { file: Arc::new(tempfile::tempfile()?), share: room.files.share() })
    }

    /// Appends all of these bytes or, as far as anybody will read, none.
    ///
    /// # Errors
    /// The file cannot be written, or all of them together became too large.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<Part> {
        let at = self.share.amount();
        let end = at.saturating_add(as_u64(bytes.len()));
        if !self.share.resize(end) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "too much waits in temporary files"));
        }
        self.file.write_all_at(bytes, at).inspect_err(|_| self.share.force(at))?;
        Ok(Part { file: Arc::clone(&self.file), at, end })
    }

    /// How much was appended.
    pub(super) const fn length(&self) -> u64 {
        self.share.amount()
    }

    /// All that was appended.
    pub(super) fn whole(&self) -> Part {
        Part { file: Arc::clone(&self.file), at: 0, end: self.share.amount() }
    }
}

impl Part {
    /// How much of it is left.
    pub(super) const fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Takes the next piece off.
    pub(super) fn split(&mut self) -> Self {
        let at = self.at;
        self.at = at.saturating_add(as_u64(PIECE_BYTES)).min(self.end);
        Self { file: Arc::clone(&self.file), at, end: self.at }
    }

    /// Reads it all.
    ///
    /// # Errors
    /// The file cannot be read, or became shorter.
    pub(super) fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; usize::try_from(self.left()).unwrap_or(usize::MAX)];
        self.file.read_exact_at(&mut bytes, self.at)?;
        Ok(bytes.into())
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_piece_by_piece_and_within_the_budget() {
        let room = Room::new(0, 600_000);
        let mut spool = Spool::new(&room).unwrap();
        let first = spool.append(&[1; 300_000]).unwrap();
        spool.append(&[2; 300_000]).unwrap();
        assert_eq!(spool.append(&[3]).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(first.read().unwrap(), [1; 300_000][..]);
        let mut whole = spool.whole();
        let mut read = Vec::new();
        while whole.left() > 0 {
            read.extend_from_slice(&whole.split().read().unwrap());
        }
        assert_eq!(read, [[1; 300_000], [2; 300_000]].concat());
        drop(spool);
        assert!(!room.files.is_spent());
    }
}
