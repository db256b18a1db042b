//! Waiting for operations: each is told as it ends, from the emperor's events, also over its re-execution.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::client::{ABSENCE, Client, ClientError};
use super::follow::News;
use super::progress::Progress;
use crate::api::views::{Event, Operation, OperationList, Outcome};
use crate::emperor::events::EventKind;

/// How long to wait before an emperor that is gone is looked for again.
const PAUSE: Duration = Duration::from_millis(100);
/// How long nothing happens before the emperor is asked how it stands.
const TICK: Duration = Duration::from_secs(1);

/// Waits until all of these have ended. Each is told when it has, and so are the parts of those that have parts, before
/// them. `show` allows a line that counts on a terminal.
///
/// # Errors
/// The emperor is gone, or knows nothing of an operation any more.
pub async fn until_ended(
    client: &Client,
    operations: Vec<Operation>,
    show: bool,
    mut tell: impl FnMut(&Operation),
) -> Result<(), ClientError> {
    let mut watch = Watch::default();
    let mut progress = Progress::new(show);
    let mut told = |ended: Vec<Operation>, watch: &Watch, progress: &mut Progress| {
        progress.clear();
        ended.iter().for_each(&mut tell);
        progress.show(&watch.count());
    };
    let ended = watch.take(operations);
    told(ended, &watch, &mut progress);
    // What ended before is asked for below.
    let mut after = "?limit=0".to_owned();
    let mut answered = Instant::now();
    while !watch.waiting.is_empty() {
        let mut lines = match client.follow(&format!("/v1/events{after}")).await {
            Ok(lines) => lines,
            Err(ClientError::Broken { .. }) if answered.elapsed() < ABSENCE => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        // What ended before somebody listened.
        let mut missed = true;
        while !watch.waiting.is_empty() {
            if std::mem::take(&mut missed) {
                match client.get::<OperationList>("/v1/operations").await {
                    Ok(list) => {
                        answered = Instant::now();
                        told(watch.review(list.operations)?, &watch, &mut progress);
                    }
                    Err(ClientError::Broken { .. }) => break,
                    Err(error) => return Err(error),
                }
                continue;
            }
            // Meanwhile the seconds are counted; and nobody waits for an event that does not come.
            let Ok(line) = tokio::time::timeout(TICK, lines.next()).await else {
                progress.show(&watch.count());
                missed = true;
                continue;
            };
            let Ok(Some(line)) = line else { break };
            answered = Instant::now();
            match News::<Event>::read(&line) {
                Some(News::Item(event)) => {
                    after = format!("?after={}", event.id);
                    missed = event.kind == EventKind::Emperor;
                    let id =
                        event.operation.filter(|id| event.kind == EventKind::Ended && watch.concerns(*id));
                    if let Some(id) = id {
                        match client.get::<Operation>(&format!("/v1/operations/{id}")).await {
                            Ok(operation) => told(watch.take(vec![operation]), &watch, &mut progress),
                            Err(ClientError::Broken { .. }) => break,
                            Err(error) => return Err(error),
                        }
                    }
                }
                Some(News::Gap(_)) | None => missed = true,
            }
        }
    }
    progress.clear();
    Ok(())
}

/// What is waited for.
#[derive(Debug, Default)]
struct Watch {
    /// What was asked for and runs.
    waiting: BTreeSet<u64>,
    /// Those that have parts.
    parents: BTreeSet<u64>,
    /// What was told.
    ended: BTreeSet<u64>,
    /// All that is known to belong here.
    known: BTreeSet<u64>,
}

impl Watch {
    /// Takes in operations; returns those that have ended and were not told yet.
    fn take(&mut self, operations: Vec<Operation>) -> Vec<Operation> {
        let mut news = Vec::new();
        for operation in operations {
            let asked = !self.is_part(&operation);
            self.known.insert(operation.id);
            if operation.vassal.is_none() {
                self.parents.insert(operation.id);
            }
            if operation.outcome != Outcome::Running {
                self.waiting.remove(&operation.id);
                if self.ended.insert(operation.id) {
                    news.push(operation);
                }
            } else if asked {
                self.waiting.insert(operation.id);
            }
        }
        news
    }

    /// Looks at all operations of the emperor: parts first.
    fn review(&mut self, all: Vec<Operation>) -> Result<Vec<Operation>, ClientError> {
        if let Some(lost) = self.waiting.iter().find(|id| !all.iter().any(|operation| operation.id == **id)) {
            return Err(ClientError::Name(format!("the emperor knows nothing of operation {lost} any more")));
        }
        let ours = all.into_iter().filter(|o| self.is_part(o) || self.waiting.contains(&o.id));
        let (parts, whole): (Vec<_>, Vec<_>) = ours.partition(|operation| operation.parent.is_some());
        Ok(self.take(parts.into_iter().chain(whole).collect()))
    }

    fn is_part(&self, operation: &Operation) -> bool {
        operation.parent.is_some_and(|parent| self.parents.contains(&parent))
    }

    fn concerns(&self, id: u64) -> bool {
        self.known.contains(&id) && !self.ended.contains(&id)
    }

    fn count(&self) -> String {
        // The whole is no vassal of its own.
        let parts = |set: &BTreeSet<u64>| set.difference(&self.parents).count();
        match parts(&self.known) {
            0 => "waiting for the emperor".to_owned(),
            all => format!("{} of {all} done", parts(&self.ended)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(id: u64, parent: Option<u64>, outcome: Outcome) -> Operation {
        Operation {
            id,
            link: String::new(),
            kind: "reload".into(),
            vassal: (!id.is_multiple_of(10)).then(|| "a.ini".into()),
            parent,
            why: String::new(),
            asked: String::new(),
            ended: None,
            log: None,
            outcome,
            failure: None,
        }
    }

    fn ids(operations: &[Operation]) -> Vec<u64> {
        operations.iter().map(|operation| operation.id).collect()
    }

    #[test]
    fn what_ends_is_told_once_and_parts_before_the_whole() {
        use Outcome::{Done, Running, Swapped};
        let mut watch = Watch::default();
        assert!(watch.take(vec![operation(10, None, Running)]).is_empty());
        assert_eq!(watch.count(), "waiting for the emperor");
        let list = vec![
            operation(3, None, Swapped),
            operation(10, None, Running),
            operation(11, Some(10), Swapped),
            operation(12, Some(10), Running),
        ];
        assert_eq!(ids(&watch.review(list).unwrap()), [11]);
        assert_eq!(watch.count(), "1 of 2 done");
        assert!(watch.concerns(12) && !watch.concerns(11) && !watch.concerns(3));
        let list = vec![
            operation(10, None, Done),
            operation(11, Some(10), Swapped),
            operation(12, Some(10), Swapped),
        ];
        assert_eq!(ids(&watch.review(list).unwrap()), [12, 10]);
        assert!(watch.waiting.is_empty());
    }

    #[test]
    fn several_are_waited_for_beside_each_other() {
        use Outcome::{Running, Swapped};
        let mut watch = Watch::default();
        let begun =
            vec![operation(1, None, Running), operation(2, None, Running), operation(3, None, Swapped)];
        assert_eq!(ids(&watch.take(begun)), [3]);
        assert_eq!(watch.count(), "1 of 3 done");
        assert_eq!(ids(&watch.take(vec![operation(2, None, Swapped)])), [2]);
        let error = watch.review(vec![]).unwrap_err();
        assert!(error.to_string().contains("operation 1 any more"), "{error}");
    }
}
