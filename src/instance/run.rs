//! An instance from its first act to its exit status.

use std::env;
use std::io;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::beginning::{Beginning, Unbegun};
use super::children::end_children;
use super::entry::{self, Bound};
use super::event::Event;
use super::fifo::Fifo;
use super::foreign;
use super::image::Image;
use super::link::Link;
use super::log_hub::Surroundings;
use super::logs::Output;
use super::master::{self, Master, Report};
use super::start::{Begin, Start, receive_start};
use super::uwsgi_emperor::{Inheritance, UwsgiEmperor};
use super::{announce, carry, inbox, jail, reexec, settle};
use crate::config::hook::Point;
use crate::stats::scoreboard::{Scoreboard, Total};
use crate::sys::activation::Activation;
use crate::sys::locks::Locks;
use crate::sys::process;
use crate::sys::signals::{self, Signals};
use crate::sys::{clock, fd, peer};
use crate::trace;
use crate::wire::bytes::FromVassal;
use crate::wire::message::FromInstance;
use crate::wire::succession::Succession;
use crate::wire::{channel, inherited};

/// The role `liege instance NAME`: the master of a vassal, with the emperor's channel.
#[must_use]
pub fn vassal() -> ExitCode {
    trace::start(true);
    if let Some(number) = carried() {
        return resume(number);
    }
    let start = prepare().and_then(|()| receive_start());
    match start {
        Ok(Some(Begin::Ours(start))) => begin(*start),
        Ok(Some(Begin::Foreign(birth, policy))) => foreign::main(&birth, &policy),
        // Stopped, or left, before it began.
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the instance cannot begin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `liege app.ini`, `liege --http-socket …`: an instance without an emperor of ours.
#[must_use]
pub fn standalone(
    arguments: &[String],
    uwsgi_emperor: Option<Inheritance>,
    activation: Activation,
) -> ExitCode {
    trace::start(false);
    if let Some(number) = carried() {
        return resume(number);
    }
    match prepare().and_then(|()| Start::of_command_line(arguments, uwsgi_emperor, activation)) {
        Ok(start) => begin(start),
        Err(error) => {
            tracing::error!("the instance cannot begin: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether this process is a later image of a master, which carried everything over an `execve`.
#[must_use]
pub fn is_carried() -> bool {
    carried().is_some()
}

/// How long each hook of the end may take.
const HOOKS_AT_EXIT: Duration = Duration::from_secs(30);

fn carried() -> Option<i32> {
    env::var(inherited::RESUME_VARIABLE).ok()?.parse().ok()
}

/// The first acts: from here on no signal is lost, and none ends the process before its loop runs.
fn prepare() -> io::Result<()> {
    signals::block_all()?;
    signals::ignore_harmless()?;
    process::set_child_subreaper()
}

fn begin(mut start: Start) -> ExitCode {
    let own = Arc::default();
    match entry::bind(&mut start, &own) {
        Ok(bound) => run(|reports, asks| master(start, bound, reports, asks)),
        Err(Unbegun::Stopped) => {
            own.give_up(start.channel.is_some());
            tracing::info!("stopped before it began");
            end_children();
            ExitCode::SUCCESS
        }
        Err(Unbegun::Failed(failure)) => {
            own.give_up(start.channel.is_some());
            // What hooks left running.
            end_children();
            announce::failure(&failure);
            if let Some(channel) = &start.channel {
                let _ = channel::send(channel, &FromInstance::Failed(failure), &[]);
            }
            ExitCode::FAILURE
        }
    }
}

fn master(
    start: Start,
    bound: Bound,
    reports: tokio::sync::mpsc::Sender<Report>,
    asks: tokio::sync::mpsc::Sender<super::stats_socket::Ask>,
) -> io::Result<Master> {
    let supervised = start.channel.is_some();
    let settings = bound.config.settings();
    let cores = usize::try_from(settings.threads).unwrap_or(1);
    let board = Scoreboard::create_with(
        settle::slots_for(settings.processes),
        cores,
        bound.config.said.spec.request_vars.shown,
    )?;
    board.set_total(Total::StartedEpochS, clock::epoch_seconds());
    let emperor_uid =
        start.channel.as_ref().map_or(Ok(0), |channel| peer::of(channel).map(|peer| peer.uid))?;
    let emperor = match start.channel {
        Some(channel) => Some(Link::start(channel, reports.clone(), Report::Emperor)?),
        None => None,
    };
    let uwsgi_emperor =
        start.uwsgi_emperor.map(|emperor| UwsgiEmperor::inherit(emperor, &reports)).transpose()?;
    let fifo = bound.config.said.spec.files.master_fifo.first().cloned().zip(bound.rest.fifo);
    let fifo = fifo.map(|(path, file)| Fifo::listen((0, path, file), reports.clone())).transpose()?;
    let config = Rc::new(bound.config);
    let board = master::board(Arc::new(board));
    let (own, board_too) = (bound.own, Rc::clone(&board));
    let output = Output::new(Surroundings { own, board: board_too, supervised, reports: reports.clone() })?;
    output.obey(&config.said.spec);
    let heard = start.heard;
    let image = Image {
        source: start.source,
        policy: start.policy,
        binary: bound.binary,
        directory: bound.directory,
        supervised,
        emperor_uid,
        board,
        locks: Locks::create()?,
        output,
        current: Rc::clone(&config),
        reports,
        asks,
    };
    let mut master = Master {
        prepared: Some(config),
        emperor,
        uwsgi_emperor,
        file: start.file,
        flocks: bound.rest.flocks,
        foreground: start.foreground,
        fifo,
        ..image.into_master()
    };
    master.remember_terminal();
    master.introduce();
    master.say_to_uwsgi(FromVassal::Spawned);
    master.serve_statistics();
    master.show_title();
    master.heed_foreground()?;
    master.handle(Event::Begin(settings));
    for message in heard {
        master.hear_emperor(Some(message));
    }
    Ok(master)
}

fn resume(number: i32) -> ExitCode {
    // The mask is the image's before: everything is blocked already.
    let record = prepare().and_then(|()| fd::adopt(number)).and_then(reexec::read);
    match record {
        Ok(record) => run(|reports, asks| carry::unpack(record, reports, asks)),
        Err(error) => {
            tracing::error!("the instance cannot go on after executing its binary again: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    make: impl FnOnce(
        tokio::sync::mpsc::Sender<Report>,
        tokio::sync::mpsc::Sender<super::stats_socket::Ask>,
    ) -> io::Result<Master>,
) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let local = tokio::task::LocalSet::new();
    let status = local.block_on(&runtime, async {
        let (reports, asks, inbox) = inbox::inbox();
        let signals = Signals::new()?;
        let master = make(reports, asks)?;
        master.output.start()?;
        signals::unblock_all()?;
        io::Result::Ok(master.serve(signals, inbox).await)
    });
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            tracing::error!("the instance cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Master {
    /// The last acts; answers the exit status.
    pub(super) fn finish(&mut self) -> u8 {
        let (status, failure) = self.exit.take().unwrap_or_default();
        if let Some(failure) = failure {
            announce::failure(&failure);
            self.tell_emperor(&FromInstance::Failed(failure), &[]);
        }
        self.children.kill_all();
        self.chores.kill();
        end_children();
        self.act_at_exit();
        self.stats.clear();
        // After a failure somebody starts the instance again, on the same sockets.
        match (status, self.replaced) {
            (0, false) => self.vacuum(),
            // Who takes its place has written its own pid where it goes on with a file.
            (0, true) => self.remove_pid_files(),
            _ => {}
        }
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
        self.output.finish();
        tracing::info!("goodbye to uWSGI.");
        self.output.flush();
        if let Some(foreground) = self.foreground.take() {
            foreground.end(status);
        }
        status
    }

    /// The hooks of the end. What they fail at changes nothing of it.
    fn act_at_exit(&self) {
        let done = Beginning::new(None).map_err(|error| Unbegun::Failed(error.into()));
        let done = done.and_then(|mut end| {
            (end.patience, end.supervised) = (Some(HOOKS_AT_EXIT), self.supervised);
            end.perform(&self.current.said.spec, &[Point::Atexit])
        });
        if let Err(Unbegun::Failed(failure)) = done {
            announce::failure(&failure);
        }
        end_children();
    }

    fn vacuum(&self) {
        let spec = &self.current.said.spec;
        if !spec.vacuum {
            return;
        }
        let sockets = &self.current.sockets;
        let listeners = sockets.listeners.iter().filter(|_| self.succession != Succession::NextStart);
        listeners.chain(&sockets.stats).for_each(|listener| listener.remove_file());
        self.fifo.iter().for_each(Fifo::remove);
        self.remove_pid_files();
    }

    /// Those that still hold our pid.
    fn remove_pid_files(&self) {
        self.current.said.spec.files.pid_files().for_each(|path| jail::remove_pid(path));
    }
}
