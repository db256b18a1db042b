//! The start of an emperor: what it must be before its loop begins, and what is left to do after it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::backoff::BackOff;
use super::fleet::{Directory, Fleet, Rules};
use super::handle::Handle;
use super::masters::Masters;
use super::notify::ServiceManager;
use super::scan::Links;
use super::settle::Settle;
use super::signals::Signals;
use super::sources::Sources;
use super::spawn::Launcher;
use super::turns::Emperor;
use super::watch::Watcher;
use super::{audit, record, reexec};
use crate::config::emperor::EmperorSpec;
use crate::config::instance::IdentitySpec;
use crate::sys::user::Identity;
use crate::sys::{background, clock, fd, limits, output, own, process, signals};
use crate::wire::failure::Failure;
use crate::wire::message::{OperationId, Policy};

/// How many things that instances said wait for the loop.
const HEARD: usize = 256;

/// Runs an emperor to its end. `serve` gets the handle for the API; what it returns runs beside the loop.
pub fn main<S, F>(spec: EmperorSpec, policy: Policy, serve: S) -> ExitCode
where
    S: FnOnce(Handle) -> io::Result<F>,
    F: Future<Output = ()> + 'static,
{
    let ended = match reexec::rehearsed() {
        // The options were understood, or this line would not be reached.
        Some(result) => result.map_err(Failure::from),
        None => run(spec, policy, serve),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run<S, F>(spec: EmperorSpec, policy: Policy, serve: S) -> Result<(), Failure>
where
    S: FnOnce(Handle) -> io::Result<F>,
    F: Future<Output = ()> + 'static,
{
    let step = |what: &'static str| move |error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let record = record::take().map_err(step("take over from the emperor's last image"))?;
    signals::ignore_sigpipe().map_err(step("ignore SIGPIPE"))?;
    open_log(&spec, record.is_none()).map_err(step("open the log"))?;
    process::set_child_subreaper().map_err(step("become a child sub-reaper"))?;
    let own_limit = own::raise_descriptor_limit().map_err(step("raise the limit of descriptors"))?;
    if let Some(pidfile) = &spec.pidfile {
        let pid = format!("{}\n", std::process::id());
        output::replace(pidfile, pid.as_bytes()).map_err(step("write the pid file"))?;
    }
    drop_privileges(&spec.identity).map_err(step("drop privileges"))?;
    let launcher = Launcher {
        policy,
        links: if spec.nofollow { Links::Themselves } else { Links::Followed },
        descriptor_limit: record.as_ref().map_or(own_limit, |record| record.descriptor_limit),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(step("start the runtime"))?;
    let pidfile = spec.pidfile.clone();
    let local = LocalSet::new();
    let ended = local.block_on(&runtime, async move {
        let (mut emperor, operation) = Emperor::new(spec, launcher, record)?;
        match (serve(emperor.handle.clone()), operation) {
            (Ok(beside), _) => drop(tokio::task::spawn_local(beside)),
            (Err(error), None) => return Err(Failure::new(error.to_string())),
            // The vassals that were carried over count for more.
            (Err(error), Some(_)) => tracing::error!("{error}"),
        }
        emperor.run(operation).await;
        Ok(())
    });
    if let Some(pidfile) = pidfile {
        let _ = std::fs::remove_file(pidfile);
    }
    ended
}

/// The emperor, and so every vassal, runs as this user, if so asked. What needs root was done before.
fn drop_privileges(spec: &IdentitySpec) -> io::Result<()> {
    if let Some(umask) = spec.umask {
        limits::set_umask(umask);
    }
    if spec.uid.is_none() && spec.gid.is_none() && spec.add_gid.is_empty() {
        return Ok(());
    }
    let (uid, gid) = (spec.uid.as_deref(), spec.gid.as_deref());
    let identity = Identity::look_up(uid, gid, &spec.add_gid, spec.no_initgroups)?;
    // A later image is that user already.
    if identity.is_current() { Ok(()) } else { identity.take_on() }
}

/// The log goes to the file, and the emperor to the background, if so asked. A later image has both already.
fn open_log(spec: &EmperorSpec, first_image: bool) -> io::Result<()> {
    if let Some(path) = &spec.logto {
        let log = output::append(path)?;
        fd::replace(&log, 1)?;
        fd::replace(&log, 2)?;
    }
    if spec.daemonize && first_image {
        background::go_to_background(background::SingleThreaded::prove()?)?;
        fd::replace(std::fs::File::open("/dev/null")?, 0)?;
    }
    Ok(())
}

impl Emperor {
    /// Takes over from the last image if there is a record; answers the operation that it was for.
    fn new(
        spec: EmperorSpec,
        launcher: Launcher,
        record: Option<record::Record>,
    ) -> Result<(Self, Option<OperationId>), Failure> {
        let failed = |what: &str, error: io::Error| Failure::new(format!("cannot {what}: {error}"));
        let now = clock::now();
        let links = if spec.nofollow { Links::Themselves } else { Links::Followed };
        let sources = Sources::new(&spec.sources, &spec.extra_extensions, links)
            .map_err(|error| failed("find the directories", error))?;
        let sources = Rc::new(sources);
        let (handle, commands) = Handle::new(Fleet::default());
        let (ear, heard) = mpsc::channel(HEARD);
        let mut masters = Masters::new(ear, handle.clone());
        let operation = record.as_ref().map(|record| record.operation);
        let mut fleet = match record {
            None => Fleet { started_epoch_ms: clock::epoch_ms(), ..Fleet::default() },
            Some(record) => {
                record.restore(&mut masters).map_err(|error| failed("take over the fleet", error))?
            }
        };
        fleet.rules = rules(&spec);
        fleet.directories = sources.bases().map(|(path, base)| directory(path, base)).collect();
        for (id, vassal) in &mut fleet.vassals {
            let board = vassal.current.as_ref().and_then(|life| masters.by_life.get(&life.id));
            vassal.scoreboard = board.and_then(|master| master.scoreboard.clone());
            vassal.listeners = masters.kept.get(id).cloned().unwrap_or_default();
            tracing::debug!(vassal = id, "taken over");
        }
        *handle.fleet() = fleet;
        let signals = Signals::new().map_err(|error| failed("handle signals", error))?;
        // They were blocked over an exec; from here on none is lost.
        signals::unblock_all().map_err(|error| failed("unblock signals", error))?;
        let manager = ServiceManager::from_environment();
        let emperor = Self {
            commands,
            heard,
            masters,
            launcher,
            watcher: Watcher::new(sources.clone()),
            sources,
            settle: Settle::default(),
            signals,
            alive_at: manager.interval().map(|interval| now + interval),
            manager,
            rehearsal: None,
            rescan_every: Duration::from_millis(spec.rescan_ms.max(1000)),
            rescanned: now,
            rescan_at: now,
            due: VecDeque::new(),
            done: false,
            handle,
        };
        Ok((emperor, operation))
    }
}

fn rules(spec: &EmperorSpec) -> Rules {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Rules {
        back_off: BackOff {
            first: Duration::from_millis(spec.throttle_ms),
            longest: Duration::from_millis(spec.max_throttle_ms.max(spec.throttle_ms)),
        },
        mercy: Duration::from_millis(spec.mercy_ms),
        places: match usize::try_from(spec.concurrency) {
            Ok(0) | Err(_) => (4 * cpus).max(8),
            Ok(places) => places,
        },
        epoch_offset_ms: 0,
        seed: clock::monotonic_us(),
    }
}

fn directory(path: &Path, base: &Path) -> Directory {
    let warning = audit::warning(base);
    if let Some(warning) = &warning {
        tracing::warn!("whoever can write there runs code as the emperor's user: {warning}");
    }
    Directory { path: path.to_owned(), problem: None, unwatched: None, warning }
}
