//! The start of an emperor: what it must be before its loop begins, and what is left to do after it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::attributes::Wanted;
use super::backoff::BackOff;
use super::cgroups::Cgroups;
use super::fleet::{Directory, Fleet, Rules, State, Vassal};
use super::handle::Handle;
use super::hooks::{self, Hooks};
use super::ledger::Ledger;
use super::masters::Masters;
use super::notify::ServiceManager;
use super::parked::Parked;
use super::patrol::Patrol;
use super::pid_file;
use super::prober::Probers;
use super::scan::Manner;
use super::served::Served;
use super::servers::Servers;
use super::settle::Settle;
use super::signals::Signals;
use super::slumber::Slumber;
use super::sources::Sources;
use super::spawn::Launcher;
use super::stats_server::StatsServer;
use super::storing::{Storage, nothing_stored};
use super::turns::Emperor;
use super::watch::Watcher;
use super::{adopt, beginning, ledger, record, reexec, remembered, rights, store};
use crate::config::address::Listen;
use crate::config::emperor::{EmperorSpec, Source};
use crate::config::hook::Point;
use crate::sys::activation::Activation;
use crate::sys::{clock, own, process, signals, title, user};
use crate::wire::failure::Failure;
use crate::wire::message::{Adoption, OperationId, Policy};

/// How many things that instances said wait for the loop.
const HEARD: usize = 256;

/// Runs an emperor to its end. `serve` gets the handle for the API; what it returns runs beside the loop.
pub fn main<S, F>(spec: EmperorSpec, policy: Policy, activation: Activation, serve: S) -> ExitCode
where
    S: FnOnce(Handle) -> io::Result<F>,
    F: Future<Output = ()> + 'static,
{
    // The options were understood, or this line would not be reached.
    let ended = match reexec::is_rehearsal() {
        true => beginning::rehearse(&spec),
        false => run(spec, policy, activation, serve),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            reexec::give_reason(&failure.message);
            ExitCode::FAILURE
        }
    }
}

