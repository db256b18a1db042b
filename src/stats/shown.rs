//! What an instance shows of itself, as an observer reads it. All of it is written by the instance: untrusted.

use super::boards::Boards;

/// What an instance shows.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its scoreboards.
    pub boards: Boards,
}

impl<B: Into<Boards>> From<B> for Shown {
    fn from(boards: B) -> Self {
        Self { boards: boards.into() }
    }
}
