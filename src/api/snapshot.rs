//! The snapshot: the whole host in one answer, made anew only when something has changed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::ask::{Wait, wait_of};
use super::connection::Aside;
use super::counters;
use super::desk::{Answer, Desk};
use super::guard::READER;
use super::show::{self, Moment};
use crate::emperor::fleet::Fleet;
use crate::sys::clock;
use crate::tick::Tick;

/// For how long counters are not looked at again.
const GLANCE: Duration = Duration::from_millis(100);
/// How often counters are looked at for those who wait; states wake them at once.
const LOOK: Duration = Duration::from_secs(1);

/// The last snapshot.
#[derive(Debug, Default)]
pub struct Snapshots {
    last: Mutex<Option<Made>>,
}

#[derive(Clone, Debug)]
struct Made {
    number: u64,
    tag: String,
    body: Bytes,
    changes: u64,
    counters: u64,
    looked: Tick,
}

/// `GET /v1/snapshot`: with `If-None-Match`, 304 when nothing has changed; with `wait` too, once something has.
///
/// # Errors
/// A query that is not understood.
pub async fn get(
    State(desk): State<Desk>,
    aside: Aside,
    wait: Result<Query<Wait>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let wait = wait_of(wait, &headers)?;
    let until = clock::now() + wait;
    let mut place = None;
    loop {
        let changes = desk.handle.changes();
        let made = desk.kept.snapshots.current(&desk);
        let left = until.since(clock::now());
        let known = matches(&headers, &made.tag);
        if !known || left.is_zero() {
            return Ok(answer(known, &made.tag, made.body));
        }
        let place = place.get_or_insert_with(|| aside.step());
        let changed = desk.handle.changed_since(changes);
        tokio::select! {
            _ = tokio::time::timeout(left.min(LOOK), changed) => {}
            () = place.until_recalled() => return Ok(answer(known, &made.tag, made.body)),
        }
    }
}

/// A snapshot, or that the client has it.
pub fn answer(known: bool, tag: &str, body: Bytes) -> Response {
    let tag = HeaderValue::from_str(tag).unwrap_or(HeaderValue::from_static("\"\""));
    let mut response = match known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
    };
    response.headers_mut().insert(header::ETAG, tag);
    response
}

/// Whether the client has it already (RFC 9110, 13.1.2).
#[must_use]
pub fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}

impl Snapshots {
    fn current(&self, desk: &Desk) -> Made {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let changes = desk.handle.changes();
        let unchanged = |made: &&mut Made| made.changes == changes;
        if let Some(made) = last.as_mut().filter(unchanged)
            && now.since(made.looked) < GLANCE
        {
            return made.clone();
        }
        let fleet = desk.handle.fleet();
        let counters = fingerprint(&fleet);
        if let Some(made) = last.as_mut().filter(unchanged)
            && made.counters == counters
        {
            made.looked = now;
            return made.clone();
        }
        let number = last.as_ref().map_or(1, |made| made.number.saturating_add(1));
        // Another image of the emperor, or another emperor, counts from 1 again.
        let revision = format!("{:x}-{}-{number}", fleet.started_epoch_ms, fleet.reexecutions);
        let moment = Moment { countdown: false, ..desk.moment(&READER) };
        let snapshot = show::snapshot(&fleet, &moment, revision.clone());
        drop(fleet);
        let body = serde_json::to_vec(&snapshot).unwrap_or_default().into();
        let made = Made { number, tag: format!("\"{revision}\""), body, changes, counters, looked: now };
        *last = Some(made.clone());
        made
    }
}

/// A number that is another one when a counter on any scoreboard is.
fn fingerprint(fleet: &Fleet) -> u64 {
    let shown = fleet.vassals.values().filter_map(|vassal| vassal.boards());
    shown.fold(0, |sum, boards| counters::fingerprint(boards, sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_what_it_names() {
        for (given, expected) in [
            ("\"a\"", true),
            ("\"b\", \"a\"", true),
            ("W/\"a\"", true),
            ("*", true),
            ("a", false),
            ("\"b\"", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(given))]);
            assert_eq!(matches(&headers, "\"a\""), expected, "{given}");
        }
    }
}
