//! The options about caches.

use super::sift::{Said, Sift};
use crate::config::cache::CacheSpec;

/// How many of an instance are accepted.
const MOST: usize = 32;

/// Obeys an option, if it is one of these.
pub(super) fn obey(caches: &mut Vec<CacheSpec>, sift: &mut Sift<'_>, said: Said<'_>) -> bool {
    let spec = match said.name() {
        "cache" => CacheSpec::plain(sift.count(said).into()),
        "cache2" => CacheSpec::keyval(said.text()),
        _ => return false,
    };
    match spec {
        Err(reason) => {
            let suggestion = Some("name=NAME,items=N,blocksize=BYTES".to_owned());
            sift.error(said, format!("there is no such cache: {reason}"), suggestion);
        }
        Ok(spec) if caches.iter().any(|other| other.name == spec.name) => {
            sift.error(said, format!("there is a cache \"{}\" already", spec.name), None);
        }
        Ok(_) if caches.len() >= MOST => {
            sift.error(said, format!("there are more than {MOST} caches"), None);
        }
        Ok(spec) => caches.push(spec),
    }
    true
}
