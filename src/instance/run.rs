//! An instance from its first act to its exit status.

use std::collections::{BTreeMap, VecDeque};
use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::beginning::{Beginning, Unbegun};
use super::bind::Sockets;
use super::certificates::Certificates;
use super::children::{Children, end_children};
use super::chores::Chores;
use super::event::Event;
use super::fifo::{self, Fifo};
use super::foreign;
use super::link::Link;
use super::log_hub::{Own, Surroundings};
use super::logs::Output;
use super::master::{self, Config, Master, Report};
use super::orphan::Unsent;
use super::rest::Rest;
use super::roster::Roster;
use super::source::{FILE_LIMIT_BYTES, Source};
use super::start::{Begin, Start, go_to, receive_start, run_start_hook};
use super::uwsgi_emperor::{Inheritance, UwsgiEmperor};
use super::{announce, carry, certificates, inbox, interpreter, jail, launch, reexec, settle};
use crate::config::hook::Point;
use crate::stats::scoreboard::{Scoreboard, Total};
use crate::sys::activation::Activation;
use crate::sys::background::{self, SingleThreaded};
use crate::sys::locks::Locks;
use crate::sys::process;
use crate::sys::signals::{self, Signals};
use crate::sys::{clock, fd, memfd, peer};
use crate::trace;
use crate::wire::bytes::FromVassal;
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::message::FromInstance;

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

/// What is known once the sockets are bound.
struct Bound {
    config: Config,
    directory: PathBuf,
    binary: PathBuf,
    own: Arc<Own>,
    /// The first FIFO.
    fifo: Option<OwnedFd>,
}

fn carried() -> Option<i32> {
    env::var(launch::RESUME_VARIABLE).ok()?.parse().ok()
}

/// The first acts: from here on no signal is lost, and none ends the process before its loop runs.
fn prepare() -> io::Result<()> {
    signals::block_all()?;
    signals::ignore_harmless()?;
    process::set_child_subreaper()
}

