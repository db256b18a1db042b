//! Websockets, as meant.

use serde::{Deserialize, Serialize};

/// What holds for the websockets of an application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WebsocketSpec {
    /// `websockets-ping-freq`, in seconds: a client that is silent for so long is asked whether it is there; 0: never.
    pub ping_freq_s: u32,
    /// `websockets-pong-tolerance`, in seconds: one that does not answer in that time counts as gone.
    pub pong_tolerance_s: u32,
    /// `websockets-max-size`, in KiB: the longest message of a client.
    pub max_size_kib: u32,
}

impl Default for WebsocketSpec {
    fn default() -> Self {
        Self { ping_freq_s: 30, pong_tolerance_s: 3, max_size_kib: 1024 }
    }
}
