//! What a request and its response may cost, beyond what limits of their own say.

use serde::{Deserialize, Serialize};

/// What a request and its response may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExchangeSpec {
    /// `so-send-timeout`, in seconds: how long a client of the workers may take nothing; 0: `socket-timeout`, but at least
    /// half a minute.
    pub send_timeout_s: u32,
    /// `chunked-input-limit`, in bytes: the longest chunk of a request's body; 0: any.
    pub chunk_bytes: u64,
    /// `chunked-input-timeout`, in seconds: how long nothing of a chunked body may come; 0: as of any body.
    pub chunk_timeout_s: u32,
    /// `response-headers-limit`, in bytes: names and values of a response.
    pub response_head_bytes: u32,
    /// `body-read-warning`, in MiB: who reads more of a body at once is warned; 0: at any size.
    pub body_read_warning_mib: u64,
    /// `write-errors-tolerance`: how many failed writes an application is not told of.
    pub write_errors_tolerance: u64,
    /// `wsgi-accept-buffer`: items of a response may be whatever has bytes.
    pub accept_buffers: bool,
}

impl Default for ExchangeSpec {
    fn default() -> Self {
        Self {
            send_timeout_s: 0,
            chunk_bytes: 0,
            chunk_timeout_s: 0,
            response_head_bytes: 65_535,
            body_read_warning_mib: 8,
            write_errors_tolerance: 0,
            accept_buffers: false,
        }
    }
}
