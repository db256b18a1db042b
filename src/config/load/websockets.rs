//! The options of the websockets of an application.

use super::sift::{Said, Sift};
use crate::config::websocket::WebsocketSpec;

/// Obeys an option, if it is one of these.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut WebsocketSpec) -> bool {
    match said.name() {
        "websockets-ping-freq" => spec.ping_freq_s = sift.count(said),
        "websockets-pong-tolerance" => spec.pong_tolerance_s = sift.count(said),
        "websockets-max-size" => spec.max_size_kib = sift.count(said),
        _ => return false,
    }
    true
}
