//! The options about the lines of requests.

use super::sift::{Said, Sift};
use crate::config::logging::LineSpec;

/// Obeys them; whether it was one.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, lines: &mut LineSpec) -> bool {
    match said.name() {
        "log-format" => lines.format = Some(said.text().to_owned()).filter(|text| !text.is_empty()),
        "log-format-strftime" => lines.strftime = said.flag(),
        "memory-report" => lines.memory = said.flag(),
        "log-x-forwarded-for" => lines.forwarded_for = said.flag(),
        "log-micros" => lines.micros = said.flag(),
        "log-4xx" => lines.client_errors = said.flag(),
        "log-5xx" => lines.server_errors = said.flag(),
        "log-zero" => lines.empty = said.flag(),
        "log-ioerror" => lines.broken = said.flag(),
        "log-slow" => lines.slow_ms = sift.count(said),
        "log-big" => lines.big_bytes = u64::from(sift.count(said)),
        _ => return false,
    }
    true
}
