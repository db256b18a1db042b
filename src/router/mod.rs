//! The HTTP front of one vassal: keeps the clients, reads their requests whole, and lets idle workers take them.
//!
//! A request's way: `door` accepts its client (`arrival`: with TLS, or behind a proxy that says who it is), `client` reads it to the end of its body (`upload`: in memory, or in a
//! file without a name), `central` lays it into the queue in shared memory, from which the next idle thread of a worker
//! takes the oldest. A short answer comes back by the same cell, a long one over the thread's `lane`, and through
//! `pipe` where the client is slower than the worker. So a client that sends or reads slowly holds no worker, and a
//! worker that is being replaced leaves requests waiting, not refused.
//!
//! With `http-to` no worker has a part in it: `forward` takes requests to the servers of `upstream`, and brings their
//! answers back.
//!
//! What no worker has claimed is nobody's: whatever becomes of a worker, another one takes it. What one has claimed was
//! inside it: if the worker dies, the client gets 502 and nobody repeats it. After the answer began it breaks off
//! visibly.

mod answer;
mod arrival;
mod central;
mod client;
mod crews;
mod door;
mod fields;
mod forward;
mod front;
mod gzip;
mod held;
mod job;
mod lane;
mod meter;
mod page;
mod pipe;
mod redirect;
mod relay;
pub mod run;
mod socket;
mod upload;
mod upstream;
mod watch;
