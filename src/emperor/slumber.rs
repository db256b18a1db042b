//! Vassals asleep: nothing runs for them, and the emperor waits on their sockets for the connection that wakes them. It
//! never accepts one: whoever connects waits in the socket's queue until the instance is there.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, spawn_local};

use super::event::Event;
use super::fleet::State;
use super::naming::{Named, Names};
use super::scan::Look;
use super::spawn::{Listeners, leave_descriptors};
use super::turns::Emperor;
use crate::config::address::{Address, Listen, Protocol};
use crate::config::emperor::EmperorSpec;
use crate::config::tenant::Tenant;
use crate::sys::socket::{self, FileIdentity, UnixOptions};
use crate::sys::{capabilities, limits, reactor};
use crate::wire::failure::Failure;

/// A vassal that something happened to while nothing ran for it.
#[derive(Debug)]
pub(super) enum Stir {
    /// Somebody has connected.
    Called(String),
    /// The command has named its socket, or said that there is none.
    Named(String, Named),
}

/// How a vassal is waited for.
#[derive(Debug)]
struct Watch {
    tasks: Vec<AbortHandle>,
    /// The files of unix sockets that were there when it fell asleep: those in mounts of its own are not for us.
    files: Vec<PathBuf>,
}

/// The sockets that are waited on, and how those of vassals that were never started are named.
#[derive(Debug)]
pub(super) struct Slumber {
    names: Names,
    told: mpsc::Sender<Stir>,
    watched: BTreeMap<String, Watch>,
    /// The unix sockets that the emperor has made.
    files: BTreeMap<String, (PathBuf, FileIdentity)>,
    /// The mode of those files, and how many connections wait for a vassal that wakes.
    mode: Option<u32>,
    backlog: u32,
}

impl Slumber {
    pub(super) fn new(spec: &EmperorSpec, told: mpsc::Sender<Stir>) -> Self {
        let names = Names::new(spec, told.clone());
        let (watched, files) = (BTreeMap::new(), BTreeMap::new());
        Self { names, told, watched, files, mode: spec.chmod_socket, backlog: spec.backlog }
    }

    /// Binds the socket of a vassal, for its tenant.
    fn bind(&mut self, vassal: &str, address: &Address, tenant: Option<Tenant>) -> io::Result<Listeners> {
        leave_descriptors().map_err(|failure| io::Error::other(failure.message))?;
        let backlog = self.backlog;
        let socket = match address {
            Address::Tcp { host, port } => {
                // A name server could hold us up.
                if !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "the host is no IP address"));
                }
                socket::listen_tcp(socket::resolve(host, *port)?, backlog)?
            }
            Address::Abstract(name) => socket::listen_abstract(name, backlog)?,
            Address::Unix(path) => {
                let mode = self.mode.unwrap_or_else(limits::socket_mode);
                let owner = tenant.filter(|_| capabilities::may_give_files_away());
                if let (Some(tenant), None) = (tenant, owner) {
                    tracing::warn!(
                        vassal,
                        "{} belongs to the emperor's user, and not to {tenant}, for want of CAP_CHOWN: its mode \
                         is {mode:04o} (chmod-socket)",
                        path.display()
                    );
                }
                let options = UnixOptions {
                    mode,
                    user: owner.map(|tenant| tenant.uid),
                    group: owner.map(|tenant| tenant.gid),
                    runs_as: tenant.map(|tenant| tenant.uid),
                };
                let listener = socket::listen_unix(path, options, backlog)?;
                if let Some(identity) = socket::identity(path) {
                    self.files.insert(vassal.to_owned(), (path.clone(), identity));
                }
                listener
            }
        };
        Ok(vec![(Listen { address: address.clone(), protocol: Protocol::Uwsgi }, socket)])
    }

    fn watch(&mut self, vassal: &str, listeners: &Listeners) -> io::Result<()> {
        let mut tasks = Vec::new();
        for (_, listener) in listeners {
            let listener = reactor::register_readable(listener.as_fd().try_clone_to_owned()?)?;
            let (told, vassal) = (self.told.clone(), vassal.to_owned());
            let task = spawn_local(async move {
                if listener.readable().await.is_ok() {
                    let _ = told.send(Stir::Called(vassal)).await;
                }
            });
            tasks.push(task.abort_handle());
        }
        self.unwatch(vassal);
        let files = listeners.iter().filter_map(|(listen, _)| match &listen.address {
            Address::Unix(path) if !socket::is_gone(path) => Some(path.clone()),
            _ => None,
        });
        self.watched.insert(vassal.to_owned(), Watch { tasks, files: files.collect() });
        Ok(())
    }

    fn unwatch(&mut self, vassal: &str) {
        let tasks = self.watched.remove(vassal).into_iter().flat_map(|watch| watch.tasks);
        tasks.for_each(|task| task.abort());
    }

    fn forget(&mut self, vassal: &str) {
        self.unwatch(vassal);
        self.names.forget(vassal);
        if let Some((path, identity)) = self.files.remove(vassal) {
            // Another's by now, or gone: as well.
            let _ = socket::remove_unix(&path, identity);
        }
    }

    /// Ends what runs for sleepers, and removes the files of the sockets that the emperor has made, but for those at which the next one will wait.
    pub(super) fn end(&mut self, outlasts: impl Fn(&str) -> bool) {
        self.names.end();
        let all: Vec<String> = self.files.keys().filter(|vassal| !outlasts(vassal)).cloned().collect();
        all.iter().for_each(|vassal| self.forget(vassal));
    }

    /// The pids of the commands that are asked for names.
    pub(super) fn commands(&self) -> Vec<u32> {
        self.names.commands()
    }

    /// Whether a socket at which a vassal is waited for was removed.
    fn has_lost_a_file(&self, vassal: &str) -> bool {
        self.watched.get(vassal).is_some_and(|watch| watch.files.iter().any(|file| socket::is_gone(file)))
    }

    /// An emperor before has made this vassal's socket; answers whether clients still find it.
    pub(super) fn knows(&mut self, vassal: &str, address: &Address) -> bool {
        let Address::Unix(path) = address else { return true };
        let file = socket::identity(path);
        self.files.extend(file.map(|identity| (vassal.to_owned(), (path.clone(), identity))));
        file.is_some()
    }
}

