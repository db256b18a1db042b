//! The emperor's private runtime directory: the lock of the one emperor that may use it, the rendezvous where instances
//! find the next one, and a record of every instance that runs, from its spawn to its end.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::deposit;
use super::fleet::FileIdentity;
use super::life::LifeId;
use crate::config::tenant::Tenant;
use crate::sys::process::Child;
use crate::sys::{directory, output, peer, seqpacket, user};
use crate::wire::failure::Failure;
use crate::wire::message::Adoption;

/// Instances of any user pass through it to the rendezvous; only the emperor's user sees what is in it.
const MODE: u32 = 0o711;
const PRIVATE: u32 = 0o700;
/// Anybody may call; who calls is known by pid, start time and user, and a stranger is hung up on.
const RENDEZVOUS_MODE: u32 = 0o666;
const PRIVATE_RENDEZVOUS_MODE: u32 = 0o600;
const BACKLOG: i32 = 1024;
/// The form of a record. Fields that a reader does not know are ignored, those that it misses have defaults.
const FORM: u32 = 1;
const RECORD_LIMIT_BYTES: usize = 64 * 1024;

/// An instance, as it is written down. Start time and boot tell its process from any later one with the same pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The version of the form.
    pub form: u32,
    /// The vassal's id.
    pub vassal: String,
    /// The watched directory that its file is in.
    pub directory: PathBuf,
    /// The life.
    pub life: LifeId,
    /// The master's pid, which is also its process group's.
    pub pid: u32,
    /// When the process was started, in clock ticks since the boot.
    pub started: u64,
    /// The boot.
    pub boot: String,
    /// When it was started, milliseconds since the epoch.
    pub started_epoch_ms: u64,
    /// Whom it runs as, once it has taken its identity on.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The file as it was given to it last.
    pub file: FileIdentity,
    /// Whose file it is, where that is who it runs as.
    #[serde(default)]
    pub tenant: Option<Tenant>,
    /// Names the configuration in effect (see [`crate::config::fingerprint`]).
    #[serde(default)]
    pub config: Option<String>,
    /// Another program than ours leads it: it ends with its emperor, and is not adopted.
    #[serde(default)]
    pub foreign: bool,
    /// It was told to stop.
    #[serde(default)]
    pub leaving: bool,
}

impl InstanceRecord {
    fn is_of_a_process(&self, boot: &str) -> bool {
        self.boot == boot && peer::started(self.pid) == Some(self.started)
    }
}

/// What an emperor left behind.
#[derive(Debug, Default)]
pub struct Stock {
    /// Instances that run, each with a handle that always means this process, in the order of their lives.
    pub running: Vec<(InstanceRecord, Child)>,
    /// Those that ended.
    pub gone: Vec<InstanceRecord>,
}

/// The runtime directory, held by this emperor.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    boot: String,
    lock: OwnedFd,
    rendezvous: OwnedFd,
}

/// Makes the directory for the user that the emperor will run as.
///
/// # Errors
/// The directory cannot be made, or somebody else controls it.
pub fn prepare(path: &Path, owner: u32) -> io::Result<()> {
    directory::make(path, MODE, owner)?;
    directory::make(&path.join("instances"), PRIVATE, owner)?;
    directory::make(&deposit::directory(path), PRIVATE, owner)
}

impl Ledger {
    /// Takes the directory over from whichever emperor had it before.
    ///
    /// # Errors
    /// An emperor that lives has it: `Err(Ok(…))` says which directories that one watches, and its pid. Or the system
    /// refuses a step.
    pub fn open(path: &Path, watched: &[PathBuf]) -> Result<Self, io::Result<Holder>> {
        let us = Holder { pid: std::process::id(), watched: watched.to_vec() };
        let saying = serde_json::to_string(&us).map_err(|error| Err(error.into()))?;
        let lock = directory::lock(&path.join("lock"), &saying).map_err(|held| {
            // An emperor that has just locked it may not have written yet.
            held.map(|said| serde_json::from_str(&said).unwrap_or_default())
        })?;
        let rendezvous = seqpacket::listen(&rendezvous_in(path), RENDEZVOUS_MODE, BACKLOG).map_err(Err)?;
        Ok(Self { path: path.to_owned(), boot: peer::boot(), lock, rendezvous })
    }

