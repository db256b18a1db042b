//! The HTTP front of one vassal: keeps the clients, reads their requests whole, and hands each to an idle worker.

mod budget;
mod client;
pub mod dispatch;
mod door;
mod fields;
mod front;
mod job;
mod link;
mod page;
mod pipe;
pub mod run;
mod socket;
mod upload;
