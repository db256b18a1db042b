//! What all hosts told last: each is asked on its own, and only while somebody looks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::merge;
use crate::api::views::{Emperor, Snapshot};
use crate::cli::hosts::Host;

/// How often a host is asked while somebody looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// For how long after a question somebody still looks: a page asks again before.
const ATTENTION: Duration = Duration::from_secs(90);

/// All hosts, as last heard of.
#[derive(Debug)]
pub(super) struct Sight {
    seen: Mutex<Vec<Seen>>,
    made: Mutex<Option<Made>>,
    /// When somebody asked last.
    asked: watch::Sender<Instant>,
    /// How often something has changed.
    changes: watch::Sender<u64>,
    /// This process: another one counts anew.
    era: u32,
}

/// A host.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its name; empty: it is the only one.
    pub(super) name: String,
    /// What it told last.
    pub(super) answer: Answer,
}

/// What a host told.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing yet.
    Awaited,
    /// This.
    Here(Box<Snapshot>),
    /// Nothing, and why.
    Silent(String),
}

/// All of them in one, as JSON.
#[derive(Clone, Debug)]
pub(super) struct Made {
    changes: u64,
    /// Another one whenever something has changed.
    pub(super) tag: String,
    /// The document.
    pub(super) body: Bytes,
}

impl Sight {
    /// Looks at these hosts from now on.
    pub(super) fn over(hosts: &[Host]) -> Arc<Self> {
        let seen = |host: &Host| Seen { name: host.name.clone(), answer: Answer::Awaited };
        let sight = Arc::new(Self {
            seen: Mutex::new(hosts.iter().map(seen).collect()),
            made: Mutex::new(None),
            asked: watch::Sender::new(Instant::now()),
            changes: watch::Sender::new(0),
            era: std::process::id(),
        });
        for (place, host) in hosts.iter().enumerate() {
            tokio::spawn(poll(Arc::clone(&sight), place, host.clone()));
        }
        sight
    }

    /// Tells of changes.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Everything in one document.
    pub(super) fn snapshot(&self) -> Made {
        self.asked.send_replace(Instant::now());
        let changes = *self.changes.borrow();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = made.as_ref().filter(|made| made.changes == changes) {
            return made.clone();
        }
        let revision = format!("{:x}-{changes}", self.era);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = Snapshot { revision: revision.clone(), body: merge::all(&seen) };
        let body = serde_json::to_vec(&snapshot).unwrap_or_default().into();
        made.insert(Made { changes, tag: format!("\"{revision}\""), body }).clone()
    }

    /// The emperors in one.
    pub(super) fn emperor(&self) -> Emperor {
        merge::emperor(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn heard(&self, place: usize, answer: Answer) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(host) = seen.get_mut(place) else { return };
        let same = match (&host.answer, &answer) {
            (Answer::Here(old), Answer::Here(new)) => old.revision == new.revision,
            (Answer::Silent(old), Answer::Silent(new)) => old == new,
            _ => false,
        };
        host.answer = answer;
        drop(seen);
        if !same {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }
}

/// Asks a host again and again, while somebody looks.
async fn poll(sight: Arc<Sight>, place: usize, host: Host) {
    let mut asked = sight.asked.subscribe();
    loop {
        let next = Instant::now() + INTERVAL;
        let answer = match host.ask::<Snapshot>("/v1/snapshot").await {
            Ok(snapshot) => Answer::Here(Box::new(snapshot)),
            Err(error) => Answer::Silent(error.to_string()),
        };
        sight.heard(place, answer);
        tokio::time::sleep_until(next).await;
        while asked.borrow_and_update().elapsed() > ATTENTION {
            if asked.changed().await.is_err() {
                return;
            }
        }
    }
}