    /// Takes it over from an earlier image of this process.
    #[must_use]
    pub fn from_parts(path: PathBuf, lock: OwnedFd, rendezvous: OwnedFd) -> Self {
        Self { path, boot: peer::boot(), lock, rendezvous }
    }

    /// The directory, the lock and the listening socket.
    #[must_use]
    pub fn parts(&self) -> (&Path, [BorrowedFd<'_>; 2]) {
        (&self.path, [self.lock.as_fd(), self.rendezvous.as_fd()])
    }

    /// Where instances call.
    #[must_use]
    pub fn rendezvous(&self) -> PathBuf {
        rendezvous_in(&self.path)
    }

    /// A further rendezvous for each other user whose instances run, which nobody else can reach: the one for everybody can
    /// be kept busy by anybody.
    #[must_use]
    pub fn doors_of_users(&self) -> Vec<OwnedFd> {
        let users: BTreeSet<u32> = records(&self.path).filter_map(|record| record.uid).collect();
        let others = users.into_iter().filter(|uid| *uid != user::current_uid());
        others.filter_map(|uid| self.door_of(uid).ok()).collect()
    }

    fn door_of(&self, uid: u32) -> io::Result<OwnedFd> {
        let path = Adoption::own_door(&self.rendezvous(), uid);
        let door = seqpacket::listen(&path, PRIVATE_RENDEZVOUS_MODE, BACKLOG)?;
        // Whose it cannot be made has the one for everybody.
        chown(&path, Some(uid), None).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        Ok(door)
    }

    /// A record of a process that was just started.
    ///
    /// # Errors
    /// It is gone already.
    pub fn describe(
        &self,
        (vassal, directory): (&str, &Path),
        life: LifeId,
        pid: u32,
        (file, tenant): (FileIdentity, Option<Tenant>),
    ) -> io::Result<InstanceRecord> {
        let started = peer::started(pid).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(InstanceRecord {
            form: FORM,
            vassal: vassal.to_owned(),
            directory: directory.to_owned(),
            life,
            pid,
            started,
            boot: self.boot.clone(),
            started_epoch_ms: crate::sys::clock::epoch_ms(),
            uid: None,
            file,
            tenant,
            config: None,
            foreign: false,
            leaving: false,
        })
    }

    /// Writes a record, in one step: a reader finds the old one or the new one.
    ///
    /// # Errors
    /// The disk is full, and the like.
    pub fn write(&self, record: &InstanceRecord) -> io::Result<()> {
        let (path, fresh) = (self.place(record.pid), self.path.join("instances/.fresh"));
        output::replace(&fresh, &serde_json::to_vec(record)?)?;
        fs::rename(fresh, path)
    }

    /// The process of a record is gone.
    pub fn remove(&self, pid: u32) {
        if let Err(error) = fs::remove_file(self.place(pid))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove the record of pid {pid}: {error}");
        }
    }

