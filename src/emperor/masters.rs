//! The processes and descriptors behind the lives: what `decide` knows as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::adopt::{self, Gone};
use super::cgroups::Cgroups;
use super::control::{self, Control};
use super::event::News;
use super::fleet::FileIdentity;
use super::handle::Handle;
use super::kept::Kept;
use super::ledger::{InstanceRecord, Ledger};
use super::life::LifeId;
use super::link::{Heard, Link};
use super::logs::LogPipe;
use super::roundup;
use super::scan::{self, Manner};
use super::spawn::{Given, Launched, Launcher, Listeners};
use crate::config::tenant::Tenant;
use crate::stats::shown::Shown;
use crate::sys::own;
use crate::sys::process::{self, Child, Signal};
use crate::wire::PROTOCOL;
use crate::wire::failure::Failure;
use crate::wire::message::{Policy, ToInstance};

/// The master of a life, and what came of it.
#[derive(Debug)]
pub struct Master {
    /// Its vassal.
    pub vassal: String,
    /// The process.
    pub child: Child,
    /// Whether it is our child: what an emperor that died has started is not.
    pub is_ours: bool,
    /// The channel; `None`: it has not called yet.
    pub link: Option<Link>,
    /// Where another program than ours is spoken to.
    pub control: Option<Control>,
    /// Its output.
    pub log: Option<LogPipe>,
    /// What is written down of it.
    pub record: Option<InstanceRecord>,
    /// What it shows since it said so last.
    pub shown: Option<Arc<Shown>>,
    /// The listeners that it sent last.
    pub listeners: Listeners,
    /// Whether it was reaped.
    pub reaped: bool,
    /// Children that it left behind, which are ours now.
    pub strays: BTreeSet<u32>,
    /// The same of a master that was not our child; they are not ours either.
    pub remnants: Vec<Child>,
    /// It forks without end, and no control group knows what is of it.
    pub forks_without_end: bool,
}

impl Master {
    fn new(vassal: &str, child: Child, is_ours: bool) -> Self {
        Self {
            vassal: vassal.to_owned(),
            child,
            is_ours,
            link: None,
            control: None,
            log: None,
            record: None,
            shown: None,
            listeners: Listeners::new(),
            reaped: false,
            strays: BTreeSet::new(),
            remnants: Vec::new(),
            forks_without_end: false,
        }
    }
}

/// All masters, and what is kept for vassals over their deaths.
#[derive(Debug)]
pub struct Masters {
    /// By life.
    pub by_life: BTreeMap<LifeId, Master>,
    /// The listeners of each vassal, which its next life gets.
    pub kept: Kept,
    /// The sockets that systemd passed for each vassal, by the names that it gave them.
    pub passed: BTreeMap<String, Arc<Listeners>>,
    /// The emperor's face to the API, with the API's listeners.
    pub handle: Handle,
    /// The control groups of vassals that have limits.
    pub cgroups: Cgroups,
    /// The records of what runs.
    pub ledger: Option<Ledger>,
    pub(super) ear: mpsc::Sender<Heard>,
    pub(super) gone: mpsc::Sender<Gone>,
}

impl Masters {
    /// None yet.
    #[must_use]
    pub fn new(ear: mpsc::Sender<Heard>, gone: mpsc::Sender<Gone>, handle: Handle) -> Self {
        Self {
            by_life: BTreeMap::new(),
            kept: Kept::default(),
            passed: BTreeMap::new(),
            handle,
            cgroups: Cgroups::default(),
            ledger: None,
            ear,
            gone,
        }
    }

