//! From whoever starts an instance to whoever it runs as: log, pid files, sockets and identity, in uWSGI's order,
//! on which relative paths and permissions depend.

use std::env;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use super::beginning::{Beginning, Unbegun};
use super::bind::{self, Sockets};
use super::{flock, log_file};
use crate::config::hook::Point;
use crate::config::instance::InstanceSpec;
use crate::config::namespaces::Namespaces;
use crate::config::patch::Patch;
use crate::config::tenant::Tenant;
use crate::hook;
use crate::sys::capabilities::{self, Capabilities};
use crate::sys::user::{self, Identity};
use crate::sys::{host, limits, namespace, output, own, session, socket};
use crate::wire::failure::Failure;
use crate::wire::limits as wire_limits;
use crate::wire::message::Privileges;

/// Where everything is logged.
const LOGS: &[&str] = &["logto", "daemonize"];
/// What writes a pid.
const PID_FILES: &[&str] = &["pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2"];

/// Takes on the identity of `spec` and binds its sockets. Of the vassal's choosing only the hooks that ask for it run
/// before that. `become_it` becomes another program where one is named, and comes back only when that fails.
///
/// # Errors
/// A step that failed, or the wish to stop; the process must not go on.
pub(super) fn enter(
    spec: &InstanceSpec,
    have: &Sockets,
    beginning: &mut Beginning<'_>,
    locks: &mut Vec<OwnedFd>,
    become_it: impl Fn(&Patch) -> Failure,
) -> Result<Sockets, Unbegun> {
    let at = |names: &'static [&'static str]| move |failure: Failure| failure.at(spec.place_of(names));
    if let Some(log) = &spec.log.logto {
        log_file::go_on_in(log, &spec.log.file).map_err(at(LOGS))?;
    }
    let identity = look_up(spec)?;
    if let Some(log) = &spec.log.logto {
        log_file::prepare(log, &spec.log.file, &identity).map_err(at(LOGS))?;
    }
    refuse_root(spec, &identity)?;
    locks.extend(flock::take(spec, true, beginning)?);
    set_umask(spec);
    wire_limits::set(spec)?;
    if let Some(path) = &spec.files.pidfile {
        write_pid(spec, path)?;
    }
    beginning.perform(spec, &[Point::PreJail])?;
    if let Some(patch) = &spec.patches.privileged {
        return Err(become_it(patch).into());
    }
    beginning.perform(spec, &[Point::InJail])?;
    let mut have = have.clone();
    let wants_early = spec.chown_socket.is_some() || !spec.shared.is_empty();
    // A socket that is shared is one of the network that is left.
    if wants_early && spec.unshare.network {
        bind_early(spec, &mut have)?;
    }
    if user::current_uid() == 0 {
        unshare(spec.unshare, "unshare")?;
        beginning.perform(spec, &[Point::PostJail, Point::Waits, Point::AsRoot])?;
    } else {
        if !spec.unshare.is_empty() {
            tracing::warn!("unshare is not done: not started as root (emperor-use-clone is for tenants)");
        }
        for hook in spec.hooks.iter().filter(|hook| hook.point.is_of_root()) {
            tracing::warn!("{} is not done: not started as root", hook::name(hook));
        }
        beginning.perform(spec, &[Point::Waits])?;
    }
    // A socket that is shared, or given to another owner, is made before the right to do so is given up.
    if wants_early && !spec.unshare.network {
        bind_early(spec, &mut have)?;
    }
    if !spec.identity.after_init {
        drop_privileges(&identity, spec)?;
        beginning.perform(spec, &[Point::AsUser])?;
    }
    if let Some(patch) = &spec.patches.unprivileged {
        // Its sockets are its own matter: there is nothing that `drop-after-init` could wait for.
        if spec.identity.after_init {
            drop_privileges(&identity, spec)?;
            beginning.perform(spec, &[Point::AsUser])?;
        }
        return Err(become_it(patch).into());
    }
    beginning.perform(spec, &[Point::WaitsForSocket])?;
    if let Some(log) = &spec.log.logto2 {
        log_file::go_on_in(log, &spec.log.file).map_err(at(&["logto2"]))?;
        log_file::prepare(log, &spec.log.file, &identity).map_err(at(&["logto2"]))?;
    }
    if let Some(directory) = &spec.app.chdir {
        env::set_current_dir(directory).map_err(|e| {
            Failure::new(format!("cannot chdir to {}: {e}", directory.display()))
                .at(spec.place_of(&["chdir"]))
                .with_hint("make that directory for whom the instance runs as, or mend `chdir`")
        })?;
    }
    if let Some(path) = &spec.files.pidfile2 {
        write_pid(spec, path)?;
    }
    // Names of hosts are looked up here, and never with rights that are to be given up.
    let is_privileged = !identity.is_current();
    let resolve = |host: &str, port: u16| {
        if is_privileged && !host.is_empty() && host.parse::<IpAddr>().is_err() {
            let message = "drop-after-init: no name is looked up as root: write its address";
            return Err(io::Error::other(message));
        }
        socket::resolve(host, port)
    };
    let sockets = bind::bind_all(spec, &have, &resolve).map_err(Failure::from)?;
    if spec.identity.after_init {
        drop_privileges(&identity, spec)?;
        beginning.perform(spec, &[Point::AsUser])?;
    }
    if let Some(log) = &spec.log.daemonize2 {
        log_file::try_out(log).map_err(at(&["daemonize2"]))?;
    }
    Ok(sockets)
}

