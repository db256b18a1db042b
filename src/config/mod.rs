//! Text becomes typed, comparable specs. Pure: files, environment and machine come in through [`surroundings`].
//!
//! * A vassal, read from the descriptor that the emperor passed:
//!   `load::vassal(path, &bytes, &World::here())` → `Loaded<InstanceSpec>`.
//! * A command line: `command_line::read(&arguments, &World::here())` → what to do, and a [`raw::Raw`]; then
//!   `raw.is_emperor()` decides between `load::emperor(raw, …)` and `load::instance(raw, …)`.
//! * What changed: `diff::diff(&old, &new)`.
//!
//! The stages: [`format`] cuts a file into keys and values, `assembly` collects entries (includes, logic, magic variables), `expand` replaces
//! what they stand for, [`load`] gives them a meaning by the one [`table`] of options. All mistakes are reported at
//! once, each with file and line.

pub mod address;
mod assembly;
pub mod cache;
pub mod cheaper;
pub mod command_line;
pub mod companions;
pub mod cores;
pub mod diagnostic;
pub mod diff;
pub mod emperor;
mod envdir;
pub mod exceptions;
pub mod exchange;
mod expand;
pub mod fingerprint;
pub mod format;
pub mod guard;
pub mod hook;
pub mod instance;
pub mod limits;
pub mod load;
pub mod log_encoder;
pub mod log_level;
pub mod logger;
pub mod logging;
mod logic;
mod magic;
pub mod namespaces;
pub mod patch;
mod pipeline;
mod places;
pub mod process;
pub mod raw;
pub mod role;
pub mod router;
pub mod routes;
pub mod secret;
pub mod socket;
pub mod static_files;
pub mod stats_push;
pub mod suggest;
pub mod surroundings;
pub mod table;
pub mod tenant;
mod text;
mod told;
pub mod value;
pub mod vassals;
pub mod websocket;
