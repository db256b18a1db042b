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

/// Where a vassal's lies; its id may be a path.
fn place(runtime: &Path, vassal: &str) -> PathBuf {
    directory(runtime).join(vassal.replace('%', "%25").replace('/', "%2f"))
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
        let found = found.ok().filter(|deposit| entry.path() == place(runtime, &deposit.vassal));
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
    fs::rename(fresh, place(runtime, &deposit.vassal))
}

/// Removes a vassal's.
///
/// # Errors
/// As the file system says.
pub fn erase(runtime: &Path, vassal: &str) -> io::Result<()> {
    match fs::remove_file(place(runtime, vassal)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::address::Protocol;

    fn deposit(vassal: &str) -> Deposit {
        let listen = Listen { address: Address::Unix("/a".into()), protocol: Protocol::Uwsgi };
        Deposit {
            vassal: vassal.to_owned(),
            tenant: None,
            asleep: None,
            sockets: vec![("a/1".to_owned(), listen)],
        }
    }

    #[test]
    fn nobody_gets_what_was_another_users_or_waits_elsewhere() {
        let (alice, bob) = (Some(Tenant { uid: 1001, gid: 1001 }), Some(Tenant { uid: 1002, gid: 1001 }));
        let (here, there) = (Some(Address::Unix("/a".into())), Some(Address::Unix("/b".into())));
        let identity = FileIdentity { inode: 7, ..FileIdentity::default() };
        for (was, is, on_demand, expected) in [
            (None, None, None, true),
            (alice, alice, None, true),
            (alice, bob, None, false),
            (alice, None, None, false),
            (None, alice, None, false),
            (None, None, here, true),
            (None, None, there, false),
        ] {
            let deposit = Deposit { tenant: was, asleep: Some(identity), ..deposit("a.ini") };
            let found = Found { tenant: is, on_demand, ..Found::of("a.ini", identity) };
            assert_eq!(deposit.is_of(&found), expected, "{deposit:?} {found:?}");
            assert!(deposit.sleeps_on(&found));
            assert!(!deposit.is_of(&Found { id: "b.ini".to_owned(), ..found.clone() }));
            assert!(!deposit.sleeps_on(&Found { identity: FileIdentity::default(), ..found }));
        }
    }

    #[test]
    fn what_is_written_down_comes_back_and_damage_is_thrown_away() {
        let home = tempfile::tempdir().unwrap();
        let runtime = home.path();
        fs::create_dir(directory(runtime)).unwrap();
        fs::create_dir(runtime.join("instances")).unwrap();
        let two = [deposit("a/b%.ini"), deposit("c.ini")];
        two.iter().for_each(|deposit| write(runtime, deposit).unwrap());
        fs::write(directory(runtime).join("d.ini"), "{").unwrap();
        fs::copy(directory(runtime).join("c.ini"), directory(runtime).join("e.ini")).unwrap();
        let mut found = all(runtime);
        found.sort_by(|one, other| one.vassal.cmp(&other.vassal));
        assert_eq!(found, two);
        erase(runtime, "c.ini").unwrap();
        erase(runtime, "c.ini").unwrap();
        assert_eq!((all(runtime).len(), fs::read_dir(directory(runtime)).unwrap().count()), (1, 1));
    }
}
