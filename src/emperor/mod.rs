//! The emperor: watches directories, keeps one instance for each vassal file, adopts nothing it cannot prove.

pub mod adopt;
pub mod attributes;
pub mod audit;
pub mod backoff;
pub mod decide;
pub mod directories;
mod errands;
pub mod event;
pub mod events;
pub mod fleet;
pub mod handle;
pub mod ledger;
pub mod life;
pub mod link;
pub mod logs;
pub mod masters;
pub mod notify;
pub mod past;
pub mod pattern;
mod plan;
pub mod reap;
pub mod record;
pub mod reexec;
pub mod run;
pub mod scan;
pub mod settle;
pub mod signals;
pub mod sources;
pub mod spawn;
mod survey;
mod turns;
pub mod watch;

pub use handle::{Command, Handle, Refusal, Request};
