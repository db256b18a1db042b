//! `liege events`: what happened, to whom and why, on one host or several.

use tokio::sync::mpsc;

use super::client::{Client, ClientError};
use super::command::Tail;
use super::exit::Exit;
use super::follow::{Followed, Follower, News};
use super::hosts::Host;
use super::names;
use super::paper::{Paper, Tone, complain, print_on, second};
use crate::api::views::{Event, EventList, Gap};
use crate::emperor::events::{EventKind, EventOutcome};
use crate::trace::escaped;

/// How many of the events that are there a follower sees first, unless it says.
const FIRST_EVENTS: usize = 10;
/// How many events wait for the terminal.
const QUEUE: usize = 256;

/// How events look.
#[derive(Clone, Copy, Debug)]
struct Look {
    paper: Paper,
    json: bool,
}

/// Prints the events of these hosts: of the vassals named, or all. A host that does not answer is told.
///
/// # Errors
/// The only host gives no answer, or knows nothing of a name.
pub async fn run(sources: Vec<Host>, wanted: &[String], tail: Tail, json: bool) -> Result<Exit, ClientError> {
    let look = Look { paper: Paper::stdout(), json };
    if let ([one], false) = (sources.as_slice(), wanted.is_empty()) {
        check(&one.client, wanted).await?;
    }
    let (sender, mut receiver) = mpsc::channel(QUEUE);
    let alone = sources.len() == 1;
    for source in sources {
        let wanted = wanted.to_vec();
        tokio::spawn(tell(source, wanted, tail, sender.clone()));
    }
    drop(sender);
    let mut exit = Exit::Done;
    let mut kept = Vec::new();
    while let Some((host, news)) = receiver.recv().await {
        match news {
            Ok(News::Item(event)) if tail.follow => {
                if !print_on(&look.event(&event, &host)) {
                    break;
                }
            }
            Ok(News::Item(event)) => kept.push((event, host)),
            Ok(News::Gap(gap)) => {
                let _ = print_on(&look.gap(&gap, &host));
            }
            Err(error) if alone && !tail.follow => return Err(error),
            Err(error) => {
                let host = if host.is_empty() { host } else { format!("{}: ", escaped(&host)) };
                complain(&format!("{host}{error}"));
                exit = exit.worse(Exit::Unreachable);
            }
        }
    }
    kept.sort_by(|(one, _), (other, _)| one.at.cmp(&other.at));
    let first = tail.lines.map_or(0, |lines| kept.len().saturating_sub(lines));
    let _ = kept.iter().skip(first).all(|(event, host)| print_on(&look.event(event, host)));
    Ok(exit)
}

/// A misspelt name is told; that of a vassal that is gone is none.
async fn check(client: &Client, wanted: &[String]) -> Result<(), ClientError> {
    let list: EventList = client.get("/v1/events").await?;
    let vassals: Vec<&String> = list.events.iter().filter_map(|event| event.vassal.as_ref()).collect();
    for name in wanted {
        if !vassals.iter().any(|vassal| names::is_meant(name, vassal)) {
            client.resolve(std::slice::from_ref(name)).await?;
        }
    }
    Ok(())
}

/// What a host told.
pub(super) type Told = (String, Result<News<Event>, ClientError>);

/// Sends what one host has to tell.
pub(super) async fn tell(source: Host, wanted: Vec<String>, tail: Tail, sender: mpsc::Sender<Told>) {
    let Host { name: host, client } = source;
    let is_wanted = |event: &Event| {
        let of = |vassal: &String| wanted.iter().any(|name| names::is_meant(name, vassal));
        wanted.is_empty() || event.vassal.as_ref().is_some_and(of)
    };
    let most = tail.lines.unwrap_or(if tail.follow { FIRST_EVENTS } else { usize::MAX });
    // The last one is wanted in any case: it is the mark to go on from.
    let path = match wanted.is_empty() && most < usize::MAX {
        true => format!("/v1/events?limit={}", most.max(1)),
        false => "/v1/events".to_owned(),
    };
    let kept = match client.get::<EventList>(&path).await {
        Ok(list) => list.events,
        Err(error) => {
            let refused = matches!(error, ClientError::Refused(_));
            let _ = sender.send((host.clone(), Err(error))).await;
            if refused || !tail.follow {
                return;
            }
            Vec::new()
        }
    };
    let mut follower = Follower::new(client);
    if let Some(last) = kept.last() {
        follower.seen(last.id.clone());
    }
    let kept: Vec<Event> = kept.into_iter().filter(is_wanted).collect();
    let first = kept.len().saturating_sub(most);
    for event in kept.into_iter().skip(first) {
        if sender.send((host.clone(), Ok(News::Item(event)))).await.is_err() {
            return;
        }
    }
    if !tail.follow {
        return;
    }
    loop {
        let path = |after: Option<&str>| match after {
            Some(after) => format!("/v1/events?after={after}"),
            None => "/v1/events".to_owned(),
        };
        let news = match follower.next(path).await {
            Ok(Followed::Line(line)) => match News::<Event>::read(&line) {
                Some(News::Item(event)) => {
                    follower.seen(event.id.clone());
                    if !is_wanted(&event) {
                        continue;
                    }
                    Ok(News::Item(event))
                }
                Some(News::Gap(gap)) => Ok(News::Gap(gap)),
                None => continue,
            },
            Ok(Followed::Lost(error)) => Err(error),
            Err(error) => {
                let _ = sender.send((host, Err(error))).await;
                return;
            }
        };
        if sender.send((host.clone(), news)).await.is_err() {
            return;
        }
    }
}

