//! `liege status`: the fleet, or one vassal, for people.

use std::time::SystemTime;

use super::beside;
use super::client::{Client, ClientError};
use super::exit::Exit;
use super::failure;
use super::names;
use super::paper::{Paper, Tone, age, clipped, columns, number, print};
use crate::api::views::{Outcome, State, Vassal, VassalDetail, VassalList, Worker, WorkerState};
use crate::trace::escaped;

/// How many lines of output a vassal's page shows.
const LOG_LINES: usize = 10;

/// How wide the names' column becomes: file names may have 255 bytes.
const NAME_COLUMNS: usize = 40;

/// How many vassals are named whose sockets end with the emperor.
const UNKEPT: usize = 3;

/// Prints the fleet, or the vassals named.
///
/// # Errors
/// No answer, or an unknown name.
pub async fn run(
    client: &Client,
    names: &[String],
    only_names: bool,
    json: bool,
) -> Result<Exit, ClientError> {
    let (paper, now) = (Paper::stdout(), SystemTime::now());
    if only_names {
        let list: VassalList = client.get("/v1/vassals").await?;
        let is_meant =
            |name: &str| names.is_empty() || names.iter().any(|given| names::is_meant(given, name));
        let found = list.vassals.iter().map(|vassal| vassal.name.as_str()).filter(|name| is_meant(name));
        let text = match json {
            true => serde_json::to_string(&found.collect::<Vec<_>>()).unwrap_or_default() + "\n",
            false => found.map(|name| escaped(name) + "\n").collect(),
        };
        print(&text);
        return Ok(Exit::Done);
    }
    if names.is_empty() {
        match json {
            true => print(&format!("{}\n", client.text("/v1/vassals").await?)),
            false => print(&fleet(&client.get("/v1/vassals").await?, paper, now)),
        }
        return Ok(Exit::Done);
    }
    let mut gap = "";
    for vassal in client.resolve(names).await? {
        match json {
            true => print(&format!("{}\n", client.text(&vassal.link).await?)),
            false => print(&format!("{gap}{}", page(&client.get(&vassal.link).await?, paper, now))),
        }
        gap = "\n";
    }
    Ok(Exit::Done)
}

/// The fleet: a line for each vassal, then what is broken and what to do about it.
#[must_use]
pub fn fleet(list: &VassalList, paper: Paper, now: SystemTime) -> String {
    let mut out = summary(list, now);
    if let Some(problem) = &list.emperor.options_problem {
        out.push_str(&paper.tone(Tone::Bad, &format!("the emperor: {problem}\n")));
    }
    out.push_str(&stored(list, paper));
    for directory in &list.emperor.directories {
        let doubt = directory.problem.as_ref().or(directory.warning.as_ref());
        if let Some(doubt) = doubt {
            let path = if doubt.starts_with(&directory.path) {
                String::new()
            } else {
                format!("{}: ", directory.path)
            };
            out.push_str(&paper.tone(Tone::Passing, &format!("{path}{doubt}\n")));
        }
    }
    if list.vassals.is_empty() {
        out.push_str("no vassals: put an .ini file into a watched directory\n");
    } else {
        out.push('\n');
        out.push_str(&table(&list.vassals, paper, now));
    }
    for vassal in &list.vassals {
        out.push_str(&trouble(vassal, paper));
    }
    // Of a file whose vassal is in the table the reason stands there.
    let is_shown = |path: &str| list.vassals.iter().any(|vassal| vassal.path == path);
    let others = list.not_started.iter().filter(|file| !is_shown(&file.path));
    for (index, file) in others.enumerate() {
        let gap = if index == 0 { "\n" } else { "" };
        out.push_str(&format!("{gap}not started: {}: {}\n", file.path, file.reason));
    }
    out
}

