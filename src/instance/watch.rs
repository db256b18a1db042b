//! The master's look at its workers for `cheaper`, and at its sockets while no worker runs.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::task::Poll;

use tokio::task::JoinHandle;

use super::cheaper::{Sample, Seen};
use super::children::WorkerProcess;
use super::event::Event;
use super::master::{Master, Report};
use super::roster::SlotState;
use crate::config::address::Protocol;
use crate::stats::scoreboard::{CoreField, Field, Slot};
use crate::sys::{clock, own, reactor, socket};
use crate::wire::message::FromInstance;
use crate::wire::queue::SharedQueue;

/// Waits for somebody to connect; ends when this is dropped.
#[derive(Debug)]
pub(super) struct Bell(JoinHandle<()>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Master {
    /// Looks at the workers of the generation that serves.
    pub(super) fn look(&mut self) {
        let sample = self.sample();
        self.handle(Event::Looked(sample));
    }

    /// The slots of workers in which no request runs.
    pub(super) fn idle_slots(&self) -> Vec<usize> {
        self.sample().workers.iter().filter(|seen| !seen.busy).map(|seen| seen.slot).collect()
    }

    /// Has workers say when so many are busy.
    pub(super) fn look_out(&mut self, busy: u32) {
        self.lookout = busy;
        for (_, worker, _) in self.serving() {
            worker.board.look_out(busy.into());
        }
        // What began before that, nobody says.
        let already = self.serving().filter(|(_, _, entry)| entry.is_busy()).count();
        if already >= usize::try_from(busy).unwrap_or(usize::MAX) {
            self.handle(Event::Stirred);
        }
    }

    /// Tells of more or fewer workers.
    pub(super) fn resized(&self, from: u32, to: u32, reason: &str) {
        let message = format!("workers: {from} → {to}: {reason}");
        tracing::info!("{message}");
        if to == 0 {
            tracing::info!("cheap mode enabled: waiting for socket connection...");
        }
        self.tell_emperor(&FromInstance::Event { message }, &[]);
    }

    /// Waits for somebody to connect while, and only while, no worker is to run before that. A pause ends with any
    /// worker that runs.
    pub(super) fn keep_bell(&mut self) {
        let is_cheap = self.roster.is_cheap();
        self.paused &= is_cheap;
        match (is_cheap && !self.paused, &self.bell) {
            (true, None) => match self.hang_bell() {
                Ok(bell) => self.bell = Some(bell),
                Err(error) => {
                    self.tell(format!("cannot wait for connections: {error}"));
                    self.handle(Event::Called);
                }
            },
            (false, Some(_)) => self.bell = None,
            _ => {}
        }
    }

    fn hang_bell(&self) -> io::Result<Bell> {
        let listeners = self.current.sockets.listeners.iter().map(AsFd::as_fd);
        // A connection that a worker passed on before it knew that it was the last one.
        let passage = self.children.passage.iter().map(|(_, exit)| exit.as_fd());
        let doors: Vec<_> = (listeners.chain(passage))
            .map(|door| reactor::register_readable(door.try_clone_to_owned()?))
            .collect::<io::Result<_>>()?;
        let reports = self.reports.clone();
        Ok(Bell(tokio::task::spawn_local(async move {
            let any = poll_fn(|cx| {
                let rings = doors.iter().any(|door| door.poll_read_ready(cx).is_ready());
                if rings { Poll::Ready(()) } else { Poll::Pending }
            });
            any.await;
            let _ = reports.send(Report::Called).await;
        })))
    }

    fn sample(&self) -> Sample {
        let now_us = clock::monotonic_us();
        let limits = self.current.said.spec.workers.cheaper;
        let weighs = limits.rss_soft_bytes > 0 || limits.rss_hard_bytes > 0;
        let workers = self.serving().map(|(slot, worker, entry)| {
            let rss = worker.process.pid().filter(|_| weighs).and_then(own::size_of);
            Seen {
                slot,
                busy: entry.is_busy(),
                served_us: served_us(entry, now_us),
                queued_us: entry.get(Field::QueuedUs),
                rss_bytes: rss.map_or(0, |(_, rss)| rss),
            }
        });
        Sample { workers: workers.collect(), backlog: self.backlog() }
    }

    /// Connections and requests that wait for a worker.
    pub(super) fn backlog(&self) -> u64 {
        let listeners = &self.current.sockets.listeners;
        let own = listeners.iter().filter(|listener| listener.listen.protocol != Protocol::Router);
        let waiting = own.filter_map(|listener| socket::queue(listener.as_fd()));
        let routed = self.children.queue.as_ref().map_or(0, SharedQueue::backlog);
        waiting.map(|(waiting, _)| u64::from(waiting)).fold(routed, u64::saturating_add)
    }

    /// The workers of the generation that serves, with their places on the scoreboard.
    fn serving(&self) -> impl Iterator<Item = (usize, &WorkerProcess, Slot<'_>)> {
        let generation = self.roster.serving().map(|serving| serving.number);
        self.children.workers.iter().filter_map(move |(slot, worker)| {
            let place = self.roster.slots.get(*slot)?;
            let serves = Some(place.generation) == generation && place.state == SlotState::Serving;
            serves.then_some((*slot, worker, worker.board.slot(*slot)?))
        })
    }
}

/// What a worker has spent in requests, those that run included.
fn served_us(entry: Slot<'_>, now_us: u64) -> u64 {
    let running = entry.iter_cores().filter(|core| core.get(CoreField::InRequest) == 1);
    let so_far = running.map(|core| now_us.saturating_sub(core.get(CoreField::StartedUs)));
    so_far.fold(entry.get(Field::RunningUs), u64::saturating_add)
}