    /// Starts a master for a life; answers the news of it, and who owns the file.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(
        &mut self,
        launcher: &Launcher,
        id: &str,
        directory: &Path,
        life: LifeId,
    ) -> Result<(News, Tenant), Failure> {
        let attributes = self.handle.fleet().vassals.get(id).map(|vassal| vassal.attributes.clone());
        let programs = launcher.programs_for(&attributes.unwrap_or_default());
        let passed = self.passed.get(id).cloned().unwrap_or_default();
        let listeners = self.kept.get(id).cloned().unwrap_or_else(|| Arc::clone(&passed));
        let (on_demand, tenant, attributes) = match self.handle.fleet().vassals.get(id) {
            Some(vassal) => (vassal.on_demand.clone(), vassal.tenant, vassal.attributes.clone()),
            None => Default::default(),
        };
        let door = self.cgroups.prepare(id, &attributes, life)?;
        let mut record = None;
        let is_foreign = !programs.is_empty();
        let write_down = |pid, identity| {
            let Some(ledger) = &self.ledger else { return false };
            let described = ledger
                .describe((id, directory), life, pid, (identity, tenant))
                .map(|new| InstanceRecord { foreign: is_foreign, ..new });
            let written = described.and_then(|new| ledger.write(&new).map(|()| record = Some(new)));
            if let Err(error) = &written {
                tracing::error!(
                    vassal = id,
                    "cannot write its record, so it ends with this emperor: {error}"
                );
            }
            written.is_ok()
        };
        let program = programs.first().cloned();
        let launched = launcher.launch(
            (id, directory),
            Given {
                listeners: &listeners,
                passed: &passed,
                on_demand,
                tenant,
                begin_in: attributes.directory.map(String::from),
                door,
            },
            programs,
            write_down,
        );
        if let (Err(_), Some(record), Some(ledger)) = (&launched, &record, &self.ledger) {
            ledger.remove(record.pid);
        }
        let Launched { child, channel, control, output, identity, owner } = launched?;
        let pid = child.pid();
        self.add(id, life, child, channel, output)
            .map_err(|error| Failure::new(format!("cannot follow the instance: {error}")))?;
        let control = control.map(|control| self.follow_control(control, id, life)).transpose();
        if let Some(master) = self.by_life.get_mut(&life) {
            master.record = record;
            master.control =
                control.map_err(|error| Failure::new(format!("cannot follow the program: {error}")))?;
        }
        Ok((News::Launched { pid, identity, program }, owner))
    }

    /// Takes in a master that was just started; one that cannot be followed is killed.
    fn add(
        &mut self,
        id: &str,
        life: LifeId,
        child: Child,
        channel: OwnedFd,
        output: OwnedFd,
    ) -> io::Result<()> {
        let pid = child.pid();
        let taken = self.take_over(id, life, (child, true), Some(channel), Some((output, Vec::new())));
        taken.inspect_err(|_| {
            let _ = process::signal_group(pid, Signal::Kill);
        })
    }

    /// Takes in a master that runs and says whether it is our child; `output` comes with the start of a line.
    ///
    /// # Errors
    /// Registering its descriptors.
    pub fn take_over(
        &mut self,
        id: &str,
        life: LifeId,
        (child, is_ours): (Child, bool),
        channel: Option<OwnedFd>,
        output: Option<(OwnedFd, Vec<u8>)>,
    ) -> io::Result<()> {
        let link = channel.map(|channel| Link::start(channel, id, life, self.ear.clone())).transpose()?;
        let log =
            output.map(|(pipe, begun)| LogPipe::start(pipe, begun, id, self.handle.clone())).transpose()?;
        if !is_ours {
            adopt::follow(&child, life, self.gone.clone())?;
        }
        self.by_life.insert(life, Master { link, log, ..Master::new(id, child, is_ours) });
        self.cgroups.follow(id, life);
        Ok(())
    }

    /// Takes in what a dead master left behind that was not our child.
    ///
    /// # Errors
    /// Registering their handles.
    pub fn take_over_remnants(&mut self, life: LifeId, remnants: Vec<Child>) -> io::Result<()> {
        for remnant in &remnants {
            adopt::follow(remnant, life, self.gone.clone())?;
        }
        if let Some(master) = self.by_life.get_mut(&life) {
            master.remnants = remnants;
        }
        Ok(())
    }

    /// Takes in a master that an emperor which died has started: it will call.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn await_caller(&mut self, record: InstanceRecord, child: Child) -> io::Result<()> {
        let life = record.life;
        self.take_over(&record.vassal, life, (child, false), None, None)?;
        if let Some(master) = self.by_life.get_mut(&life) {
            master.record = Some(record);
        }
        Ok(())
    }

    /// The master of this life called: from here on it is followed like any other.
    ///
    /// # Errors
    /// It hung up, or no descriptor is left.
    pub fn adopt_caller(&mut self, life: LifeId, caller: OwnedFd, policy: &Policy) -> io::Result<()> {
        let Some(master) = self.by_life.get_mut(&life) else { return Ok(()) };
        let adopt = ToInstance::Adopt { protocol: PROTOCOL, policy: Box::new(policy.clone()) };
        let link = Link::start(caller, &master.vassal, life, self.ear.clone())?;
        link.send(&adopt, &[])?;
        master.link = Some(link);
        Ok(())
    }

    /// Changes what is written down of a life.
    pub fn write_down(&mut self, life: LifeId, change: impl FnOnce(&mut InstanceRecord)) {
        let Some(master) = self.by_life.get_mut(&life) else { return };
        let (Some(record), Some(ledger)) = (&mut master.record, &self.ledger) else { return };
        let before = record.clone();
        change(record);
        if *record != before
            && let Err(error) = ledger.write(record)
        {
            tracing::error!(vassal = master.vassal, "cannot write its record: {error}");
        }
    }

    /// Nothing of this life is left.
    pub fn release(&mut self, life: LifeId) {
        let Some(master) = self.by_life.remove(&life) else { return };
        self.cgroups.remove(&master.vassal, life);
        if let (Some(record), Some(ledger)) = (&master.record, &self.ledger) {
            ledger.remove(record.pid);
        }
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
        file: Option<(&Path, Manner, Option<Tenant>)>,
    ) -> Result<Option<FileIdentity>, Failure> {
        let Some(master) = self.by_life.get(&life) else { return Ok(None) };
        let failed = |error| Failure::new(format!("cannot tell the instance: {error}"));
        let open = |(path, manner, tenant)| scan::open_for(path, manner, tenant);
        let opened = file.map(open).transpose()?;
        let fds: Vec<BorrowedFd<'_>> = opened.iter().map(|opened| opened.file.as_fd()).collect();
        if let Some(control) = &master.control {
            if let Some(word) = control::in_bytes(message) {
                control.send(word).map_err(failed)?;
            }
            return Ok(opened.map(|opened| opened.identity));
        }
        let link = master.link.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
        link.and_then(|link| link.send(message, &fds)).map_err(failed)?;
        Ok(opened.map(|opened| opened.identity))
    }

    /// Asks a master to end by this signal.
    pub fn terminate(&self, life: LifeId, signal: Signal) {
        if let Some(master) = self.by_life.get(&life).filter(|master| !master.reaped) {
            let _ = master.child.signal(signal);
            // A stopped process does not see it otherwise.
            let _ = master.child.signal(Signal::Cont);
        }
    }

    /// Kills everything that came of a life.
    pub fn kill(&self, life: LifeId) {
        let Some(master) = self.by_life.get(&life) else { return };
        if master.forks_without_end {
            roundup::round_up(self, life);
        }
        if master.reaped {
            // Who forks without end does so faster than its processes are killed one by one.
            let held = |pid: &u32| own::group_of(*pid) == Some(master.child.pid());
            let _ = master.child.kill_rest_of_group(|| master.strays.iter().any(held));
        } else {
            let _ = master.child.kill_group();
            let _ = master.child.kill();
        }
        self.cgroups.kill(&master.vassal, life);
        for remnant in &master.remnants {
            if let Err(error) = remnant.kill() {
                tracing::warn!(vassal = master.vassal, "cannot kill pid {}: {error}", remnant.pid());
            }
        }
        for &pid in &master.strays {
            // Our child and not reaped: the number is still its own.
            let killed = Child::adopt(pid).and_then(|stray| stray.kill());
            if let Err(error) = killed {
                tracing::warn!(vassal = master.vassal, "cannot kill pid {pid}: {error}");
            }
        }
    }
}
