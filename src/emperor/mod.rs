//! The emperor: watches directories, keeps one instance for each vassal file, adopts nothing it cannot prove.

pub mod backoff;
pub mod fleet;
pub mod handle;
pub mod life;
pub mod scan;
pub mod settle;

pub use handle::{Command, Handle, Refusal, Request};