fn begin(mut start: Start) -> ExitCode {
    let own = Arc::default();
    match bind(&mut start, &own) {
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

/// Reads the configuration, takes on the identity, binds the sockets.
fn bind(start: &mut Start, own: &Arc<Own>) -> Result<Bound, Unbegun> {
    if start.channel.is_some() {
        jail::separate(start.policy.privileges.namespaces)?;
    }
    jail::bound(&start.policy.privileges)?;
    if let Some(tenant) = start.source.tenant() {
        jail::become_tenant(tenant, &start.policy.privileges)?;
    }
    let mut beginning = Beginning::new(start.channel.as_ref()).map_err(Failure::from)?;
    if let Source::Vassal { name, .. } = &start.source {
        if let Some(hook) = &start.policy.start_hook {
            run_start_hook(hook, name, &env::current_dir().unwrap_or_default());
        }
        beginning.perform_as_vassal(name, &start.policy.hooks)?;
    }
    go_to(start.begin_in.as_ref())?;
    let directory = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let binary = match start.policy.binary.as_str() {
        "" => launch::own_path(),
        named => PathBuf::from(named),
    };
    let bytes = match &start.file {
        Some(file) => file
            .try_clone()
            .and_then(|file| memfd::read_all(file, FILE_LIMIT_BYTES))
            .map_err(|error| Failure::new(format!("the file cannot be read: {error}")))?,
        None => Vec::new(),
    };
    let said = start.source.load(&bytes, directory.clone())?;
    if !said.spec.emperor.is_empty() {
        return Err(Failure::new("an emperor inside of a vassal is not supported")
            .with_hint("start it on its own: liege --emperor DIR")
            .into());
    }
    start.may_act(&said.spec)?;
    let unchecked = certificates::read(&said.spec).map_err(|unread| unread.failure)?;
    let supervised = start.channel.is_some();
    let alone = !supervised && start.uwsgi_emperor.is_none();
    own.divert(&said.spec, supervised);
    for warning in &said.warnings {
        tracing::warn!("{warning}");
    }
    announce::configuration(&said.spec);
    beginning.patience = match said.spec.workers.startup_timeout_s {
        0 => None,
        seconds => Some(Duration::from_secs(seconds.into())),
    };
    beginning.perform(&said.spec, &[Point::Asap])?;
    if said.spec.log.daemonize && alone {
        SingleThreaded::prove()
            .and_then(background::go_to_background)
            .map_err(|error| Failure::new(format!("cannot go to the background: {error}")))?;
    }
    let sockets = jail::enter(&said.spec, &start.have, &mut beginning)?;
    beginning.perform(&said.spec, &[Point::MasterStart])?;
    start.heard = beginning.heard;
    start.have = Sockets::default();
    let fifo = fifo::make_first(&said.spec)?;
    let certificates = Certificates::keep(&unchecked)?;
    // A tenant's interpreter is looked for with the tenant's rights.
    let interpreter = interpreter::find_all(&said.spec, start.policy.extension.as_deref().map(Path::new))?;
    let config = Config { said, interpreter, sockets, certificates };
    let spec = &config.said.spec;
    // Of a fleet nobody wants to read this for each vassal.
    if !supervised {
        announce::mode(spec);
    }
    tracing::info!("spawned uWSGI master process (pid: {})", std::process::id());
    Ok(Bound { config, directory, binary, own: Arc::clone(own), fifo })
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
    let fifo = bound.config.said.spec.files.master_fifo.first().cloned().zip(bound.fifo);
    let fifo = fifo.map(|(path, file)| Fifo::listen((0, path, file), reports.clone())).transpose()?;
    let config = Rc::new(bound.config);
    let board = master::board(board);
    let (own, board_too) = (bound.own, Rc::clone(&board));
    let output = Output::new(Surroundings { own, board: board_too, supervised, reports: reports.clone() })?;
    output.obey(&config.said.spec);
    let heard = start.heard;
    let mut master = Master {
        source: start.source,
        policy: start.policy,
        binary: bound.binary,
        arguments: env::args_os().collect(),
        directory: bound.directory,
        supervised,
        roster: Roster::default(),
        board,
        locks: Locks::create()?,
        output,
        configs: BTreeMap::new(),
        current: Rc::clone(&config),
        current_generation: 0,
        prepared: Some(config),
        emperor,
        emperor_uid,
        uwsgi_emperor,
        beat_at: None,
        unsent: Unsent::default(),
        file: start.file,
        children: Children::default(),
        rehearsal: None,
        tallies: BTreeMap::new(),
        stats: Vec::new(),
        pushers: super::stats_push::Pushers::default(),
        touched: None,
        own_operations: 0,
        replaced: false,
        last: false,
        events: VecDeque::new(),
        reports,
        asks,
        reexec: None,
        exit: None,
        interrupted: false,
        rest: Rest::default(),
        lookout: 0,
        weigh_at: None,
        bell: None,
        chores: Chores::default(),
        terminal: None,
        attendance: super::attend::Attendance::default(),
        caches: super::caches::Caches::default(),
        fifo,
        paused: false,
    };
    master.remember_terminal();
    master.introduce();
    master.say_to_uwsgi(FromVassal::Spawned);
    master.serve_statistics();
    master.show_title();
    master.touched = super::touch::Touched::watch(&master.current.said.spec);
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
        if status == 0 && !self.replaced {
            self.vacuum();
        }
        if let Some(terminal) = &self.terminal {
            terminal.restore();
        }
        self.output.finish();
        tracing::info!("goodbye to uWSGI.");
        self.output.flush();
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
        sockets.listeners.iter().chain(&sockets.stats).for_each(|listener| listener.remove_file());
        self.fifo.iter().for_each(Fifo::remove);
        let files = &spec.files;
        [&files.pidfile, &files.pidfile2, &files.safe_pidfile].into_iter().flatten().for_each(|p| {
            jail::remove_pid(p);
        });
    }
}
