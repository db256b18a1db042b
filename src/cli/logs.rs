//! `liege logs`: what the apps and their masters said, and what they still say.

use tokio::sync::mpsc;

use super::client::{Client, ClientError};
use super::command::Tail;
use super::exit::Exit;
use super::follow::{Followed, Follower, News};
use super::paper::{Paper, Tone, complain, print_on, second};
use crate::api::views::{Gap, LogLine, LogPage, Vassal};
use crate::trace::escaped;

/// How many of the lines that are there a follower sees first, unless it says.
const FIRST_LINES: usize = 10;
/// How many lines wait for the terminal.
const QUEUE: usize = 256;

/// How lines look.
#[derive(Clone, Copy, Debug)]
struct Look {
    paper: Paper,
    json: bool,
    /// Whether a line says whose it is.
    named: bool,
}

/// Prints the output of these vassals.
///
/// # Errors
/// No answer, an unknown name, or no right to see it.
pub async fn run(client: &Client, names: &[String], tail: Tail, json: bool) -> Result<Exit, ClientError> {
    let vassals = client.resolve(names).await?;
    let look = Look { paper: Paper::stdout(), json, named: vassals.len() > 1 };
    if tail.follow {
        return Ok(follow(client, vassals, tail, look).await);
    }
    let mut lines = Vec::new();
    for vassal in &vassals {
        let most = tail.lines.map(|lines| format!("?lines={lines}")).unwrap_or_default();
        let page: LogPage = client.get(&format!("{}/logs{most}", vassal.link)).await?;
        lines.extend(page.lines.into_iter().map(|line| (line, vassal.name.as_str())));
    }
    // Each vassal's are in order already.
    lines.sort_by(|(one, _), (other, _)| one.at.cmp(&other.at));
    let _ = lines.iter().all(|(line, name)| print_on(&look.line(line, name)));
    Ok(Exit::Done)
}

async fn follow(client: &Client, vassals: Vec<Vassal>, tail: Tail, look: Look) -> Exit {
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    for vassal in vassals {
        let follower = Follower::new(client.clone());
        tokio::spawn(follow_one(follower, vassal, tail.lines.unwrap_or(FIRST_LINES), look, sender.clone()));
    }
    drop(sender);
    let (mut exit, mut lost) = (Exit::Done, false);
    while let Some(text) = receiver.recv().await {
        match text {
            Ok(text) if print_on(&text) => lost = false,
            // Whoever reads us has seen enough.
            Ok(_) => break,
            Err(ClientError::Refused(problem)) => {
                complain(&ClientError::Refused(problem).to_string());
                exit = exit.worse(Exit::Failed);
            }
            Err(error) => {
                if !std::mem::replace(&mut lost, true) {
                    complain(&format!("{error}; waiting for it"));
                }
            }
        }
    }
    exit
}

async fn follow_one(
    mut follower: Follower,
    vassal: Vassal,
    first: usize,
    look: Look,
    sender: mpsc::Sender<Result<String, ClientError>>,
) {
    let path = |after: Option<&str>| match after {
        Some(after) => format!("{}/logs?follow&after={after}", vassal.link),
        None => format!("{}/logs?follow&lines={first}", vassal.link),
    };
    loop {
        let text = match follower.next(path).await {
            Ok(Followed::Line(line)) => match News::<LogLine>::read(&line) {
                Some(News::Item(line)) => {
                    follower.seen(line.id.clone().unwrap_or_else(|| line.number.to_string()));
                    Ok(look.line(&line, &vassal.name))
                }
                Some(News::Gap(gap)) => Ok(look.gap(&gap, &vassal.name)),
                None => continue,
            },
            Ok(Followed::Lost(error)) => Err(error),
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        if sender.send(text).await.is_err() {
            return;
        }
    }
}

impl Look {
    fn line(self, line: &LogLine, name: &str) -> String {
        if self.json {
            let LogLine { number, at, text, .. } = line;
            let line = serde_json::json!({"vassal": name, "number": number, "at": at, "text": text});
            return format!("{line}\n");
        }
        let time = self.paper.tone(Tone::Faint, &second(&line.at));
        format!("{time} {}{}\n", self.name(name), escaped(&line.text))
    }

    fn gap(self, gap: &Gap, name: &str) -> String {
        if self.json {
            return format!("{}\n", serde_json::json!({"vassal": name, "gap": gap.gap}));
        }
        let lost = gap.gap.map_or_else(|| "lines".to_owned(), |count| format!("{count} lines"));
        format!(
            "{}{}\n",
            self.name(name),
            self.paper.tone(Tone::Passing, &format!("… {lost} are not kept …"))
        )
    }

    fn name(self, name: &str) -> String {
        match self.named {
            true => format!("{} ", self.paper.tone(Tone::Heading, &escaped(name))),
            false => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_who_and_what_and_steers_no_terminal() {
        let line = LogLine {
            id: None,
            number: 3,
            at: "2026-11-26T20:25:01.123Z".into(),
            text: "hi\u{1b}[2J".into(),
        };
        let look = |json, named| Look { paper: Paper { width: None, colour: false }, json, named };
        for (look, expected) in [
            (look(false, false), "2026-11-26T20:25:01Z hi\\x1b[2J\n"),
            (look(false, true), "2026-11-26T20:25:01Z a\\x07.ini hi\\x1b[2J\n"),
        ] {
            assert_eq!(look.line(&line, "a\u{7}.ini"), expected);
        }
        let json: serde_json::Value = serde_json::from_str(&look(true, true).line(&line, "a.ini")).unwrap();
        assert_eq!((&json["vassal"], &json["number"]), (&"a.ini".into(), &3.into()));
        assert_eq!(look(false, true).gap(&Gap { gap: Some(7) }, "a.ini"), "a.ini … 7 lines are not kept …\n");
    }
}
