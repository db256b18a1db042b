//! What the emperor hands over to itself when it re-executes its binary: the fleet, and the numbers of the descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fleet::Fleet;
use super::hooks::Pending;
use super::ledger::{InstanceRecord, Ledger};
use super::life::LifeId;
use super::logs::LogPipe;
use super::masters::{Master, Masters};
use super::spawn::Listeners;
use crate::config::address::Listen;
use crate::config::fingerprint::checksum;
use crate::stats::boards::Boards;
use crate::stats::cache::ShownCache;
use crate::stats::shown::Shown;
use crate::sys::process::Child;
use crate::sys::{fd, memfd};
use crate::wire::inherited::RECORD_VARIABLE;
use crate::wire::message::OperationId;

/// The first line of a record: what it is, and the version of its form. Fields that a reader does not know are
/// ignored, those that it misses have defaults, so this changes only when that is not enough.
const FORM: &str = "liege-emperor-record 1";
const LIMIT_BYTES: u64 = 512 * 1024 * 1024;

/// The record.
#[derive(Debug, Serialize, Deserialize)]
pub struct Record {
    /// The emperor's pid: a child that was started with the variable by mistake takes nothing over.
    pub pid: u32,
    /// The operation that the re-execution is for.
    pub operation: OperationId,
    /// The soft limit of open descriptors that children get.
    pub descriptor_limit: u64,
    /// The hooks that are not done yet.
    #[serde(default)]
    pub hooks: Pending,
    /// The pid file.
    #[serde(default)]
    pub pid_file: Option<PathBuf>,
    /// The fleet.
    pub fleet: Fleet,
    masters: Vec<MasterRecord>,
    kept: BTreeMap<String, Vec<(Listen, RawFd)>>,
    #[serde(default)]
    passed: BTreeMap<String, Vec<(Listen, RawFd)>>,
    #[serde(default)]
    doors: Vec<(String, RawFd)>,
    /// The runtime directory, its lock and its rendezvous.
    #[serde(default)]
    ledger: Option<(PathBuf, [RawFd; 2])>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MasterRecord {
    life: LifeId,
    vassal: String,
    pid: u32,
    /// The handle of a master that is not our child.
    #[serde(default)]
    pidfd: Option<RawFd>,
    #[serde(default)]
    remnants: Vec<(u32, RawFd)>,
    channel: Option<RawFd>,
    /// Of another program than ours.
    #[serde(default)]
    control: Option<RawFd>,
    log: Option<RawFd>,
    #[serde(default)]
    record: Option<InstanceRecord>,
    /// The start of a line that was not complete.
    begun: Vec<u8>,
    scoreboard: Option<RawFd>,
    #[serde(default)]
    earlier_scoreboards: Vec<RawFd>,
    /// Name, most items, memory.
    #[serde(default)]
    caches: Vec<(String, u64, RawFd)>,
    listeners: Vec<(Listen, RawFd)>,
    reaped: bool,
    strays: BTreeSet<u32>,
}

/// What is written into the record besides the masters.
#[derive(Debug)]
pub struct Header {
    /// As [`Record::operation`].
    pub operation: OperationId,
    /// As [`Record::descriptor_limit`].
    pub descriptor_limit: u64,
    /// As [`Record::hooks`].
    pub hooks: Pending,
    /// As [`Record::pid_file`].
    pub pid_file: Option<PathBuf>,
}

/// Writes the record into a sealed memory file.
///
/// # Errors
/// Encoding, or the memory file.
pub fn write(header: &Header, fleet: &Fleet, masters: &Masters) -> io::Result<OwnedFd> {
    #[derive(Serialize)]
    struct Borrowed<'a> {
        pid: u32,
        operation: OperationId,
        descriptor_limit: u64,
        hooks: &'a Pending,
        pid_file: Option<&'a Path>,
        fleet: &'a Fleet,
        masters: Vec<MasterRecord>,
        kept: BTreeMap<&'a String, Vec<(Listen, RawFd)>>,
        passed: BTreeMap<&'a String, Vec<(Listen, RawFd)>>,
        doors: Vec<(String, RawFd)>,
        ledger: Option<(&'a Path, [RawFd; 2])>,
    }
    let record = Borrowed {
        pid: std::process::id(),
        operation: header.operation,
        descriptor_limit: header.descriptor_limit,
        hooks: &header.hooks,
        pid_file: header.pid_file.as_deref(),
        fleet,
        masters: masters.by_life.iter().map(|(life, master)| master_record(*life, master)).collect(),
        kept: masters.kept.iter().map(|(id, kept)| (id, numbers(kept.listeners()))).collect(),
        passed: masters.passed.iter().map(|(id, listeners)| (id, numbers(listeners))).collect(),
        doors: masters
            .handle
            .doors()
            .into_iter()
            .map(|(address, door)| (address, door.as_raw_fd()))
            .collect(),
        ledger: masters.ledger.as_ref().map(|ledger| {
            let (path, fds) = ledger.parts();
            (path, fds.map(|fd| fd.as_raw_fd()))
        }),
    };
    let json = serde_json::to_vec(&record)?;
    let mut bytes = format!("{FORM}\n{:016x}\n", checksum(&json)).into_bytes();
    bytes.extend(json);
    memfd::sealed("liege-emperor-record", &bytes)
}

/// Lets the record, and every descriptor that is named in it, outlive an exec; see [`hold_back`].
///
/// # Errors
/// A descriptor's flags.
pub fn hand_over(record: &OwnedFd, masters: &Masters) -> io::Result<()> {
    for descriptor in descriptors(masters) {
        fd::set_close_on_exec(descriptor, false)?;
    }
    for (_, door) in masters.handle.doors() {
        fd::set_close_on_exec(door, false)?;
    }
    fd::set_close_on_exec(record, false)
}

/// Whether a record on standard input is one that this version can read.
///
/// # Errors
/// It is not.
pub fn rehearse() -> io::Result<()> {
    let file = io::stdin().as_fd().try_clone_to_owned()?;
    parse(&memfd::read_all(file, LIMIT_BYTES)?).map(drop)
}

/// The exec failed: no child may inherit what was meant for the next image.
pub fn hold_back(masters: &Masters) {
    for descriptor in descriptors(masters) {
        // F_SETFD on an open descriptor does not fail.
        let _ = fd::set_close_on_exec(descriptor, true);
    }
    for (_, door) in masters.handle.doors() {
        let _ = fd::set_close_on_exec(door, true);
    }
}

/// The record that this image was started with, if any.
///
/// # Errors
/// There is one that cannot be read: too new, damaged, or of descriptors that are not open.
pub fn take() -> io::Result<Option<Record>> {
    let Some(number) = env::var(RECORD_VARIABLE).ok().and_then(|number| number.parse::<RawFd>().ok()) else {
        return Ok(None);
    };
    // In a process that merely inherited the variable the number may mean anything, or nothing.
    let Ok(file) = fd::adopt(number) else { return Ok(None) };
    let record = parse(&memfd::read_all(file, LIMIT_BYTES)?)?;
    Ok((record.pid == std::process::id()).then_some(record))
}

impl Record {
    /// Whether the runtime directory comes with it.
    #[must_use]
    pub const fn has_ledger(&self) -> bool {
        self.ledger.is_some()
    }

