//! One instance: the master of a vassal, which owns its sockets, its scoreboard and all its processes.

pub mod decide;
pub mod roster;
mod settle;
#[cfg(test)]
mod world;
