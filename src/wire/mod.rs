//! What our processes say to each other: messages, the channel that carries them with descriptors, failures as data.

pub mod boot;
pub mod bytes;
pub mod cache;
pub mod channel;
pub mod companion;
pub mod death;
pub mod failure;
pub mod foreign;
pub mod inherited;
pub mod lane;
pub mod limits;
pub mod message;
pub mod mule;
pub mod outcome;
pub mod packed;
pub mod policy;
pub mod queue;
mod router_message;
pub mod succession;
pub mod validation;

/// The version of the wire messages. A new child with another one is refused; peers that were carried over an
/// `execve` or adopted speak the frozen core (hello, reload, drain, stop, exit, listener hand-over), which every
/// later version reads: JSON objects whose unknown fields are ignored.
pub const PROTOCOL: u32 = 1;