    /// Takes over the masters and what is kept for their vassals.
    ///
    /// # Errors
    /// A descriptor is not open.
    pub fn restore(self, masters: &mut Masters) -> io::Result<Fleet> {
        if let Some((path, [lock, rendezvous])) = self.ledger {
            masters.ledger = Some(Ledger::from_parts(path, fd::adopt(lock)?, fd::adopt(rendezvous)?));
        }
        for (address, number) in self.doors {
            masters.handle.keep_door(address, fd::adopt(number)?);
        }
        for (id, listeners) in self.kept {
            masters.kept.insert(&id, Arc::new(adopted(listeners)?));
        }
        for (id, listeners) in self.passed {
            masters.passed.insert(id, Arc::new(adopted(listeners)?));
        }
        for record in self.masters {
            let child = match record.pidfd {
                None => Child::adopt(record.pid)?,
                Some(number) => Child::from_parts(record.pid, fd::adopt(number)?),
            };
            let remnants = record.remnants.into_iter();
            let remnants: io::Result<Vec<Child>> =
                remnants.map(|(pid, number)| Ok(Child::from_parts(pid, fd::adopt(number)?))).collect();
            let channel = record.channel.map(fd::adopt).transpose()?;
            let control = record.control.map(fd::adopt).transpose()?;
            let control = control
                .map(|control| masters.follow_control(control, &record.vassal, record.life))
                .transpose()?;
            let log = record.log.map(fd::adopt).transpose()?.map(|log| (log, record.begun));
            masters.take_over(&record.vassal, record.life, (child, record.pidfd.is_none()), channel, log)?;
            masters.take_over_remnants(record.life, remnants?)?;
            let Some(master) = masters.by_life.get_mut(&record.life) else { continue };
            master.record = record.record;
            master.control = control;
            master.listeners = adopted(record.listeners)?;
            master.reaped = record.reaped;
            master.strays = record.strays;
            master.shown = shown(record.scoreboard, record.earlier_scoreboards, record.caches).map(Arc::new);
        }
        Ok(self.fleet)
    }
}

/// What a vassal shows; `None`: nothing. An application may have written over it since it was looked at first, and that is
/// no reason for the emperor to fail.
fn shown(newest: Option<RawFd>, earlier: Vec<RawFd>, caches: Vec<(String, u64, RawFd)>) -> Option<Shown> {
    // All are taken over, also where nothing comes of it: they are closed then.
    let boards: Vec<_> =
        newest.into_iter().chain(earlier).filter_map(|number| fd::adopt(number).ok()).collect();
    let caches = caches.into_iter().filter_map(|(name, max_items, number)| {
        ShownCache::open(name, max_items, fd::adopt(number).ok()?).ok().map(Arc::new)
    });
    let caches = caches.collect();
    Some(Shown { boards: Boards::open(boards).ok()?, caches })
}

fn master_record(life: LifeId, master: &Master) -> MasterRecord {
    let caches = master.shown.iter().flat_map(|shown| &shown.caches);
    let mut boards = master.shown.iter().flat_map(|shown| shown.boards.fds()).map(|fd| fd.as_raw_fd());
    MasterRecord {
        life,
        vassal: master.vassal.clone(),
        pid: master.child.pid(),
        pidfd: (!master.is_ours).then(|| master.child.as_fd().as_raw_fd()),
        remnants: master.remnants.iter().map(|child| (child.pid(), child.as_fd().as_raw_fd())).collect(),
        channel: master.link.as_ref().map(|link| link.as_fd().as_raw_fd()),
        control: master.control.as_ref().map(|control| control.as_fd().as_raw_fd()),
        log: master.log.as_ref().map(|log| log.as_fd().as_raw_fd()),
        record: master.record.clone(),
        begun: master.log.as_ref().map(LogPipe::begun).unwrap_or_default(),
        scoreboard: boards.next(),
        earlier_scoreboards: boards.collect(),
        caches: caches.map(|c| (c.name().to_owned(), c.max_items(), c.fd().as_raw_fd())).collect(),
        listeners: numbers(&master.listeners),
        reaped: master.reaped,
        strays: master.strays.clone(),
    }
}

fn descriptors(masters: &Masters) -> Vec<BorrowedFd<'_>> {
    let of_masters = masters.by_life.values().flat_map(|master| {
        let shown = master.shown.iter().flat_map(|shown| shown.fds());
        let listeners = master.listeners.iter().map(|(_, listener)| listener.as_fd());
        let link = master.link.as_ref().map(AsFd::as_fd);
        let log = master.log.as_ref().map(AsFd::as_fd);
        let control = master.control.as_ref().map(AsFd::as_fd);
        let pidfds = (!master.is_ours).then(|| master.child.as_fd());
        let remnants = master.remnants.iter().map(AsFd::as_fd);
        link.into_iter().chain(control).chain(log).chain(shown).chain(listeners).chain(pidfds).chain(remnants)
    });
    let ledger = masters.ledger.iter().flat_map(|ledger| ledger.parts().1);
    let kept = masters.kept.iter().map(|(_, kept)| kept.listeners()).chain(masters.passed.values());
    let kept = kept.flat_map(|listeners| listeners.iter()).map(|(_, listener)| listener.as_fd());
    of_masters.chain(kept).chain(ledger).collect()
}