impl Emperor {
    /// Says of a file that was found on which socket its vassal waits to be called; `false`: that is not known yet.
    pub(super) fn name_socket(&mut self, look: &mut Look) -> bool {
        let Look::Found(found) = look else { return true };
        match self.slumber.names.named(found) {
            Ok(address) => {
                let fleet = self.handle.fleet();
                let adopted = fleet.vassals.get(&found.id).filter(|known| known.state == State::Adopting);
                if let (Some(_), Some(address)) = (adopted, &address) {
                    self.slumber.knows(&found.id, address);
                }
                found.on_demand = address;
            }
            Err(None) => return false,
            Err(Some(reason)) => {
                let fleet = self.handle.fleet();
                let known = fleet.vassals.get(&found.id).map(|known| known.on_demand.clone());
                let follows = if known.is_some() { "all stays as it was" } else { "it is started at once" };
                tracing::warn!(vassal = found.id, "{follows}: its on-demand socket is not named: {reason}");
                found.on_demand = known.flatten();
            }
        }
        true
    }

    /// The instance that is about to be started gets the socket on which its vassal is waited for, made with our rights, also
    /// where the last one has ended it for good.
    pub(super) fn hold_on_demand(&mut self, vassal: &str) {
        let known = self.handle.fleet().vassals.get(vassal).map(|v| (v.on_demand.clone(), v.tenant));
        let Some((Some(address), tenant)) = known else { return };
        if self.masters.kept.get(vassal).is_some() {
            return;
        }
        match self.slumber.bind(vassal, &address, tenant) {
            Ok(listeners) => self.masters.kept.insert(vassal, Arc::new(listeners)),
            // The instance tries it itself, and tells better what is wrong.
            Err(error) => tracing::debug!(vassal, "the emperor cannot make its socket: {error}"),
        }
    }

    /// Waits for a connection to a vassal's sockets.
    pub(super) fn put_to_bed(&mut self, vassal: String) {
        let (on_demand, tenant) = match self.handle.fleet().vassals.get(&vassal) {
            Some(known) => (known.on_demand.clone(), known.tenant),
            None => (None, None),
        };
        if self.is_out_of_reach(&vassal) && !self.somebody_waits(&vassal) {
            self.close_sockets(&vassal);
        }
        let kept = self.masters.keep_doors(&vassal);
        let listeners = match (kept, on_demand) {
            (Some(kept), _) => Ok(kept),
            (None, Some(address)) => self.slumber.bind(&vassal, &address, tenant).map(Arc::new),
            (None, None) => Err(io::Error::other("it has no sockets")),
        };
        let watched = listeners.and_then(|listeners| {
            self.slumber.watch(&vassal, &listeners)?;
            self.masters.kept.insert(&vassal, listeners);
            Ok(())
        });
        self.show_sockets(&vassal);
        if let Err(error) = watched {
            let failure = Failure::new(format!("the emperor cannot wait on its socket: {error}"));
            self.due.push_back(Event::NotAsleep { vassal, failure });
        }
    }

