//! liege runs all the Python web apps of a host: an emperor, its instances, and the extension in their workers.

pub mod api;
pub mod cli;
pub mod config;
pub mod damper;
pub mod emperor;
pub mod gateway;
pub mod hook;
pub mod instance;
pub mod pace;
pub mod proto;
pub mod router;
pub mod stats;
pub mod sys;
pub mod tick;
pub mod trace;
pub mod wire;
pub mod worker;
