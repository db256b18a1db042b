//! What the processes of an instance are: who they run as, what they may use, their interpreter and their pid files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::instance::InstanceSpec;

/// What the processes of an instance may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSpec {
    /// `max-fd`: descriptors of each process.
    pub files: Option<u64>,
    /// `limit-as`, in bytes: address space of each process.
    pub memory_bytes: Option<u64>,
    /// `limit-nproc`: processes of the user.
    pub processes: Option<u64>,
    /// `prio`: the nice value of each process; 0: as it is.
    #[serde(default)]
    pub nice: i32,
}

/// Who the instance runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySpec {
    /// `uid`: name or number, as written.
    pub uid: Option<String>,
    /// `gid`: name or number, as written.
    pub gid: Option<String>,
    /// `add-gid`: further groups, as written.
    pub add_gid: Vec<String>,
    /// `no-initgroups`: no supplementary groups of the user.
    pub no_initgroups: bool,
    /// `umask`, in octal.
    pub umask: Option<u32>,
    /// `root-apps = deny`: refuse to run the app as root.
    pub deny_root_apps: bool,
    /// `no-new-privileges` is off: set-user-id programs that it starts work.
    #[serde(default)]
    pub new_privileges: bool,
    /// `cap`: capabilities that are kept, lists of names as written.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// `immediate-uid`, `immediate-gid`: nothing at all is done before the privileges drop.
    #[serde(default)]
    pub immediate: bool,
    /// `drop-after-init`: the privileges drop once the sockets are bound.
    #[serde(default)]
    pub after_init: bool,
}

/// Owner and group of a file, as written; names are looked up when they are used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Name or number.
    pub user: String,
    /// Name or number.
    pub group: Option<String>,
}

/// The interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterpreterSpec {
    /// `python`: the interpreter to run.
    pub python: Option<PathBuf>,
    /// `virtualenv` / `home`.
    pub virtualenv: Option<PathBuf>,
    /// `extension`: the liege extension to load, when not beside the binary.
    pub extension: Option<PathBuf>,
    /// `optimize`: how often Python's `-O` is said, at most twice.
    #[serde(default)]
    pub optimize: u32,
    /// `no-site`: Python's `-S`.
    #[serde(default)]
    pub no_site: bool,
}

/// Files that an instance writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesSpec {
    /// `pidfile`: written before the privileges drop.
    pub pidfile: Option<PathBuf>,
    /// `pidfile2`: written after it.
    pub pidfile2: Option<PathBuf>,
    /// `safe-pidfile`: written when the instance is ready.
    pub safe_pidfile: Option<PathBuf>,
    /// `safe-pidfile2`: another one.
    #[serde(default)]
    pub safe_pidfile2: Option<PathBuf>,
    /// `master-fifo`: by which an operator gives commands; the first one is listened to.
    #[serde(default)]
    pub master_fifo: Vec<PathBuf>,
    /// `flock` and its like: files that only one instance at a time may have locked.
    #[serde(default)]
    pub locks: Vec<LockSpec>,
}

impl FilesSpec {
    /// Every pid file.
    pub fn pid_files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.pidfile, &self.pidfile2, &self.safe_pidfile, &self.safe_pidfile2].into_iter().flatten()
    }
}

/// A file that is locked before anything starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockSpec {
    /// The file, which must be there.
    pub path: PathBuf,
    /// `flock-wait`: waits for whoever has it locked, instead of giving up.
    pub waits: bool,
    /// `flock2`, `flock-wait2`: after the log is set up.
    pub late: bool,
}

/// What processes are called by `ps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TitleSpec {
    /// `procname-append`: behind every title.
    pub append: String,
    /// `procname`: instead of what the process is.
    pub all: Option<String>,
    /// `procname-master`: the same for the master.
    pub master: Option<String>,
}

impl InstanceSpec {
    /// What a process is called, if titles are asked for: the `master`, or any other role such as `worker 1`.
    #[must_use]
    pub fn title(&self, role: &str) -> Option<String> {
        let (prefix, TitleSpec { append, all, master }) = (&self.procname_prefix, &self.titles);
        if !self.auto_procname && prefix.is_empty() {
            return None;
        }
        let own = master.as_ref().filter(|_| role == "master").or(all.as_ref());
        let name = own.map_or_else(|| format!("uWSGI {role}"), Clone::clone);
        Some(format!("{prefix}{name}{append}"))
    }
}
