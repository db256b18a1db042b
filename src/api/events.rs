//! Events as they happen: each listener takes them from the emperor's ring at its own pace, and goes on where it was.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::IntoResponse;
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::watch;

use super::ask::query_of;
use super::connection::Aside;
use super::desk::{Answer, Desk};
use super::guard::{Access, Peer};
use super::show;
use super::stream::{self, Format, PORTION_BYTES};
use super::views;
use crate::emperor::events::FleetEvent;
use crate::emperor::fleet::Fleet;

/// Wakes listeners when there are events.
#[derive(Debug)]
pub struct Feed {
    last: watch::Sender<u64>,
    followed: AtomicBool,
}

impl Default for Feed {
    fn default() -> Self {
        Self { last: watch::Sender::new(0), followed: AtomicBool::new(false) }
    }
}

/// What a request for events may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Only those after this id; as the header `Last-Event-ID`.
    after: Option<String>,
    /// Only those of this vassal.
    vassal: Option<String>,
    /// Who does not go on after one gets at most so many of those that are kept, the newest.
    limit: Option<usize>,
}

/// `GET /v1/events`: what is kept as one JSON document; where a stream is accepted, what follows too.
///
/// # Errors
/// A query that is not understood, or too many listeners.
pub async fn get(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    Extension(access): Extension<Access>,
    aside: Aside,
    query: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let which = query_of(query)?;
    let given = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let vassal = which.vassal;
    let mut place = {
        let fleet = desk.handle.fleet();
        let beginning = beginning(which.limit, vassal.as_deref(), &fleet);
        Place::after(given.or(which.after).as_deref(), beginning, &fleet)
    };
    let Some(format) = Format::accepted(&headers) else {
        let fleet = desk.handle.fleet();
        let wanted = fleet.events_after(place.after).filter(|event| is_of(event, vassal.as_deref()));
        let events = wanted.map(|event| show::event(&fleet, event)).collect();
        drop(fleet);
        return Ok(Json(views::EventList { events }).into_response());
    };
    let news = desk.news_of_events();
    let handle = desk.handle.clone();
    let next = move || place.portion(&handle.fleet(), vassal.as_deref(), format);
    let may_listen = desk.may_still(peer, access, headers);
    stream::open(&desk.kept.streams, &aside, format, news, may_listen, next)
}

fn is_of(event: &FleetEvent, vassal: Option<&str>) -> bool {
    vassal.is_none_or(|vassal| event.vassal.as_deref() == Some(vassal))
}

/// The number before that of the first event that somebody gets who begins: all that is kept, or the newest so many.
fn beginning(limit: Option<usize>, vassal: Option<&str>, fleet: &Fleet) -> u64 {
    let first = match limit {
        Some(0) => return fleet.last_event(),
        Some(limit) => fleet.events.iter().rev().filter(|event| is_of(event, vassal)).nth(limit - 1),
        None => None,
    };
    first.or(fleet.events.front()).map_or(0, |event| event.id.saturating_sub(1))
}

impl Desk {
    fn news_of_events(&self) -> watch::Receiver<u64> {
        let feed = &self.kept.feed;
        if !feed.followed.swap(true, Ordering::Relaxed) {
            tokio::spawn(follow(self.clone()));
        }
        feed.last.subscribe()
    }
}

/// Wakes the listeners, and only when there is something for them.
async fn follow(desk: Desk) {
    loop {
        let changes = desk.handle.changes();
        let last = desk.handle.fleet().last_event();
        desk.kept.feed.last.send_if_modified(|known| std::mem::replace(known, last) != last);
        desk.handle.changed_since(changes).await;
    }
}

/// How far a listener has come.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    after: u64,
    /// What it had heard was told by an emperor that is gone.
    lost: bool,
    /// Up to this event it was told, or does not ask, what was dropped.
    told: u64,
}

