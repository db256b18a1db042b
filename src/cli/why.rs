//! `liege why`: why a vassal is in its state, what failed, when it is tried again, and what to do.

use std::time::SystemTime;

use serde::Serialize;

use super::client::{Client, ClientError};
use super::exit::Exit;
use super::failure;
use super::names;
use super::paper::{Paper, Tone, age, print, second, until};
use crate::api::views::{BlackBox, BlackBoxList, Event, EventList, Outcome, State, VassalDetail, VassalList};
use crate::config::diagnostic::Diagnostic;
use crate::trace::escaped;
use crate::wire::companion;
use crate::wire::death::Cause;
use crate::wire::failure::Failure;

/// How many deaths of workers and how many events are told.
const LATELY: usize = 5;
/// How many lines of output are told.
const OUTPUT: usize = 8;
/// How long a request runs before it is told.
const LONG_MS: u64 = 10_000;

/// The answer.
#[derive(Debug, Serialize)]
struct Answer {
    name: String,
    state: State,
    /// Whether it is as it should be.
    good: bool,
    /// One sentence.
    reason: String,
    /// What failed, with a title.
    failures: Vec<(&'static str, Failure)>,
    /// When it is tried again, RFC 3339.
    next_try: Option<String>,
    warnings: Vec<Diagnostic>,
    /// How workers died lately, and what hangs.
    signs: Vec<String>,
    /// What happened last, oldest first.
    events: Vec<Event>,
    /// What it said last, where a failure tells neither a place nor a traceback.
    output: Vec<String>,
    /// What to do, best first.
    advice: Vec<String>,
}

/// Tells of each of these vassals.
///
/// # Errors
/// No answer, or an unknown name.
pub async fn run(client: &Client, names: &[String], json: bool) -> Result<Exit, ClientError> {
    let (paper, now) = (Paper::stdout(), SystemTime::now());
    let list: VassalList = client.get("/v1/vassals").await?;
    let mut exit = Exit::Done;
    let mut gap = "";
    if let (Some(problem), false) = (&list.emperor.options_problem, json) {
        // It concerns every vassal.
        print(&paper.tone(Tone::Bad, &format!("the emperor: {problem}\n\n")));
    }
    for vassal in names::resolve(&list, names).map_err(ClientError::Name)? {
        let detail: VassalDetail = client.get(&vassal.link).await?;
        let boxes: BlackBoxList = client.get(&format!("{}/black-boxes", vassal.link)).await?;
        let query = vassal.link.trim_start_matches("/v1/vassals/");
        let events: EventList = client.get(&format!("/v1/events?limit={LATELY}&vassal={query}")).await?;
        let answer = explain(detail, &boxes.black_boxes, events.events, now);
        if !answer.good {
            exit = Exit::Trouble;
        }
        match json {
            true => print(&format!("{}\n", serde_json::to_string(&answer).unwrap_or_default())),
            false => print(&format!("{gap}{}", page(&answer, paper))),
        }
        gap = "\n";
    }
    Ok(exit)
}

fn explain(detail: VassalDetail, boxes: &[BlackBox], events: Vec<Event>, now: SystemTime) -> Answer {
    let vassal = &detail.vassal;
    let reload = vassal.last_reload.as_ref();
    let reload =
        reload.filter(|r| matches!(r.outcome, Outcome::RolledBack | Outcome::TimedOut | Outcome::Failed));
    let fails = matches!(vassal.state, State::Resting | State::Broken | State::NoApp);
    let last = vassal.last_failure.as_ref().filter(|_| fails || vassal.state == State::Starting);
    let failures = [
        ("the file does not work", vassal.config_error.as_ref()),
        ("the last reload failed", reload.and_then(|reload| reload.failure.as_ref())),
        ("it has fewer workers than there are to be", vassal.shortfall.as_ref()),
        ("the last failure", last),
    ];
    let failures: Vec<_> =
        failure::each_once(failures).into_iter().map(|(title, failure)| (title, failure.clone())).collect();
    let good = failures.is_empty() && !fails && reload.is_none() && vassal.companions.resting == 0;
    let skip = events.len().saturating_sub(LATELY);
    Answer {
        good,
        reason: vassal.reason.clone().unwrap_or_else(|| match &vassal.program {
            Some(program) if vassal.state == State::Up => {
                format!("{program} runs it, and tells of no trouble")
            }
            _ => usual(vassal.state).to_owned(),
        }),
        next_try: vassal.next_try.clone(),
        signs: signs(&detail, boxes, now),
        advice: advice(&detail, reload.is_some()),
        output: output(&detail, fails, &failures),
        name: detail.vassal.name,
        state: detail.vassal.state,
        failures,
        warnings: detail.warnings,
        events: events.into_iter().skip(skip).collect(),
    }
}

/// The reason of a state that needs none.
const fn usual(state: State) -> &'static str {
    match state {
        State::Up => "it serves, and nothing is known to be wrong",
        State::Reloading => "a new generation is being brought up; the old one serves meanwhile",
        State::Stopping => "it finishes its requests",
        State::Waiting => "others load, and its turn comes",
        State::Starting => "it loads",
        State::Adopting => "an emperor that died left it running",
        State::Asleep => "nothing runs for it; a connection wakes it",
        State::NoApp => "the application did not load: every request is answered with 500",
        State::Resting => "it failed, and is tried again later",
        State::Broken => "its file has mistakes",
        State::Stopped => "an operator stopped it",
    }
}

