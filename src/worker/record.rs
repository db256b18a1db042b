//! What is recorded of each request: the scoreboard, and the line in the log.

use std::sync::Arc;

use pyo3::prelude::*;

use super::current;
use super::environ::Weight;
use super::host::Host;
use super::job::Head;
use super::line::{self, Line};
use super::log;
use super::output::Sent;
use super::routes::Routing;
use crate::stats::scoreboard::{Core, CoreField, Field, Slot};
use crate::stats::variables::Variables;
use crate::sys::clock;
use crate::wire::message::FromWorker;

/// One request being served.
#[derive(Debug)]
pub(super) struct Record {
    host: &'static Host,
    slot: Slot<'static>,
    core: Core<'static>,
    number: usize,
    started_us: u64,
}

/// How a request went.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    pub(super) sent: Sent,
    pub(super) weight: Weight,
    /// The application raised an exception.
    pub(super) has_raised: bool,
    /// The rules it went past, if there are any.
    pub(super) routing: Option<Arc<Routing>>,
}

impl Record {
    /// A request begins in the thread of this core; `None` when the scoreboard has no such place.
    pub(super) fn start(
        py: Python<'_>,
        host: &'static Host,
        number: usize,
        head: &Head,
        since_us: u64,
    ) -> Option<Self> {
        let slot = host.slot()?;
        let core = slot.core(number)?;
        let started_us = clock::monotonic_us();
        slot.add(Field::QueuedUs, started_us.saturating_sub(since_us));
        match head {
            Head::Http(parts, _) => {
                core.set_text(parts.method.as_str().as_bytes(), parts.uri.path().as_bytes());
            }
            Head::Packet(packet) => {
                let request = packet.view();
                core.set_text(request.method, request.path);
            }
        }
        if host.spec.request_vars.shown {
            // Until there are new ones: static files have none.
            core.show(&Variables::default());
        }
        core.set(CoreField::StartedUs, started_us);
        core.set(CoreField::StartedEpochS, clock::epoch_seconds());
        let harakiri_ms = u64::from(host.spec.workers.harakiri_s) * 1000;
        core.set(CoreField::DeadlineMs, if harakiri_ms == 0 { 0 } else { started_us / 1000 + harakiri_ms });
        // Last: whoever sees it reads the rest.
        core.set(CoreField::InRequest, 1);
        current::enter(py, host, number, started_us);
        if host.spec.workers.cheaper.is_on() && host.board.is_to_tell() {
            host.tell(&FromWorker::Stirred);
        }
        Some(Self { host, slot, core, number, started_us })
    }

    /// Counts it, before the hook after it.
    pub(super) fn count(&self, course: &Course) {
        self.core.add(CoreField::Requests, 1);
        self.slot.add(Field::Requests, 1);
        let sent = &course.sent;
        let bytes = u64::try_from(sent.head_bytes).unwrap_or(0).saturating_add(sent.body_bytes);
        self.slot.add(Field::TxBytes, bytes);
        if course.has_raised {
            self.slot.add(Field::Exceptions, 1);
        }
        if sent.is_file {
            self.core.add(CoreField::StaticRequests, 1);
        }
        let ended = course.routing.as_ref().map_or(0, |routing| routing.ended());
        if ended > 0 {
            self.core.add(CoreField::RoutedRequests, ended);
        }
        if sent.is_cut {
            self.core.add(CoreField::WriteErrors, 1);
        }
    }

    /// `harakiri` counts no further.
    pub(super) fn stop_the_clock(&self) {
        self.core.set(CoreField::DeadlineMs, 0);
    }

    /// It was over at this time, but for the hook after it.
    pub(super) fn end(self, py: Python<'_>, head: &Head, course: &Course, ended_us: u64) {
        current::leave(py, self.host);
        let taken_us = ended_us.saturating_sub(self.started_us);
        self.core.set(CoreField::InRequest, 0);
        self.core.set(CoreField::DeadlineMs, 0);
        self.slot.add(Field::RunningUs, taken_us);
        self.slot.classify(taken_us);
        self.slot.set(Field::AverageUs, u64::midpoint(self.slot.get(Field::AverageUs), taken_us));
        if line::is_wanted(&self.host.spec.log, course, taken_us) {
            let (host, slot, core) = (self.host, self.slot, self.number);
            if let Ok(text) = (Line { host, slot, core, head, course, taken_us }).text(py) {
                log::write_request(py, &text);
            }
        }
    }
}