impl Place {
    /// After the event of this id, whatever was missed; without one that is known, at this beginning.
    fn after(id: Option<&str>, beginning: u64, fleet: &Fleet) -> Self {
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return Self { after: beginning, lost: false, told: fleet.last_event() };
        };
        let ours = show::era(fleet);
        let (era, number) = id.split_once('-').unwrap_or((&ours, id));
        match number.parse() {
            Ok(after) if era == ours && after <= fleet.last_event() => {
                Self { after, lost: false, told: after }
            }
            _ => Self { after: beginning, lost: true, told: fleet.last_event() },
        }
    }

    /// What comes next, and before it, where some of it was dropped, how much.
    fn portion(&mut self, fleet: &Fleet, vassal: Option<&str>, format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        if std::mem::take(&mut self.lost) {
            format.write_json(&mut out, "gap", None, &views::Gap { gap: None });
        }
        let (told, last) = (self.told.max(self.after), fleet.last_event());
        let kept = u64::try_from(fleet.events_after(told).count()).unwrap_or(u64::MAX);
        let missing = last.saturating_sub(told).saturating_sub(kept);
        if missing > 0 {
            format.write_json(&mut out, "gap", None, &views::Gap { gap: Some(missing) });
        }
        self.told = last;
        for event in fleet.events_after(self.after) {
            self.after = event.id;
            if is_of(event, vassal) {
                let shown = show::event(fleet, event);
                format.write_json(&mut out, "event", Some(&shown.id), &shown);
            }
            if out.len() >= PORTION_BYTES {
                break;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(numbers: std::ops::RangeInclusive<u64>) -> Fleet {
        let mut fleet = serde_json::to_value(Fleet::default()).unwrap();
        fleet["started_epoch_ms"] = 255.into();
        fleet["last_event"] = (*numbers.end()).into();
        let mut fleet: Fleet = serde_json::from_value(fleet).unwrap();
        for id in numbers {
            let vassal = (id % 2 == 0).then(|| "even.ini".to_owned());
            let said = serde_json::json!({"id": id, "at_epoch_ms": 0, "vassal": vassal, "message": "it"});
            fleet.events.push_back(serde_json::from_value(said).unwrap());
        }
        fleet
    }

    #[test]
    fn a_listener_goes_on_where_it_was_and_is_told_of_gaps() {
        let fleet = fleet(11..=14);
        let even = Some("even.ini");
        for (given, limit, vassal, expected) in [
            (None, None, None, "11 12 13 14"),
            (Some("ff-12"), None, None, "13 14"),
            (Some("12"), None, None, "13 14"),
            (Some("ff-14"), None, None, ""),
            (Some("ff-5"), None, None, "gap 5 11 12 13 14"),
            (Some("fe-12"), None, None, "gap ? 11 12 13 14"),
            (Some("ff-99"), None, None, "gap ? 11 12 13 14"),
            (Some("nonsense"), None, None, "gap ? 11 12 13 14"),
            (Some(""), None, None, "11 12 13 14"),
            (None, Some(2), None, "13 14"),
            (None, Some(4), None, "11 12 13 14"),
            (None, Some(usize::MAX), None, "11 12 13 14"),
            (None, Some(0), None, ""),
            (None, Some(1), even, "14"),
            (None, Some(2), even, "12 14"),
            (None, Some(3), even, "12 14"),
            // Who goes on misses nothing by a limit; who begins anew begins with it.
            (Some("ff-11"), Some(1), None, "12 13 14"),
            (Some("ff-5"), Some(1), None, "gap 5 11 12 13 14"),
            (Some("fe-12"), Some(1), None, "gap ? 14"),
            (Some("fe-12"), Some(0), None, "gap ?"),
        ] {
            let mut place = Place::after(given, beginning(limit, vassal, &fleet), &fleet);
            let text = String::from_utf8(place.portion(&fleet, vassal, Format::Lines)).unwrap();
            let brief: Vec<String> = text
                .lines()
                .map(|line| {
                    let value: serde_json::Value = serde_json::from_str(line).unwrap();
                    match value.get("gap") {
                        Some(serde_json::Value::Null) => "gap ?".to_owned(),
                        Some(number) => format!("gap {number}"),
                        None => value["id"].as_str().unwrap().trim_start_matches("ff-").to_owned(),
                    }
                })
                .collect();
            assert_eq!(brief.join(" "), expected, "{given:?} {limit:?} {vassal:?}");
            assert!(place.portion(&fleet, vassal, Format::Lines).is_empty());
        }
        // Who begins gets what is there; who goes on is told how much is not.
        let mut holed = self::fleet(11..=14);
        holed.events.remove(2);
        for (given, expected) in [(None, 0), (Some("ff-11"), 1), (Some("ff-5"), 6), (Some("ff-13"), 0)] {
            let mut place = Place::after(given, beginning(None, None, &holed), &holed);
            let text = String::from_utf8(place.portion(&holed, None, Format::Lines)).unwrap();
            let gaps = text.lines().filter(|line| line.contains("gap")).collect::<Vec<_>>().join("");
            let told = if expected > 0 { format!("{{\"gap\":{expected}}}") } else { String::new() };
            assert_eq!(gaps, told, "{given:?}");
            assert!(place.portion(&holed, None, Format::Lines).is_empty());
        }
        let mut place = Place::after(None, beginning(None, even, &fleet), &fleet);
        let text = String::from_utf8(place.portion(&fleet, even, Format::ServerSent)).unwrap();
        assert!(text.starts_with("id: ff-12\nevent: event\ndata: {"), "{text}");
        assert_eq!(text.matches("\n\n").count(), 2);
    }
}
