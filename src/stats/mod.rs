//! What is counted and seen: the scoreboard in shared memory and those who read it.

pub mod boards;
pub mod classes;
mod front;
mod kept;
pub mod lookout;
pub mod scoreboard;
pub mod shown;
pub mod tally;
mod text;
pub mod variables;
