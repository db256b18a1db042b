//! `liege reload`, `stop`, `start`, `upgrade`: asks the emperor and tells how it went.

use super::client::{Client, ClientError};
use super::command::Action;
use super::exit::Exit;
use super::failure;
use super::paper::{complain, print};
use crate::api::views::{Operation, Outcome};
use crate::trace::escaped;

/// Asks for the action, and waits for its end if told to.
///
/// # Errors
/// No answer, or an unknown name. What the emperor refuses or cannot do is an exit status.
pub async fn run(client: &Client, action: &Action, wait: bool, json: bool) -> Result<Exit, ClientError> {
    let mut exit = Exit::Done;
    // All are asked first, so that they run beside each other.
    let mut operations = Vec::new();
    for path in paths(client, action).await? {
        match client.post(&path).await {
            Ok(operation) => operations.push(operation),
            Err(ClientError::Refused(problem)) => {
                complain(&ClientError::Refused(problem).to_string());
                exit = exit.worse(Exit::Failed);
            }
            Err(error) => return Err(error),
        }
    }
    for operation in operations {
        let operation = if wait { client.wait(operation).await? } else { operation };
        exit = exit.worse(status(operation.outcome));
        match json {
            true => print(&format!("{}\n", serde_json::to_string(&operation).unwrap_or_default())),
            false => print(&told(&operation)),
        }
    }
    Ok(exit)
}

async fn paths(client: &Client, action: &Action) -> Result<Vec<String>, ClientError> {
    let (names, verb) = match action {
        Action::ReloadAll => return Ok(vec!["/v1/reload".to_owned()]),
        Action::Upgrade => return Ok(vec!["/v1/upgrade".to_owned()]),
        Action::Reload(names) => (names, "reload"),
        Action::Stop(names) => (names, "stop"),
        Action::Start(names) => (names, "start"),
    };
    let vassals = client.resolve(names).await?;
    Ok(vassals.into_iter().map(|vassal| format!("{}/{verb}", vassal.link)).collect())
}

const fn status(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Running | Outcome::Done | Outcome::Swapped | Outcome::Superseded => Exit::Done,
        Outcome::RolledBack | Outcome::TimedOut | Outcome::Failed => Exit::NotDone,
    }
}

fn told(operation: &Operation) -> String {
    let object = operation.vassal.as_ref().map_or_else(|| "all vassals".to_owned(), |name| escaped(name));
    let kind = &operation.kind;
    let serves_on = "the old one serves on";
    let mut out = match operation.outcome {
        Outcome::Running => {
            return format!(
                "{kind} of {object}: asked for, operation {} (--wait tells how it ends)\n",
                operation.id
            );
        }
        Outcome::Done => format!("{kind} of {object}: done\n"),
        Outcome::Swapped => format!("{kind} of {object}: the new generation serves\n"),
        Outcome::Superseded => format!("{kind} of {object}: a later request took its place\n"),
        Outcome::RolledBack => format!("{kind} of {object}: rolled back, {serves_on}\n"),
        Outcome::TimedOut => {
            format!("{kind} of {object}: not ready within startup-timeout; what served before serves on\n")
        }
        Outcome::Failed => format!("{kind} of {object}: failed\n"),
    };
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
        let operation = |outcome, failure| Operation {
            id: 7,
            link: "/v1/operations/7".into(),
            kind: "reload".into(),
            vassal: Some("a.ini".into()),
            parent: None,
            why: "touched".into(),
            asked: String::new(),
            ended: None,
            log: None,
            outcome,
            failure,
        };
        let failure = Failure::new("no module named 'x'").with_traceback("Traceback\n  here");
        for (outcome, failure, exit, text) in [
            (Outcome::Swapped, None, Exit::Done, "reload of a.ini: the new generation serves\n"),
            (
                Outcome::RolledBack,
                Some(failure),
                Exit::NotDone,
                "reload of a.ini: rolled back, the old one serves on\n  no module named 'x'\n    Traceback\n      here\n",
            ),
            (
                Outcome::Running,
                None,
                Exit::Done,
                "reload of a.ini: asked for, operation 7 (--wait tells how it ends)\n",
            ),
        ] {
            assert_eq!(told(&operation(outcome, failure)), text);
            assert_eq!(status(outcome), exit);
        }
    }
}
