//! Executing the binary again: what the master is goes into the record, and comes out of it in the next image.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

use super::bind::{Listener, Sockets};
use super::board::CarriedBoards;
use super::certificates::Certificates;
use super::children::{Children, Owner, Process, WorkerProcess};
use super::event::Event;
use super::fifo::Fifo;
use super::harakiri::Patience;
use super::image::Image;
use super::launch::Interpreter;
use super::link::Link;
use super::log_hub::Surroundings;
use super::logs::Output;
use super::master::{Config, Master, Report, board};
use super::reexec::{self, ConfigRecord, Luggage, ProcessRecord, Record, WorkerRecord};
use super::uwsgi_emperor::UwsgiEmperor;
use crate::config::address::Listen;
use crate::sys::background::Foreground;
use crate::sys::locks::Locks;
use crate::sys::process::Child;
use crate::sys::{exec, fd, signals};
use crate::wire::failure::Failure;
use crate::wire::inherited::RESUME_VARIABLE;
use crate::wire::queue::SharedQueue;

impl Master {
    /// Becomes the binary at the path that this one was started by. Comes back only when that fails.
    pub(super) fn execute_again(&mut self) {
        let Some((_, reload)) = self.reexec.take() else { return };
        tracing::info!("binary reloading uWSGI... ({}, reload: {reload})", self.binary.display());
        self.output.flush();
        let mut luggage = Luggage::default();
        let Err(error) = self.pack(&mut luggage).and_then(|record| {
            let mut environment: Vec<(OsString, OsString)> =
                env::vars_os().filter(|(name, _)| name != RESUME_VARIABLE).collect();
            environment.push((RESUME_VARIABLE.into(), record.to_string().into()));
            // A signal in the gap would meet the default, which ends the process.
            signals::block_all()?;
            exec::execute(&self.binary, &self.arguments, environment)
        });
        drop(luggage);
        if let Err(error) = signals::unblock_all() {
            tracing::error!("signals stay blocked: {error}");
        }
        let failure = Failure::new(format!("{} cannot be executed: {error}", self.binary.display()));
        self.handle(Event::ReexecFailed(failure));
    }

    /// Writes the record; answers its descriptor's number.
    fn pack(&self, luggage: &mut Luggage) -> io::Result<RawFd> {
        let mut listeners: Vec<Rc<Listener>> = Vec::new();
        let mut stats: Vec<Rc<Listener>> = Vec::new();
        let mut pack_config = |generation: u64, config: &Config| -> io::Result<ConfigRecord> {
            let certificates = config
                .certificates
                .all()
                .map(|(address, file)| Ok((address.clone(), luggage.take_owned(fd::duplicate_high(file)?)?)));
            Ok(ConfigRecord {
                generation,
                said: config.said.clone(),
                python: config.interpreter.python.clone(),
                extension: config.interpreter.extension.clone(),
                listeners: indices(&mut listeners, &config.sockets.listeners),
                stats: indices(&mut stats, &config.sockets.stats),
                certificates: certificates.collect::<io::Result<_>>()?,
            })
        };
        let known = self.configs.iter().map(|(number, config)| pack_config(*number, config));
        let mut configs: Vec<ConfigRecord> = known.collect::<io::Result<_>>()?;
        if !self.configs.contains_key(&self.current_generation) {
            configs.push(pack_config(self.current_generation, &self.current)?);
        }
        let prepared = pack_config(0, self.prepared.as_ref().unwrap_or(&self.current))?;
        let mut workers = Vec::new();
        for (slot, worker) in &self.children.workers {
            let ends = worker.router_ends.iter().map(|end| luggage.take(end)).collect::<io::Result<_>>()?;
            workers.push(WorkerRecord {
                slot: *slot,
                number: worker.number,
                generation: worker.generation,
                pid: worker.process.pid(),
                channel: luggage.take_owned(worker.process.link.duplicate()?)?,
                router_ends: ends,
                ready: worker.ready,
                leaves: worker.leaves,
                killed: worker.killed,
            });
        }
        let mut zygotes = Vec::new();
        for (id, zygote) in &self.children.zygotes {
            if let Some(pid) = zygote.pid() {
                let channel = luggage.take_owned(zygote.link.duplicate()?)?;
                zygotes.push(ProcessRecord { id: *id, pid, channel });
            }
        }
        let router = match self.children.router.as_ref().and_then(|r| Some((r.pid()?, &r.link))) {
            Some((pid, link)) => {
                Some(ProcessRecord { id: 0, pid, channel: luggage.take_owned(link.duplicate()?)? })
            }
            None => None,
        };
        let (output, logs) = self.output.pack(luggage)?;
        let mut take_all = |all: &[Rc<Listener>]| -> io::Result<Vec<(Listen, RawFd)>> {
            all.iter()
                .map(|l| Ok((l.listen.clone(), luggage.take_owned(fd::duplicate_high(l.as_fd())?)?)))
                .collect()
        };
        let (listeners, stats) = (take_all(&listeners)?, take_all(&stats)?);
        let emperor = match &self.emperor {
            Some(link) => Some(luggage.take_owned(link.duplicate()?)?),
            None => None,
        };
        let queue = self.children.queue.as_ref().map(|queue| fd::duplicate_high(queue.fd())).transpose()?;
        let record = Record {
            queue: queue.map(|queue| luggage.take_owned(queue)).transpose()?,
            source: self.source.clone(),
            policy: self.policy.clone(),
            binary: self.binary.clone(),
            directory: self.directory.clone(),
            supervised: self.supervised,
            roster: self.roster.clone(),
            tallies: self.tallies.clone(),
            own_operations: self.own_operations,
            lives: self.children.lives,
            replaced: self.replaced,
            board: luggage.take_owned(self.scoreboard().share().try_clone_to_owned()?)?,
            earlier_boards: self.pack_earlier_boards(luggage)?,
            locks: Some(luggage.take_owned(fd::duplicate_high(self.locks.share())?)?),
            file: self.file.as_ref().map(|file| luggage.take(file)).transpose()?,
            emperor,
            uwsgi_emperor: self.uwsgi_emperor.as_ref().map(|emperor| emperor.pack(luggage)).transpose()?,
            emperor_uid: self.emperor_uid,
            fifo: self.fifo.as_ref().map(|fifo| fifo.pack(luggage)).transpose()?,
            paused: self.paused,
            flocks: self.flocks.iter().map(|lock| luggage.take(lock)).collect::<io::Result<_>>()?,
            foreground: match &self.foreground {
                Some(foreground) => Some(luggage.take(foreground.end_of_it())?),
                None => None,
            },
            unsent: self.unsent.borrow().clone(),
            output,
            logs,
            listeners,
            stats,
            configs,
            current: self.current_generation,
            prepared,
            zygotes,
            workers,
            router,
            companions: self.attendance.companions.clone(),
            keepers: self.pack_keepers(luggage)?,
            mules: self.attendance.mules.pack(luggage)?,
            caches: self.caches.pack(luggage)?,
        };
        let file = reexec::write(&record)?;
        luggage.take(&file)
    }
}

