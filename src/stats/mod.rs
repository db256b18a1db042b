//! What is counted and seen: the scoreboard and the counts of caches in shared memory, and those who read them.

pub mod boards;
pub mod cache;
pub mod classes;
mod engaged;
mod front;
pub mod kept;
pub mod lookout;
pub mod scoreboard;
pub mod shown;
mod sides;
pub mod tally;
mod text;
pub mod uwsgi;
pub mod variables;
