//! The fleet as views: pure conversion.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::counters;
use super::guard::Grant;
use super::views;
use crate::emperor::fleet::{self, Ending, Fleet};
use crate::stats::scoreboard::Total;
use crate::tick::Tick;
use crate::trace::escaped;
use crate::wire::failure::Failure;

/// What a view depends on besides the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The monotonic clock.
    pub now: Tick,
    /// Microseconds on the monotonic clock.
    pub now_us: u64,
    /// Milliseconds since the epoch.
    pub epoch_ms: u64,
    /// The emperor's pid.
    pub pid: u32,
    /// Whether the emperor runs as root, and so its vassals unless they say otherwise.
    pub root: bool,
    /// What the reader may see.
    pub grant: Grant,
}

/// The emperor itself.
#[must_use]
pub fn emperor(fleet: &Fleet, moment: &Moment) -> views::Emperor {
    views::Emperor {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: moment.pid,
        phase: word(fleet.phase),
        since: rfc3339(fleet.started_epoch_ms),
        reexecutions: fleet.reexecutions,
        directories: fleet
            .directories
            .iter()
            .map(|directory| views::Directory {
                path: path(&directory.path),
                problem: directory.problem.clone(),
                warning: directory.warning.clone().or_else(|| directory.unwatched.clone()),
            })
            .collect(),
    }
}

/// All vassals.
#[must_use]
pub fn vassals(fleet: &Fleet, moment: &Moment) -> views::VassalList {
    views::VassalList {
        emperor: emperor(fleet, moment),
        vassals: fleet.vassals.values().map(|v| without_tracebacks(vassal(v, fleet, moment))).collect(),
        not_started: fleet
            .not_started
            .iter()
            .map(|file| views::NotStarted {
                path: format!("{}/{}", path(&file.directory), escaped(&file.name)),
                reason: escaped(&file.reason),
            })
            .collect(),
    }
}

/// One vassal with everything that is known of it.
#[must_use]
pub fn detail(vassal: &fleet::Vassal, fleet: &Fleet, moment: &Moment) -> views::VassalDetail {
    let board = vassal.scoreboard.as_deref();
    views::VassalDetail {
        vassal: self::vassal(vassal, fleet, moment),
        version: vassal.current.as_ref().and_then(|life| life.version.clone()),
        warnings: vassal.warnings.clone(),
        last_exit: vassal.last_exit.map(|exit| views::Exit {
            pid: exit.pid,
            at: rfc3339(exit.at_epoch_ms),
            how: exit.how.to_string(),
        }),
        workers: board.map(|b| counters::workers(b, moment.now_us, moment.grant)).unwrap_or_default(),
        log: (moment.grant == Grant::Operate).then(|| {
            let line =
                |l: &fleet::LogLine| views::LogLine { at: rfc3339(l.at_epoch_ms), text: l.text.clone() };
            vassal.log.iter().map(line).collect()
        }),
    }
}

/// All counters.
#[must_use]
pub fn stats(fleet: &Fleet, moment: &Moment) -> views::Stats {
    let vassals: Vec<_> = fleet.vassals.values().map(|vassal| vassal_stats(vassal, moment)).collect();
    views::Stats {
        emperor: emperor(fleet, moment),
        totals: vassals.iter().fold(views::Totals::default(), |all, one| counters::sum(&all, &one.totals)),
        vassals,
    }
}

/// An operation.
#[must_use]
pub fn operation(operation: &fleet::Operation) -> views::Operation {
    let (outcome, failure) = match &operation.ending {
        None => (views::Outcome::Running, None),
        Some(Ending::Done) => (views::Outcome::Done, None),
        Some(Ending::Swapped) => (views::Outcome::Swapped, None),
        Some(Ending::RolledBack(failure)) => (views::Outcome::RolledBack, Some(failure)),
        Some(Ending::TimedOut) => (views::Outcome::TimedOut, None),
        Some(Ending::Superseded) => (views::Outcome::Superseded, None),
        Some(Ending::Failed(failure)) => (views::Outcome::Failed, Some(failure)),
    };
    views::Operation {
        id: operation.id,
        link: format!("/v1/operations/{}", operation.id),
        kind: word(operation.kind),
        vassal: operation.vassal.clone(),
        parent: operation.parent,
        why: operation.why.clone(),
        asked: rfc3339(operation.asked_epoch_ms),
        ended: operation.ended_epoch_ms.map(rfc3339),
        outcome,
        failure: failure.cloned(),
    }
}

/// A time as RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn rfc3339(epoch_ms: u64) -> String {
    // The year 9999 is the last that the format knows.
    let bounded = Duration::from_millis(epoch_ms.min(253_402_300_799_000));
    humantime::format_rfc3339_millis(UNIX_EPOCH.checked_add(bounded).unwrap_or(SystemTime::UNIX_EPOCH))
        .to_string()
}

/// A vassal's address in the API.
#[must_use]
pub fn link(name: &str) -> String {
    let mut link = String::from("/v1/vassals/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                link.push(char::from(byte))
            }
            _ => link.push_str(&format!("%{byte:02X}")),
        }
    }
    link
}