    /// What the emperor before left behind; records of what is gone are removed.
    ///
    /// # Errors
    /// The records cannot be listed: what runs is not known then.
    pub fn take_stock(&self) -> Result<Stock, Failure> {
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(self.path.join("instances"))?.map(|entry| Ok(entry?.path())).collect()
        };
        let paths = list().map_err(|error| {
            Failure::new(format!("cannot list the instances in {}: {error}", self.path.display()))
        })?;
        let mut stock = Stock::default();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
            let read = crate::sys::host::read_regular(path, RECORD_LIMIT_BYTES);
            let record = match read.and_then(|bytes| Ok(serde_json::from_slice::<InstanceRecord>(&bytes)?)) {
                Ok(record) => record,
                Err(error) => {
                    // Written in one step, by an emperor: of another program, or a disk that failed.
                    tracing::error!(
                        "{} is no record of an instance: {error}; what it was about is not adopted",
                        path.display()
                    );
                    let _ = fs::remove_file(path);
                    continue;
                }
            };
            match self.find(&record) {
                Some(child) => stock.running.push((record, child)),
                None => {
                    self.remove(record.pid);
                    stock.gone.push(record);
                }
            }
        }
        stock.running.sort_by_key(|(record, _)| record.life);
        Ok(stock)
    }

    /// A handle of the process of a record, if that process runs.
    fn find(&self, record: &InstanceRecord) -> Option<Child> {
        let child = Child::adopt(record.pid).ok()?;
        // Looked at after the handle was made: if the number is the process's still, the handle is too.
        record.is_of_a_process(&self.boot).then_some(child)
    }

    fn place(&self, pid: u32) -> PathBuf {
        self.path.join(format!("instances/{pid}.json"))
    }
}

/// The emperor that holds a runtime directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its pid.
    pub pid: u32,
    /// What it watches.
    pub watched: Vec<PathBuf>,
}

/// Whether instances run whose records are in this runtime directory.
#[must_use]
pub fn has_orphans(path: &Path) -> bool {
    let boot = peer::boot();
    records(path).any(|record| record.is_of_a_process(&boot) && !record.foreign && !record.leaving)
}

/// The records in a runtime directory, as far as they can be read.
fn records(path: &Path) -> impl Iterator<Item = InstanceRecord> {
    let entries = fs::read_dir(path.join("instances")).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let bytes = crate::sys::host::read_regular(&entry.path(), RECORD_LIMIT_BYTES).ok()?;
        serde_json::from_slice(&bytes).ok()
    })
}

fn rendezvous_in(path: &Path) -> PathBuf {
    path.join("rendezvous")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::{Launch, wait};
    use crate::sys::user::current_uid;

    #[test]
    fn only_what_runs_and_is_the_very_process_is_found() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("run");
        prepare(&path, current_uid()).unwrap();
        let ledger = Ledger::open(&path, &["/v".into()]).unwrap();
        let held = Ledger::open(&path, &[]).unwrap_err().unwrap();
        assert_eq!(held, Holder { pid: std::process::id(), watched: vec!["/v".into()] });

        let mut children = Vec::new();
        let mut write = |life: LifeId, change: &dyn Fn(&mut InstanceRecord)| {
            let (reader, writer) = io::pipe().unwrap();
            let child = Launch::new("/bin/cat").stdin(reader.into()).spawn().unwrap();
            let place = ("a.ini", Path::new("/v"));
            let mut record =
                ledger.describe(place, life, child.pid(), (FileIdentity::default(), None)).unwrap();
            change(&mut record);
            ledger.write(&record).unwrap();
            children.push((child, writer));
            record
        };
        let second = write(2, &|_| {});
        let first = write(1, &|record| record.leaving = true);
        let reused = write(3, &|record| record.started -= 1);
        let of_another_boot = write(4, &|record| record.boot.clear());
        fs::write(path.join("instances/7.json"), "{").unwrap();
        let Stock { running, mut gone } = ledger.take_stock().unwrap();
        gone.sort_by_key(|record| record.life);
        assert_eq!(running.iter().map(|(record, _)| record).collect::<Vec<_>>(), [&first, &second]);
        assert_eq!(gone, [reused, of_another_boot]);
        assert_eq!(fs::read_dir(path.join("instances")).unwrap().count(), 2);
        for (child, writer) in children {
            drop(writer);
            wait(&child).unwrap();
        }
        assert_eq!(ledger.take_stock().unwrap().running.len(), 0);
        drop(ledger);
        Ledger::open(&path, &[]).unwrap();
    }
}