fn bind_early(spec: &InstanceSpec, have: &mut Sockets) -> Result<(), Failure> {
    let early = bind::bind_early(spec, have).map_err(Failure::from)?;
    have.listeners.extend(early.listeners);
    have.stats.extend(early.stats);
    Ok(())
}

/// Becomes whom the application of `spec` runs as, if this process may.
///
/// # Errors
/// A name that does not exist, root where that is refused, or a step that was refused.
pub(super) fn become_user(spec: &InstanceSpec) -> Result<(), Failure> {
    let identity = look_up(spec)?;
    if user::current_uid() != 0 && !capabilities::may_change_users() {
        return Ok(());
    }
    refuse_root(spec, &identity)?;
    drop_privileges(&identity, spec)
}

/// The same for who only looks, and logs nothing of it.
///
/// # Errors
/// As [`become_user`].
pub(super) fn become_user_quietly(spec: &InstanceSpec) -> Result<(), Failure> {
    let identity = look_up(spec)?;
    if user::current_uid() != 0 && !capabilities::may_change_users() {
        return Ok(());
    }
    deny_root(spec, &identity)?;
    drop_privileges(&identity, spec)
}

/// Writes this process's pid and a newline.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_pid(spec: &InstanceSpec, path: &Path) -> Result<(), Failure> {
    let pid = format!("{}\n", own::outer_pid());
    output::replace(path, pid.as_bytes()).map_err(|error| {
        Failure::new(format!("cannot write the pid file {}: {error}", path.display()))
            .at(spec.place_of_path(PID_FILES, path))
            .with_hint("let whom the instance runs as by then write there, or mend `pidfile` or its like")
    })
}

/// Removes a pid file that still holds our pid.
pub(super) fn remove_pid(path: &Path) {
    if host::holds_pid(path, own::outer_pid())
        && let Err(error) = fs::remove_file(path)
    {
        tracing::warn!("VACUUM WARNING: pid file {} was not removed: {error}", path.display());
    }
}

/// Whether the instance may run as whom it would run as.
fn refuse_root(spec: &InstanceSpec, identity: &Identity) -> Result<(), Failure> {
    deny_root(spec, identity)?;
    if identity.uid() == 0 {
        tracing::warn!("*** WARNING: the application runs as root! *** (name its user with `uid` and `gid`)");
    }
    Ok(())
}

fn deny_root(spec: &InstanceSpec, identity: &Identity) -> Result<(), Failure> {
    match identity.uid() == 0 && spec.identity.deny_root_apps {
        true => Err(Failure::new("the application would run as root, which root-apps = deny refuses")
            .with_hint("name its user with `uid` and `gid`")),
        false => Ok(()),
    }
}

fn look_up(spec: &InstanceSpec) -> Result<Identity, Failure> {
    let wanted = &spec.identity;
    Identity::look_up(wanted.uid.as_deref(), wanted.gid.as_deref(), &wanted.add_gid, wanted.no_initgroups)
        .map_err(|error| {
            Failure::new(format!("cannot look up whom to run as: {error}"))
                .at(spec.place_named_in(&["uid", "gid", "add-gid"], &error.to_string()))
                .with_hint("mend `uid`, `gid` or `add-gid`, or make the user or group")
        })
}

