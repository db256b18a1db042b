//! What a vassal has beside its workers, as tables: daemons and timed commands, caches.

use std::time::SystemTime;

use super::paper::{Paper, age, columns, number, until};
use crate::api::views::{Attached, Cache};
use crate::trace::escaped;

/// A line for each; nothing where there is none.
pub(super) fn table(attached: &[Attached], paper: Paper, now: SystemTime) -> String {
    if attached.is_empty() {
        return String::new();
    }
    let heads = ["BESIDE", "PID", "STATE", "STARTS", "FAILED", "SINCE", "NEXT", "LAST EXIT"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(attached.iter().map(|one| {
        let pid = one.pid.map_or_else(String::new, |pid| pid.to_string());
        let exit = one.last_exit.as_ref();
        let exit = exit.map(|exit| format!("{} {} ago", escaped(&exit.how), age(Some(&exit.at), now)));
        vec![
            escaped(&one.name),
            pid,
            one.state.word().to_owned(),
            number(one.starts),
            number(one.failures),
            age(one.since.as_deref(), now),
            one.next.as_ref().map_or_else(String::new, |next| format!("in {}", until(next, now))),
            exit.unwrap_or_default(),
        ]
    }));
    drawn(&rows, &[1, 3, 4, 5], paper)
}

/// A line for each cache; nothing where there is none.
pub(super) fn caches(caches: &[Cache], paper: Paper, now: SystemTime) -> String {
    if caches.is_empty() {
        return String::new();
    }
    let heads = ["CACHE", "ITEMS", "OF", "HITS", "MISSES", "NO ROOM", "CHANGED"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(caches.iter().map(|cache| {
        let numbers = [cache.items, cache.max_items, cache.hits, cache.misses, cache.full].map(number);
        let changed = cache.changed.as_deref().map(|at| format!("{} ago", age(Some(at), now)));
        let changed = changed.unwrap_or_else(|| "never".to_owned());
        std::iter::once(escaped(&cache.name)).chain(numbers).chain([changed]).collect()
    }));
    drawn(&rows, &[1, 2, 3, 4, 5], paper)
}

/// A table below the facts, indented.
fn drawn(rows: &[Vec<String>], right: &[usize], paper: Paper) -> String {
    let lines = columns(rows, right, paper.width.map(|width| width.saturating_sub(2)));
    lines.iter().fold("\n".to_owned(), |out, line| format!("{out}  {}\n", line.trim_end()))
}
