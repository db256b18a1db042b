//! The emperor's HTTP door: views, control, authorisation.

pub mod connection;
pub mod counters;
pub mod door;
pub mod guard;
pub mod problem;
pub mod routes;
pub mod show;
pub mod token;
pub mod views;
