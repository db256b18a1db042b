//! The fleet as views: conversion, without asking anybody but the kernel.

mod attached;
mod lists;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

pub use attached::companions;
pub use lists::{
    black_boxes, black_boxes_of, era, event, log_line, operations, requests, requests_of, sockets,
    sockets_of, workers,
};

use super::guard::{Access, Grant};
use super::sizes::Sizes;
use super::{counters, host, views};
use crate::emperor::fleet::{self, Directory, Ending, Fleet};
use crate::emperor::life::Origin;
use crate::stats::scoreboard::Total;
use crate::tick::Tick;
use crate::trace::escaped;
use crate::wire::failure::Failure;

/// What a view depends on besides the fleet.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
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
    /// Who reads.
    pub reader: &'a Access,
    /// How large processes are.
    pub sizes: &'a Sizes,
    /// Whether texts may count seconds: not in what is kept for a while.
    pub countdown: bool,
}

impl Moment<'_> {
    /// Whether the reader may see what can hold request data of a vassal.
    #[must_use]
    pub fn shows_requests_of(&self, vassal: &str) -> bool {
        self.reader.covers(Grant::Operate, vassal)
    }
}

/// The emperor itself.
#[must_use]
pub fn emperor(fleet: &Fleet, moment: &Moment<'_>) -> views::Emperor {
    views::Emperor {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: moment.pid,
        phase: word(fleet.phase),
        since: rfc3339(fleet.started_epoch_ms),
        reexecutions: fleet.reexecutions,
        options_problem: fleet.options_problem.clone(),
        stored_sockets: lists::stored(fleet),
        directories: fleet
            .directories
            .iter()
            .map(|directory| views::Directory {
                path: path(&directory.path),
                problem: directory.problem.clone(),
                warning: doubts(directory),
            })
            .collect(),
    }
}

