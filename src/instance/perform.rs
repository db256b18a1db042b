//! Doing what was decided.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::bind::Listener;
use super::children::{Owner, Process, WorkerProcess};
use super::companions;
use super::event::{Effect, Event};
use super::launch;
use super::link::Link;
use super::log_file::LogFile;
use super::master::{Config, Master, Report};
use super::roster::{Phase, SlotState};
use super::stats_socket::StatsServer;
use super::touch::Touched;
use crate::config::address::Listen;
use crate::config::cores::ROUTED_LIMIT;
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::{Field, Total};
use crate::wire::PROTOCOL;
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, InstanceState, OperationId, Outcome, ToRouter, ToWorker, ToZygote};

impl Master {
    /// Does one thing.
    pub(super) fn perform(&mut self, effect: Effect) {
        tracing::debug!("{effect:?}");
        match effect {
            Effect::Rehearse(pending) => self.rehearse(pending),
            Effect::Reexec { operation, reload } => self.reexec = Some((operation, reload)),
            Effect::Adopt { generation } => {
                if let Some(config) = self.prepared.take() {
                    self.configs.insert(generation, config);
                }
            }
            Effect::Discard { generation } => self.discard(generation),
            Effect::Swap { generation } => self.put_in_force(generation),
            Effect::Grow { slots, cores } => self.grow(slots, usize::try_from(cores).unwrap_or(1)),
            Effect::StartZygote { zygote, generation, lazy } => {
                if let Err(error) = self.start_zygote(zygote, generation, lazy) {
                    let how = format!("the interpreter cannot be started: {error}");
                    self.handle(Event::ZygoteGone { zygote, how });
                }
            }
            Effect::CloseZygote { zygote } => {
                if let Some(zygote) = self.children.zygotes.get(&zygote) {
                    zygote.link.close();
                }
            }
            Effect::KillZygote { zygote } => {
                if let Some(zygote) = self.children.zygotes.get(&zygote) {
                    zygote.kill();
                }
            }
            Effect::Fork { zygote, slot } => {
                if let Err(error) = self.fork(zygote, slot) {
                    self.handle(Event::ForkFailed { slot, failure: error.into() });
                }
            }
            Effect::Drain { slot } => self.drain(slot),
            Effect::Kill { slot } => {
                if let Some(worker) = self.children.workers.get(&slot) {
                    worker.process.kill();
                }
            }
            Effect::Clear { slot } => self.clear(slot),
            Effect::StartRouter { generation } => {
                if let Err(error) = self.start_router(generation) {
                    self.tell(format!("the router cannot be started: {error}"));
                    self.handle(Event::RouterGone);
                }
            }
            Effect::DrainRouter => {
                if let Some(router) = &self.children.router {
                    router.link.send(&ToRouter::Drain, &[]);
                }
            }
            Effect::KillRouter => match &self.children.router {
                Some(router) => router.kill(),
                None => self.handle(Event::RouterGone),
            },
            Effect::AddToRouter { slot } => self.add_to_router(slot),
            Effect::ReleaseFromRouter { slot } => {
                if let (Some(router), Some(worker)) =
                    (&self.children.router, self.children.workers.get(&slot))
                {
                    let slot = as_u32(slot);
                    let generation = worker.generation;
                    router.link.send(&ToRouter::ReleaseWorker { slot, generation }, &[]);
                }
            }
            Effect::Look => self.look(),
            Effect::LookOut { busy } => self.look_out(busy),
            Effect::Resized { from, to, reason } => self.resized(from, to, &reason),
            Effect::Log(line) => tracing::info!("{line}"),
            Effect::State(state) => self.announce(state),
            Effect::Ended { operation, outcome } => self.ended(operation, outcome),
            Effect::Tell(message) => self.tell(message),
            Effect::Late { after } => {
                let after_s = after.as_secs();
                tracing::warn!(
                    "nothing serves after {after_s} s (startup-timeout): the application still loads"
                );
                self.tell_emperor(&FromInstance::Late { after_s }, &[]);
            }
            Effect::Part { by } => self.attend(companions::Event::Part(by)),
            Effect::Exit { code, failure } => self.exit = Some((code, failure)),
        }
    }

