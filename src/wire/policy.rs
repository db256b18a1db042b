//! What an emperor's operator decided for all vassals, as instances hear it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::hook::Hook;
use crate::config::namespaces::Namespaces;
use crate::config::vassals::VassalOptions;

/// What the emperor's operator decided for all vassals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// `root-apps = deny`: refuse to run an app as root.
    pub deny_root_apps: bool,
    /// What is said to all vassals besides their files.
    #[serde(default)]
    pub vassals: Box<VassalOptions>,
    /// A command that an instance runs before it reads its file (`vassals-start-hook`).
    #[serde(default)]
    pub start_hook: Option<String>,
    /// What is done in a vassal's process before its file is read (`hook-as-vassal`, `exec-as-vassal`).
    #[serde(default)]
    pub hooks: Vec<Hook>,
    /// What vassals may beyond their users' rights.
    #[serde(default)]
    pub privileges: Box<Privileges>,
    /// The binary to re-execute: the path by which the emperor was started.
    pub binary: String,
    /// The extension, when an option named it.
    pub extension: Option<String>,
    /// What follows when the emperor dies; `None`: the instance ends with it.
    #[serde(default)]
    pub adoption: Option<Adoption>,
}

/// How an instance whose emperor died finds the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adoption {
    /// The path of the socket where the next emperor listens.
    pub rendezvous: String,
    /// Milliseconds that the instance serves on without an emperor (`orphan-grace`).
    pub grace_ms: u64,
}

impl Adoption {
    /// Where a user finds a rendezvous of his own, if there is one.
    #[must_use]
    pub fn own_door(rendezvous: &Path, uid: u32) -> PathBuf {
        let mut path = rendezvous.as_os_str().to_owned();
        path.push(format!(".{uid}"));
        path.into()
    }
}

/// What vassals may beyond the rights of whom they run as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Privileges {
    /// Tenants have the further groups of their users (`emperor-tyrant-initgroups`).
    pub initgroups: bool,
    /// Set-user-id programs that tenants start work (`no-new-privileges` is off).
    pub new_privileges: bool,
    /// The only capabilities that vassals can ever have (`emperor-cap`); `None`: all.
    pub capabilities: Option<Vec<String>>,
    /// Namespaces that each has for itself (`emperor-use-clone`).
    pub namespaces: Namespaces,
}