fn run<S, F>(spec: EmperorSpec, policy: Policy, activation: Activation, serve: S) -> Result<(), Failure>
where
    S: FnOnce(Handle) -> io::Result<F>,
    F: Future<Output = ()> + 'static,
{
    let step = |what: &'static str| move |error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let record = record::take().map_err(step("take over from the emperor's last image"))?;
    signals::ignore_harmless().map_err(step("ignore signals"))?;
    // A later image does not start: it goes on.
    let starts = record.is_none();
    beginning::open_log(&spec, starts)?;
    process::set_child_subreaper().map_err(step("become a child sub-reaper"))?;
    let own_limit = own::raise_descriptor_limit().map_err(step("raise the limit of descriptors"))?;
    // Made with the rights to do so, and written only by the one emperor that may run.
    let mut own_pid_file = beginning::open_pid_file(&spec, starts)?;
    let prepared = prepare_ledger(&spec);
    if starts {
        hooks::perform(&spec.hooks, &hooks::BEFORE_DROP)?;
    }
    beginning::drop_privileges(&spec.identity)?;
    rights::prove(&spec)?;
    let ledger = match &record {
        Some(record) if record.has_ledger() => None,
        _ => beginning::needed(open_ledger(&spec, prepared), starts)?.flatten(),
    };
    let has_ledger = ledger.is_some() || record.as_ref().is_some_and(record::Record::has_ledger);
    if let Some(directory) = spec.runtime_directory.as_deref().filter(|_| has_ledger && spec.adopt)
        && let Err(error) = remembered::write(directory, &spec)
    {
        tracing::warn!("cannot write down the options in {}: {error}", directory.display());
    }
    if let Some(file) = &mut own_pid_file {
        beginning::needed(file.write(), starts)?;
    }
    if let Some(earlier) = record.as_ref().and_then(|record| record.pid_file.as_deref())
        && spec.pidfile.as_deref() != Some(earlier)
    {
        pid_file::remove_earlier(earlier);
    }
    if starts {
        hooks::perform(&spec.hooks, &hooks::AFTER_DROP)?;
    }
    let launcher = Launcher {
        policy,
        manner: Manner::of(&spec),
        environment: spec.environment.clone(),
        variables: spec.vassal_variables.clone(),
        programs: spec.programs.clone(),
        descriptor_limit: record.as_ref().map_or(own_limit, |record| record.descriptor_limit),
    };
    let stats = spec.stats.iter().map(|address| (address.clone(), StatsServer::bind(address, &spec)));
    let stats: Vec<_> = stats.collect();
    if let Some(title) = &spec.procname {
        title::set(title);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(step("start the runtime"))?;
    let at_exit = spec.hooks.clone();
    let local = LocalSet::new();
    let ended = local.block_on(&runtime, async move {
        let (mut emperor, operation) = Emperor::new(spec, launcher, record, ledger, activation)?;
        for (address, listener) in stats {
            listener
                .and_then(|listener| listener.serve(emperor.handle.clone()))
                .unwrap_or_else(|error| tracing::error!("cannot serve the statistics at {address}: {error}"));
        }
        match (serve(emperor.handle.clone()), operation) {
            (Ok(beside), _) => drop(tokio::task::spawn_local(beside)),
            (Err(error), None) => return Err(Failure::new(error.to_string())),
            // The vassals that were carried over count for more.
            (Err(error), Some(_)) => tracing::error!("{error}"),
        }
        emperor.run(operation).await
    });
    // It may read files for its operators where nobody answers: nobody waits for that.
    drop(local);
    runtime.shutdown_background();
    if let Err(failure) = hooks::perform(&at_exit, &[Point::Atexit]) {
        tracing::warn!("{failure}");
    }
    if let Some(file) = own_pid_file {
        file.remove();
    }
    ended
}

impl Emperor {
    /// Takes over from the last image if there is a record; answers the operation that it was for.
    fn new(
        spec: EmperorSpec,
        mut launcher: Launcher,
        record: Option<record::Record>,
        ledger: Option<Ledger>,
        mut activation: Activation,
    ) -> Result<(Self, Option<OperationId>), Failure> {
        let failed = |what: &str, error: io::Error| Failure::new(format!("cannot {what}: {error}"));
        let now = clock::now();
        let sources = Sources::new(&spec.sources, &spec.extra_extensions, Manner::of(&spec))
            .map_err(|error| failed("find the directories", error))?;
        let servers = Rc::new(Servers::of_host());
        servers.begin(servers.need());
        let sources = Rc::new(sources.on(Rc::clone(&servers)));
        let (handle, commands) = Handle::new(Fleet::default());
        let (ear, heard) = mpsc::channel(HEARD);
        let (end, gone) = mpsc::channel(HEARD);
        let (bomb, bombs) = mpsc::channel(HEARD);
        let mut masters = Masters::new(ear, end, handle.clone());
        masters.ledger = ledger;
        masters.cgroups =
            Cgroups::new(spec.limits.clone(), beginning::survives(&spec), (bomb, handle.clone()));
        beginning::needed(masters.cgroups.take(), record.is_none())?;
        let operation = record.as_ref().map(|record| record.operation);
        let pending = record.as_ref().map(|record| record.hooks.clone()).unwrap_or_default();
        let manager = ServiceManager::from_environment();
        let (mut fleet, storage) = match record {
            None => {
                let stored = activation.split_off(store::is_name);
                masters.hand_out(activation);
                let fleet = Fleet { started_epoch_ms: clock::epoch_ms(), ..Fleet::default() };
                (fleet, Storage::begin(&manager, &mut masters, stored))
            }
            // The numbers that were passed to an image before mean other descriptors by now.
            Some(record) => {
                let fleet =
                    record.restore(&mut masters).map_err(|error| failed("take over the fleet", error))?;
                (fleet, Storage::resume(&manager, &mut masters))
            }
        };
        let (bell, callers) = mpsc::channel(HEARD);
        let (told, stirs) = mpsc::channel(HEARD);
        if let Some(ledger) = &masters.ledger {
            let [_, rendezvous] = ledger.parts().1;
            let is_awaited = |vassal: &Vassal| vassal.state == State::Adopting;
            let some_call = operation.is_none() || fleet.vassals.values().any(is_awaited);
            let doors = if some_call { ledger.doors_of_users() } else { Vec::new() };
            for door in std::iter::once(rendezvous.try_clone_to_owned()).chain(doors.into_iter().map(Ok)) {
                door.and_then(|door| adopt::listen(door, bell.clone()))
                    .map_err(|error| failed("listen at the rendezvous", error))?;
            }
        }
        launcher.policy.adoption = masters.ledger.as_ref().filter(|_| spec.adopt).map(|ledger| Adoption {
            rendezvous: ledger.rendezvous().to_string_lossy().into_owned(),
            grace_ms: spec.orphan_grace_ms,
        });
        fleet.rules = rules(&spec);
        let address = |(listen, _): &(Listen, _)| listen.address.clone();
        let passed = masters.passed.iter();
        fleet.passed = passed.map(|(id, all)| (id.clone(), all.iter().map(address).collect())).collect();
        fleet.options_problem.clone_from(&spec.instead);
        fleet.stored = if storage.is_none() { nothing_stored(&manager) } else { store::Stored::default() };
        let served = spec.served_file.clone().map(|path| Served::new(path, now));
        fleet.remembered = served.as_ref().map(Served::known).unwrap_or_default();
        let directory = |path: &Path| Directory { path: path.to_owned(), ..Directory::default() };
        fleet.directories = sources.bases().map(|(path, _)| directory(path)).collect();
        for (id, vassal) in &mut fleet.vassals {
            let master = vassal.current.as_ref().and_then(|life| masters.by_life.get(&life.id));
            vassal.shown = master.and_then(|master| master.shown.clone());
            vassal.listeners = masters.kept.get(id).cloned().unwrap_or_default();
            // This image may have read other options than the last.
            vassal.program = launcher.programs_for(&vassal.attributes).into_iter().next();
            tracing::debug!(vassal = id, "taken over");
        }
        *handle.fleet() = fleet;
        let signals = Signals::new().map_err(|error| failed("handle signals", error))?;
        // They were blocked over an exec; from here on none is lost.
        signals::unblock_all().map_err(|error| failed("unblock signals", error))?;
        let emperor = Self {
            commands,
            heard,
            callers,
            gone,
            bombs,
            patrol: Patrol::default(),
            adopts: spec.adopt,
            stirs,
            slumber: Slumber::new(&spec, told),
            storage,
            masters,
            probers: Probers::new(launcher.policy.binary.clone()),
            servers,
            parked: Parked::default(),
            surveyed: operation.is_some(),
            launcher,
            watcher: Watcher::new(sources.clone()),
            sources,
            settle: Settle::default(),
            hooks: Hooks::new(&spec, handle.clone(), pending, now),
            served,
            signals,
            pid_file: spec.pidfile.clone(),
            alive_at: manager.interval().map(|interval| now + interval),
            manager,
            attributes: Wanted::of(&spec),
            rehearsal: None,
            rescan_every: Duration::from_millis(spec.rescan_ms.max(1000)),
            rescanned: now,
            rescan_at: now,
            due: VecDeque::new(),
            reap_at: None,
            done: false,
            handle,
        };
        Ok((emperor, operation))
    }
}

fn watched(spec: &EmperorSpec) -> Result<Vec<PathBuf>, Failure> {
    let paths = spec.sources.iter().map(|(Source::Directory(path) | Source::Pattern(path))| path);
    let absolute = paths.map(std::path::absolute).collect::<io::Result<Vec<PathBuf>>>();
    absolute.map_err(|error| Failure::new(format!("cannot find the directories: {error}")))
}

/// Makes the runtime directory for the user that the emperor will be; answers its path.
fn prepare_ledger(spec: &EmperorSpec) -> io::Result<Option<PathBuf>> {
    let Some(path) = &spec.runtime_directory else { return Ok(None) };
    let path = std::path::absolute(path)?;
    let owner = match &spec.identity.uid {
        Some(uid) => user::uid_of(uid)?,
        None => user::current_uid(),
    };
    ledger::prepare(&path, owner)?;
    Ok(Some(path))
}

/// Takes the runtime directory over. One emperor at a time may have it; without it instances end with their emperor.
fn open_ledger(spec: &EmperorSpec, prepared: io::Result<Option<PathBuf>>) -> Result<Option<Ledger>, Failure> {
    let usual = spec.runtime_directory.clone().unwrap_or_default();
    let shown = usual.display();
    let directories = watched(spec)?;
    let opened = match prepared {
        Ok(None) => return Ok(None),
        Ok(Some(path)) => Ledger::open(&path, &directories),
        Err(error) => Err(Err(error)),
    };
    let without = "instances end with this emperor when it dies (--runtime-dir DIR)";
    match opened {
        Ok(ledger) => Ok(Some(ledger)),
        Err(Ok(holder)) => {
            let message =
                format!("an emperor runs already (pid {}) with the runtime directory {shown}", holder.pid);
            if spec.runtime_told || holder.watched.iter().any(|path| directories.contains(path)) {
                let hint = "stop that one first; another fleet needs a --runtime-dir or --api of its own";
                return Err(Failure::new(message).with_hint(hint));
            }
            tracing::warn!("{message}: {without}");
            Ok(None)
        }
        Err(Err(error)) if spec.runtime_told => {
            Err(Failure::new(format!("cannot use the runtime directory {shown}: {error}")))
        }
        Err(Err(error)) => {
            tracing::warn!("cannot use the runtime directory {shown}: {error}: {without}");
            Ok(None)
        }
    }
}

fn rules(spec: &EmperorSpec) -> Rules {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Rules {
        back_off: BackOff {
            first: Duration::from_millis(spec.throttle_ms),
            longest: Duration::from_millis(if spec.constant_throttle {
                spec.throttle_ms
            } else {
                spec.max_throttle_ms.max(spec.throttle_ms)
            }),
        },
        mercy: Duration::from_millis(spec.mercy_ms()),
        end_mercy: Duration::from_millis(spec.end_mercy_ms()),
        heartbeat: Duration::from_millis(spec.heartbeat_ms),
        places: match usize::try_from(spec.concurrency) {
            Ok(0) | Err(_) => (4 * cpus).max(8),
            Ok(places) => places,
        },
        epoch_offset_ms: 0,
        tyrant: spec.tyrant.is_some(),
        redact_queries: spec.api_redact_queries,
        seed: clock::monotonic_us(),
    }
}