    /// Tells a worker to finish. Workers of one earlier generation may take their time for kept-alive connections,
    /// but not while the instance stops, and not those of still earlier ones: they would fill the scoreboard.
    fn drain(&self, slot: usize) {
        let is_stopping = matches!(self.roster.phase, Phase::Stopping { .. });
        let Some(worker) = self.children.workers.get(&slot) else { return };
        let order = match (is_stopping, self.replaced) {
            (false, _) => ToWorker::Drain,
            (true, true) => ToWorker::Hurry,
            // Not even a word before it: what a worker passes on must find a taker.
            (true, false) => ToWorker::Stop,
        };
        worker.process.link.send(&order, &[]);
        for (&other, earlier) in &self.children.workers {
            let drains = self.roster.slots.get(other).is_some_and(|s| s.state == SlotState::Draining);
            if drains && earlier.generation < worker.generation {
                earlier.process.link.send(&ToWorker::Hurry, &[]);
            }
        }
    }

    fn start_zygote(&mut self, zygote: u64, generation: u64, lazy: bool) -> io::Result<()> {
        let config = self.config(generation)?;
        let spec = &config.said.spec;
        let (child, socket) =
            launch::zygote(&config.interpreter, spec, self.supervised, &|| self.output.for_child())?;
        let wrap = move |message| Report::Zygote(zygote, message);
        let link = Link::start(socket, self.reports.clone(), wrap)?;
        let own: Vec<&Rc<Listener>> = served_by_workers(&config.sockets.listeners).collect();
        let board = self.scoreboard();
        let requests = self.output.for_requests(spec)?;
        let stdin = io::stdin();
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(board.share())
            .chain(spec.honour_stdin.then(|| stdin.as_fd()))
            .chain(own.iter().map(|l| l.as_fd()))
            .chain(requests.iter().map(AsFd::as_fd))
            .collect();
        let mut spec = Box::new(spec.clone());
        spec.workers.lazy_apps = lazy;
        let listeners = own.iter().map(|l| l.listen.clone()).collect();
        link.send(&ToZygote::Load { protocol: PROTOCOL, generation, spec, listeners }, &fds);
        self.children.know(child.pid(), Owner::Zygote(zygote));
        self.children.zygotes.insert(zygote, Process::new(Some(child), link));
        self.children.boards.insert(zygote, board);
        Ok(())
    }

    fn fork(&mut self, zygote: u64, slot: usize) -> io::Result<()> {
        let Some(place) = self.roster.slots.get(slot).copied() else { return Ok(()) };
        let config = self.config(place.generation)?;
        let settings = config.settings();
        let (ours, theirs) = channel::pair()?;
        let mut router_ends = Vec::new();
        let mut fds: Vec<OwnedFd> = vec![theirs];
        for _ in 0..if settings.router { settings.threads.min(ROUTED_LIMIT) } else { 0 } {
            let (router, worker) = UnixStream::pair()?;
            router_ends.push(router.into());
            fds.push(worker.into());
        }
        let life = self.children.next_life();
        let wrap = move |message| Report::Worker(slot, life, message);
        let link = Link::start(ours, self.reports.clone(), wrap)?;
        let routed = as_u32(router_ends.len());
        let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        let board = self.children.boards.get(&zygote).cloned().unwrap_or_else(|| self.scoreboard());
        if let Some(entry) = board.slot(slot) {
            entry.set(Field::WorkerId, place.worker.into());
            entry.set(Field::Generation, place.generation);
            if self.lookout > 0 {
                board.look_out(self.lookout.into());
            }
        }
        let (worker, first) = (place.worker, place.first);
        let message = ToZygote::Fork { worker, slot: as_u32(slot), routed, first };
        let Some(zygote) = self.children.zygotes.get(&zygote) else {
            return Err(io::Error::other("the interpreter is gone"));
        };
        zygote.link.send(&message, &borrowed);
        let worker = WorkerProcess {
            process: Process::new(None, link),
            life,
            number: place.worker,
            generation: place.generation,
            router_ends,
            killed: None,
            buried: false,
            ready: false,
            board,
        };
        self.children.workers.insert(slot, worker);
        Ok(())
    }