/// The last lines of what does not serve, when its failures name nothing that could be mended.
fn output(detail: &VassalDetail, fails: bool, failures: &[(&str, Failure)]) -> Vec<String> {
    let tells = |failure: &Failure| failure.traceback.is_some() || !failure.diagnostics.is_empty();
    if !fails || failures.iter().any(|(_, failure)| tells(failure)) {
        return Vec::new();
    }
    let lines = detail.log.as_deref().unwrap_or_default();
    lines.iter().skip(lines.len().saturating_sub(OUTPUT)).map(|line| line.text.clone()).collect()
}

fn signs(detail: &VassalDetail, boxes: &[BlackBox], now: SystemTime) -> Vec<String> {
    let mut signs = Vec::new();
    if detail.vassal.root {
        signs.push("the application runs as root".to_owned());
    }
    if let Some(why) = &detail.vassal.unkept_sockets {
        signs.push(format!("its sockets end with the emperor: {why}"));
    }
    if let Some(exit) = detail.last_exit.as_ref().filter(|_| detail.vassal.restarts > 0) {
        let ago = age(Some(&exit.at), now);
        signs.push(format!("its master (pid {}) ended {ago} ago: {}", exit.pid, exit.how));
    }
    for one in detail.attached.iter().filter(|one| one.state == companion::State::Resting) {
        let how = one.last_exit.as_ref().map_or("", |exit| exit.how.as_str());
        let next = one.next.as_ref().map(|next| format!(", started again in {}", until(next, now)));
        let next = next.unwrap_or_default();
        signs.push(format!(
            "its companion {} ended too soon: {how} ({} times so far{next})",
            one.name, one.failures
        ));
    }
    for died in boxes.iter().rev().take(LATELY) {
        let cause = match died.cause {
            Cause::Harakiri => "its request ran too long (harakiri)".to_owned(),
            Cause::Memory => {
                "it had more memory than it may (evil-reload-on-rss, evil-reload-on-as)".to_owned()
            }
            Cause::OutOfMemory => {
                "the kernel killed it: out of memory (its memory-max, or that of the unit or the host)"
                    .to_owned()
            }
            Cause::Signal => format!("{}, which liege did not send", died.how),
            Cause::Operator => "somebody had its request killed".to_owned(),
            Cause::Exit => format!("it ended by itself, {}", died.how),
        };
        let ran = died.last.iter().filter(|last| last.running);
        let ran: Vec<&str> = ran.map(|last| last.request.as_deref().unwrap_or("a request")).collect();
        let inside = if ran.is_empty() { String::new() } else { format!(", inside of {}", ran.join(", ")) };
        let ago = age(Some(&died.at), now);
        signs.push(format!("worker {} (pid {}) died {ago} ago: {cause}{inside}", died.worker, died.pid));
    }
    for worker in &detail.workers {
        for running in worker.running.iter().filter(|running| running.for_ms >= LONG_MS) {
            let request = running.request.as_deref().unwrap_or("a request");
            let seconds = running.for_ms / 1000;
            signs.push(format!("worker {} (pid {}) is in {request} for {seconds} s", worker.id, worker.pid));
        }
    }
    let errors = detail.vassal.totals.router_errors;
    if errors > 0 {
        signs.push(format!("its router answered {errors} errors itself so far; its log says why"));
    }
    if detail.vassal.totals.log_lines_dropped > 0 {
        signs.push(format!("{} lines of its log were dropped", detail.vassal.totals.log_lines_dropped));
    }
    signs
}

