//! The operating system, made safe: everything below knows nothing of the rest of the crate.

pub mod clock;
pub mod fd;
pub mod memfd;
pub mod reactor;
pub mod seqpacket;
pub mod shared;
pub mod stderr;
