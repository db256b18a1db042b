//! What the hosts told, and the rates between two of their answers.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::api::views::{Outcome, Snapshot, State, Totals, Vassal};
use crate::cli::paper::until;
use crate::trace::escaped;

/// A host as last heard of.
#[derive(Debug, Default)]
pub struct HostSight {
    /// Its name in the list; empty: it is the only one.
    pub name: String,
    /// Its last answer; `None`: it does not answer.
    pub here: Option<Snapshot>,
    /// Why it does not answer, and since when.
    pub lost: Option<(String, Instant)>,
    before: BTreeMap<String, Counted>,
    rates: BTreeMap<String, Rates>,
}

/// Counters of a vassal at a time.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Instant,
    pid: Option<u32>,
    totals: Totals,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Requests answered.
    pub requests: f64,
    /// Of them, such that ended in an exception.
    pub exceptions: f64,
    /// Microseconds that a request took on average; 0: there was none.
    pub average_us: u64,
}

/// A vassal as `top` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The host's name; empty: there is only one.
    pub host: String,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// Whether something is wrong with it.
    pub trouble: bool,
    /// Its counters.
    pub totals: Totals,
    /// What happens in a second; `None`: not known yet.
    pub rates: Option<Rates>,
    /// When its master was launched, RFC 3339.
    pub since: Option<String>,
    /// One sentence.
    pub note: Option<String>,
    /// When it is tried again, RFC 3339.
    pub next_try: Option<String>,
    /// Its address in the API.
    #[serde(skip)]
    pub link: String,
}

impl Row {
    /// The sentence, with what is left until it is tried again.
    #[must_use]
    pub fn told(&self, now: SystemTime) -> Option<String> {
        let note = self.note.as_ref().map(|note| escaped(note));
        let next = self.next_try.as_ref().map(|next| format!("next try in {}", until(next, now)));
        match (next, note) {
            (Some(next), Some(note)) => Some(format!("{next}: {note}")),
            (next, note) => next.or(note),
        }
    }
}

impl HostSight {
    /// One that has not answered yet.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Takes in an answer.
    pub fn heard(&mut self, snapshot: Snapshot, at: Instant) {
        let mut now = BTreeMap::new();
        for vassal in snapshot.body.vassals.iter().map(|vassal| &vassal.vassal) {
            let counted = Counted { at, pid: vassal.pid, totals: vassal.totals };
            let before = self.before.get(&vassal.name);
            let known = self.rates.get(&vassal.name).copied();
            if let Some(rates) = before.map_or(known, |before| rates(before, &counted).or(known)) {
                self.rates.insert(vassal.name.clone(), rates);
            }
            now.insert(vassal.name.clone(), counted);
        }
        self.rates.retain(|name, _| now.contains_key(name));
        self.before = now;
        self.lost = None;
        self.here = Some(snapshot);
    }

    /// Takes in that there is none.
    pub fn silent(&mut self, why: String, at: Instant) {
        self.here = None;
        let since = self.lost.take().map_or(at, |(_, since)| since);
        self.lost = Some((why, since));
        self.before.clear();
        self.rates.clear();
    }

    /// Its vassals.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let vassals = self.here.iter().flat_map(|snapshot| &snapshot.body.vassals);
        vassals.map(|vassal| self.row(&vassal.vassal))
    }

    fn row(&self, vassal: &Vassal) -> Row {
        let reload = vassal.last_reload.as_ref().map(|reload| reload.outcome);
        Row {
            host: self.name.clone(),
            name: vassal.name.clone(),
            state: vassal.state,
            trouble: vassal.config_error.is_some()
                || matches!(vassal.state, State::Resting | State::Broken | State::NoApp)
                || matches!(reload, Some(Outcome::RolledBack | Outcome::TimedOut)),
            totals: vassal.totals,
            rates: self.rates.get(&vassal.name).copied(),
            since: vassal.since.clone(),
            note: vassal.reason.clone(),
            next_try: vassal.next_try.clone(),
            link: vassal.link.clone(),
        }
    }
}

/// The rates between two counts; `None`: they are not of the same instance, or no time has passed.
fn rates(before: &Counted, now: &Counted) -> Option<Rates> {
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    if before.pid != now.pid || seconds <= 0.0 {
        return None;
    }
    let requests = now.totals.requests.checked_sub(before.totals.requests)?;
    let exceptions = now.totals.exceptions.saturating_sub(before.totals.exceptions);
    let running_us = now.totals.running_us.saturating_sub(before.totals.running_us);
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = |count: u64| count as f64 / seconds;
    Some(Rates {
        requests: rate(requests),
        exceptions: rate(exceptions),
        average_us: running_us.checked_div(requests).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn rates_are_those_of_one_instance() {
        let start = Instant::now();
        let counted = |after_s, pid, requests, running_us| Counted {
            at: start + Duration::from_secs(after_s),
            pid: Some(pid),
            totals: Totals { requests, running_us, ..Totals::default() },
        };
        let before = counted(0, 7, 100, 1_000);
        for (now, expected) in [
            (counted(2, 7, 120, 5_000), Some((10.0, 200))),
            (counted(2, 7, 100, 1_000), Some((0.0, 0))),
            (counted(2, 8, 120, 5_000), None),
            (counted(2, 7, 3, 5_000), None),
            (counted(0, 7, 120, 5_000), None),
        ] {
            let found = rates(&before, &now).map(|rates| (rates.requests, rates.average_us));
            assert_eq!(found, expected, "{now:?}");
        }
    }

    #[test]
    fn a_host_that_is_silent_shows_nothing_old() {
        let mut host = HostSight::new("web1".into());
        let now = Instant::now();
        host.silent("nobody listens".into(), now);
        host.silent("no answer".into(), now + Duration::from_secs(5));
        assert_eq!(host.lost, Some(("no answer".into(), now)));
        assert_eq!(host.rows().count(), 0);
    }
}