    pub(super) fn stirred(&mut self, stir: Stir) {
        match stir {
            Stir::Called(vassal) => {
                self.stop_waiting(&vassal);
                self.decide(Event::Called { vassal });
            }
            Stir::Named(vassal, answer) => {
                self.slumber.names.answered(vassal.clone(), answer);
                self.look(&vassal);
            }
        }
    }

    /// Nobody waits on a vassal's sockets any more.
    pub(super) fn stop_waiting(&mut self, vassal: &str) {
        self.slumber.unwatch(vassal);
        self.masters.kept.touch();
    }

    /// What is kept for one vassal is kept for another as well, which removes the file that we made from now on.
    pub(super) fn bequeath(&mut self, from: &str, to: &str) {
        if let (Some(kept), None) = (self.masters.kept.get(from).cloned(), self.masters.kept.get(to)) {
            self.masters.kept.insert(to, kept);
        }
        if let Some(file) = self.slumber.files.remove(from) {
            self.slumber.files.insert(to.to_owned(), file);
        }
        self.show_sockets(to);
    }

    /// Closes what is kept for a vassal.
    pub(super) fn close_sockets(&mut self, vassal: &str) {
        self.slumber.forget(vassal);
        self.close_kept(vassal);
        self.show_sockets(vassal);
    }

    fn show_sockets(&self, id: &str) {
        if let Some(vassal) = self.handle.fleet().vassals.get_mut(id) {
            vassal.listeners = self.masters.kept.get(id).cloned().unwrap_or_default();
        }
    }

    /// Whether no client finds the socket that we have made for a vassal.
    fn is_out_of_reach(&self, vassal: &str) -> bool {
        let fleet = self.handle.fleet();
        let on_demand = fleet.vassals.get(vassal).and_then(|known| known.on_demand.as_ref());
        matches!(on_demand, Some(Address::Unix(path)) if socket::is_gone(path))
    }

    fn somebody_waits(&self, vassal: &str) -> bool {
        let listeners = self.masters.kept.get(vassal).into_iter().flat_map(|listeners| listeners.iter());
        listeners.filter_map(|(_, listener)| socket::queue(listener.as_fd())).any(|(waiting, _)| waiting > 0)
    }

    /// Of these vassals those that sleep where clients do not find them any more.
    pub(super) fn mend_doors(&mut self, mut vassals: Vec<String>) {
        vassals.retain(|vassal| self.slumber.has_lost_a_file(vassal));
        for vassal in vassals {
            self.decide(Event::OutOfReach { vassal });
        }
    }

    /// Goes on waiting after a re-execution.
    pub(super) fn watch_sleepers(&mut self) {
        let sleepers: Vec<(String, Option<Address>)> = {
            let fleet = self.handle.fleet();
            let on_demand =
                fleet.vassals.iter().filter(|(_, vassal)| vassal.on_demand.is_some() || vassal.is_asleep());
            on_demand.map(|(id, vassal)| (id.clone(), vassal.on_demand.clone())).collect()
        };
        for (vassal, address) in sleepers {
            if let Some(address) = address {
                self.slumber.knows(&vassal, &address);
            }
            if self.handle.fleet().vassals.get(&vassal).is_some_and(super::fleet::Vassal::is_asleep) {
                self.put_to_bed(vassal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn so_many_connections_wait_as_the_emperor_was_told() {
        let dir = tempfile::tempdir().unwrap();
        let spec = EmperorSpec { backlog: 7, chmod_socket: Some(0o600), ..EmperorSpec::default() };
        let mut slumber = Slumber::new(&spec, mpsc::channel(1).0);
        let unix = Address::Unix(dir.path().join("a.sock"));
        for address in [Address::Tcp { host: "127.0.0.1".to_owned(), port: 0 }, unix] {
            let listeners = slumber.bind("a.ini", &address, None).unwrap();
            assert_eq!(socket::queue(listeners[0].1.as_fd()), Some((0, 7)), "{address}");
        }
        let mode = std::fs::metadata(dir.path().join("a.sock")).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