/// What the service manager keeps, where there is one.
fn stored(list: &VassalList, paper: Paper) -> String {
    let stored = &list.emperor.stored_sockets;
    let unkept = list.vassals.iter().filter(|vassal| vassal.unkept_sockets.is_some());
    let unkept: Vec<String> = unkept.map(|vassal| escaped(&vassal.name)).collect();
    if stored.most == 0 && stored.problem.is_none() {
        return String::new();
    }
    let mut line = format!("sockets that outlast the emperor: {} of {} at most", stored.kept, stored.most);
    if let Some(named) = unkept.get(..unkept.len().min(UNKEPT)).filter(|named| !named.is_empty()) {
        let more = unkept.len().saturating_sub(named.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        line.push_str(&format!("; not those of {}{more} (`liege why NAME`)", named.join(", ")));
    }
    if let Some(problem) = &stored.problem {
        line.push_str(&format!("; {problem}"));
    }
    let is_well = unkept.is_empty() && stored.problem.is_none();
    paper.tone(if is_well { Tone::Faint } else { Tone::Passing }, &line) + "\n"
}

pub(super) fn summary(list: &VassalList, now: SystemTime) -> String {
    let serving = list.vassals.iter().filter(|vassal| vassal.serving && vassal.state != State::NoApp).count();
    let directories: Vec<_> = list.emperor.directories.iter().map(|d| d.path.as_str()).collect();
    format!(
        "liege {}, {} for {}, pid {}: {serving} of {} vassals serve from {}\n",
        list.emperor.version,
        list.emperor.phase,
        age(Some(&list.emperor.since), now),
        list.emperor.pid,
        list.vassals.len(),
        directories.join(", "),
    )
}

pub(super) fn table(vassals: &[Vassal], paper: Paper, now: SystemTime) -> String {
    let mut rows = vec![["NAME", "STATE", "BUSY", "REQUESTS", "SINCE", "NOTE"].map(str::to_owned).to_vec()];
    rows.extend(vassals.iter().map(|vassal| {
        vec![
            clipped(&escaped(&vassal.name), NAME_COLUMNS),
            vassal.state.word().to_owned(),
            format!("{}/{}", vassal.totals.busy, vassal.totals.workers),
            number(vassal.totals.requests),
            age(vassal.since.as_deref(), now),
            note(vassal),
        ]
    }));
    let mut lines = columns(&rows, &[2, 3], paper.width).into_iter();
    let mut out = lines.next().map(|head| paper.tone(Tone::Heading, &head) + "\n").unwrap_or_default();
    for (line, vassal) in lines.zip(vassals) {
        let word = vassal.state.word();
        // The state's own place: names may contain the same word.
        let after_name = rows.iter().filter_map(|row| row.first()).map(|name| name.chars().count()).max();
        let at = after_name.and_then(|count| line.char_indices().nth(count)).map_or(line.len(), |(at, _)| at);
        let (name, rest) = line.split_at(at);
        out.push_str(name);
        out.push_str(&rest.replacen(word, &paper.tone(tone(vassal), word), 1));
        out.push('\n');
    }
    out
}

const fn tone(vassal: &Vassal) -> Tone {
    match vassal.state {
        State::Up if vassal.config_error.is_none() => Tone::Good,
        State::Resting | State::Broken | State::NoApp => Tone::Bad,
        State::Up
        | State::Waiting
        | State::Starting
        | State::Adopting
        | State::Asleep
        | State::Reloading
        | State::Stopping
        | State::Stopped => Tone::Passing,
    }
}

/// Whether something is wrong with it, or about to change.
pub(super) fn needs_a_look(vassal: &Vassal) -> bool {
    let usual = matches!(vassal.state, State::Up | State::Asleep | State::Stopped);
    !usual || vassal.config_error.is_some() || vassal.reason.is_some() && vassal.state == State::Up
}

/// What is worth knowing first: trouble, else where it is served.
fn note(vassal: &Vassal) -> String {
    let root = if vassal.root { "as root! " } else { "" };
    let text = vassal.reason.clone().unwrap_or_else(|| match &vassal.program {
        // Where that listens it does not tell.
        Some(program) if vassal.sockets.is_empty() => format!("run by {program}"),
        _ => sockets(vassal),
    });
    format!("{root}{text}")
}

fn sockets(vassal: &Vassal) -> String {
    let all = vassal.sockets.iter().map(|socket| match socket.protocol {
        Some(protocol) => format!("{} {}", protocol.name(), socket.address),
        None => socket.address.clone(),
    });
    let all: Vec<_> = all.collect();
    all.join(", ")
}

/// What is broken, with file and line and what to do.
fn trouble(vassal: &Vassal, paper: Paper) -> String {
    let rolled_back = vassal.last_reload.as_ref().filter(|reload| reload.outcome == Outcome::RolledBack);
    let failure = match (&vassal.config_error, vassal.state, rolled_back) {
        (Some(error), ..) => Some(error),
        (None, State::Resting | State::Broken | State::NoApp, _) => vassal.last_failure.as_ref(),
        (None, _, Some(reload)) => reload.failure.as_ref(),
        (None, ..) => None,
    };
    let Some(failure) = failure else { return String::new() };
    let name = escaped(&vassal.name);
    let mut out = format!("\n{}\n{}", paper.tone(Tone::Bad, &name), failure::lines(failure, "  "));
    if vassal.config_error.is_none() {
        out.push_str(&paper.tone(Tone::Faint, &format!("  more: liege why '{name}'\n")));
    }
    out
}

/// One vassal with everything that is known of it.
#[must_use]
pub fn page(detail: &VassalDetail, paper: Paper, now: SystemTime) -> String {
    let vassal = &detail.vassal;
    let state = paper.tone(tone(vassal), vassal.state.word());
    let mut out = format!("{}: {state}\n", paper.tone(Tone::Heading, &escaped(&vassal.name)));
    let mut fact = |name: &str, text: Option<String>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            out.push_str(&format!("  {name:<9} {text}\n"));
        }
    };
    fact("reason", vassal.reason.clone());
    fact("file", Some(vassal.path.clone()));
    fact("serves", Some(sockets(vassal)));
    fact("run by", vassal.program.clone());
    fact("user", vassal.uid.map(|uid| format!("uid {uid}")));
    fact("root", vassal.root.then(|| "the application runs as root: set uid and gid".to_owned()));
    let version = detail.version.as_ref().map(|version| format!(", liege {version}")).unwrap_or_default();
    fact(
        "master",
        vassal.pid.map(|pid| format!("pid {pid} for {}{version}", age(vassal.since.as_deref(), now))),
    );
    fact(
        "requests",
        Some(format!(
            "{}, {} exceptions, {} bytes sent",
            number(vassal.totals.requests),
            number(vassal.totals.exceptions),
            number(vassal.totals.tx_bytes)
        )),
    );
    fact("history", Some(format!("{} reloads, {} restarts after a death", vassal.reloads, vassal.restarts)));
    fact(
        "reload",
        vassal.last_reload.as_ref().map(|reload| {
            format!(
                "{} {} ago ({})",
                reload.outcome.words(),
                age(reload.ended.as_deref(), now),
                escaped(&reload.why)
            )
        }),
    );
    fact(
        "ended",
        detail
            .last_exit
            .as_ref()
            .map(|exit| format!("{}, {} ago (pid {})", exit.how, age(Some(&exit.at), now), exit.pid)),
    );
    out.push_str(&workers(&detail.workers, paper, now));
    out.push_str(&beside::table(&detail.attached, paper, now));
    out.push_str(&beside::caches(&detail.caches, paper, now));
    out.push_str(&failures(detail, paper));
    if let Some(log) = detail.log.as_ref().filter(|log| !log.is_empty()) {
        out.push_str(&format!("\n{}\n", paper.tone(Tone::Heading, "last output")));
        for line in log.iter().skip(log.len().saturating_sub(LOG_LINES)) {
            out.push_str(&format!("  {}\n", escaped(&line.text)));
        }
    }
    out
}

