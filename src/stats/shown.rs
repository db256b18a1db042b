//! What an instance shows of itself, as an observer reads it. All of it is written by the instance: untrusted.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::boards::Boards;
use super::cache::ShownCache;

/// What an instance shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its scoreboards.
    pub boards: Boards,
    /// Its caches.
    pub caches: Vec<Arc<ShownCache>>,
}

impl Shown {
    /// The descriptors of all of it.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.boards.fds().chain(self.caches.iter().map(|cache| cache.fd()))
    }
}

impl<B: Into<Boards>> From<B> for Shown {
    fn from(boards: B) -> Self {
        Self { boards: boards.into(), caches: Vec::new() }
    }
}
