//! The sockets of a configuration: taken over where they exist, bound where not.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crate::config::address::{Address, Listen, Protocol};
use crate::config::instance::InstanceSpec;
use crate::config::socket::SocketSpec;
use crate::sys::socket::{self, FileIdentity, Tuning, UnixOptions};
use crate::sys::user::{self, Identity};
use crate::wire::failure::Failure;

/// A listener in use. The last generation that uses it closes it.
#[derive(Debug)]
pub(super) struct Listener {
    /// Where, and what is spoken.
    pub(super) listen: Listen,
    socket: OwnedFd,
    file: Option<FileIdentity>,
    is_passed: bool,
}

impl Listener {
    /// One that whoever started the instance has made, and will remove.
    pub(super) const fn passed(listen: Listen, socket: OwnedFd) -> Self {
        Self { listen, socket, file: None, is_passed: true }
    }

    /// One that another process, or an earlier life, has bound.
    pub(super) fn inherited(listen: Listen, socket: OwnedFd) -> Self {
        let file = match &listen.address {
            Address::Unix(path) => socket::identity(path),
            _ => None,
        };
        Self { listen, socket, file, is_passed: false }
    }

    /// Whether nobody finds it any more: the file of a unix socket was removed.
    fn is_lost(&self) -> bool {
        matches!(&self.listen.address, Address::Unix(path) if !self.is_passed && socket::is_gone(path))
    }

    /// The address for people, with the port that the kernel chose.
    pub(super) fn name(&self) -> String {
        match (&self.listen.address, socket::local_port(self.as_fd())) {
            (Address::Tcp { host, .. }, Some(port)) => Address::Tcp { host: host.clone(), port }.to_string(),
            (address, _) => address.to_string(),
        }
    }

