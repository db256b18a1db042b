//! What hooks say is done by a process of its own: how an instance starts it, and what its commands find.

use std::io;
use std::os::fd::OwnedFd;

use super::launch;
use super::logs::Output;
use crate::config::hook::Hook;
use crate::config::instance::InstanceSpec;
use crate::hook::role::{self, Order};
use crate::sys::process::Child;
use crate::sys::{own, user};
use crate::wire::{channel, inherited};

/// Starts it; answers our end of its channel. It leads a process group, in which everything is that it starts.
///
/// # Errors
/// It cannot be started, or no descriptor is left.
pub(super) fn start(
    spec: &InstanceSpec,
    hooks: Vec<Hook>,
    (supervised, again): (bool, bool),
    output: Option<&Output>,
) -> io::Result<(Child, OwnedFd)> {
    let mut env = launch::environment(spec, supervised);
    if again {
        env.push(("UWSGI_RELOADS".to_owned(), Some("1".to_owned())));
    }
    begin(&spec.name, Order { hooks, env, relayed: supervised || output.is_some(), alone_ms: None }, output)
}

/// Starts what the emperor has done in each vassal's process before its file is read.
///
/// # Errors
/// As [`start`].
pub(super) fn start_as_vassal(name: &str, hooks: Vec<Hook>) -> io::Result<(Child, OwnedFd)> {
    let mut env = launch::environment(&InstanceSpec::default(), true);
    let (uid, gid) = (user::current_uid(), user::current_gid());
    env.extend(role::about(name, own::outer_pid(), uid, gid));
    begin(name, Order { hooks, env, relayed: true, alone_ms: None }, None)
}

fn begin(name: &str, order: Order, output: Option<&Output>) -> io::Result<(Child, OwnedFd)> {
    let (mut launch, socket) = role::launch(name)?;
    launch = launch.unset_env(inherited::RESUME_VARIABLE);
    if let Some(output) = output {
        launch = launch.stdout(output.for_child()?).stderr(output.for_child()?);
    }
    let child = launch.spawn()?;
    channel::send(&socket, &order, &[])?;
    Ok((child, socket))
}
