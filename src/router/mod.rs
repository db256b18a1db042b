//! The HTTP front of one vassal: keeps the clients, reads their requests whole, and hands each to an idle worker.
//!
//! A request's way: `door` accepts its client, `client` reads it to the end of its body (`upload`: in memory, or in a
//! file without a name), `front` queues it (`dispatch` decides), `link` sends it on an idle connection of a worker and
//! passes the answer back, through `pipe` where the client is slower than the worker. So a client that sends or reads
//! slowly holds no worker, and a worker that is being replaced leaves requests waiting, not refused.
//!
//! What happens to a request whose worker is gone before it answered stands in `job`: repeated only where the worker
//! cannot have read it, or read a part of it and repeating does no harm; otherwise 502. After the answer began it
//! breaks off visibly.

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
