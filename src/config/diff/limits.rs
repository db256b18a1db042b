//! What a change of limits needs.

use super::{Change, Need};
use crate::config::process::LimitSpec;

/// Notes what differs. `raised`: who can give back what was taken away.
pub(super) fn note(change: &mut Change, old: &LimitSpec, new: &LimitSpec, raised: Need) {
    let LimitSpec { files, memory_bytes, processes, nice } = new;
    for (option, old, new) in [
        ("max-fd", old.files, *files),
        ("limit-as", old.memory_bytes, *memory_bytes),
        ("limit-nproc", old.processes, *processes),
    ] {
        let need = match (old, new) {
            // What was allowed before the first limit, nobody knows.
            (_, None) => Need::Replace,
            (Some(old), Some(new)) if new > old => raised,
            // Every process may limit itself further.
            _ => Need::Generation,
        };
        change.note(old != new, option, need);
    }
    // What it was before the first one, nobody knows. Only root may make it smaller again, and who has become another user
    // may not say how nice the session is (`/proc/PID/autogroup` is root's then).
    change.note(old.nice != *nice, "prio", if *nice == 0 { Need::Replace } else { raised });
}