impl Look {
    fn event(self, event: &Event, host: &str) -> String {
        if self.json {
            return self.json(event, host);
        }
        let time = self.paper.tone(Tone::Faint, &second(&event.at));
        let host = if host.is_empty() { String::new() } else { format!("{} ", escaped(host)) };
        let vassal = event.vassal.as_ref().map(|vassal| format!("{}: ", escaped(vassal)));
        let vassal = self.paper.tone(Tone::Heading, &vassal.unwrap_or_default());
        let reason = event.reason.as_deref().filter(|reason| !event.message.contains(reason));
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let message = escaped(&format!("{}{reason}", event.message));
        let message = tone(event).map_or(message.clone(), |tone| self.paper.tone(tone, &message));
        format!("{time} {host}{vassal}{message}\n")
    }

    fn json(self, event: &Event, host: &str) -> String {
        let mut value = serde_json::to_value(event).unwrap_or_default();
        if let (false, Some(fields)) = (host.is_empty(), value.as_object_mut()) {
            fields.insert("host".to_owned(), host.into());
        }
        format!("{value}\n")
    }

    fn gap(self, gap: &Gap, host: &str) -> String {
        if self.json {
            return format!("{}\n", serde_json::json!({"host": host, "gap": gap.gap}));
        }
        let host = if host.is_empty() { String::new() } else { format!("{} ", escaped(host)) };
        let text = match gap.gap {
            Some(count) => format!("… {count} events are not kept …"),
            None => "… another emperor: what it told before is not known …".to_owned(),
        };
        format!("{host}{}\n", self.paper.tone(Tone::Passing, &text))
    }
}

const fn tone(event: &Event) -> Option<Tone> {
    match (event.outcome, event.kind) {
        (Some(EventOutcome::RolledBack | EventOutcome::TimedOut | EventOutcome::Failed), _)
        | (None, EventKind::Failed | EventKind::Died | EventKind::WorkerDied | EventKind::Refused) => {
            Some(Tone::Bad)
        }
        (Some(EventOutcome::Swapped), _) | (None, EventKind::Up) => Some(Tone::Good),
        (None, EventKind::Late | EventKind::Halted | EventKind::Forced | EventKind::NotStarted) => {
            Some(Tone::Passing)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_says_when_where_who_and_what() {
        let event = |vassal: Option<&str>| Event {
            id: "ff-1".into(),
            at: "2026-11-26T20:25:01.123Z".into(),
            vassal: vassal.map(str::to_owned),
            kind: EventKind::Up,
            message: "serves\u{1b}".into(),
            reason: None,
            config: None,
            operation: None,
            outcome: None,
        };
        let look = Look { paper: Paper { width: None, colour: false }, json: false };
        for (reason, expected) in
            [("out of memory", "serves\\x1b (out of memory)\n"), ("serves", "serves\\x1b\n")]
        {
            let told = look.event(&Event { reason: Some(reason.to_owned()), ..event(None) }, "");
            assert_eq!(told, format!("2026-11-26T20:25:01Z {expected}"));
        }
        for (vassal, host, expected) in [
            (None, "", "2026-11-26T20:25:01Z serves\\x1b\n"),
            (Some("a\u{7}.ini"), "", "2026-11-26T20:25:01Z a\\x07.ini: serves\\x1b\n"),
            (Some("a.ini"), "web1", "2026-11-26T20:25:01Z web1 a.ini: serves\\x1b\n"),
        ] {
            assert_eq!(look.event(&event(vassal), host), expected);
        }
        let json: serde_json::Value =
            serde_json::from_str(&Look { json: true, ..look }.event(&event(None), "web1")).unwrap();
        assert_eq!((&json["host"], &json["kind"]), (&"web1".into(), &"up".into()));
    }
}
