//! How the sockets are named at which vassals wait to be called: by their files, by files beside them, by a directory, or by
//! a command.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::scan::Found;
use super::slumber::Stir;
use crate::config::address::Address;
use crate::config::emperor::EmperorSpec;
use crate::sys::process::{Child, Launch};
use crate::sys::{file, pipe, reactor, user};

/// The most that is read of what names a socket.
const NAME_LIMIT_BYTES: u64 = 4096;
/// How many commands that name sockets run at the same time, and how long each may take.
const COMMANDS: usize = 8;
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// The address of a socket, none, or why it is not known.
pub(super) type Named = Result<Option<Address>, String>;

/// The commands that run.
type Asked = Rc<RefCell<BTreeMap<u32, Rc<Child>>>>;

/// Who knows the names.
#[derive(Debug)]
pub(super) struct Names {
    extension: Option<String>,
    directory: Option<PathBuf>,
    command: Option<String>,
    /// Whether files that name sockets must be ours, for the sockets are made with our rights.
    tyrant: bool,
    /// What the command has said; `None`: it runs.
    answers: BTreeMap<String, Option<Named>>,
    turns: Arc<Semaphore>,
    /// The commands that run.
    asked: Asked,
    told: mpsc::Sender<Stir>,
}

impl Names {
    pub(super) fn new(spec: &EmperorSpec, told: mpsc::Sender<Stir>) -> Self {
        Self {
            extension: spec.on_demand_extension.clone(),
            directory: spec.on_demand_directory.clone(),
            command: spec.on_demand_exec.clone(),
            tyrant: spec.tyrant.is_some(),
            answers: BTreeMap::new(),
            turns: Arc::new(Semaphore::new(COMMANDS)),
            asked: Rc::default(),
            told,
        }
    }

    /// The socket of a vassal that is to sleep until it is called; `None`: it starts. `Err(None)`: it is being asked for.
    pub(super) fn named(&mut self, found: &Found) -> Result<Option<Address>, Option<String>> {
        let path = found.directory.join(&found.id);
        if let Some(socket) = &found.attributes.on_demand {
            return address(socket).map(Some).map_err(Some);
        }
        if let Some(extension) = &self.extension {
            let mut beside = path.clone().into_os_string();
            beside.push(extension);
            match first_line_of(Path::new(&beside), self.tyrant) {
                Ok(Some(line)) => return address(&line).map(Some).map_err(Some),
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Some(format!("{}: {error}", Path::new(&beside).display()))),
            }
        }
        if let Some(directory) = &self.directory {
            let name = Path::new(&found.id).with_extension("socket");
            let path = directory.join(name.file_name().unwrap_or_default());
            return address(&path.to_string_lossy()).map(Some).map_err(Some);
        }
        let Some(command) = &self.command else { return Ok(None) };
        match self.answers.get(&found.id) {
            Some(None) => Err(None),
            Some(Some(answer)) => answer.clone().map_err(Some),
            None => {
                let (turns, asked, told) = (self.turns.clone(), self.asked.clone(), self.told.clone());
                let answer = ask(command.clone(), path, turns, asked);
                self.answers.insert(found.id.clone(), None);
                let id = found.id.clone();
                spawn_local(async move {
                    let _ = told.send(Stir::Named(id, answer.await)).await;
                });
                Err(None)
            }
        }
    }

    /// The command has answered for this vassal.
    pub(super) fn answered(&mut self, vassal: String, answer: Named) {
        self.answers.insert(vassal, Some(answer));
    }

    /// The pids of the commands that run.
    pub(super) fn commands(&self) -> Vec<u32> {
        self.asked.borrow().keys().copied().collect()
    }

    /// Nobody waits for what the commands say any more.
    pub(super) fn end(&self) {
        self.asked.borrow().values().for_each(|command| drop(command.kill_group()));
    }

    /// The command is asked anew for this vassal.
    pub(super) fn forget(&mut self, vassal: &str) {
        self.answers.remove(vassal);
    }
}

/// Runs the command that names a vassal's socket. The name is an argument, never a part of the command's text.
async fn ask(command: String, path: PathBuf, turns: Arc<Semaphore>, asked: Asked) -> Named {
    let answer = async {
        let _turn = turns.acquire().await.map_err(io::Error::other)?;
        let (output, theirs) = pipe::plain()?;
        let child = Launch::new("/bin/sh")
            .arg("-c")
            .arg(format!("{command} \"$1\""))
            .arg("emperor-on-demand-exec")
            .arg(path)
            .stdout(theirs)
            .own_group()
            .spawn()?;
        let child = Rc::new(child);
        asked.borrow_mut().insert(child.pid(), child.clone());
        let said = match reactor::register_readable(output) {
            Ok(output) => timeout(COMMAND_TIME, read_all(&output)).await,
            Err(error) => Ok(Err(error)),
        };
        // It has said all, or has had its time; the loop reaps it.
        let _ = child.kill_group();
        asked.borrow_mut().remove(&child.pid());
        said.map_err(|_| {
            io::Error::other(format!("the command took longer than {} s", COMMAND_TIME.as_secs()))
        })?
    };
    match answer.await {
        Ok(said) => first_line(&said).map(|line| address(&line)).transpose(),
        Err(error) => Err(format!("{command}: {error}")),
    }
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
}
