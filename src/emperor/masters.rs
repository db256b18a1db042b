//! The processes and descriptors behind the lives: what `decide` knows as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::fleet::FileIdentity;
use super::handle::Handle;
use super::life::LifeId;
use super::link::{Heard, Link};
use super::logs::LogPipe;
use super::scan::{self, Links};
use super::spawn::{Launched, Launcher, Listeners};
use crate::stats::scoreboard::Scoreboard;
use crate::sys::process::{Child, Signal};
use crate::wire::channel::Received;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, ToInstance};

/// The master of a life, and what came of it.
#[derive(Debug)]
pub struct Master {
    /// Its vassal.
    pub vassal: String,
    /// The process.
    pub child: Child,
    /// The channel.
    pub link: Link,
    /// Its output.
    pub log: LogPipe,
    /// The scoreboard that it sent last.
    pub scoreboard: Option<Arc<Scoreboard>>,
    /// The listeners that it sent last.
    pub listeners: Listeners,
    /// Whether it was reaped.
    pub reaped: bool,
    /// Children that it left behind, which are ours now.
    pub strays: BTreeSet<u32>,
}

/// All masters, and what is kept for vassals over their deaths.
#[derive(Debug)]
pub struct Masters {
    /// By life.
    pub by_life: BTreeMap<LifeId, Master>,
    /// The listeners of each vassal, which its next life gets.
    pub kept: BTreeMap<String, Arc<Listeners>>,
    /// The emperor's face to the API, with the API's listeners.
    pub handle: Handle,
    ear: mpsc::Sender<Heard>,
}

impl Masters {
    /// None yet.
    #[must_use]
    pub fn new(ear: mpsc::Sender<Heard>, handle: Handle) -> Self {
        Self { by_life: BTreeMap::new(), kept: BTreeMap::new(), handle, ear }
    }

    /// Starts a master for a life; answers its pid, and the file as it was given to it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(
        &mut self,
        launcher: &Launcher,
        id: &str,
        directory: &Path,
        life: LifeId,
    ) -> Result<(u32, FileIdentity), Failure> {
        let listeners = self.kept.get(id).cloned().unwrap_or_default();
        let Launched { child, channel, output, identity } = launcher.launch(id, directory, &listeners)?;
        let pid = child.pid();
        self.add(id, life, child, channel, output, Vec::new())
            .map_err(|error| Failure::new(format!("cannot follow the instance: {error}")))?;
        Ok((pid, identity))
    }

    /// Takes in a master that runs; one that cannot be followed is killed.
    ///
    /// # Errors
    /// Registering its descriptors.
    pub fn add(
        &mut self,
        id: &str,
        life: LifeId,
        child: Child,
        channel: OwnedFd,
        output: OwnedFd,
        begun: Vec<u8>,
    ) -> io::Result<()> {
        let followed = Link::start(channel, id, life, self.ear.clone())
            .and_then(|link| Ok((link, LogPipe::start(output, begun, id, self.handle.clone())?)));
        let (link, log) = followed.inspect_err(|_| {
            let _ = child.kill_group();
        })?;
        let master = Master {
            vassal: id.to_owned(),
            child,
            link,
            log,
            scoreboard: None,
            listeners: Listeners::new(),
            reaped: false,
            strays: BTreeSet::new(),
        };
        self.by_life.insert(life, master);
        Ok(())
    }

    /// Says something to a master; with `file`, the vassal's file is opened anew and attached, and its identity
    /// answered.
    ///
    /// # Errors
    /// The file cannot be opened, or the master does not listen.
    pub fn send(
        &self,
        life: LifeId,
        message: &ToInstance,
        file: Option<(&Path, Links)>,
    ) -> Result<Option<FileIdentity>, Failure> {
        let Some(master) = self.by_life.get(&life) else { return Ok(None) };
        let opened = match file {
            None => None,
            Some((path, links)) => Some(
                scan::open(path, links)
                    .map_err(|error| Failure::new(format!("cannot open {}: {error}", path.display())))?,
            ),
        };
        let fds: Vec<BorrowedFd<'_>> = opened.iter().map(|opened| opened.file.as_fd()).collect();
        master
            .link
            .send(message, &fds)
            .map_err(|error| Failure::new(format!("cannot tell the instance: {error}")))?;
        Ok(opened.map(|opened| opened.identity))
    }

    /// Asks a master to end.
    pub fn terminate(&self, life: LifeId) {
        if let Some(master) = self.by_life.get(&life).filter(|master| !master.reaped) {
            let _ = master.child.signal(Signal::Term);
            // A stopped process does not see it otherwise.
            let _ = master.child.signal(Signal::Cont);
        }
    }

    /// Kills everything that came of a life.
    pub fn kill(&self, life: LifeId) {
        let Some(master) = self.by_life.get(&life) else { return };
        if !master.reaped {
            let _ = master.child.kill_group();
            let _ = master.child.kill();
        }
        for &pid in &master.strays {
            // Our child and not reaped: the number is still its own.
            let killed = Child::adopt(pid).and_then(|stray| stray.kill());
            if let Err(error) = killed {
                tracing::warn!(vassal = master.vassal, "cannot kill pid {pid}: {error}");
            }
        }
    }

    /// Takes what came with a message; answers the message for `decide`.
    #[must_use]
    pub fn receive(&mut self, life: LifeId, (message, fds): Received<FromInstance>) -> Option<FromInstance> {
        let master = self.by_life.get_mut(&life)?;
        match &message {
            FromInstance::Hello { .. } | FromInstance::Scoreboard => {
                if let Some(fd) = fds.into_iter().next() {
                    match Scoreboard::open(fd, false) {
                        Ok(board) => master.scoreboard = Some(Arc::new(board)),
                        Err(error) => tracing::warn!(vassal = master.vassal, "its scoreboard: {error}"),
                    }
                }
            }
            FromInstance::Listeners { listeners } => {
                if listeners.len() != fds.len() {
                    let (said, came) = (listeners.len(), fds.len());
                    tracing::warn!(vassal = master.vassal, "it announced {said} listeners and sent {came}");
                    return None;
                }
                master.listeners = listeners.iter().cloned().zip(fds).collect();
            }
            _ => {}
        }
        Some(message)
    }

    /// From now on the listeners and the scoreboard of this life are those of the vassal.
    pub fn adopt(&mut self, id: &str, life: LifeId) {
        let Some(master) = self.by_life.get_mut(&life) else { return };
        if !master.listeners.is_empty() {
            self.kept.insert(id.to_owned(), Arc::new(std::mem::take(&mut master.listeners)));
        }
        if let Some(vassal) = self.handle.fleet().vassals.get_mut(id) {
            vassal.scoreboard.clone_from(&master.scoreboard);
            vassal.listeners = self.kept.get(id).cloned().unwrap_or_default();
        }
        self.handle.changed();
    }
}
