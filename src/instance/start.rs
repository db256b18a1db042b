//! What an instance begins with, as its emperor or its command line says.

use std::env;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::rc::Rc;

use super::bind::{Listener, Sockets};
use super::foreign::{self, Birth};
use super::source::Source;
use super::uwsgi_emperor::Inheritance;
use crate::config::address::{Listen, Protocol};
use crate::config::hook::Point;
use crate::config::instance::InstanceSpec;
use crate::config::socket::PassedSocket;
use crate::hook;
use crate::sys::activation::Activation;
use crate::sys::background::Foreground;
use crate::sys::{cgroup, fd, memfd, user, wait};
use crate::wire::channel::Received;
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
    /// Where it begins, if not where it is.
    pub(super) begin_in: Option<String>,
    /// An emperor of uWSGI above it.
    pub(super) uwsgi_emperor: Option<Inheritance>,
    /// Who waits in the foreground for it to serve, or to tell why it cannot.
    pub(super) foreground: Option<Foreground>,
    /// What the emperor said while it began.
    pub(super) heard: Vec<Received<ToInstance>>,
}

impl Start {
    /// An instance without an emperor of ours: as its command line says, below an emperor of uWSGI perhaps.
    ///
    /// # Errors
    /// No memory for the configuration that such an emperor sent.
    pub(super) fn of_command_line(
        arguments: &[String],
        mut uwsgi_emperor: Option<Inheritance>,
        activation: Activation,
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
        activation.tell();
        let known = PassedSocket::all(&activation.passed);
        for (passed, known) in activation.passed.into_iter().zip(&known) {
            let listen = Listen { address: known.address.clone(), protocol: Protocol::Uwsgi };
            have.listeners.push(Rc::new(Listener::passed(listen, passed.socket)));
        }
        let source = Source::CommandLine { arguments: arguments.to_vec(), on_demand, passed: known };
        let policy = Policy::default();
        Ok(Self {
            source,
            policy,
            have,
            file,
            channel: None,
            begin_in: None,
            uwsgi_emperor,
            foreground: None,
            heard: Vec::new(),
        })
    }

    /// Whether its hooks may be done with the rights that this process has.
    ///
    /// # Errors
    /// They may not.
    pub(super) fn may_act(&self, spec: &InstanceSpec) -> Result<(), Failure> {
        let find = |wanted: fn(&Point) -> bool| spec.hooks.iter().find(|hook| wanted(&hook.point));
        if let (Some(tenant), Some(hook)) = (self.source.tenant(), find(Point::is_of_root)) {
            return Err(Failure::new(format!(
                "{}: nothing of a tenant's file is done as root",
                hook::name(hook)
            ))
            .with_hint(format!("it runs as the owner of its file ({tenant}): say exec-as-user")));
        }
        // Who may not have an application run as root is not to have it done so by a hook.
        let owner =
            self.file.as_ref().and_then(|file| fs::File::from(file.try_clone().ok()?).metadata().ok());
        let owner = owner.map_or(0, |stat| stat.uid());
        if spec.patches.privileged.is_some() {
            foreign::may_name_program(owner, "privileged-binary-patch")?;
        }
        if user::current_uid() == 0
            && spec.identity.deny_root_apps
            && owner != 0
            && let Some(hook) = find(Point::is_privileged)
        {
            return Err(Failure::new(format!(
                "{}: it would be done as root, which root-apps = deny refuses for a file that is not root's",
                hook::name(hook)
            ))
            .with_hint("say exec-as-user, or give the file to root"));
        }
        if user::current_uid() == 0 && spec.identity.deny_root_apps && owner != 0 && spec.identity.after_init
        {
            return Err(Failure::new(
                "drop-after-init: its sockets would be made as root, which root-apps = deny refuses for a file that is not root's",
            )
            .with_hint("leave it out, or give the file to root"));
        }
        Ok(())
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
    let ToInstance::Start {
        protocol,
        name,
        path,
        listeners,
        policy,
        on_demand,
        tenant,
        begin_in,
        has_group,
        foreign,
        passed,
    } = message
    else {
        return Ok(None);
    };
    if protocol != PROTOCOL {
        let message = format!("the emperor speaks protocol {protocol}, this instance {PROTOCOL}");
        channel::send(&channel, &FromInstance::Failed(Failure::new(&message)), &[])?;
        return Err(io::Error::other(message));
    }
    if fds.len() != listeners.len() + 1 + usize::from(foreign.is_some()) + usize::from(has_group) {
        return Err(io::Error::other("the start came without its descriptors"));
    }
    if let Some(door) = fds.pop_if(|_| has_group)
        && let Err(error) = cgroup::enter(door)
    {
        let failure = Failure::new(format!("cannot enter its control group: {error}"));
        channel::send(&channel, &FromInstance::Failed(failure), &[])?;
        return Ok(None);
    }
    let control = foreign.is_some().then(|| fds.pop()).flatten();
    let file = fd::duplicate_high(fds.remove(0))?;
    if let (Some(foreign), Some(control)) = (foreign, control) {
        let birth = Birth {
            foreign: *foreign,
            tenant,
            begin_in,
            channel,
            control,
            file,
            name,
            path,
            listener: fds.pop(),
        };
        return Ok(Some(Begin::Foreign(Box::new(birth), policy)));
    }
    let inherited = listeners.into_iter().zip(fds).filter(|(_, fd)| crate::sys::socket::is_listening(fd));
    let is_passed = |listen: &Listen| passed.iter().any(|passed| passed.address == listen.address);
    let make = |(listen, fd)| {
        let make = if is_passed(&listen) { Listener::passed } else { Listener::inherited };
        Rc::new(make(listen, fd))
    };
    let (listeners, stats) =
        inherited.map(make).partition(|listener: &Rc<Listener>| listener.listen.protocol.is_for_requests());
    let deny_root_apps = policy.deny_root_apps;
    Ok(Some(Begin::Ours(Box::new(Start {
        source: Source::Vassal {
            name,
            path,
            options: policy.vassals.clone(),
            deny_root_apps,
            on_demand: on_demand.map(|address| *address),
            tenant,
            passed,
        },
        policy: *policy,
        have: Sockets { listeners, stats },
        file: Some(file),
        channel: Some(channel),
        begin_in,
        uwsgi_emperor: None,
        foreground: None,
        heard: Vec::new(),
    }))))
}

/// Goes where the vassal's file says that it begins.
///
/// # Errors
/// It cannot go there.
pub(super) fn go_to(begin_in: Option<&String>) -> Result<(), Failure> {
    let Some(directory) = begin_in else { return Ok(()) };
    env::set_current_dir(directory).map_err(|error| {
        Failure::new(format!("cannot begin in {directory}: {error}"))
            .with_hint("mend what the section [emperor] of its file says (emperor-chdir-attr)")
    })
}
