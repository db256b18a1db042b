//! The options of what the master holds the workers to.

use super::instance::large;
use super::sift::{Said, Sift};
use crate::config::guard::GuardSpec;

/// Obeys an option, if it is one of these.
pub(super) fn obey(sift: &mut Sift<'_>, said: Said<'_>, guard: &mut GuardSpec) -> bool {
    match said.name() {
        "evil-reload-on-rss" => guard.evil_rss_mib = large(sift, said),
        "evil-reload-on-as" => guard.evil_as_mib = large(sift, said),
        "mem-collector-freq" => guard.collector_s = sift.count(said).max(1),
        _ => return false,
    }
    true
}
