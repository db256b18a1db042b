//! HTTP/1.1: a strict reader of message boundaries under hyper, so that hyper only sees bytes with one reading.

pub mod chunked;
mod deadline;
pub mod guard;
#[cfg(test)]
mod guard_tests;
pub mod head;
pub mod reader;
mod watch;

use hyper::server::conn::http1::Builder;

pub use guard::Guard;
pub use watch::Watch;

use super::limits::Limits;

/// hyper refuses to work with less.
const LEAST_BUFFER_BYTES: usize = 8192;

/// hyper's server with our settings, for connections wrapped in a [`Guard`], which also keeps the time limits.
#[must_use]
pub fn server_builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        // A client that shuts its sending side down still waits for its answer; and the end that the guard makes of
        // a refused request must not cut an answer under way.
        .half_close(true)
        .keep_alive(true)
        .title_case_headers(true)
        .max_headers(limits.fields)
        .max_buf_size(limits.head_bytes.saturating_add(1024).max(LEAST_BUFFER_BYTES));
    builder
}
