//! `liege reload`, `stop`, `scale` and the other actions: asks the emperor and tells how it went.

use super::client::{Client, ClientError};
use super::command::{Deed, Target};
use super::exit::Exit;
use super::failure;
use super::paper::{Paper, Tone, complain, print};
use super::watch;
use crate::api::views::{Operation, Outcome};
use crate::trace::escaped;

/// Asks for the action, and waits for its end if told to.
///
/// # Errors
/// No answer, or an unknown name. What the emperor refuses or cannot do is an exit status.
pub async fn run(
    client: &Client,
    deed: Deed,
    target: &Target,
    wait: bool,
    json: bool,
) -> Result<Exit, ClientError> {
    let mut exit = Exit::Done;
    let (paper, body) = (Paper::stdout(), body(deed, target));
    let tell = |operation: &Operation, exit: &mut Exit| {
        *exit = exit.worse(status(operation.outcome));
        match json {
            true => print(&format!("{}\n", serde_json::to_string(operation).unwrap_or_default())),
            false => print(&told(operation, paper)),
        }
    };
    // All are asked first, so that they run beside each other.
    let mut operations = Vec::new();
    for path in paths(client, deed, target).await? {
        match client.post(&path, &body).await {
            Ok(operation) => operations.push(operation),
            Err(ClientError::Refused(problem)) => {
                complain(&ClientError::Refused(problem).to_string());
                exit = exit.worse(Exit::Failed);
            }
            Err(error) => return Err(error),
        }
    }
    if wait {
        watch::until_ended(client, operations, !json, |operation| tell(operation, &mut exit)).await?;
    } else {
        operations.iter().for_each(|operation| tell(operation, &mut exit));
    }
    Ok(exit)
}

async fn paths(client: &Client, deed: Deed, target: &Target) -> Result<Vec<String>, ClientError> {
    let verb = match deed {
        Deed::Reload => "reload",
        Deed::Restart => "restart",
        Deed::Stop => "stop",
        Deed::Start => "start",
        Deed::Sleep => "sleep",
        Deed::Wake => "wake",
        Deed::ClearBackOff => "clear-back-off",
        Deed::Scale(_) => "scale",
        Deed::LogLevel(_) => "log-level",
        Deed::Upgrade => "upgrade",
        Deed::Rescan => "rescan",
    };
    let Target::Names(names) = target else { return Ok(vec![format!("/v1/{verb}")]) };
    let vassals = client.resolve(names).await?;
    Ok(vassals.into_iter().map(|vassal| format!("{}/{verb}", vassal.link)).collect())
}

fn body(deed: Deed, target: &Target) -> String {
    let body = match deed {
        Deed::Scale(workers) => serde_json::json!({"workers": workers}),
        Deed::LogLevel(level) => serde_json::json!({"level": level}),
        Deed::Reload if *target == Target::Emperor => serde_json::json!({"emperor": true}),
        _ => serde_json::json!({}),
    };
    body.to_string()
}

const fn status(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Running | Outcome::Done | Outcome::Swapped | Outcome::Superseded => Exit::Done,
        Outcome::RolledBack | Outcome::TimedOut | Outcome::Failed => Exit::NotDone,
    }
}

fn told(operation: &Operation, paper: Paper) -> String {
    let kind = escaped(&operation.kind);
    let what = match (&operation.vassal, operation.kind.as_str()) {
        (Some(vassal), _) => format!("{kind} of {}", escaped(vassal)),
        (None, "log-level") => format!("{kind} of the emperor"),
        (None, "rescan") => kind,
        (None, _) => format!("{kind} of all vassals"),
    };
    let (tone, how) = match operation.outcome {
        Outcome::Running => {
            return format!("{what}: asked for, operation {} (--wait tells how it ends)\n", operation.id);
        }
        Outcome::Done => (Tone::Good, "done"),
        Outcome::Swapped => (Tone::Good, "the new generation serves"),
        Outcome::Superseded => (Tone::Passing, "a later request took its place"),
        Outcome::RolledBack => (Tone::Bad, "rolled back, the old one serves on"),
        Outcome::TimedOut => (Tone::Bad, "not ready within startup-timeout; what served before serves on"),
        Outcome::Failed => (Tone::Bad, "failed"),
    };
    let mut out = format!("{what}: {}\n", paper.tone(tone, how));
    if let Some(failure) = &operation.failure {
        out.push_str(&failure::lines(failure, "  "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::failure::Failure;

    #[test]
    fn the_outcome_is_told_with_its_reason() {
        let operation = |outcome, failure, vassal: Option<&str>| Operation {
            id: 7,
            link: "/v1/operations/7".into(),
            kind: "reload".into(),
            vassal: vassal.map(str::to_owned),
            parent: None,
            why: "touched".into(),
            asked: String::new(),
            ended: None,
            log: None,
            outcome,
            failure,
        };
        let failure = Failure::new("no module named 'x'").with_traceback("Traceback\n  here");
        let paper = Paper { width: None, colour: false };
        for (outcome, failure, vassal, exit, text) in [
            (
                Outcome::Swapped,
                None,
                Some("a.ini"),
                Exit::Done,
                "reload of a.ini: the new generation serves\n",
            ),
            (
                Outcome::RolledBack,
                Some(failure),
                Some("a\u{1b}.ini"),
                Exit::NotDone,
                "reload of a\\x1b.ini: rolled back, the old one serves on\n  no module named 'x'\n    Traceback\n      here\n",
            ),
            (
                Outcome::Running,
                None,
                Some("a.ini"),
                Exit::Done,
                "reload of a.ini: asked for, operation 7 (--wait tells how it ends)\n",
            ),
            (Outcome::Done, None, None, Exit::Done, "reload of all vassals: done\n"),
        ] {
            assert_eq!(told(&operation(outcome, failure, vassal), paper), text);
            assert_eq!(status(outcome), exit);
        }
    }

    #[test]
    fn what_an_action_needs_is_in_its_body() {
        for (deed, target, expected) in [
            (Deed::Scale(3), Target::Names(vec![]), "{\"workers\":3}"),
            (
                Deed::LogLevel(crate::config::log_level::LogLevel::Warn),
                Target::Emperor,
                "{\"level\":\"warn\"}",
            ),
            (Deed::Reload, Target::Emperor, "{\"emperor\":true}"),
            (Deed::Reload, Target::All, "{}"),
            (Deed::Upgrade, Target::Emperor, "{}"),
        ] {
            assert_eq!(body(deed, &target), expected);
        }
    }
}
