//! One instance: the master of a vassal, which owns its sockets, its scoreboard and all its processes.

mod bind;
mod carry;
mod children;
pub mod decide;
mod hear;
mod interpreter;
mod jail;
mod launch;
mod link;
mod logs;
mod master;
mod perform;
mod reexec;
pub mod rehearse;
mod reload;
pub mod roster;
pub mod run;
mod settle;
mod source;
mod stats_document;
mod stats_socket;
mod touch;
#[cfg(test)]
mod world;
