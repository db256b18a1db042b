//! Another program in the place of an instance, where its own configuration says so (`privileged-binary-patch` and its
//! like): it keeps this process, and whoever supervises it.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::foreign::{self, Heir};
use super::source::Source;
use super::start::Start;
use crate::config::format::Format;
use crate::config::instance::InstanceSpec;
use crate::config::patch::Patch;
use crate::config::vassals::Programs;
use crate::sys::{fd, stream, wait};
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, ToInstance};

/// How long the program waits for an emperor that has no word for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Becomes the program; comes back only when that fails.
pub(super) fn become_it(patch: &Patch, start: &Start, spec: &InstanceSpec) -> Failure {
    let Err(failure) = try_it(patch, &patch.name(), start, spec);
    failure.with_hint("mend privileged-binary-patch, unprivileged-binary-patch or their -arg forms")
}

fn try_it(patch: &Patch, name: &str, start: &Start, spec: &InstanceSpec) -> Result<Infallible, Failure> {
    let failed = |what: &'static str| {
        move |error: io::Error| Failure::new(format!("cannot become another program: {what}: {error}"))
    };
    let (program, arguments) = patch.command_line(arguments(start));
    let (control, config) = connections(name, start).map_err(failed("its emperor"))?;
    stdin(start).map_err(failed("its standard input"))?;
    let heir = Heir { emperor: start.channel.as_ref(), control: control.as_ref(), config: config.as_ref() };
    tracing::info!("becoming {name}");
    Err(foreign::leave_to(&[program], &arguments, &heir, &spec.env))
}

/// What an instance was started with, in uWSGI's words.
fn arguments(start: &Start) -> Vec<String> {
    match &start.source {
        Source::CommandLine { arguments, .. } => arguments.clone(),
        Source::Vassal { name, path, options, .. } => {
            // By its name it is found only from its directory.
            let file = if start.begin_in.is_some() { path } else { name };
            // Only an extra extension of the emperor's lets another name be that of a vassal.
            let extra = Format::of(file).is_none().then(|| file.clone());
            let programs = Programs { extra_extensions: extra.into_iter().collect(), ..Programs::default() };
            programs.arguments(file, options)
        }
    }
}

/// Where the program is spoken to, as by uWSGI's emperor: ours learns of it here.
fn connections(name: &str, start: &Start) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    if let Some(channel) = &start.channel {
        let (control, emperors) = stream::pair()?;
        let message = FromInstance::Becomes { program: name.to_owned() };
        channel::send(channel, &message, &[emperors.as_fd()])?;
        await_way(channel)?;
        return Ok((Some(control), None));
    }
    match &start.uwsgi_emperor {
        Some(emperor) => emperor.hand_on().map(|(control, config)| (Some(control), config)),
        None => Ok((None, None)),
    }
}

/// The emperor may have sockets that the program is to bind, and lets them go before it ends its side of the channel. One of
/// an older version says nothing.
fn await_way(channel: &OwnedFd) -> io::Result<()> {
    while wait::readable(channel, Some(PATIENCE))? {
        match channel::receive::<ToInstance>(channel) {
            // What it says to one of ours is not meant any more.
            Ok(Some(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Ok(None) | Err(_) => break,
        }
    }
    Ok(())
}

/// The socket on which it was waited for, as in uWSGI; nothing, where it is supervised.
fn stdin(start: &Start) -> io::Result<()> {
    let on_demand = match &start.source {
        Source::Vassal { on_demand, .. } | Source::CommandLine { on_demand, .. } => on_demand,
    };
    let called = start.have.listeners.iter().find(|known| Some(&known.listen.address) == on_demand.as_ref());
    match called {
        Some(listener) => fd::replace(&**listener, 0),
        None if start.channel.is_some() => fd::replace(File::open("/dev/null")?, 0),
        None => Ok(()),
    }
}
