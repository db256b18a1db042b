//! The way of an instance from what it begins with to its bound sockets: its configuration, or the one that is said
//! for when that cannot be (`fallback-config`).

use std::env;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::beginning::{Beginning, Unbegun};
use super::bind::Sockets;
use super::certificates::{self, Certificates};
use super::log_hub::Own;
use super::master::Config;
use super::source::{FILE_LIMIT_BYTES, Said, Source};
use super::start::{Start, go_to};
use super::{announce, fifo, flock, interpreter, jail, launch, patch};
use crate::config::hook::Point;
use crate::sys::background::{self, SingleThreaded};
use crate::sys::memfd;
use crate::wire::failure::Failure;

/// What is known once the sockets are bound.
pub(super) struct Bound {
    pub(super) config: Config,
    pub(super) directory: PathBuf,
    pub(super) binary: PathBuf,
    pub(super) own: Arc<Own>,
    pub(super) rest: Held,
}

/// What the master holds from its start on.
pub(super) struct Held {
    /// The first FIFO.
    pub(super) fifo: Option<OwnedFd>,
    pub(super) flocks: Vec<OwnedFd>,
}

/// Reads the configuration, takes on the identity, binds the sockets.
pub(super) fn bind(start: &mut Start, own: &Arc<Own>) -> Result<Bound, Unbegun> {
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
            beginning.run_start_hook(hook, name)?;
        }
        beginning.perform_as_vassal(name, &start.policy.hooks)?;
    }
    start.heard = beginning.heard;
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
    let said = start.source.load(&bytes, directory.clone()).map_err(Unbegun::from);
    let (config, rest) = match said.and_then(|said| enter(start, said, own)) {
        Err(Unbegun::Failed(failure)) => {
            let fallback = start.source.load_fallback(&bytes, &directory);
            let Some((path, said)) = fallback else { return Err(failure.into()) };
            announce::failure(&failure);
            tracing::warn!("!!! Fallback config to {} !!!", path.display());
            enter(start, said?, own)?
        }
        entered => entered?,
    };
    start.have = Sockets::default();
    let spec = &config.said.spec;
    // Of a fleet nobody wants to read this for each vassal.
    if start.channel.is_none() {
        announce::mode(spec);
    }
    tracing::info!("spawned uWSGI master process (pid: {})", std::process::id());
    Ok(Bound { config, directory, binary, own: Arc::clone(own), rest })
}

/// Takes on what a configuration says.
fn enter(start: &mut Start, said: Said, own: &Arc<Own>) -> Result<(Config, Held), Unbegun> {
    if !said.spec.emperor.is_empty() {
        return Err(Failure::new("an emperor inside of a vassal is not supported")
            .with_hint("start it on its own: liege --emperor DIR")
            .into());
    }
    start.may_act(&said.spec)?;
    if said.spec.identity.immediate {
        jail::become_user(&said.spec)?;
    }
    let unchecked = certificates::read(&said.spec).map_err(|unread| unread.failure)?;
    let supervised = start.channel.is_some();
    let alone = !supervised && start.uwsgi_emperor.is_none();
    own.divert(&said.spec, supervised);
    for warning in &said.warnings {
        tracing::warn!("{warning}");
    }
    announce::configuration(&said.spec);
    let mut beginning = Beginning::new(start.channel.as_ref()).map_err(Failure::from)?;
    beginning.heard = std::mem::take(&mut start.heard);
    beginning.patience = match said.spec.workers.startup_timeout_s {
        0 => None,
        seconds => Some(Duration::from_secs(seconds.into())),
    };
    let mut flocks = flock::take(&said.spec, false, &mut beginning)?;
    beginning.perform(&said.spec, &[Point::Asap])?;
    let in_background = |error| Failure::new(format!("cannot go to the background: {error}"));
    if said.spec.log.daemonize && alone {
        SingleThreaded::prove().and_then(background::go_to_background).map_err(in_background)?;
    } else if said.spec.log.daemonize2.is_some() && alone && start.foreground.is_none() {
        let left = SingleThreaded::prove().and_then(background::go_to_background_later);
        start.foreground = Some(left.map_err(in_background)?);
    }
    let become_it = |patch: &_| patch::become_it(patch, start, &said.spec);
    let sockets = jail::enter(&said.spec, &start.have, &mut beginning, &mut flocks, become_it)?;
    beginning.perform(&said.spec, &[Point::MasterStart])?;
    start.heard = beginning.heard;
    let fifo = fifo::make_first(&said.spec)?;
    let certificates = Certificates::keep(&unchecked)?;
    // A tenant's interpreter is looked for with the tenant's rights.
    let interpreter = interpreter::find_all(&said.spec, start.policy.extension.as_deref().map(Path::new))?;
    Ok((Config { said, interpreter, sockets, certificates }, Held { fifo, flocks }))
}
