//! The options about what a request and its response may cost.

use super::instance::large;
use super::sift::{Said, Sift};
use crate::config::exchange::ExchangeSpec;

/// Obeys an option, if it is one of these.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, exchange: &mut ExchangeSpec) -> bool {
    match said.name() {
        "so-send-timeout" => exchange.send_timeout_s = sift.count(said),
        "chunked-input-limit" => exchange.chunk_bytes = large(sift, said),
        "chunked-input-timeout" => exchange.chunk_timeout_s = sift.count(said),
        "response-headers-limit" => {
            exchange.response_head_bytes = match sift.count(said) {
                // As in uWSGI.
                0 => ExchangeSpec::default().response_head_bytes,
                bytes => bytes,
            };
        }
        "body-read-warning" => exchange.body_read_warning_mib = large(sift, said),
        "write-errors-tolerance" => exchange.write_errors_tolerance = large(sift, said),
        "wsgi-accept-buffer" => exchange.accept_buffers = said.flag(),
        _ => return false,
    }
    true
}
