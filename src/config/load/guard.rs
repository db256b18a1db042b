//! The options of what the master holds the workers to.

use super::instance::large;
use super::sift::{Said, Sift};
use crate::config::guard::GuardSpec;

const TERM: i32 = 15;

/// Obeys an option, if it is one of these.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, guard: &mut GuardSpec) -> bool {
    match said.name() {
        "evil-reload-on-rss" => guard.evil_rss_mib = large(sift, said),
        "evil-reload-on-as" => guard.evil_as_mib = large(sift, said),
        "mem-collector-freq" => guard.collector_s = sift.count(said).max(1),
        "harakiri-graceful-timeout" => guard.harakiri.grace_s = sift.count(said),
        "harakiri-graceful-signal" => match sift.count(said) {
            number @ 1..=64 => guard.harakiri.signal = i32::try_from(number).unwrap_or(TERM),
            number => sift.error(said, format!("{number}: there is no such signal"), None),
        },
        "harakiri-queue-threshold" => guard.harakiri.threshold = large(sift, said),
        _ => return false,
    }
    true
}
