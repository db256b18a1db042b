//! Which limit keeps this process from starting another one.

use std::fmt;
use std::fs;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};

use super::user;

/// Where version 2 of control groups is mounted.
const GROUPS: &str = "/sys/fs/cgroup";

/// A limit that is reached, with how many processes and threads it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForkLimit {
    /// That of a control group in which this process is.
    Group(u64),
    /// That of its user.
    User(u64),
    /// One that cannot be told from here.
    Unknown,
}

impl ForkLimit {
    /// What refused this process so many further ones just now with `EAGAIN`.
    #[must_use]
    pub fn reached(wanted: u64) -> Self {
        let of_group = || of_group(&fs::read_to_string("/proc/self/cgroup").ok()?, Path::new(GROUPS), wanted);
        of_group().map(Self::Group).or_else(|| of_user(wanted).map(Self::User)).unwrap_or(Self::Unknown)
    }
}

impl fmt::Display for ForkLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(most) => {
                write!(
                    f,
                    "its control group may have {most} processes (pids-max, limit-nproc, or TasksMax of the unit), and there is no room for another"
                )
            }
            Self::User(most) => {
                write!(
                    f,
                    "its user may have {most} processes (limit-nproc), and there is no room for another"
                )
            }
            Self::Unknown => {
                f.write_str("as many processes as pids-max, limit-nproc or the host allows are there")
            }
        }
    }
}

const fn has_no_room(current: u64, wanted: u64, most: u64) -> bool {
    current.saturating_add(wanted) > most
}

/// The limit of the first group on the way up that is full.
fn of_group(own: &str, mounted: &Path, wanted: u64) -> Option<u64> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let read = |group: &Path, file: &str| {
        fs::read_to_string(mounted.join(group).join(file)).ok()?.trim().parse::<u64>().ok()
    };
    Path::new(path).ancestors().find_map(|group| {
        let most = read(group, "pids.max")?;
        has_no_room(read(group, "pids.current")?, wanted, most).then_some(most)
    })
}

/// The limit of the user, if he has so many: the kernel holds nobody else's than his, and not root's.
fn of_user(wanted: u64) -> Option<u64> {
    let (most, _) = getrlimit(Resource::RLIMIT_NPROC).ok()?;
    let uid = user::current_uid();
    if uid == 0 || most == u64::MAX {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let statuses = processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    let current = statuses.map(|status| threads(&status, uid)).sum();
    has_no_room(current, wanted, most).then_some(most)
}

/// How many threads a process has, if it is this user's.
fn threads(status: &str, uid: u32) -> u64 {
    let number = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    if number("Uid:") == Some(uid.into()) { number("Threads:").unwrap_or_default() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_that_is_full_is_told() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("a/b/c");
        fs::create_dir_all(&group).unwrap();
        for (group, most, current) in [("a", "9", "9"), ("a/b", "7", "7"), ("a/b/c", "max", "7")] {
            fs::write(root.path().join(group).join("pids.max"), format!("{most}\n")).unwrap();
            fs::write(root.path().join(group).join("pids.current"), format!("{current}\n")).unwrap();
        }
        for (own, expected) in [
            ("1:name=systemd:/x\n0::/a/b/c\n", Some(7)),
            ("0::/a\n", Some(9)),
            ("0::/\n", None),
            ("0::/gone\n", None),
            ("", None),
        ] {
            assert_eq!(of_group(own, root.path(), 1), expected, "{own}");
        }
        fs::write(root.path().join("a/b/pids.current"), "6\n").unwrap();
        assert_eq!(of_group("0::/a/b/c", root.path(), 1), Some(9));
        assert_eq!(of_group("0::/a/b/c", root.path(), 2), Some(7));
    }

    #[test]
    fn threads_are_counted_of_ones_own_user() {
        let status = "Name:\tpython3\nUid:\t1000\t0\t0\t0\nThreads:\t3\n";
        assert_eq!((threads(status, 1000), threads(status, 0), threads("", 0)), (3, 0, 0));
    }
}
