//! Vassals asleep: nothing runs for them, and the emperor waits on their sockets for the connection that wakes them. It
//! never accepts one: whoever connects waits in the socket's queue until the instance is there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;

use super::event::Event;
use super::scan::{Found, Look};
use super::spawn::Listeners;
use super::turns::Emperor;
use crate::config::address::{Address, Listen, Protocol};
use crate::config::emperor::EmperorSpec;
use crate::config::tenant::Tenant;
use crate::sys::process::Launch;
use crate::sys::socket::{self, FileIdentity, UnixOptions};
use crate::sys::{file, limits, pipe, reactor, user};
use crate::wire::failure::Failure;

/// The most that is read of what names a socket.
const NAME_LIMIT_BYTES: u64 = 4096;
/// How many commands that name sockets run at the same time, and how long each may take.
const COMMANDS: usize = 8;
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// A vassal that something happened to while nothing ran for it.
#[derive(Debug)]
pub(super) enum Stir {
    /// Somebody has connected.
    Called(String),
    /// The command has named its socket, or said that there is none.
    Named(String, Result<Option<Address>, String>),
}

/// The sockets that are waited on, and how those of vassals that were never started are named.
#[derive(Debug)]
pub(super) struct Slumber {
    names: Names,
    told: mpsc::Sender<Stir>,
    watched: BTreeMap<String, Vec<AbortHandle>>,
    /// The unix sockets that the emperor has made.
    files: BTreeMap<String, (PathBuf, FileIdentity)>,
    /// What the command has said; `None`: it runs.
    answers: BTreeMap<String, Option<Option<Address>>>,
    commands: Arc<Semaphore>,
}

#[derive(Debug)]
struct Names {
    extension: Option<String>,
    directory: Option<PathBuf>,
    command: Option<String>,
    mode: Option<u32>,
    /// How many connections wait for a vassal that wakes.
    backlog: u32,
    /// Whether files that name sockets must be ours, for the sockets are made with our rights.
    tyrant: bool,
}

impl Slumber {
    pub(super) fn new(spec: &EmperorSpec, told: mpsc::Sender<Stir>) -> Self {
        let names = Names {
            extension: spec.on_demand_extension.clone(),
            directory: spec.on_demand_directory.clone(),
            command: spec.on_demand_exec.clone(),
            mode: spec.chmod_socket,
            backlog: spec.backlog,
            tyrant: spec.tyrant.is_some(),
        };
        let commands = Arc::new(Semaphore::new(COMMANDS));
        let (watched, files, answers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { names, told, watched, files, answers, commands }
    }

    /// The socket of a vassal that is to sleep until it is called; `None`: it starts. `Err(None)`: it is being asked for.
    fn named(&mut self, found: &Found) -> Result<Option<Address>, Option<String>> {
        let path = found.directory.join(&found.id);
        if let Some(socket) = &found.attributes.on_demand {
            return address(socket).map(Some).map_err(Some);
        }
        if let Some(extension) = &self.names.extension {
            let mut beside = path.clone().into_os_string();
            beside.push(extension);
            match first_line_of(Path::new(&beside), self.names.tyrant) {
                Ok(Some(line)) => return address(&line).map(Some).map_err(Some),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Some(format!("{}: {error}", Path::new(&beside).display()))),
            }
        }
        if let Some(directory) = &self.names.directory {
            let name = Path::new(&found.id).with_extension("socket");
            let path = directory.join(name.file_name().unwrap_or_default());
            return address(&path.to_string_lossy()).map(Some).map_err(Some);
        }
        let Some(command) = &self.names.command else { return Ok(None) };
        match self.answers.get(&found.id) {
            Some(None) => Err(None),
            Some(Some(answer)) => Ok(answer.clone()),
            None => {
                let asked =
                    ask(command.clone(), found.id.clone(), path, self.commands.clone(), self.told.clone());
                self.answers.insert(found.id.clone(), None);
                spawn_local(asked);
                Err(None)
            }
        }
    }

