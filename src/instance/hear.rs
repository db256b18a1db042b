//! What the other processes say, as events.

use super::announce;
use super::children::Owner;
use super::event::Event;
use super::master::Master;
use super::roster::Router;
use super::source::Source;
use super::stats_document::{self, Facts};
use crate::config::hook::Point;
use crate::stats::scoreboard::Field;
use crate::stats::uwsgi;
use crate::trace;
use crate::wire::PROTOCOL;
use crate::wire::channel::Received;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, FromRouter, FromWorker, FromZygote, ToInstance};
use crate::wire::queue::SharedQueue;
use crate::wire::succession::Succession;

/// What an application did to the queue.
const SPOILT: &str = "the application has written over the memory in which its router's requests are: what the router knows is \
    put right, requests that were in it may have got 502";

impl Master {
    pub(super) fn hear_emperor(&mut self, message: Option<Received<ToInstance>>) {
        let Some((message, mut fds)) = message else {
            return self.orphaned();
        };
        if let Some(file) = fds.pop() {
            self.file = Some(file);
        }
        match message {
            ToInstance::Start { .. } | ToInstance::Adopt { .. } => {
                tracing::warn!("a second start is ignored");
            }
            ToInstance::Reload { operation, vassals } => {
                self.act(&Point::EmperorReload);
                if let (Some(said), Source::Vassal { options, .. }) = (vassals, &mut self.source) {
                    *options = said;
                }
                self.handle(Event::Reload(operation));
            }
            ToInstance::Reexec { operation, reload } => self.handle(Event::Reexec { operation, reload }),
            ToInstance::Scale { operation, workers } => {
                let idle = self.idle_slots();
                self.handle(Event::Scale { operation, workers, idle });
            }
            ToInstance::LogLevel(level) => trace::set_level(level),
            ToInstance::Stop { mercy_ms, succession } => {
                self.replaced |= succession == Succession::Another;
                self.succession = succession;
                let mercy = mercy_ms.map(std::time::Duration::from_millis);
                self.act_and_stop(&Point::EmperorStop, mercy);
            }
        }
    }

    pub(super) fn hear_zygote(&mut self, id: u64, message: Option<Received<FromZygote>>) {
        let Some(zygote) = self.children.zygotes.get_mut(&id) else { return };
        match message.map(|(message, _)| message) {
            None => zygote.cut(),
            Some(FromZygote::Hello { protocol, version, python, executable }) => {
                let ours = env!("CARGO_PKG_VERSION");
                if protocol == PROTOCOL {
                    tracing::info!("Python version: {python} ({executable})");
                } else {
                    let failure = Failure::new(format!(
                        "the extension is of liege {version} (protocol {protocol}), the master of {ours} ({PROTOCOL})"
                    ));
                    self.handle(Event::ZygoteLoadFailed { zygote: id, failure });
                }
            }
            Some(FromZygote::Loaded { startup_ms, app, threads, failure }) => {
                if app && !self.lazy(id) {
                    let seconds = startup_ms / 1000;
                    let pid = zygote_pid(self, id);
                    tracing::info!(
                        "WSGI app 0 (mountpoint='') ready in {seconds} seconds pid: {pid} (default app)"
                    );
                }
                if let Some(failure) = &failure {
                    announce::failure(failure);
                    self.tell_emperor(&FromInstance::AppFailed(failure.clone()), &[]);
                }
                self.handle(Event::ZygoteLoaded { zygote: id, app, threads, failure });
            }
            Some(FromZygote::LoadFailed(failure)) => {
                self.handle(Event::ZygoteLoadFailed { zygote: id, failure });
            }
            Some(FromZygote::HookFailed(failure)) => {
                self.handle(Event::ZygoteHookFailed { zygote: id, failure });
            }
            Some(FromZygote::Doing(doing)) => self.doing(Owner::Zygote(id), doing),
            Some(FromZygote::Forked { slot, pid }) => self.worker_born(as_usize(slot), pid),
            Some(FromZygote::Mule(birth)) => self.mule_born(birth),
            Some(FromZygote::ForkFailed { slot, failure }) => {
                self.handle(Event::ForkFailed { slot: as_usize(slot), failure });
            }
        }
    }

    /// A worker's pid became known, from its zygote or from itself.
    fn worker_born(&mut self, slot: usize, pid: u32) {
        let unknown = self
            .children
            .workers
            .get(&slot)
            .is_some_and(|w| w.process.child.is_none() && w.process.exit.is_none());
        if !unknown {
            return;
        }
        match self.children.adopt(pid, Owner::Worker(slot)) {
            Ok(Ok(child)) => {
                if let Some(worker) = self.children.workers.get_mut(&slot) {
                    worker.process.child = Some(child);
                }
                self.note_birth(slot, pid);
                self.handle(Event::Forked { slot });
            }
            Ok(Err(exit)) => {
                self.handle(Event::Forked { slot });
                self.worker_reaped(slot, exit);
            }
            Err(error) => {
                // Without a handle it could never be killed for sure; its channel's end stops it.
                self.handle(Event::ForkFailed { slot, failure: error.into() });
            }
        }
    }