fn workers(workers: &[Worker], paper: Paper, now: SystemTime) -> String {
    if workers.is_empty() {
        return String::new();
    }
    let heads = ["WORKER", "PID", "STATE", "REQUESTS", "EXC", "AVG", "RSS", "SINCE", "DOES"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(workers.iter().map(|worker| {
        let does = worker.running.iter().map(|running| {
            let request = running.request.as_deref().unwrap_or("a request");
            format!("{} for {} ms", escaped(request), number(running.for_ms))
        });
        vec![
            worker.id.to_string(),
            worker.pid.to_string(),
            match worker.state {
                WorkerState::NotAccepting => "closed",
                WorkerState::Idle => "idle",
                WorkerState::Busy => "busy",
            }
            .to_owned(),
            number(worker.requests),
            number(worker.exceptions),
            match worker.average_us {
                0 => "-".to_owned(),
                us => format!("{}.{} ms", us / 1000, us % 1000 / 100),
            },
            if worker.rss_bytes == 0 {
                "-".to_owned()
            } else {
                format!("{} MB", worker.rss_bytes / 1_000_000)
            },
            age(Some(&worker.since), now),
            does.collect::<Vec<_>>().join("; "),
        ]
    }));
    let lines = columns(&rows, &[0, 1, 3, 4, 5, 6], paper.width.map(|width| width.saturating_sub(2)));
    lines.iter().fold("\n".to_owned(), |out, line| format!("{out}  {}\n", line.trim_end()))
}

fn failures(detail: &VassalDetail, paper: Paper) -> String {
    let vassal = &detail.vassal;
    let shown = [
        ("the file does not work", vassal.config_error.as_ref()),
        ("the last reload failed", vassal.last_reload.as_ref().and_then(|reload| reload.failure.as_ref())),
        ("it has fewer workers than there are to be", vassal.shortfall.as_ref()),
        ("the last failure", vassal.last_failure.as_ref()),
    ];
    let mut out = String::new();
    for (title, failure) in failure::each_once(shown) {
        out.push_str(&format!("\n{}\n{}", paper.tone(Tone::Bad, title), failure::lines(failure, "  ")));
    }
    for warning in &detail.warnings {
        out.push_str(&format!("\n{}", failure::diagnostic(warning, "")));
    }
    out
}
