//! `liege stacks`: where the threads of a vassal's workers are in the code.

use std::time::Duration;

use serde::Serialize;

use super::client::{Client, ClientError};
use super::exit::Exit;
use super::follow::News;
use super::paper::{Paper, Tone, complain, print_on};
use crate::api::views::{LogLine, Outcome, Vassal, Worker, WorkerList};
use crate::trace::escaped;

/// How long a worker gets until its first line is in the log.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long its log is silent after the last line.
const SILENCE: Duration = Duration::from_millis(300);

/// Where a worker is.
#[derive(Debug, Serialize)]
struct Stacks<'a> {
    vassal: &'a str,
    worker: u64,
    pid: u64,
    /// What it runs.
    requests: Vec<String>,
    /// As Python tells it; empty: it said nothing.
    stacks: Vec<String>,
}

/// Asks every worker of these vassals, one after the other, and prints what each tells.
///
/// # Errors
/// No answer, an unknown name, or no right to ask.
pub async fn run(client: &Client, names: &[String], json: bool) -> Result<Exit, ClientError> {
    let paper = Paper::stdout();
    let mut exit = Exit::Done;
    for vassal in client.resolve(names).await? {
        let list: WorkerList = client.get(&format!("{}/workers", vassal.link)).await?;
        if list.workers.is_empty() {
            complain(&format!("{}: it has no workers, it is {}", escaped(&vassal.name), vassal.state.word()));
            exit = exit.worse(Exit::Failed);
        }
        for worker in &list.workers {
            match ask(client, &vassal, worker).await {
                Ok(stacks) => {
                    if stacks.stacks.is_empty() {
                        exit = exit.worse(Exit::NotDone);
                    }
                    let text = match json {
                        true => format!("{}\n", serde_json::to_string(&stacks).unwrap_or_default()),
                        false => told(&stacks, paper),
                    };
                    if !print_on(&text) {
                        return Ok(exit);
                    }
                }
                // It ended meanwhile: the others are there.
                Err(ClientError::Refused(problem)) => {
                    complain(&ClientError::Refused(problem).to_string());
                    exit = exit.worse(Exit::Failed);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(exit)
}

async fn ask<'a>(client: &Client, vassal: &'a Vassal, worker: &Worker) -> Result<Stacks<'a>, ClientError> {
    let asked = client.post(&format!("{}/workers/{}/stacks", vassal.link, worker.pid), "").await?;
    let asked = client.wait(asked).await?;
    let requests = worker.running.iter().map(|running| {
        let request = running.request.as_deref().unwrap_or("a request");
        format!("{} for {}.{} s", escaped(request), running.for_ms / 1000, running.for_ms % 1000 / 100)
    });
    let stacks = match (&asked.log, asked.outcome) {
        (Some(log), Outcome::Done) => listen(client, log).await?,
        _ => Vec::new(),
    };
    Ok(Stacks {
        vassal: &vassal.name,
        worker: worker.id,
        pid: worker.pid,
        requests: requests.collect(),
        stacks,
    })
}

/// What a worker tells, from the log: its threads, the one that was interrupted last.
async fn listen(client: &Client, log: &str) -> Result<Vec<String>, ClientError> {
    let mut lines = client.follow(&format!("{log}&follow")).await?;
    let (mut told, mut is_last) = (Vec::new(), false);
    loop {
        let patience = if told.is_empty() { PATIENCE } else { SILENCE };
        let Ok(line) = tokio::time::timeout(patience, lines.next()).await else { break };
        let Some(line) = line? else { break };
        let Some(News::Item(LogLine { text, .. })) = News::read(&line) else { continue };
        match Part::of(&text) {
            // The application says things of its own between them.
            Part::Other if is_last => break,
            Part::Other => {}
            Part::Head { last } => {
                is_last = last;
                told.push(escaped(&text));
            }
            Part::Frame => told.push(escaped(&text)),
        }
    }
    Ok(told)
}

/// What a line is, as Python's `faulthandler` writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Head { last: bool },
    Frame,
    Other,
}

impl Part {
    fn of(line: &str) -> Self {
        if line.starts_with("Current thread 0x") {
            Self::Head { last: true }
        } else if line.starts_with("Thread 0x") {
            Self::Head { last: false }
        } else if line.starts_with("  File ") || matches!(line, "  ..." | "  <no Python frame>") {
            Self::Frame
        } else {
            Self::Other
        }
    }
}

fn told(stacks: &Stacks<'_>, paper: Paper) -> String {
    let head = format!("{}: worker {}, pid {}", escaped(stacks.vassal), stacks.worker, stacks.pid);
    let does = match stacks.requests.is_empty() {
        true => "idle".to_owned(),
        false => stacks.requests.join("; "),
    };
    let mut out = format!("{} ({does})\n", paper.tone(Tone::Heading, &head));
    for line in &stacks.stacks {
        out.push_str(&format!("  {line}\n"));
    }
    if stacks.stacks.is_empty() {
        let why = "it said nothing: it hangs outside of Python, the app uses SIGUSR2 itself, or `logto` has its lines";
        out.push_str(&format!("  {}\n", paper.tone(Tone::Passing, why)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_stacks_are_known_from_those_of_the_app() {
        for (line, expected) in [
            ("Current thread 0x00007f2a (most recent call first):", Part::Head { last: true }),
            ("Thread 0x00007f2b (most recent call first):", Part::Head { last: false }),
            ("Thread 0x00007f2b [worker] (most recent call first):", Part::Head { last: false }),
            ("  File \"/srv/app.py\", line 3 in nap", Part::Frame),
            ("  ...", Part::Frame),
            ("  <no Python frame>", Part::Frame),
            ("", Part::Other),
            ("GET / 200", Part::Other),
        ] {
            assert_eq!(Part::of(line), expected, "{line}");
        }
    }

    #[test]
    fn a_worker_that_says_nothing_is_told() {
        let stacks = Stacks { vassal: "a.ini", worker: 1, pid: 7, requests: vec![], stacks: vec![] };
        let text = told(&stacks, Paper { width: None, colour: false });
        assert!(text.starts_with("a.ini: worker 1, pid 7 (idle)\n  it said nothing"), "{text}");
    }
}