fn advice(detail: &VassalDetail, reload_failed: bool) -> Vec<String> {
    let vassal = &detail.vassal;
    let name = quoted(&vassal.name);
    let mut advice = Vec::new();
    let mut add = |text: String| advice.push(text);
    if vassal.config_error.is_some() {
        let path = &vassal.path;
        add(format!("mend {path}: it is read again when it is saved (`liege check {path}` tells more)"));
    }
    match vassal.state {
        State::NoApp => {
            add(format!("mend what the traceback names, then `liege reload {name} --wait`"));
        }
        State::Resting => {
            add("mend what is named above; saving the file tries it at once".to_owned());
            add(format!("`liege clear-back-off {name}` tries it at once, too"));
        }
        State::Broken if vassal.config_error.is_none() => add(format!("mend it, then `liege start {name}`")),
        State::Stopped => add(format!("`liege start {name}`")),
        State::Asleep => add(format!("`liege wake {name}`, or a request")),
        State::Starting => {
            add(format!("`liege logs -f {name}` shows what it says while it loads"));
        }
        State::Stopping | State::Waiting | State::Adopting | State::Broken => {}
        State::Up | State::Reloading => {
            if reload_failed && vassal.config_error.is_none() {
                add(format!("the old code serves on: mend it, then `liege reload {name} --wait`"));
            }
        }
    }
    if vassal.shortfall.is_some() {
        add("end processes that are not needed, raise the limit that is named, or lower `processes`: it is tried again by itself".to_owned());
    }
    if vassal.companions.resting > 0 {
        add(format!("`liege logs {name}` shows what its companions said, each line marked with whose it is"));
    }
    if detail.workers.iter().any(|worker| worker.running.iter().any(|running| running.for_ms >= LONG_MS)) {
        add(format!("`liege stacks {name}` shows where long requests are in the code"));
    }
    if vassal.root {
        add("set uid and gid in its file".to_owned());
    }
    advice
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match name.chars().all(plain) && !name.starts_with('-') {
        true => name.to_owned(),
        false => format!("-- '{}'", escaped(name).replace('\'', "'\\''")),
    }
}

fn page(answer: &Answer, paper: Paper) -> String {
    let tone = match (answer.good, answer.state) {
        (false, _) => Tone::Bad,
        (true, State::Up) => Tone::Good,
        (true, _) => Tone::Passing,
    };
    let state = paper.tone(tone, answer.state.word());
    let reason = super::paper::wrapped(&escaped(&answer.reason), "  ", "  ", paper.width);
    let name = paper.tone(Tone::Heading, &escaped(&answer.name));
    let mut out = format!("{name}: {state}\n{reason}\n");
    for (title, failure) in &answer.failures {
        out.push_str(&format!("\n{}\n{}", paper.tone(Tone::Bad, title), failure::lines(failure, "  ")));
    }
    for warning in &answer.warnings {
        out.push_str(&format!("\n{}", failure::on_paper(warning, "", paper)));
    }
    let mut list = |title: &str, lines: &mut dyn Iterator<Item = String>| {
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            out.push_str(&format!("\n{}\n", paper.tone(Tone::Heading, title)));
            for line in lines {
                out.push_str(&super::paper::wrapped(&line, "    ", "  ", paper.width));
                out.push('\n');
            }
        }
    };
    list("to be seen", &mut answer.signs.iter().map(|sign| escaped(sign)));
    let events = answer.events.iter();
    list("lately", &mut events.map(|event| format!("{} {}", second(&event.at), escaped(&event.message))));
    list("its last output", &mut answer.output.iter().map(|line| escaped(line)));
    list("what to do", &mut answer.advice.iter().map(|advice| escaped(advice)));
    out
}