/// Becomes who the emperor says that the vassal runs as, before anything of the vassal's is read.
///
/// # Errors
/// A step that was refused; the process must not go on.
pub(super) fn become_tenant(tenant: Tenant, privileges: &Privileges) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::new(format!("cannot become the file's owner ({tenant}): {error}"));
    let (uid, gid) = (tenant.uid.to_string(), tenant.gid.to_string());
    let identity = Identity::look_up(Some(&uid), Some(&gid), &[], !privileges.initgroups).map_err(failed)?;
    identity.take_on(&Capabilities::default()).map_err(failed)?;
    if !privileges.new_privileges {
        user::set_no_new_privileges().map_err(failed)?;
    }
    own_keyring();
    Ok(())
}

/// Gives this process what its emperor wants it to have for itself: a session, keys and namespaces of its own; its pids it
/// was born with.
///
/// # Errors
/// The kernel, or what surrounds the emperor, does not let us.
pub(super) fn separate(wanted: Namespaces) -> Result<(), Failure> {
    session::lead().map_err(|error| Failure::new(format!("cannot leave the emperor's session: {error}")))?;
    own_keyring();
    // Its pid for others is told by their /proc only.
    own::remember_outer_pid();
    unshare(wanted, "emperor-use-clone")
}

/// Done as the emperor, and again as a tenant: each user may have so many only, and a tenant who has used his up finds
/// nothing but his own in the one before.
fn own_keyring() {
    if let Err(error) = session::own_keyring() {
        tracing::debug!("it has the session keyring that it was started with: {error}");
    }
}

/// The same by this option.
fn unshare(wanted: Namespaces, option: &str) -> Result<(), Failure> {
    let have = |wanted: bool, name: &str, step: fn() -> io::Result<()>| match wanted.then(step) {
        Some(Err(error)) => {
            Err(Failure::new(format!("cannot have a namespace of its own ({option} = {name}): {error}")))
        }
        _ => Ok(()),
    };
    have(wanted.mounts, "fs", namespace::own_mounts)?;
    have(wanted.pids, "pid", namespace::own_processes)?;
    have(wanted.ipc, "ipc", namespace::own_ipc)?;
    have(wanted.hostname, "uts", namespace::own_hostname)?;
    have(wanted.network, "net", namespace::own_network)
}

/// Gives up for good what vassals are never to have.
///
/// # Errors
/// This process may not.
pub(super) fn bound(privileges: &Privileges) -> Result<(), Failure> {
    let Some(kept) = &privileges.capabilities else { return Ok(()) };
    capabilities::bound_to(&Capabilities::of(kept))
        .map_err(|error| Failure::new(format!("cannot limit capabilities (emperor-cap): {error}")))
}

fn drop_privileges(identity: &Identity, spec: &InstanceSpec) -> Result<(), Failure> {
    let at = |failure: Failure| failure.at(spec.place_of(&["uid"]));
    let failed = |error: io::Error| at(Failure::new(format!("cannot drop privileges: {error}")));
    let wanted = &spec.identity;
    let kept = Capabilities::of(&wanted.capabilities);
    let may_change = capabilities::may_change_users();
    if user::current_uid() == 0 || (may_change && !identity.is_current()) {
        if !kept.is_empty() && identity.uid() == 0 {
            capabilities::bound_to(&kept).map_err(failed)?;
        }
        identity.take_on(&kept).map_err(failed)?;
        if identity.uid() == 0 {
            capabilities::forget_beyond_bounds().map_err(failed)?;
        }
        if identity.uid() != 0 && !wanted.new_privileges {
            user::set_no_new_privileges().map_err(failed)?;
        }
    } else if !identity.is_current() {
        return Err(at(Failure::new(format!(
            "cannot run as uid {}: not started as root, but as uid {}",
            identity.uid(),
            user::current_uid()
        ))));
    } else if may_change || !kept.is_empty() {
        // An emperor's right to become anybody is not its vassals'.
        capabilities::reduce_to(&kept).map_err(failed)?;
    }
    Ok(())
}

/// As configured, or as inherited, but new files are never writable for the world by default.
fn set_umask(spec: &InstanceSpec) {
    let inherited = limits::set_umask(0o077);
    limits::set_umask(spec.identity.umask.unwrap_or(inherited | 0o002));
}