    fn start_router(&mut self, generation: u64) -> io::Result<()> {
        let config = self.config(generation)?;
        let name = &config.said.spec.name;
        let (child, socket) = launch::role("router", name, None, None, Some(&self.output))?;
        let life = self.children.next_life();
        let wrap = move |message| Report::Router(life, message);
        let link = Link::start(socket, self.reports.clone(), wrap)?;
        self.children.know(child.pid(), Owner::Router);
        self.children.router_life = life;
        self.children.router = Some(Process::new(Some(child), link));
        self.serve_by_router(&config);
        Ok(())
    }

    fn serve_by_router(&self, config: &Config) {
        let Some(router) = &self.children.router else { return };
        let own: Vec<&Rc<Listener>> =
            config.sockets.listeners.iter().filter(|l| l.listen.protocol.is_of_router()).collect();
        let certificates =
            own.iter().filter_map(|listener| config.certificates.find(&listener.listen.address));
        let fds: Vec<BorrowedFd<'_>> = own.iter().map(|l| l.as_fd()).chain(certificates).collect();
        let listeners = own.iter().map(|l| l.listen.clone()).collect();
        router.link.send(&ToRouter::Serve { listeners, spec: Box::new(config.said.spec.clone()) }, &fds);
    }

    fn add_to_router(&mut self, slot: usize) {
        let Some(worker) = self.children.workers.get_mut(&slot) else { return };
        let Some(router) = &self.children.router else { return };
        let ends = std::mem::take(&mut worker.router_ends);
        let fds: Vec<BorrowedFd<'_>> = ends.iter().map(AsFd::as_fd).collect();
        let message = ToRouter::AddWorker { slot: as_u32(slot), generation: worker.generation };
        router.link.send(&message, &fds);
    }

    /// The generation's configuration is in force from now on.
    fn put_in_force(&mut self, generation: u64) {
        let Ok(config) = self.config(generation) else { return };
        let old = std::mem::replace(&mut self.current, Rc::clone(&config));
        let first = std::mem::replace(&mut self.current_generation, generation) == 0;
        let serving = generation.max(1);
        self.configs.retain(|number, _| *number >= serving || self.roster.generation(*number).is_some());
        self.scoreboard().set_total(Total::Generation, generation);
        let spec = &config.said.spec;
        if !first {
            self.serve_by_router(&config);
            self.tell_configured();
            self.take_over_files(&old.said.spec, spec);
        }
        self.serve_statistics();
        self.keep_fifo();
        self.touched = Touched::renew(self.touched.take(), spec);
        self.output.obey(spec);
        self.renew_companions();
        let kept = |listener: &Rc<Listener>, all: &[Rc<Listener>]| {
            all.iter().any(|l| l.listen.address == listener.listen.address)
        };
        for gone in old.sockets.listeners.iter().filter(|l| !kept(l, &config.sockets.listeners)) {
            gone.remove_file();
        }
        for gone in old.sockets.stats.iter().filter(|l| !kept(l, &config.sockets.stats)) {
            gone.remove_file();
        }
    }

    /// Begins to answer on the stats sockets of the configuration in force, and ends on others.
    pub(super) fn serve_statistics(&mut self) {
        let wanted = self.current.sockets.stats.clone();
        self.stats.retain(|server| wanted.iter().any(|l| server.serves(l)));
        for listener in &wanted {
            if self.stats.iter().any(|server| server.serves(listener)) {
                continue;
            }
            match StatsServer::start(listener, self.asks.clone()) {
                Ok(server) => self.stats.push(server),
                Err(error) => self.tell(format!("no statistics on {}: {error}", listener.name())),
            }
        }
        self.push_statistics();
    }