/// Who else could put files into a directory, and why changes in it are seen late.
fn doubts(directory: &Directory) -> Option<String> {
    let late =
        directory.unwatched.as_ref().map(|why| format!("changes are noticed by the rescan only: {why}"));
    let both: Vec<String> = directory.warning.clone().into_iter().chain(late).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// All vassals.
#[must_use]
pub fn vassals(fleet: &Fleet, moment: &Moment<'_>) -> views::VassalList {
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
pub fn detail(vassal: &fleet::Vassal, fleet: &Fleet, moment: &Moment<'_>) -> views::VassalDetail {
    let board = vassal.boards();
    views::VassalDetail {
        vassal: self::vassal(vassal, fleet, moment),
        version: vassal.current.as_ref().and_then(|life| life.version.clone()),
        attributes: vassal.attributes.collected.clone(),
        warnings: vassal.warnings.clone(),
        last_exit: vassal.last_exit.map(|exit| views::Exit {
            pid: exit.pid,
            at: rfc3339(exit.at_epoch_ms),
            how: exit.how.to_string(),
        }),
        workers: board
            .map(|board| counters::workers(board, &vassal.id, vassal.pid(), moment))
            .unwrap_or_default(),
        attached: attached::attached(vassal, moment),
        caches: vassal.caches().map(lists::cache).collect(),
        log: moment.shows_requests_of(&vassal.id).then(|| vassal.log.iter().map(log_line).collect()),
    }
}

/// The whole host.
#[must_use]
pub fn snapshot(fleet: &Fleet, moment: &Moment<'_>, revision: String) -> views::Snapshot {
    let views::VassalList { emperor, vassals, not_started } = self::vassals(fleet, moment);
    let generations = fleet.vassals.values().map(generation);
    let body = views::SnapshotBody {
        host: host::host(),
        emperor,
        totals: vassals.iter().fold(views::Totals::default(), |all, one| counters::sum(&all, &one.totals)),
        vassals: vassals
            .into_iter()
            .zip(generations)
            .map(|(vassal, generation)| views::SnapshotVassal { vassal, generation })
            .collect(),
        not_started,
        operations: fleet.operations.iter().filter(|o| o.ending.is_none()).map(operation).collect(),
    };
    views::Snapshot { revision, body }
}

fn generation(vassal: &fleet::Vassal) -> u64 {
    vassal.boards().map_or(0, |boards| boards.newest().total(Total::Generation))
}

/// All counters.
#[must_use]
pub fn stats(fleet: &Fleet, moment: &Moment<'_>) -> views::Stats {
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
        log: operation
            .log_after
            .zip(operation.vassal.as_deref())
            .map(|(line, vassal)| format!("{}/logs?after={line}", link(vassal))),
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

fn vassal(vassal: &fleet::Vassal, fleet: &Fleet, moment: &Moment<'_>) -> views::Vassal {
    views::Vassal {
        name: vassal.id.clone(),
        path: path(&vassal.path),
        link: link(&vassal.id),
        state: vassal.state.into(),
        reason: reason(vassal, fleet, moment),
        serving: vassal.serves(),
        pid: vassal.pid(),
        uid: vassal.current.as_ref().and_then(|life| life.uid),
        since: vassal.current.as_ref().map(|life| rfc3339(life.started_epoch_ms)),
        sockets: lists::listening(vassal),
        totals: vassal
            .boards()
            .map(|board| counters::totals(board, vassal.pid(), moment))
            .unwrap_or_default(),
        root: runs_as_root(vassal, moment),
        program: vassal.foreign_program().or(vassal.program.as_deref()).map(escaped),
        config_error: vassal.config_error.clone(),
        last_failure: vassal.last_failure.clone(),
        shortfall: shortfall(vassal).cloned(),
        unkept_sockets: vassal.unkept.clone(),
        last_reload: vassal.last_reload.as_ref().map(operation),
        restarts: vassal.restarts,
        reloads: vassal.reloads,
        attempts: vassal.attempts,
        next_try: vassal.next_try().map(|tick| {
            rfc3339(moment.epoch_ms.saturating_add(tick.as_ms()).saturating_sub(moment.now.as_ms()))
        }),
        companions: attached::count(vassal),
    }
}

/// The word for how a vassal stands.
#[must_use]
pub fn state_word(vassal: &fleet::Vassal) -> String {
    word(views::State::from(vassal.state))
}

/// The one sentence that an operator needs first.
fn reason(vassal: &fleet::Vassal, fleet: &Fleet, moment: &Moment<'_>) -> Option<String> {
    let failure = vassal.last_failure.as_ref().map(|failure| failure.message.clone());
    let next = match vassal.state {
        fleet::State::Resting { until, attempts } if moment.countdown => {
            let wait = until.since(moment.now).as_millis().div_ceil(1000);
            format!("; next try in {wait} s (attempt {})", attempts.saturating_add(1))
        }
        _ => String::new(),
    };
    let state = match vassal.state {
        fleet::State::Waiting => Some("waits for a place among those that load".to_owned()),
        // For long, when an import never returns.
        fleet::State::Starting => Some(match vassal.current.as_ref() {
            Some(life) => {
                let seconds = moment.now.since(life.started).as_secs();
                match (&life.doing, moment.countdown) {
                    (Some(doing), true) => format!("not loading yet after {seconds} s, but at {doing}"),
                    (Some(doing), false) => format!("not loading yet, but at {doing}"),
                    (None, true) => format!("loading for {seconds} s"),
                    (None, false) => "loading".to_owned(),
                }
            }
            None => "loading".to_owned(),
        }),
        fleet::State::Adopting => Some(match vassal.current.as_ref().map(|life| life.origin) {
            Some(Origin::Overdue) => {
                "its emperor died; it runs and does not call, so it is not adopted".to_owned()
            }
            _ => "its emperor died; it serves on and will call".to_owned(),
        }),
        fleet::State::Up { app: false, .. } => {
            let why = failure.unwrap_or_else(|| "the application did not load".to_owned());
            Some(format!("every request is answered with 500: {why}"))
        }
        fleet::State::Resting { .. } => {
            let exit = vassal.last_exit.map(|exit| exit.how.to_string());
            let why = failure.or(exit).unwrap_or_else(|| "failed".to_owned());
            Some(format!("{why}{next}"))
        }
        fleet::State::Asleep => Some("nothing runs for it; a connection wakes it".to_owned()),
        fleet::State::Stopped => Some("stopped by an operator".to_owned()),
        fleet::State::Reloading { operation } => fleet.operation(operation).map(|o| {
            let lives = [vassal.next.as_deref(), vassal.current.as_ref()];
            let doing = lives.into_iter().flatten().find_map(|life| life.doing.as_ref());
            doing.map_or_else(|| o.why.clone(), |doing| format!("{}; at {doing}", o.why))
        }),
        fleet::State::Broken => failure,
        fleet::State::Up { .. } | fleet::State::Stopping => None,
    };
    let broken_file = vassal.config_error.as_ref().map(|error| {
        let follows = match vassal.state {
            fleet::State::Broken => "; it is tried again when the file changes",
            _ if vassal.serves() => "; serving with the configuration before it",
            _ => next.as_str(),
        };
        format!("the file does not work: {}{follows}", error.first_mistake())
    });
    let rolled_back = match vassal.last_reload.as_ref().map(|reload| &reload.ending) {
        Some(Some(Ending::RolledBack(failure))) => {
            Some(format!("the last reload was rolled back: {}", failure.message))
        }
        Some(Some(Ending::TimedOut)) => Some("the last reload was not ready in time".to_owned()),
        _ => None,
    };
    let halted = vassal.current.as_ref().filter(|life| life.halted).and_then(|life| life.pid);
    let halted =
        halted.map(|pid| format!("its master was stopped by a signal; `kill -CONT {pid}` lets it go on"));
    let companion = if vassal.serves() { attached::trouble(vassal) } else { None };
    let short =
        shortfall(vassal).map(|failure| format!("fewer workers than there are to be: {}", failure.message));
    let unseen =
        vassal.unseen.as_ref().map(|why| format!("a change of its file would not be seen now: {why}"));
    halted
        .or(broken_file)
        .or(state)
        .or(short)
        .or(unseen)
        .or(rolled_back)
        .or(companion)
        .map(|text| escaped(&text))
}

/// Why it has fewer workers than it is to have.
fn shortfall(vassal: &fleet::Vassal) -> Option<&Failure> {
    vassal.current.as_ref().filter(|_| vassal.serves())?.shortfall.as_deref()
}

fn runs_as_root(vassal: &fleet::Vassal, moment: &Moment<'_>) -> bool {
    let Some(spec) = &vassal.spec else { return false };
    moment.root && spec.identity.uid.as_deref().is_none_or(|uid| matches!(uid, "root" | "0"))
}

fn vassal_stats(vassal: &fleet::Vassal, moment: &Moment<'_>) -> views::VassalStats {
    let board = vassal.boards();
    views::VassalStats {
        name: vassal.id.clone(),
        state: vassal.state.into(),
        generation: generation(vassal),
        restarts: vassal.restarts,
        reloads: vassal.reloads,
        totals: board.map(|board| counters::totals(board, vassal.pid(), moment)).unwrap_or_default(),
        workers: board
            .map(|board| counters::workers(board, &vassal.id, vassal.pid(), moment))
            .unwrap_or_default(),
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
#[must_use]
pub fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

/// A path for JSON: what is not UTF-8 replaced, control characters escaped.
fn path(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diagnostic::{Cause, Diagnostic, Severity};
    use crate::emperor::fleet::{Exit, ExitKind, FileIdentity, Operation, OperationKind, State, Vassal};

    static SIZES: Sizes = Sizes::new();
    static OPERATOR: Access = Access { grant: Grant::Operate, scope: Vec::new(), token: None };
    const MOMENT: Moment<'static> = Moment {
        now: Tick::from_ms(10_000),
        now_us: 10_000_000,
        epoch_ms: 1_700_000_000_000,
        pid: 7,
        root: false,
        reader: &OPERATOR,
        sizes: &SIZES,
        countdown: true,
    };

    fn a_vassal(state: State) -> Vassal {
        let mut vassal = Vassal::new("a.ini".into(), "/v".into(), FileIdentity::default());
        vassal.state = state;
        vassal
    }

    fn a_mistake() -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "/v/a.ini".into(),
            line: Some(2),
            option: Some("processes".into()),
            message: "wrong".into(),
            suggestion: None,
            cause: Cause::default(),
        }
    }

    fn reload(ending: Option<Ending>) -> Operation {
        Operation {
            id: 3,
            kind: OperationKind::Reload,
            vassal: Some("a.ini".into()),
            parent: None,
            why: "touched".into(),
            asked_epoch_ms: 0,
            ended_epoch_ms: Some(1),
            log_after: None,
            key: None,
            ending,
        }
    }

    fn waiting_life() -> crate::emperor::life::Life {
        let mut life = crate::emperor::life::Life::new(1, Tick::from_ms(0), 0);
        life.doing = Some("exec-asap = sleep 9 (a.ini:3)".to_owned());
        life
    }

    #[test]
    fn the_reason_is_what_an_operator_needs_first() {
        const UP: State = State::Up { app: true, loyal: false };
        type Change = fn(&mut Vassal);
        let rows: [(State, Change, Option<&str>); 14] = [
            (UP, |_| {}, None),
            (
                UP,
                |v| v.unseen = Some("the server of /far (nfs) does not answer".to_owned()),
                Some("a change of its file would not be seen now: the server of /far (nfs) does not answer"),
            ),
            (State::Starting, |_| {}, Some("loading")),
            (
                State::Starting,
                |v| v.current = Some(waiting_life()),
                Some("not loading yet after 10 s, but at exec-asap = sleep 9 (a.ini:3)"),
            ),
            (
                State::Reloading { operation: 3 },
                |v| v.current = Some(waiting_life()),
                Some("touched; at exec-asap = sleep 9 (a.ini:3)"),
            ),
            (State::Stopped, |_| {}, Some("stopped by an operator")),
            (
                State::Resting { until: Tick::from_ms(12_500), attempts: 4 },
                |v| v.last_failure = Some(Failure::new("no module named x\n")),
                Some("no module named x\\n; next try in 3 s (attempt 5)"),
            ),
            (
                State::Resting { until: Tick::from_ms(9_000), attempts: 1 },
                |v| v.last_exit = Some(Exit { pid: 1, at_epoch_ms: 0, how: ExitKind::Signal(11) }),
                Some("signal 11; next try in 0 s (attempt 2)"),
            ),
            (
                State::Up { app: false, loyal: false },
                |v| v.last_failure = Some(Failure::new("boom")),
                Some("every request is answered with 500: boom"),
            ),
            (
                UP,
                |v| v.config_error = Some(Failure::new("2 mistakes")),
                Some("the file does not work: 2 mistakes; serving with the configuration before it"),
            ),
            (
                UP,
                |v| v.last_reload = Some(reload(Some(Ending::RolledBack(Failure::new("boom"))))),
                Some("the last reload was rolled back: boom"),
            ),
            (
                State::Broken,
                |v| {
                    v.config_error =
                        Some(Failure { diagnostics: vec![a_mistake()], ..Failure::new("refused") })
                },
                Some(
                    "the file does not work: line 2: processes: wrong; it is tried again when the file changes",
                ),
            ),
            (State::Reloading { operation: 3 }, |_| {}, Some("touched")),
            (
                UP,
                |v| {
                    let mut life = waiting_life();
                    life.shortfall = Some(Box::new(Failure::new("cannot fork a worker")));
                    v.current = Some(life);
                },
                Some("fewer workers than there are to be: cannot fork a worker"),
            ),
        ];
        let mut fleet = Fleet::default();
        fleet.operations.push_back(reload(None));
        for (state, change, expected) in rows {
            let mut vassal = a_vassal(state);
            change(&mut vassal);
            assert_eq!(super::vassal(&vassal, &fleet, &MOMENT).reason.as_deref(), expected, "{state:?}");
        }
    }

    #[test]
    fn the_list_leaves_tracebacks_out_and_the_page_has_them() {
        let mut fleet = Fleet::default();
        let mut vassal = a_vassal(State::Stopped);
        let failure =
            Failure { diagnostics: vec![a_mistake()], ..Failure::new("boom").with_traceback("Traceback") };
        vassal.last_failure = Some(failure.clone());
        vassal.config_error = Some(failure.clone());
        vassal.last_reload = Some(reload(Some(Ending::RolledBack(failure.clone()))));
        fleet.vassals.insert("a.ini".into(), vassal);
        let list = serde_json::to_string(&vassals(&fleet, &MOMENT)).unwrap();
        assert!(
            !list.contains("Traceback") && list.contains("boom") && list.contains("\"line\":2"),
            "{list}"
        );
        let page = detail(&fleet.vassals["a.ini"], &fleet, &MOMENT);
        let json = serde_json::to_string(&page).unwrap();
        assert_eq!(json.matches("Traceback").count(), 3);
        assert_eq!(serde_json::from_str::<views::VassalDetail>(&json).unwrap(), page);
    }

    #[test]
    fn times_and_addresses_are_for_machines() {
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59.000Z");
        for (name, expected) in [
            ("a.ini", "/v1/vassals/a.ini"),
            ("a b%/ü\n.ini", "/v1/vassals/a%20b%25%2F%C3%BC%0A.ini"),
            ("..", "/v1/vassals/.."),
        ] {
            assert_eq!(link(name), expected);
        }
        let resting = a_vassal(State::Resting { until: Tick::from_ms(11_000), attempts: 1 });
        let view = super::vassal(&resting, &Fleet::default(), &MOMENT);
        assert_eq!(view.next_try.as_deref(), Some("2023-11-14T22:13:21.000Z"));
    }
}