    /// Binds the socket of a vassal, for its tenant.
    fn bind(&mut self, vassal: &str, address: &Address, tenant: Option<Tenant>) -> io::Result<Listeners> {
        let backlog = self.names.backlog;
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
                let mode = self.names.mode.unwrap_or_else(limits::socket_mode);
                let options = UnixOptions {
                    mode,
                    user: tenant.map(|tenant| tenant.uid),
                    group: tenant.map(|tenant| tenant.gid),
                    runs_as: None,
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
        let mut handles = Vec::new();
        for (_, listener) in listeners {
            let listener = reactor::register_readable(listener.as_fd().try_clone_to_owned()?)?;
            let (told, vassal) = (self.told.clone(), vassal.to_owned());
            let task = spawn_local(async move {
                if listener.readable().await.is_ok() {
                    let _ = told.send(Stir::Called(vassal)).await;
                }
            });
            handles.push(task.abort_handle());
        }
        self.unwatch(vassal);
        self.watched.insert(vassal.to_owned(), handles);
        Ok(())
    }

    fn unwatch(&mut self, vassal: &str) {
        self.watched.remove(vassal).into_iter().flatten().for_each(|task| task.abort());
    }

    fn forget(&mut self, vassal: &str) {
        self.unwatch(vassal);
        self.answers.remove(vassal);
        if let Some((path, identity)) = self.files.remove(vassal) {
            // Another's by now, or gone: as well.
            let _ = socket::remove_unix(&path, identity);
        }
    }

    /// Removes the files of the sockets that the emperor has made, but for those at which the next one will wait.
    pub(super) fn end(&mut self, outlasts: impl Fn(&str) -> bool) {
        let all: Vec<String> = self.files.keys().filter(|vassal| !outlasts(vassal)).cloned().collect();
        all.iter().for_each(|vassal| self.forget(vassal));
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
        match self.slumber.named(found) {
            Ok(address) => found.on_demand = address,
            Err(None) => return false,
            Err(Some(reason)) => {
                tracing::warn!(
                    vassal = found.id,
                    "it is started at once: its on-demand socket is not named: {reason}"
                );
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
                let answer = answer.unwrap_or_else(|reason| {
                    tracing::warn!(
                        vassal,
                        "it is started at once: its on-demand socket is not named: {reason}"
                    );
                    None
                });
                self.slumber.answers.insert(vassal.clone(), Some(answer));
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

/// Runs the command that names a vassal's socket. The name is an argument, never a part of the command's text.
async fn ask(command: String, id: String, path: PathBuf, turn: Arc<Semaphore>, told: mpsc::Sender<Stir>) {
    let answer = async {
        let _turn = turn.acquire().await.map_err(io::Error::other)?;
        let (output, theirs) = pipe::plain()?;
        let child = Launch::new("/bin/sh")
            .arg("-c")
            .arg(format!("{command} \"$1\""))
            .arg("emperor-on-demand-exec")
            .arg(path)
            .stdout(theirs)
            .own_group()
            .spawn()?;
        let output = Rc::new(reactor::register_readable(output)?);
        let said = timeout(COMMAND_TIME, read_all(&output)).await;
        // It has said all, or has had its time; the loop reaps it.
        let _ = child.kill_group();
        said.map_err(|_| {
            io::Error::other(format!("the command took longer than {} s", COMMAND_TIME.as_secs()))
        })?
    };
    let named = match answer.await {
        Ok(said) => first_line(&said).map(|line| address(&line)).transpose(),
        Err(error) => Err(format!("{command}: {error}")),
    };
    let _ = told.send(Stir::Named(id, named)).await;
}

async fn read_all(output: &tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>) -> io::Result<Vec<u8>> {
    let mut said = Vec::new();
    let mut buffer = [0; 1024];
    let limit = usize::try_from(NAME_LIMIT_BYTES).unwrap_or(usize::MAX);
    while said.len() < limit {
        let mut ready = output.readable().await?;
        match reactor::read(output.get_ref(), &mut buffer) {
            Ok(0) => break,
            Ok(length) => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
    Ok(said)
}

fn first_line_of(path: &Path, must_be_ours: bool) -> io::Result<Option<String>> {
    let opened: File = file::open_untrusted(path)?;
    let metadata = opened.metadata()?;
    if must_be_ours && !user::is_ours(metadata.uid()) {
        let reason =
            format!("it belongs to uid {}, and under emperor-tyrant only root names sockets", metadata.uid());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut said = Vec::new();
    opened.take(NAME_LIMIT_BYTES).read_to_end(&mut said)?;
    Ok(first_line(&said))
}

/// What comes before the first control character, as uWSGI cuts it; `None`: nothing.
fn first_line(said: &[u8]) -> Option<String> {
    let line = said.split(|byte| *byte < 32).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    (!line.is_empty()).then_some(line)
}

fn address(text: &str) -> Result<Address, String> {
    let address = Address::parse(text, Path::new("/")).map(|(address, _)| address)?;
    match &address {
        Address::Unix(path) if !text.starts_with('/') => {
            Err(format!("{} is not an absolute path", path.display()))
        }
        _ => Ok(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_sockets_are_cut_as_uwsgi_cuts_them() {
        for (said, line) in [
            (&b"/run/a.sock\nrest"[..], Some("/run/a.sock")),
            (b":8080\r\n", Some(":8080")),
            (b"\n/run/a.sock", None),
            (b"", None),
            (b"plain", Some("plain")),
        ] {
            assert_eq!(first_line(said).as_deref(), line);
        }
        assert!(address("/run/a.sock").is_ok() && address("127.0.0.1:80").is_ok() && address("@a").is_ok());
        assert!(address("run/a.sock").is_err(), "relative to what");
    }

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
