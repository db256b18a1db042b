//! What is written down of the sockets that the service manager keeps: whose they are, and what they are for. It lies in
//! the runtime directory, which lives as long as what it is about.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fleet::FileIdentity;
use super::scan::Found;
use crate::config::address::{Address, Listen};
use crate::config::tenant::Tenant;
use crate::sys::{host, output};

const LIMIT_BYTES: usize = 64 * 1024;

/// What is kept of a vassal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deposit {
    /// The vassal's id.
    pub vassal: String,
    /// Whom it ran as, where that was the owner of its file.
    #[serde(default)]
    pub tenant: Option<Tenant>,
    /// It slept, and this was its file.
    #[serde(default)]
    pub asleep: Option<FileIdentity>,
    /// The names of its sockets, each with what its configuration says of it.
    pub sockets: Vec<(String, Listen)>,
}

impl Deposit {
    /// Whether the sockets are those of the vassal that was found: nobody gets what was another user's, and who is to
    /// wait on a socket waits on that one.
    #[must_use]
    pub fn is_of(&self, found: &Found) -> bool {
        let waits_there = |at: &Address| self.sockets.iter().any(|(_, listen)| listen.address == *at);
        self.vassal == found.id && self.tenant == found.tenant && found.on_demand.iter().all(waits_there)
    }

    /// Whether it goes on sleeping: what it would do when it wakes is what it would have done.
    #[must_use]
    pub fn sleeps_on(&self, found: &Found) -> bool {
        self.asleep == Some(found.identity)
    }
}

/// Where deposits lie in a runtime directory.
#[must_use]
pub fn directory(runtime: &Path) -> PathBuf {
    runtime.join("sockets")
}

/// All deposits; what cannot be read is removed, for its sockets are nobody's.
#[must_use]
pub fn all(runtime: &Path) -> Vec<Deposit> {
    let entries = fs::read_dir(directory(runtime)).into_iter().flatten().flatten();
    let read = |path: &Path| -> io::Result<Deposit> {
        Ok(serde_json::from_slice(&host::read_regular(path, LIMIT_BYTES)?)?)
    };
    let kept = entries.filter_map(|entry| {
        let found = read(&entry.path());
        let found = found.ok().filter(|deposit| entry.file_name().to_str() == Some(&deposit.vassal));
        if found.is_none() {
            let _ = fs::remove_file(entry.path());
        }
        found
    });
    kept.collect()
}

/// Writes a deposit down, in one step.
///
/// # Errors
/// The disk is full, and the like.
pub fn write(runtime: &Path, deposit: &Deposit) -> io::Result<()> {
    let fresh = runtime.join("instances/.sockets");
    output::replace(&fresh, &serde_json::to_vec(deposit)?)?;
    fs::rename(fresh, directory(runtime).join(&deposit.vassal))
}

/// Removes a vassal's.
///
/// # Errors
/// As the file system says.
pub fn erase(runtime: &Path, vassal: &str) -> io::Result<()> {
    match fs::remove_file(directory(runtime).join(vassal)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
