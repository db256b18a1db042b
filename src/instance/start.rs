//! What an instance begins with, as its emperor or its command line says.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use super::bind::{Listener, Sockets};
use super::foreign::Birth;
use super::source::Source;
use super::uwsgi_emperor::Inheritance;
use crate::config::address::{Listen, Protocol};
use crate::sys::process::{self, Launch};
use crate::sys::{fd, memfd, wait};
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, Policy, ToInstance};
use crate::wire::{PROTOCOL, channel, inherited};

/// What an instance begins with.
pub(super) struct Start {
    pub(super) source: Source,
    pub(super) policy: Policy,
    pub(super) have: Sockets,
    pub(super) file: Option<OwnedFd>,
    pub(super) channel: Option<OwnedFd>,
    /// An emperor of uWSGI above it.
    pub(super) uwsgi_emperor: Option<Inheritance>,
}

impl Start {
    /// An instance without an emperor of ours: as its command line says, below an emperor of uWSGI perhaps.
    ///
    /// # Errors
    /// No memory for the configuration that such an emperor sent.
    pub(super) fn of_command_line(
        arguments: &[String],
        mut uwsgi_emperor: Option<Inheritance>,
    ) -> io::Result<Self> {
        let text = uwsgi_emperor.as_mut().and_then(|emperor| emperor.text.take());
        let file = text.map(|text| memfd::sealed("liege-config", &text)).transpose()?;
        let listener = uwsgi_emperor.as_mut().and_then(|emperor| emperor.listener.as_mut());
        let mut have = Sockets::default();
        let mut on_demand = None;
        if let Some((address, listener)) = listener {
            let listen = Listen { address: address.clone(), protocol: Protocol::Uwsgi };
            have.listeners.push(Rc::new(Listener::inherited(listen, listener.try_clone()?)));
            on_demand = Some(address.clone());
        }
        let source = Source::CommandLine { arguments: arguments.to_vec(), on_demand };
        Ok(Self { source, policy: Policy::default(), have, file, channel: None, uwsgi_emperor })
    }
}

/// What an emperor asks for.
pub(super) enum Begin {
    Ours(Box<Start>),
    Foreign(Box<Birth>, Box<Policy>),
}

pub(super) fn receive_start() -> io::Result<Option<Begin>> {
    let channel = inherited::take()?;
    wait::readable(&channel, None)?;
    let Some((message, mut fds)) = channel::receive::<ToInstance>(&channel)? else { return Ok(None) };
    let ToInstance::Start { protocol, name, path, listeners, policy, on_demand, tenant, foreign } = message
    else {
        return Ok(None);
    };
    if protocol != PROTOCOL {
        let message = format!("the emperor speaks protocol {protocol}, this instance {PROTOCOL}");
        channel::send(&channel, &FromInstance::Failed(Failure::new(&message)), &[])?;
        return Err(io::Error::other(message));
    }
    if fds.len() != listeners.len() + 1 + usize::from(foreign.is_some()) {
        return Err(io::Error::other("the start came without its descriptors"));
    }
    let control = foreign.is_some().then(|| fds.pop()).flatten();
    let file = fd::duplicate_high(fds.remove(0))?;
    if let (Some(foreign), Some(control)) = (foreign, control) {
        let birth =
            Birth { foreign: *foreign, tenant, channel, control, file, name, path, listener: fds.pop() };
        return Ok(Some(Begin::Foreign(Box::new(birth), policy)));
    }
    let inherited = listeners.into_iter().zip(fds).filter(|(_, fd)| crate::sys::socket::is_listening(fd));
    let listeners = inherited.map(|(listen, fd)| Rc::new(Listener::inherited(listen, fd))).collect();
    let deny_root_apps = policy.deny_root_apps;
    Ok(Some(Begin::Ours(Box::new(Start {
        source: Source::Vassal {
            name,
            path,
            options: policy.vassals.clone(),
            deny_root_apps,
            on_demand: on_demand.map(|address| *address),
            tenant,
        },
        policy: *policy,
        have: Sockets { listeners, stats: Vec::new() },
        file: Some(file),
        channel: Some(channel),
        uwsgi_emperor: None,
    }))))
}

/// Runs the emperor's hook and waits for it: only this vassal waits, and only its start.
pub(super) fn run_start_hook(hook: &str, name: &str, directory: &Path) {
    let mut words = hook.split_whitespace();
    let Some(program) = words.next() else { return };
    let launch = words.chain([name]).fold(Launch::new(program), Launch::arg);
    match launch.env("UWSGI_VASSALS_DIR", directory).spawn().and_then(|child| process::wait(&child)) {
        Ok(exit) if exit.is_success() => {}
        Ok(exit) => tracing::warn!("vassals-start-hook {hook}: {exit}"),
        Err(error) => tracing::warn!("vassals-start-hook {hook}: {error}"),
    }
}