    /// Removes a unix socket's file.
    pub(super) fn remove_file(&self) {
        if let (Address::Unix(path), Some(file)) = (&self.listen.address, self.file)
            && let Err(error) = socket::remove_unix(path, file)
        {
            tracing::warn!("VACUUM WARNING: unix socket {} was not removed: {error}", path.display());
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sockets of one configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Sockets {
    /// For requests, in the order of the configuration.
    pub(super) listeners: Vec<Rc<Listener>>,
    /// For statistics.
    pub(super) stats: Vec<Rc<Listener>>,
}

impl Sockets {
    /// Where they listen.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().chain(&self.stats).map(|listener| &listener.listen.address)
    }
}

/// How the address of a host's name is found; it may wait only where nothing serves yet.
pub(super) type Resolve<'a> = &'a dyn Fn(&str, u16) -> io::Result<SocketAddr>;

/// Why there is no socket.
#[derive(Debug)]
pub(super) struct Unbound {
    /// For people.
    pub(super) failure: Failure,
    /// Whether it is a right that is missing, which a new instance has until it drops privileges.
    pub(super) denied: bool,
}

impl From<Failure> for Unbound {
    fn from(failure: Failure) -> Self {
        Self { failure, denied: false }
    }
}

impl From<Unbound> for Failure {
    fn from(unbound: Unbound) -> Self {
        unbound.failure
    }
}

/// The sockets of `spec` that are made before privileges drop.
///
/// # Errors
/// As [`bind_all`].
pub(super) fn bind_early(spec: &InstanceSpec, have: &Sockets) -> Result<Sockets, Unbound> {
    let mut only = spec.clone();
    only.listen.retain(|listen| is_early(spec, &listen.address));
    only.stats.retain(|address| is_early(spec, address) && matches!(address, Address::Unix(_)));
    bind_all(&only, have, &numeric)
}

/// Who must be permitted to make the socket at an address, where that is not the user who starts the instance.
#[must_use]
pub fn maker(spec: &InstanceSpec, starter: u32, address: &Address) -> Option<Identity> {
    let wanted = &spec.identity;
    if starter != 0 || wanted.after_init || is_early(spec, address) {
        return None;
    }
    let identity = Identity::look_up(
        wanted.uid.as_deref(),
        wanted.gid.as_deref(),
        &wanted.add_gid,
        wanted.no_initgroups,
    );
    identity.ok().filter(|identity| identity.uid() != 0)
}

/// Whether a socket is made before privileges drop: a shared one, and, where sockets have an owner, each whose address
/// needs no look-up.
fn is_early(spec: &InstanceSpec, address: &Address) -> bool {
    let needs_no_look_up = match address {
        Address::Tcp { host, .. } => is_numeric(host),
        Address::Unix(_) | Address::Abstract(_) => true,
    };
    spec.shared.contains(address) || (spec.chown_socket.is_some() && needs_no_look_up)
}

fn is_numeric(host: &str) -> bool {
    matches!(host, "" | "localhost") || host.ends_with('*') || host.parse::<std::net::IpAddr>().is_ok()
}

/// No name is looked up as root.
fn numeric(host: &str, port: u16) -> io::Result<SocketAddr> {
    match host {
        _ if is_numeric(host) => socket::resolve(host, port),
        _ => Err(io::Error::other(
            "it is bound before privileges drop, when no name is looked up: write its number",
        )),
    }
}

/// The sockets of `spec`, in its order; those of `have` with the same address are used again, unless nobody finds them.
///
/// # Errors
/// A socket that cannot be bound, or a queue longer than the system allows.
pub(super) fn bind_all(
    spec: &InstanceSpec,
    have: &Sockets,
    resolve: Resolve<'_>,
) -> Result<Sockets, Unbound> {
    if let Some(longest) = socket::longest_backlog()
        && spec.backlog > longest
    {
        return Err(Failure::new(format!(
            "Listen queue size is greater than the system max net.core.somaxconn ({longest})."
        ))
        .at(spec.place_of(&["listen"]))
        .with_hint(format!("lower `listen` to {longest}, or raise net.core.somaxconn"))
        .into());
    }
    let stats = spec.stats.iter().map(|a| Listen { address: a.clone(), protocol: Protocol::Stats });
    let stats: Vec<Listen> = stats.collect();
    Ok(Sockets {
        listeners: bind_each(&spec.listen, spec, &have.listeners, Use::Requests, resolve)?,
        stats: bind_each(&stats, spec, &have.stats, Use::Statistics, resolve)?,
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Requests,
    Statistics,
}

fn bind_each(
    wanted: &[Listen],
    spec: &InstanceSpec,
    have: &[Rc<Listener>],
    purpose: Use,
    resolve: Resolve<'_>,
) -> Result<Vec<Rc<Listener>>, Unbound> {
    let bind_one = |(number, listen): (usize, &Listen)| {
        if let Some(found) = have.iter().find(|l| l.listen.address == listen.address && !l.is_lost()) {
            return reuse(found, listen, spec).map_err(Unbound::from);
        }
        let bound = bind(number, listen, spec, purpose, resolve);
        bound.map(Rc::new).map_err(|error| {
            let is_taken = error.kind() == io::ErrorKind::AddrInUse;
            let failure = Failure {
                taken: is_taken.then(|| listen.address.clone().into()),
                ..Failure::new(format!("cannot listen on {}: {error}", listen.address))
            };
            Unbound {
                failure: failure.at(spec.place_of_address(&listen.address)).with_hint(advice(&error)),
                denied: error.kind() == io::ErrorKind::PermissionDenied,
            }
        })
    };
    wanted.iter().enumerate().map(bind_one).collect()
}

fn reuse(found: &Rc<Listener>, listen: &Listen, spec: &InstanceSpec) -> Result<Rc<Listener>, Failure> {
    let failed = |error| {
        Failure::new(format!("cannot listen on {}: {error}", listen.address))
            .at(spec.place_of_address(&listen.address))
    };
    socket::set_backlog(found.as_fd(), spec.backlog).map_err(failed)?;
    if matches!(listen.address, Address::Tcp { .. }) {
        socket::tune(found.as_fd(), tuning(spec)).map_err(failed)?;
    }
    if let (Address::Unix(path), Some(file)) = (&listen.address, found.file)
        && let Err(error) =
            unix_options(spec).and_then(|options| socket::change_unix(path, file, spec.chmod_socket, options))
    {
        tracing::warn!("{} keeps the mode and the owner that it had: {error}", path.display());
    }
    if found.listen == *listen {
        return Ok(Rc::clone(found));
    }
    let socket = found.as_fd().try_clone_to_owned().map_err(failed)?;
    Ok(Rc::new(Listener { listen: listen.clone(), socket, file: found.file, is_passed: found.is_passed }))
}

fn bind(
    number: usize,
    listen: &Listen,
    spec: &InstanceSpec,
    purpose: Use,
    resolve: Resolve<'_>,
) -> io::Result<Listener> {
    let socket = match &listen.address {
        Address::Tcp { host, port } => {
            socket::listen_tcp_with(resolve(host, *port)?, tuning(spec), spec.backlog)?
        }
        Address::Abstract(name) => socket::listen_abstract(name, spec.backlog)?,
        Address::Unix(path) => socket::listen_unix(path, unix_options(spec)?, spec.backlog)?,
    };
    let listener = Listener::inherited(listen.clone(), socket);
    let name = listener.name();
    let open = listen.address.is_for_other_hosts();
    let kind = if matches!(listen.address, Address::Tcp { .. }) { "TCP" } else { "UNIX" };
    match (purpose, listen.protocol) {
        (Use::Statistics, _) => {
            tracing::info!("*** Stats server enabled on {name} ***");
            if open {
                tracing::warn!("the stats server {name} can be read from other hosts");
            }
        }
        (Use::Requests, protocol) => {
            let fd = listener.as_fd().as_raw_fd();
            if protocol.is_of_router() {
                tracing::info!("uWSGI http bound on {name} fd {fd}");
            } else {
                tracing::info!("uwsgi socket {number} bound to {kind} address {name} fd {fd}");
            }
            if open && protocol.has_variables() {
                tracing::warn!(
                    "the {} socket {name} can be reached from other hosts: who reaches it sets request variables",
                    protocol.spoken()
                );
            }
        }
    }
    Ok(listener)
}

fn tuning(spec: &InstanceSpec) -> Tuning {
    let SocketSpec { freebind, reuse_port, keepalive, send_buffer_bytes, receive_buffer_bytes } =
        spec.sockets;
    Tuning { freebind, reuse_port, keepalive, send_buffer_bytes, receive_buffer_bytes }
}

fn unix_options(spec: &InstanceSpec) -> io::Result<UnixOptions> {
    let owner = spec.chown_socket.as_ref();
    let runs_as = spec.identity.uid.as_deref().map(user::uid_of).transpose()?;
    Ok(UnixOptions {
        mode: spec.chmod_socket.unwrap_or_else(crate::sys::limits::socket_mode),
        user: owner.map(|o| user::uid_of(&o.user)).transpose()?,
        group: owner.and_then(|o| o.group.as_deref()).map(user::gid_of).transpose()?,
        runs_as,
    })
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: stop it, or choose another address",
        io::ErrorKind::PermissionDenied => "the user whom the instance runs as may not bind it",
        io::ErrorKind::NotFound => "the directory or the host does not exist",
        io::ErrorKind::AddrNotAvailable => "this host does not have that address",
        _ => "the address cannot be used",
    }
}