fn vassal(vassal: &fleet::Vassal, fleet: &Fleet, moment: &Moment) -> views::Vassal {
    views::Vassal {
        name: vassal.id.clone(),
        path: path(&vassal.path),
        link: link(&vassal.id),
        state: state(vassal.state),
        reason: reason(vassal, fleet, moment),
        serving: vassal.serves(),
        pid: vassal.pid(),
        since: vassal.current.as_ref().map(|life| rfc3339(life.started_epoch_ms)),
        sockets: vassal.spec.iter().flat_map(|spec| &spec.listen).map(socket).collect(),
        totals: vassal.scoreboard.as_deref().map(counters::totals).unwrap_or_default(),
        root: runs_as_root(vassal, moment),
        config_error: vassal.config_error.clone(),
        last_failure: vassal.last_failure.clone(),
        last_reload: vassal.last_reload.as_ref().map(operation),
        restarts: vassal.restarts,
        reloads: vassal.reloads,
        attempts: vassal.attempts,
        next_try: vassal.next_try().map(|tick| {
            rfc3339(moment.epoch_ms.saturating_add(tick.as_ms()).saturating_sub(moment.now.as_ms()))
        }),
    }
}

fn socket(listen: &crate::config::address::Listen) -> views::Socket {
    views::Socket { address: escaped(&listen.address.to_string()), protocol: listen.protocol }
}

const fn state(state: fleet::State) -> views::State {
    match state {
        fleet::State::Waiting => views::State::Waiting,
        fleet::State::Starting => views::State::Starting,
        fleet::State::Up { app: true, .. } => views::State::Up,
        fleet::State::Up { app: false, .. } => views::State::NoApp,
        fleet::State::Reloading { .. } => views::State::Reloading,
        fleet::State::Stopping => views::State::Stopping,
        fleet::State::Resting { .. } => views::State::Resting,
        fleet::State::Stopped => views::State::Stopped,
    }
}

/// The one sentence that an operator needs first.
fn reason(vassal: &fleet::Vassal, fleet: &Fleet, moment: &Moment) -> Option<String> {
    let failure = vassal.last_failure.as_ref().map(|failure| failure.message.clone());
    let state = match vassal.state {
        fleet::State::Waiting => Some("waits for a place among those that load".to_owned()),
        fleet::State::Up { app: false, .. } => {
            let why = failure.unwrap_or_else(|| "the application did not load".to_owned());
            Some(format!("every request is answered with 500: {why}"))
        }
        fleet::State::Resting { until, attempts } => {
            let exit = vassal.last_exit.map(|exit| exit.how.to_string());
            let why = failure.or(exit).unwrap_or_else(|| "failed".to_owned());
            let wait = until.since(moment.now).as_millis().div_ceil(1000);
            Some(format!("{why}; next try in {wait} s, after {attempts} failures"))
        }
        fleet::State::Stopped => Some("stopped by an operator".to_owned()),
        fleet::State::Reloading { operation } => fleet.operation(operation).map(|o| o.why.clone()),
        fleet::State::Starting | fleet::State::Up { .. } | fleet::State::Stopping => None,
    };
    let broken_file = vassal.config_error.as_ref().map(|error| {
        let serving = if vassal.serves() { "; serving with the configuration before it" } else { "" };
        format!("the file does not work: {}{serving}", error.message)
    });
    let rolled_back = match vassal.last_reload.as_ref().map(|reload| &reload.ending) {
        Some(Some(Ending::RolledBack(failure))) => {
            Some(format!("the last reload was rolled back: {}", failure.message))
        }
        Some(Some(Ending::TimedOut)) => Some("the last reload was not ready in time".to_owned()),
        _ => None,
    };
    broken_file.or(state).or(rolled_back).map(|text| escaped(&text))
}

fn runs_as_root(vassal: &fleet::Vassal, moment: &Moment) -> bool {
    let Some(spec) = &vassal.spec else { return false };
    moment.root && spec.identity.uid.as_deref().is_none_or(|uid| matches!(uid, "root" | "0"))
}

fn vassal_stats(vassal: &fleet::Vassal, moment: &Moment) -> views::VassalStats {
    let board = vassal.scoreboard.as_deref();
    views::VassalStats {
        name: vassal.id.clone(),
        state: state(vassal.state),
        generation: board.map_or(0, |b| b.total(Total::Generation)),
        restarts: vassal.restarts,
        reloads: vassal.reloads,
        totals: board.map(counters::totals).unwrap_or_default(),
        workers: board.map(|b| counters::workers(b, moment.now_us, moment.grant)).unwrap_or_default(),
    }
}

fn without_tracebacks(mut vassal: views::Vassal) -> views::Vassal {
    let cut = |failure: &mut Failure| failure.traceback = None;
    vassal.config_error.as_mut().map(cut);
    vassal.last_failure.as_mut().map(cut);
    vassal.last_reload.as_mut().and_then(|reload| reload.failure.as_mut()).map(cut);
    vassal
}

/// The name that an enum has in JSON.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A path for JSON: what is not UTF-8 replaced, control characters escaped.
fn path(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}
