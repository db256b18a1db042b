//! The operating system, made safe: everything below knows nothing of the rest of the crate.

pub mod background;
pub mod clock;
mod ends;
pub mod exec;
pub mod fd;
pub mod file;
pub mod filesystem;
pub mod fork;
pub mod host;
pub mod limits;
pub mod memfd;
pub mod orphan;
pub mod output;
pub mod own;
pub mod pipe;
pub mod process;
pub mod reactor;
pub mod seqpacket;
pub mod shared;
pub mod signals;
pub mod socket;
pub mod stderr;
pub mod stream;
pub mod terminal;
pub mod title;
pub mod user;
pub mod wait;