    /// Applies what a new configuration says about files that the master writes itself.
    fn take_over_files(&self, old: &InstanceSpec, new: &InstanceSpec) {
        let mut done = Ok(());
        if let Some(path) = new.log.logto2.as_ref().or(new.log.logto.as_ref()).filter(|_| old.log != new.log)
        {
            done = super::log_file::log_to(path, &new.log.file);
        }
        if new.log.file.reopen {
            self.output.with_file(LogFile::reopen);
        }
        for (before, now) in
            [(&old.files.pidfile, &new.files.pidfile), (&old.files.pidfile2, &new.files.pidfile2)]
        {
            if before != now {
                before.iter().for_each(|path| super::jail::remove_pid(path));
                done = done.and(now.as_ref().map_or(Ok(()), |path| super::jail::write_pid(path)));
            }
        }
        if let Err(failure) = done {
            self.tell(failure.to_string());
        }
    }

    fn discard(&mut self, generation: u64) {
        let Some(config) = self.configs.get(&generation).cloned() else { return };
        let used = |listener: &Rc<Listener>| {
            let current = &self.current.sockets;
            current
                .listeners
                .iter()
                .chain(&current.stats)
                .any(|l| l.listen.address == listener.listen.address)
        };
        for listener in config.sockets.listeners.iter().chain(&config.sockets.stats).filter(|l| !used(l)) {
            listener.remove_file();
        }
    }

    fn announce(&mut self, state: InstanceState) {
        match state {
            InstanceState::Ready | InstanceState::ReadyWithoutApp => {
                if state == InstanceState::ReadyWithoutApp {
                    self.tell("*** no app loaded: every request is answered with 500 ***".to_owned());
                }
                if let Some(path) = &self.current.said.spec.files.safe_pidfile
                    && let Err(failure) = super::jail::write_pid(path)
                {
                    self.tell(failure.to_string());
                }
            }
            InstanceState::Stopping => tracing::info!("graceful shutdown triggered..."),
            InstanceState::Starting | InstanceState::Loyal => {}
        }
        self.tell_emperor(&FromInstance::State(state), &[]);
        if matches!(state, InstanceState::Ready | InstanceState::ReadyWithoutApp) {
            self.accepts_for_uwsgi();
        }
    }

    fn ended(&mut self, operation: OperationId, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::NeedsReplace { reason } if !self.supervised => Outcome::RolledBack(
                Failure::new(format!("a running instance cannot change {reason}"))
                    .with_hint("stop it and start it again"),
            ),
            other => other,
        };
        match &outcome {
            Outcome::Swapped => tracing::info!("reload done: generation {} serves", self.current_generation),
            Outcome::RolledBack(failure) => {
                tracing::error!("reload failed, the old generation serves on:");
                super::announce::failure(failure);
            }
            Outcome::TimedOut => tracing::error!("reload not ready within startup-timeout"),
            Outcome::NeedsReplace { reason } => {
                self.replaced = true;
                tracing::info!("a new instance has to take over: {reason} changed");
            }
            Outcome::Done => {}
            Outcome::Refused(failure) => tracing::warn!("{failure}"),
            Outcome::Superseded => tracing::info!("a later reload takes this one's place"),
        }
        self.tell_emperor(&FromInstance::Ended { operation, outcome }, &[]);
        self.accepts_for_uwsgi();
    }

    /// Tells the emperor the configuration in force, and its listeners.
    pub(super) fn tell_configured(&self) {
        let said = &self.current.said;
        let spec = Box::new(said.spec.clone());
        self.tell_emperor(&FromInstance::Configured { spec, warnings: said.warnings.clone() }, &[]);
        let listeners = &self.current.sockets.listeners;
        let fds: Vec<BorrowedFd<'_>> = listeners.iter().map(|l| l.as_fd()).collect();
        let listeners: Vec<Listen> = listeners.iter().map(|l| l.listen.clone()).collect();
        self.tell_emperor(&FromInstance::Listeners { listeners }, &fds);
    }

    /// A generation's configuration.
    fn config(&self, generation: u64) -> io::Result<Rc<Config>> {
        let missing = || io::Error::other(format!("generation {generation} has no configuration"));
        self.configs.get(&generation).cloned().ok_or_else(missing)
    }
}

fn served_by_workers(listeners: &[Rc<Listener>]) -> impl Iterator<Item = &Rc<Listener>> {
    listeners.iter().filter(|l| !l.listen.protocol.is_of_router())
}

fn as_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
