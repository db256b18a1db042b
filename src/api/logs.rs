//! A vassal's output: the last lines, and those that follow.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::response::IntoResponse;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::ask::{plain, query_of, switch};
use super::connection::Aside;
use super::desk::{Answer, Desk};
use super::guard::{Access, Grant, Peer};
use super::problem::Problem;
use super::show;
use super::stream::{self, Format, PORTION_BYTES};
use super::views;
use crate::emperor::fleet::{LogLine, Vassal};

/// What a request for lines may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Those that come, too.
    #[serde(default, deserialize_with = "switch")]
    follow: bool,
    /// Only those after this id, or number; as the header `Last-Event-ID`.
    after: Option<String>,
    /// Who does not go on after one gets at most so many of those that are there.
    lines: Option<usize>,
}

/// `GET /v1/vassals/{name}/logs`.
///
/// # Errors
/// A query that is not understood, no such vassal, a reader who may not see it, or too many listeners.
pub async fn get(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    Extension(access): Extension<Access>,
    aside: Aside,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let (name, which) = (plain(name)?, query_of(query)?);
    if !access.covers(Grant::Operate, &name) {
        let detail = "logs can hold request data: this needs the right to operate this vassal";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-allowed", detail));
    }
    let given = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let after = given.or(which.after).filter(|id| !id.is_empty());
    let mut place = {
        let fleet = desk.handle.fleet();
        let Some(vassal) = fleet.vassals.get(&name) else {
            drop(fleet);
            return Err(desk.unknown(&name));
        };
        let place = Place::new(vassal, show::era(&fleet), after.as_deref(), which.lines);
        if !which.follow {
            let lines = vassal.log.iter().filter(|line| line.number > place.after);
            let lines = lines.map(|line| place.view(line));
            return Ok(Json(views::LogPage { lines: lines.collect() }).into_response());
        }
        place
    };
    let news = desk.handle.news_of_logs();
    let format = Format::accepted(&headers).unwrap_or(Format::Lines);
    let handle = desk.handle.clone();
    let next = move || {
        let fleet = handle.fleet();
        fleet.vassals.get(&name).map(|vassal| place.portion(vassal, format)).unwrap_or_default()
    };
    let may_listen = desk.may_still(peer, access, headers);
    stream::open(&desk.kept.streams, &aside, format, news, may_listen, next)
}

/// How far a reader has come.
#[derive(Debug)]
struct Place {
    after: u64,
    /// The emperor's, for ids.
    era: String,
    /// What the reader had was counted by an emperor that is gone, or of a file that was made anew.
    lost: bool,
}

impl Place {
    /// After a line, whatever was missed; without one that is known, all that is kept, or the newest so many.
    fn new(vassal: &Vassal, era: String, after: Option<&str>, lines: Option<usize>) -> Self {
        let last = vassal.log.back().map_or(0, |line| line.number);
        let newest =
            lines.and_then(|lines| u64::try_from(lines).ok()).map_or(0, |lines| last.saturating_sub(lines));
        let Some(id) = after else { return Self { after: newest, era, lost: false } };
        let (of, number) = id.split_once('-').unwrap_or((&era, id));
        match number.parse() {
            Ok(after) if of == era && after <= last => Self { after, era, lost: false },
            _ => Self { after: 0, era, lost: true },
        }
    }

    fn view(&self, line: &LogLine) -> views::LogLine {
        views::LogLine { id: Some(format!("{}-{}", self.era, line.number)), ..show::log_line(line) }
    }

    fn portion(&mut self, vassal: &Vassal, format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        let last = vassal.log.back().map_or(0, |line| line.number);
        if last < self.after {
            (self.after, self.lost) = (0, true);
        }
        if std::mem::take(&mut self.lost) {
            format.write_json(&mut out, "gap", None, &views::Gap { gap: None });
        }
        let start = vassal.log.partition_point(|line| line.number <= self.after);
        for line in vassal.log.range(start..) {
            let missing = line.number.saturating_sub(self.after).saturating_sub(1);
            if missing > 0 && self.after > 0 {
                format.write_json(&mut out, "gap", None, &views::Gap { gap: Some(missing) });
            }
            self.after = line.number;
            let shown = self.view(line);
            format.write_json(&mut out, "line", shown.id.as_deref(), &shown);
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
    use crate::emperor::fleet::FileIdentity;

    #[test]
    fn a_reader_gets_what_it_has_not_seen() {
        let mut vassal = Vassal::new("a.ini".into(), "/v".into(), FileIdentity::default());
        for number in 5..=9 {
            vassal.log.push_back(LogLine { number, at_epoch_ms: 0, text: format!("line {number}") });
        }
        for (after, lines, expected) in [
            (None, None, "5 6 7 8 9"),
            (None, Some(2), "8 9"),
            (None, Some(0), ""),
            (Some("7"), None, "8 9"),
            (Some("e-7"), None, "8 9"),
            (Some("2"), None, "gap 5 6 7 8 9"),
            // From who goes on nothing is hidden.
            (Some("6"), Some(1), "7 8 9"),
            (Some("2"), Some(1), "gap 5 6 7 8 9"),
            (Some("99"), None, "gap 5 6 7 8 9"),
            (Some("other-7"), Some(1), "gap 5 6 7 8 9"),
            (Some("x"), None, "gap 5 6 7 8 9"),
        ] {
            let mut place = Place::new(&vassal, "e".to_owned(), after, lines);
            let text = String::from_utf8(place.portion(&vassal, Format::Lines)).unwrap();
            let brief: Vec<String> = text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                .map(|value| value.get("number").map_or("gap".to_owned(), ToString::to_string))
                .collect();
            assert_eq!(brief.join(" "), expected, "{after:?} {lines:?}");
        }
    }
}
