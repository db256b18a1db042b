//! The events of all hosts, one after the other as they come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::IntoResponse;
use http::HeaderMap;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};

use super::Fleet;
use super::merge::{qualified, told};
use crate::api::ask::query_of;
use crate::api::connection::Aside;
use crate::api::desk::Answer;
use crate::api::stream::{self, Format, Streams};
use crate::api::views::{Event, EventList, Gap};
use crate::cli::command::Tail;
use crate::cli::events;
use crate::cli::follow::News;
use crate::cli::hosts::Host;

/// How many are kept.
const KEPT: usize = 2000;
/// How many of those that a host has kept are taken at first.
const FIRST: usize = 200;
/// How many wait to be taken.
const QUEUE: usize = 256;

/// What happened on all hosts.
#[derive(Debug)]
pub(super) struct Happenings {
    ring: Mutex<Ring>,
    last: watch::Sender<u64>,
    streams: Streams,
}

/// The last events, with numbers of our own.
#[derive(Debug, Default)]
struct Ring {
    last: u64,
    events: VecDeque<(u64, Event)>,
}

/// What a request for events may say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    after: Option<String>,
    vassal: Option<String>,
    limit: Option<usize>,
}

impl Happenings {
    /// Follows these hosts.
    pub(super) fn of(hosts: &[Host]) -> Arc<Self> {
        let happenings = Arc::new(Self {
            ring: Mutex::default(),
            last: watch::Sender::new(0),
            streams: Streams::default(),
        });
        let (sender, receiver) = mpsc::channel(QUEUE);
        let tail = Tail { follow: true, lines: Some(FIRST) };
        for host in hosts {
            tokio::spawn(events::tell(host.clone(), Vec::new(), tail, sender.clone()));
        }
        tokio::spawn(Arc::clone(&happenings).take(receiver));
        happenings
    }

    async fn take(self: Arc<Self>, mut receiver: mpsc::Receiver<events::Told>) {
        while let Some((host, news)) = receiver.recv().await {
            // That a host is silent is told by the snapshot.
            let Ok(News::Item(event)) = news else { continue };
            let last = self.ring.lock().unwrap_or_else(PoisonError::into_inner).push(&host, event);
            self.last.send_replace(last);
        }
    }
}

impl Ring {
    fn push(&mut self, host: &str, mut event: Event) -> u64 {
        self.last += 1;
        event.id = self.last.to_string();
        match &event.vassal {
            Some(vassal) => event.vassal = Some(qualified(host, vassal)),
            None => event.message = told(host, &event.message),
        }
        // Operations are those of a host.
        event.operation = None;
        self.events.push_back((self.last, event));
        if self.events.len() > KEPT {
            self.events.pop_front();
        }
        self.last
    }

    /// Those after this one, of a vassal or all. At the start the hosts tell what they have kept one after the other:
    /// who begins gets them by time, and at most the newest `limit`.
    fn after(&self, after: u64, vassal: Option<&str>, limit: Option<usize>) -> Vec<&Event> {
        let later = self.events.iter().filter(|(number, _)| *number > after).map(|(_, event)| event);
        let mut events: Vec<&Event> =
            later.filter(|event| vassal.is_none() || event.vassal.as_deref() == vassal).collect();
        if after == 0 {
            events.sort_by(|one, other| one.at.cmp(&other.at));
            events.drain(..limit.map_or(0, |limit| events.len().saturating_sub(limit)));
        }
        events
    }
}

/// `GET /v1/events`, as of one emperor.
pub(super) async fn get(
    State(fleet): State<Fleet>,
    aside: Aside,
    query: Result<Query<Which>, QueryRejection>,
    headers: HeaderMap,
) -> Answer {
    let Which { after, vassal, mut limit } = query_of(query)?;
    let happenings = fleet.happenings;
    let given = after.and_then(|after| after.parse::<u64>().ok()).unwrap_or(0);
    let Some(format) = Format::accepted(&headers) else {
        let ring = happenings.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let events = ring.after(given, vassal.as_deref(), limit).into_iter().cloned().collect();
        return Ok(Json(EventList { events }).into_response());
    };
    let news = happenings.last.subscribe();
    let kept = Arc::clone(&happenings);
    let mut place = given;
    let next = move || {
        let ring = kept.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::new();
        // Another process of ours counted those.
        if place > ring.last {
            place = 0;
            format.write_json(&mut out, "gap", None, &Gap { gap: None });
        }
        for event in ring.after(place, vassal.as_deref(), limit.take()) {
            format.write_json(&mut out, "event", Some(&event.id), event);
        }
        place = ring.last;
        out
    };
    stream::open(&happenings.streams, &aside, format, news, || true, next)
}
