//! Lists of what belongs to vassals: workers, requests, sockets; and single events and lines.

use std::os::fd::AsFd;

use super::{Moment, rfc3339};
use crate::api::{counters, views};
use crate::config::address::Address;
use crate::emperor::events::FleetEvent;
use crate::emperor::fleet::{Fleet, LogLine, Vassal};
use crate::emperor::store::Stored;
use crate::stats::cache::{Counts, ShownCache};
use crate::sys::socket;
use crate::trace::escaped;

/// How many requests are listed.
const REQUESTS: usize = 1000;

/// The workers of a vassal.
#[must_use]
pub fn workers(vassal: &Vassal, _fleet: &Fleet, moment: &Moment<'_>) -> views::WorkerList {
    let board = vassal.boards();
    let workers =
        board.map(|board| counters::workers(board, &vassal.id, vassal.pid(), moment)).unwrap_or_default();
    views::WorkerList { workers }
}

/// What runs in a vassal.
#[must_use]
pub fn requests_of(vassal: &Vassal, _fleet: &Fleet, moment: &Moment<'_>) -> views::RequestList {
    views::RequestList { requests: running(vassal, moment).take(REQUESTS).collect() }
}

/// What runs on the host.
#[must_use]
pub fn requests(fleet: &Fleet, moment: &Moment<'_>) -> views::RequestList {
    let all = fleet.vassals.values().flat_map(|vassal| running(vassal, moment));
    views::RequestList { requests: all.take(REQUESTS).collect() }
}

fn running<'a>(vassal: &'a Vassal, moment: &'a Moment<'_>) -> impl Iterator<Item = views::Request> + 'a {
    let board = vassal.boards();
    board.into_iter().flat_map(move |board| counters::requests(board, &vassal.id, moment))
}

/// A cache.
pub(super) fn cache(cache: &ShownCache) -> views::Cache {
    let Counts { items, hits, misses, full, modified_epoch_s } = cache.counts();
    let changed = (modified_epoch_s > 0).then(|| rfc3339(modified_epoch_s.saturating_mul(1000)));
    let (name, max_items) = (cache.name().to_owned(), cache.max_items());
    views::Cache { name, items, max_items, hits, misses, full, changed }
}

/// The sockets of a vassal.
#[must_use]
pub fn sockets_of(vassal: &Vassal, _fleet: &Fleet, _moment: &Moment<'_>) -> views::SocketList {
    views::SocketList { sockets: with_name(vassal).collect() }
}

/// All sockets.
#[must_use]
pub fn sockets(fleet: &Fleet, _moment: &Moment<'_>) -> views::SocketList {
    views::SocketList { sockets: fleet.vassals.values().flat_map(with_name).collect() }
}

fn with_name(vassal: &Vassal) -> impl Iterator<Item = views::VassalSocket> {
    let sockets = listening(vassal).into_iter();
    sockets.map(|socket| views::VassalSocket { vassal: vassal.id.clone(), socket })
}

/// Where requests come in: what is listened on, with the ports that the kernel chose, not what a configuration says.
pub(super) fn listening(vassal: &Vassal) -> Vec<views::Socket> {
    let said =
        |address: &Address| vassal.spec.iter().flat_map(|spec| &spec.listen).find(|l| l.address == *address);
    let shown = vassal.doors().map(|(listen, socket)| {
        let address = match (&listen.address, socket::local_port(socket.as_fd())) {
            (Address::Tcp { host, port: 0 }, Some(port)) => Address::Tcp { host: host.clone(), port },
            (address, _) => address.clone(),
        };
        // What is spoken at a socket of the emperor's own is told by the first instance that takes it over.
        let told = said(&listen.address).or(vassal.current.is_some().then_some(listen));
        views::Socket { address: escaped(&address.to_string()), protocol: told.map(|listen| listen.protocol) }
    });
    shown.collect()
}

/// What the service manager keeps of them.
pub(super) fn stored(fleet: &Fleet) -> views::StoredSockets {
    let Stored { kept, most, problem } = fleet.stored.clone();
    views::StoredSockets { kept, most, problem }
}

/// Operations, oldest first.
#[must_use]
pub fn operations(fleet: &Fleet, _moment: &Moment<'_>) -> views::OperationList {
    views::OperationList { operations: fleet.operations.iter().map(super::operation).collect() }
}

/// The black boxes of a vassal.
#[must_use]
pub fn black_boxes_of(vassal: &Vassal, _fleet: &Fleet, moment: &Moment<'_>) -> views::BlackBoxList {
    views::BlackBoxList { black_boxes: boxes(vassal, moment).collect() }
}

/// All black boxes.
#[must_use]
pub fn black_boxes(fleet: &Fleet, moment: &Moment<'_>) -> views::BlackBoxList {
    let all = fleet.vassals.values().flat_map(|vassal| boxes(vassal, moment));
    views::BlackBoxList { black_boxes: all.collect() }
}

fn boxes<'a>(vassal: &'a Vassal, moment: &'a Moment<'_>) -> impl Iterator<Item = views::BlackBox> + 'a {
    let may_operate = moment.shows_requests_of(&vassal.id);
    vassal.past.black_boxes.iter().map(move |found| {
        let death = &found.death;
        let last = death.last.iter().map(|last| views::LastRequest {
            core: last.core,
            running: last.running,
            started: rfc3339(last.started_epoch_s.saturating_mul(1000)),
            request: may_operate.then(|| last.request.clone()),
        });
        views::BlackBox {
            vassal: vassal.id.clone(),
            at: rfc3339(found.at_epoch_ms),
            worker: death.worker,
            pid: death.pid,
            generation: death.generation,
            cause: death.cause,
            how: death.how.clone(),
            since: rfc3339(death.born_epoch_s.saturating_mul(1000)),
            requests: death.requests,
            last: last.collect(),
            log: may_operate.then(|| found.log.iter().map(log_line).collect()),
        }
    })
}

/// An event.
#[must_use]
pub fn event(fleet: &Fleet, event: &FleetEvent) -> views::Event {
    views::Event {
        id: format!("{}-{}", era(fleet), event.id),
        at: rfc3339(event.at_epoch_ms),
        vassal: event.vassal.clone(),
        kind: event.kind,
        message: event.message.clone(),
        reason: event.reason.clone(),
        config: event.config.clone(),
        operation: event.operation,
        outcome: event.outcome,
    }
}

/// Tells the events' numbers of this emperor from those of another.
#[must_use]
pub fn era(fleet: &Fleet) -> String {
    format!("{:x}", fleet.started_epoch_ms)
}

/// A line of output.
#[must_use]
pub fn log_line(line: &LogLine) -> views::LogLine {
    views::LogLine { id: None, number: line.number, at: rfc3339(line.at_epoch_ms), text: line.text.clone() }
}