/// Makes the master of the next image from the record.
///
/// # Errors
/// A descriptor that is not there, or a configuration that is missing.
pub(super) fn unpack(
    record: Record,
    reports: tokio::sync::mpsc::Sender<Report>,
    asks: tokio::sync::mpsc::Sender<super::stats_socket::Ask>,
) -> io::Result<Master> {
    let passed = record.source.passed().to_vec();
    let adopt_all = |all: Vec<(Listen, RawFd)>| -> io::Result<Vec<Rc<Listener>>> {
        let adopt = |(listen, number): (Listen, RawFd)| {
            let is_passed = passed.iter().any(|passed| passed.address == listen.address);
            let make = if is_passed { Listener::passed } else { Listener::inherited };
            Ok(Rc::new(make(listen, fd::adopt(number)?)))
        };
        all.into_iter().map(adopt).collect()
    };
    let (listeners, stats) = (adopt_all(record.listeners)?, adopt_all(record.stats)?);
    let unpack_config = |c: ConfigRecord| -> io::Result<(u64, Rc<Config>)> {
        let pick = |all: &[Rc<Listener>], at: &[usize]| -> Vec<Rc<Listener>> {
            at.iter().filter_map(|n| all.get(*n).cloned()).collect()
        };
        let sockets = Sockets { listeners: pick(&listeners, &c.listeners), stats: pick(&stats, &c.stats) };
        let interpreter = Interpreter { python: c.python, extension: c.extension };
        let files = c.certificates.into_iter().map(|(address, number)| Ok((address, fd::adopt(number)?)));
        let certificates = Certificates::of_files(files.collect::<io::Result<Vec<_>>>()?);
        Ok((c.generation, Rc::new(Config { said: c.said, interpreter, sockets, certificates })))
    };
    let configs: BTreeMap<u64, Rc<Config>> =
        record.configs.into_iter().map(unpack_config).collect::<io::Result<_>>()?;
    let (_, prepared) = unpack_config(record.prepared)?;
    let current = configs
        .get(&record.current)
        .cloned()
        .ok_or_else(|| io::Error::other("the record lacks the configuration in force"))?;
    let boards = CarriedBoards::open(record.board, record.earlier_boards)?;
    let board = board(boards.newest());
    let log = Surroundings {
        own: Arc::default(),
        board: Rc::clone(&board),
        supervised: record.supervised,
        reports: reports.clone(),
    };
    let output = Output::unpack(record.output, record.logs, log)?;
    let mut children = Children::default();
    children.lives = record.lives;
    for zygote in record.zygotes {
        let id = zygote.id;
        let wrap = move |message| Report::Zygote(id, message);
        let link = Link::start(fd::adopt(zygote.channel)?, reports.clone(), wrap)?;
        children.know(zygote.pid, Owner::Zygote(id));
        // A process that has ended since is still there to be reaped: the pid is its own.
        children.zygotes.insert(id, Process::new(Some(Child::adopt(zygote.pid)?), link));
        children.boards.insert(id, boards.of_zygote(id));
    }
    for worker in record.workers {
        let (slot, life) = (worker.slot, children.next_life());
        let wrap = move |message| Report::Worker(slot, life, message);
        let link = Link::start(fd::adopt(worker.channel)?, reports.clone(), wrap)?;
        let child = worker.pid.map(Child::adopt).transpose()?;
        if let Some(pid) = worker.pid {
            children.know(pid, Owner::Worker(slot));
        }
        let ends: io::Result<Vec<OwnedFd>> = worker.router_ends.into_iter().map(fd::adopt).collect();
        let process = WorkerProcess {
            process: Process::new(child, link),
            life,
            number: worker.number,
            generation: worker.generation,
            router_ends: ends?,
            killed: worker.killed,
            patience: Patience::default(),
            buried: false,
            ready: worker.ready,
            leaves: worker.leaves,
            board: boards.of_slot(slot),
        };
        children.workers.insert(slot, process);
    }
    if let Some(router) = record.router {
        let life = children.next_life();
        let wrap = move |message| Report::Router(life, message);
        let link = Link::start(fd::adopt(router.channel)?, reports.clone(), wrap)?;
        children.know(router.pid, Owner::Router);
        children.router_life = life;
        children.queue = match record.queue {
            Some(number) => SharedQueue::open(fd::adopt(number)?).ok(),
            None => None,
        };
        children.router = Some(Process::new(Some(Child::adopt(router.pid)?), link));
    }
    let emperor = match record.emperor {
        Some(number) => Some(Link::start(fd::adopt(number)?, reports.clone(), Report::Emperor)?),
        None => None,
    };
    let uwsgi_emperor = record.uwsgi_emperor.as_ref();
    let uwsgi_emperor = uwsgi_emperor.map(|record| UwsgiEmperor::resume(record, &reports)).transpose()?;
    let fifo = record.fifo.map(|fifo| Fifo::unpack(fifo, reports.clone())).transpose()?;
    let settings = prepared.settings();
    let image = Image {
        source: record.source,
        policy: record.policy,
        binary: record.binary,
        directory: record.directory,
        supervised: record.supervised,
        emperor_uid: record.emperor_uid,
        board,
        locks: record.locks.map_or_else(Locks::create, |number| fd::adopt(number).map(Locks::of))?,
        output,
        current,
        reports,
        asks,
    };
    let mut master = Master {
        roster: record.roster,
        configs,
        current_generation: record.current,
        prepared: Some(prepared),
        emperor,
        uwsgi_emperor,
        unsent: std::cell::RefCell::new(record.unsent),
        file: record.file.map(fd::adopt).transpose()?,
        children,
        tallies: record.tallies,
        own_operations: record.own_operations,
        replaced: record.replaced,
        caches: super::caches::Caches::unpack(record.caches)?,
        fifo,
        paused: record.paused,
        flocks: record.flocks.into_iter().map(fd::adopt).collect::<io::Result<_>>()?,
        foreground: record.foreground.map(fd::adopt).transpose()?.map(Foreground::at),
        ..image.into_master()
    };
    master.heed_foreground()?;
    master.unpack_companions(record.companions, record.keepers)?;
    master.unpack_mules(record.mules)?;
    master.output.obey(&master.current.said.spec);
    master.serve_statistics();
    master.keep_fifo();
    master.show_title();
    master.open_passages();
    master.remember_terminal();
    if master.supervised && master.emperor.is_none() {
        master.orphaned();
    }
    master.introduce();
    tracing::info!("gracefully (RE)spawned uWSGI master process (pid: {})", std::process::id());
    master.handle(Event::Reexecuted(settings));
    master.handle(Event::Stirred);
    Ok(master)
}

/// The places of `wanted` in `all`, which gets what it lacks.
fn indices(all: &mut Vec<Rc<Listener>>, wanted: &[Rc<Listener>]) -> Vec<usize> {
    wanted
        .iter()
        .map(|listener| {
            all.iter().position(|l| Rc::ptr_eq(l, listener)).unwrap_or_else(|| {
                all.push(Rc::clone(listener));
                all.len() - 1
            })
        })
        .collect()
}