    pub(super) fn hear_worker(&mut self, slot: usize, message: Option<Received<FromWorker>>) {
        match message.map(|(message, _)| message) {
            None => {
                if let Some(worker) = self.children.workers.get_mut(&slot) {
                    worker.process.silent = true;
                }
            }
            Some(FromWorker::Ready { pid, app }) => {
                self.worker_born(slot, pid);
                if let Some(worker) = self.children.workers.get_mut(&slot) {
                    worker.ready = true;
                }
                self.open_passage(slot);
                self.handle(Event::WorkerReady { slot, app });
            }
            Some(FromWorker::LoadFailed(failure)) => {
                announce::failure(&failure);
                self.handle(Event::WorkerLoadFailed { slot, failure });
            }
            Some(FromWorker::HookFailed(failure)) => {
                announce::failure(&failure);
                self.handle(Event::WorkerHookFailed { slot, failure });
            }
            Some(FromWorker::Doing(doing)) => self.doing(Owner::Worker(slot), doing),
            Some(FromWorker::AppFailed(failure)) => {
                self.tell_emperor(&FromInstance::AppFailed(failure.clone()), &[]);
                self.handle(Event::WorkerWithoutApp { slot, failure });
            }
            Some(FromWorker::Recycle { reason }) => {
                if let Some(worker) = self.children.workers.get(&slot) {
                    let pid = worker.process.pid().unwrap_or(0);
                    tracing::info!("...The work of process {pid} is done. Seeya! ({reason})");
                }
                self.handle(Event::Recycle { slot });
            }
            Some(FromWorker::ReloadRequested) => {
                self.reload_by_itself("uwsgi.reload()".to_owned(), None);
            }
            Some(FromWorker::StopRequested) => {
                tracing::info!("the application asked to stop");
                self.handle(Event::Stop { mercy: None });
            }
            Some(FromWorker::Stirred) => self.handle(Event::Stirred),
            // The loop looks at the scoreboard for the earliest deadline after every message.
            Some(FromWorker::DeadlineSet | FromWorker::MuleDeadline(_)) => {}
            Some(FromWorker::Draining) => self.handle(Event::Closed { slot }),
        }
    }

    pub(super) fn hear_router(&mut self, mut message: Option<Received<FromRouter>>) {
        let Some(router) = &mut self.children.router else { return };
        if let Some((FromRouter::Ready, fds)) = &mut message
            && let Some(memory) = fds.pop()
        {
            self.children.queue = SharedQueue::open(memory).ok();
        }
        match message.map(|(message, _)| message) {
            None => {
                router.silent = true;
                router.kill();
            }
            Some(FromRouter::Ready) => {
                if let Some(pid) =
                    router.pid().filter(|_| matches!(self.roster.router, Router::Starting { .. }))
                {
                    tracing::info!("spawned uWSGI http 1 (pid: {pid})");
                }
                self.handle(Event::RouterReady);
            }
            Some(FromRouter::IAmThere) => self.router_is_there(),
            Some(FromRouter::Spoilt) => self.tell(SPOILT.to_owned()),
            Some(FromRouter::PassedOver { slot, generation }) => {
                self.handle(Event::PassedOver { slot: as_usize(slot), generation });
            }
            Some(FromRouter::Released { slot, generation }) => {
                self.handle(Event::Released { slot: as_usize(slot), generation });
            }
            Some(FromRouter::Lost { slot, generation }) => {
                self.handle(Event::Lost { slot: as_usize(slot), generation });
            }
        }
    }

    /// uWSGI's statistics, as JSON; `plain` without a head of HTTP in any case.
    pub(super) fn stats_document(&self, plain: bool) -> Vec<u8> {
        let place = |slot: usize| self.children.workers.get(&slot).and_then(|w| w.board.slot(slot));
        let slots = self.slots_by_number().into_iter();
        let (spec, board) = (&self.current.said.spec, self.scoreboard());
        let facts = Facts {
            workers: slots.map(|(number, slot)| (number, slot.and_then(place))).collect(),
            counted: self.counted(),
            listeners: &self.current.sockets.listeners,
            threads: self.current.settings().threads,
            locks: (0..=spec.app.locks).map(|n| self.locks.holder(n).unwrap_or(0)).collect(),
            companions: &self.attendance.companions.all,
            caches: self.caches.of(&spec.caches).collect(),
            router: (!spec.router.to.is_empty()).then(|| {
                let pid = self.children.router.as_ref().and_then(super::children::Process::pid);
                (pid.unwrap_or(0), board.attic())
            }),
        };
        let document = stats_document::document(&facts, spec.stats_form).unwrap_or_default();
        if plain || !spec.stats_http {
            return document;
        }
        uwsgi::with_head(&document)
    }

    /// `SIGUSR1`: a line for each worker.
    pub(super) fn log_statistics(&self) {
        for (slot, worker) in &self.children.workers {
            let Some(entry) = worker.board.slot(*slot) else { continue };
            tracing::info!(
                "worker {} (pid: {}) generation {}: {} requests, {} exceptions, {} bytes sent, {}",
                worker.number,
                worker.process.pid().unwrap_or(0),
                worker.generation,
                entry.get(Field::Requests),
                entry.get(Field::Exceptions),
                entry.get(Field::TxBytes),
                if entry.is_busy() { "busy" } else { "idle" },
            );
        }
    }

    fn lazy(&self, zygote: u64) -> bool {
        self.roster.generations.iter().any(|g| g.zygote.id() == Some(zygote) && g.lazy)
    }
}

fn zygote_pid(master: &Master, id: u64) -> u32 {
    master.children.zygotes.get(&id).and_then(super::children::Process::pid).unwrap_or(0)
}

fn as_usize(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
