//! Starts the processes that serve: zygotes, workers forked from them, the router.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use super::bind::Listener;
use super::children::{Owner, Process, WorkerProcess};
use super::harakiri::Patience;
use super::launch;
use super::link::Link;
use super::master::{Config, Master, Report};
use super::perform::as_u32;
use super::vigil::Vigil;
use crate::config::cores::ROUTED_LIMIT;
use crate::stats::scoreboard::Field;
use crate::wire::PROTOCOL;
use crate::wire::channel;
use crate::wire::message::{ToRouter, ToZygote};

impl Master {
    pub(super) fn start_zygote(&mut self, zygote: u64, generation: u64, lazy: bool) -> io::Result<()> {
        let config = self.config(generation)?;
        let spec = &config.said.spec;
        self.attendance.mules.keep_queues(&spec.companions)?;
        self.caches.keep(&spec.caches)?;
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
            .chain(self.attendance.mules.ends(&spec.companions))
            .chain(self.caches.memory(&spec.caches))
            .chain(requests.iter().map(AsFd::as_fd))
            .chain([self.locks.share()])
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

    pub(super) fn fork(&mut self, zygote: u64, slot: usize) -> io::Result<()> {
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
            patience: Patience::default(),
            buried: false,
            ready: false,
            leaves: false,
            board,
        };
        self.children.workers.insert(slot, worker);
        Ok(())
    }

    pub(super) fn start_router(&mut self, generation: u64) -> io::Result<()> {
        let config = self.config(generation)?;
        let name = &config.said.spec.name;
        let (child, socket) = launch::role("router", name, None, None, Some(&self.output))?;
        let life = self.children.next_life();
        let wrap = move |message| Report::Router(life, message);
        let link = Link::start(socket, self.reports.clone(), wrap)?;
        self.children.know(child.pid(), Owner::Router);
        self.children.router_life = life;
        self.children.vigil = Vigil::default();
        self.children.router = Some(Process::new(Some(child), link));
        self.share_with_router();
        self.serve_by_router(&config);
        Ok(())
    }

    /// Gives the router the scoreboard in use.
    pub(super) fn share_with_router(&self) {
        if let Some(router) = &self.children.router {
            router.link.send(&ToRouter::Scoreboard, &[self.scoreboard().share()]);
        }
    }

    pub(super) fn serve_by_router(&self, config: &Config) {
        let Some(router) = &self.children.router else { return };
        let own: Vec<&Rc<Listener>> =
            config.sockets.listeners.iter().filter(|l| l.listen.protocol.is_of_router()).collect();
        let certificates =
            own.iter().filter_map(|listener| config.certificates.find(&listener.listen.address));
        let fds: Vec<BorrowedFd<'_>> = own.iter().map(|l| l.as_fd()).chain(certificates).collect();
        let listeners = own.iter().map(|l| l.listen.clone()).collect();
        router.link.send(&ToRouter::Serve { listeners, spec: Box::new(config.said.spec.clone()) }, &fds);
    }

    pub(super) fn add_to_router(&mut self, slot: usize) {
        let Some(worker) = self.children.workers.get_mut(&slot) else { return };
        let Some(router) = &self.children.router else { return };
        let ends = std::mem::take(&mut worker.router_ends);
        let fds: Vec<BorrowedFd<'_>> = ends.iter().map(AsFd::as_fd).collect();
        let message = ToRouter::AddWorker { slot: as_u32(slot), generation: worker.generation };
        router.link.send(&message, &fds);
    }
}

/// The listeners at which workers accept themselves.
pub(super) fn served_by_workers(listeners: &[Rc<Listener>]) -> impl Iterator<Item = &Rc<Listener>> {
    listeners.iter().filter(|l| !l.listen.protocol.is_of_router())
}