fn numbers(listeners: &Listeners) -> Vec<(Listen, RawFd)> {
    listeners.iter().map(|(listen, listener)| (listen.clone(), listener.as_raw_fd())).collect()
}

fn adopted(listeners: Vec<(Listen, RawFd)>) -> io::Result<Listeners> {
    listeners.into_iter().map(|(listen, number)| Ok((listen, fd::adopt(number)?))).collect()
}

fn parse(bytes: &[u8]) -> io::Result<Record> {
    let invalid = |reason: &str| io::Error::new(io::ErrorKind::InvalidData, reason.to_owned());
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let (form, sum, json) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
    if form != Some(FORM.as_bytes()) {
        return Err(invalid("not an emperor's record that this version understands"));
    }
    if sum != Some(format!("{:016x}", checksum(json)).as_bytes()) {
        return Err(invalid("the emperor's record is damaged"));
    }
    Ok(serde_json::from_slice(json)?)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::super::fleet::{FileIdentity, State, Vassal};
    use super::super::handle::Handle;
    use super::*;

    #[test]
    fn a_fleet_comes_back_as_it_was_and_damage_is_noticed() {
        let mut fleet = Fleet::default();
        let mut vassal = Vassal::new("a.ini".into(), "/v".into(), FileIdentity::default());
        vassal.state = State::Up { app: true, loyal: true };
        fleet.vassals.insert("a.ini".into(), vassal);
        let (handle, _commands) = Handle::detached(Fleet::default());
        let masters = Masters::new(mpsc::channel(1).0, mpsc::channel(1).0, handle);
        let file = write(
            &Header { operation: 7, descriptor_limit: 1024, hooks: Pending::default(), pid_file: None },
            &fleet,
            &masters,
        )
        .unwrap();
        let bytes = memfd::read_all(file, LIMIT_BYTES).unwrap();
        let record = parse(&bytes).unwrap();
        assert_eq!((record.operation, record.descriptor_limit), (7, 1024));
        assert_eq!(format!("{:?}", record.fleet), format!("{fleet:?}"));
        for place in [0, 25, bytes.len() - 3] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(parse(&damaged).is_err(), "{place}");
        }
        assert!(parse(b"").is_err());
    }
}
