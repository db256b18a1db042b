//! Control groups of version 2: a tree of our own below the group that this process was started in, if that was given
//! to us (`Delegate=yes` of a unit).

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::sys::uio::pread;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reactor;

/// The group of this process among its siblings below [`Tree`], in which no process may be itself.
const OWN: &str = "emperor";
/// The group above those of all vassals, so that they together get no more of busy CPUs than this process, however many
/// they are.
const VASSALS: &str = "vassals";

/// What the name of each vassal's group begins with.
const VASSAL: &str = "vassal-";

/// A tree of control groups that is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Takes over the group that this process is in: it moves to a group of its own below, and what else is made below
    /// can be limited by these controllers (`memory`, `cpu`, `pids`). With `survives` a service manager starts other
    /// processes like this one in the same group while those below are there.
    ///
    /// # Errors
    /// Why not, with what to do.
    pub fn take(controllers: &[&str], survives: bool) -> Result<Self, String> {
        let own = Self::place(survives)?;
        Self::take_at(&own, controllers)
    }

    /// Whether it could be taken over, as far as that is to be seen where nothing may be changed.
    ///
    /// # Errors
    /// Why not, with what to do.
    pub fn prove(controllers: &[&str], survives: bool) -> Result<(), String> {
        Self::found_at(&Self::place(survives)?, controllers).map(drop)
    }

    /// The group that this process is in.
    fn place(survives: bool) -> Result<PathBuf, String> {
        let own = own_group().map_err(|error| format!("the own control group is not found: {error}"))?;
        if survives && !own.ends_with(OWN) {
            return Err(format!(
                "systemd could not start an emperor in {} beside instances of one that died: add DelegateSubgroup={OWN} \
                 to the unit (systemd 254), or say adopt = no",
                own.display()
            ));
        }
        Ok(own)
    }

    /// The tree that an earlier image of this process took, or an earlier emperor, or the service manager made for it.
    #[must_use]
    pub fn taken() -> Option<Self> {
        Self::taken_at(&own_group().ok()?)
    }

    fn taken_at(own: &Path) -> Option<Self> {
        own.parent().filter(|_| own.ends_with(OWN)).map(|root| Self { root: root.to_owned() })
    }

    /// The tree with this group, which has these controllers.
    fn found_at(own: &Path, controllers: &[&str]) -> Result<Self, String> {
        // An earlier image, or the service manager, has made it (`DelegateSubgroup=emperor`).
        let tree = Self::taken_at(own).unwrap_or_else(|| Self { root: own.to_owned() });
        let root = &tree.root;
        let shown = root.display();
        let have = fs::read_to_string(root.join("cgroup.controllers"))
            .map_err(|error| format!("{shown} is no control group of version 2: {error}"))?;
        let missing: Vec<&str> = controllers
            .iter()
            .copied()
            .filter(|one| !have.split_whitespace().any(|had| had == *one))
            .collect();
        if !missing.is_empty() {
            return Err(format!(
                "the controllers of {shown} lack {}: control groups of version 1 have them, or they are not delegated",
                missing.join(", ")
            ));
        }
        Ok(tree)
    }

    fn take_at(own: &Path, controllers: &[&str]) -> Result<Self, String> {
        let tree = Self::found_at(own, controllers)?;
        let root = &tree.root;
        let (place, vassals) = (root.join(OWN), root.join(VASSALS));
        let wanted: Vec<String> = controllers.iter().map(|one| format!("+{one}")).collect();
        let share = |group: &Path| fs::write(group.join("cgroup.subtree_control"), wanted.join(" "));
        make(&place)
            .and_then(|()| fs::write(place.join("cgroup.procs"), "0"))
            .and_then(|()| share(root))
            .and_then(|()| make(&vassals))
            .and_then(|()| share(&vassals))
            .map_err(|error| {
                format!("{} is not ours: {error} (Delegate=yes of the unit gives it to us)", root.display())
            })?;
        Ok(tree)
    }

    /// How often the kernel has killed a process of the whole tree because memory was short; `None`: nobody counts.
    #[must_use]
    pub fn kills(&self) -> Option<u64> {
        kills(&self.root)
    }

    /// The group of one life below that of its vassal, there or not.
    #[must_use]
    pub fn group(&self, vassal: &str, life: u64) -> Group {
        let above = self.root.join(VASSALS).join(format!("{VASSAL}{}", escaped(vassal)));
        Group { path: above.join(life.to_string()), above }
    }
}

/// The control group of one life, in that of its vassal, which has the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    above: PathBuf,
    path: PathBuf,
}

impl Group {
    /// Makes it.
    ///
    /// # Errors
    /// `mkdir`.
    pub fn make(&self) -> io::Result<()> {
        make(&self.above)?;
        // What an earlier emperor could not remove.
        for entry in fs::read_dir(&self.above)?.flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        make(&self.path)
    }

    /// Sets a limit of the vassal: `memory.max` and the like.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn limit(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.above.join(file), value)
    }

    /// How often the kernel has killed a process of the vassal because memory was short; `None`: nobody counts.
    #[must_use]
    pub fn kills(&self) -> Option<u64> {
        kills(&self.above)
    }

    /// How many processes and threads the vassal may have; `None`: as many as it likes.
    #[must_use]
    pub fn most_processes(&self) -> Option<u64> {
        fs::read_to_string(self.above.join("pids.max")).ok()?.trim().parse().ok()
    }

    /// How many processes there are in it.
    #[must_use]
    pub fn processes(&self) -> usize {
        fs::read_to_string(self.path.join("cgroup.procs")).map_or(0, |pids| pids.lines().count())
    }

    /// How often the kernel refuses the vassal one more process.
    ///
    /// # Errors
    /// It is not counted, or the kernel does not tell when that changes.
    pub fn refused_forks(&self) -> io::Result<RefusedForks> {
        let file = fs::File::open(self.above.join("pids.events"))?;
        Ok(RefusedForks { file: reactor::register_changes(file.into())? })
    }

    /// Whether any life of the vassal has a group.
    #[must_use]
    pub fn vassal_has_groups(&self) -> bool {
        self.above.exists()
    }

    /// Whether it is there.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Where who writes `0` moves here; what it starts from then on is here, too. The kernel lets a move wait for its
    /// other CPUs, some milliseconds: whoever moves should be the one who waits.
    ///
    /// # Errors
    /// `open`.
    pub fn door(&self) -> io::Result<OwnedFd> {
        Ok(fs::OpenOptions::new().write(true).open(self.path.join("cgroup.procs"))?.into())
    }

    /// Moves a process here; what it starts from then on is here, too.
    ///
    /// # Errors
    /// It is gone, or may not be moved.
    pub fn take_in(&self, pid: u32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// Kills all processes in it.
    ///
    /// # Errors
    /// The kernel cannot (before Linux 5.14).
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    /// Removes it, and that of the vassal when it is empty.
    pub fn remove(&self) {
        let _ = fs::remove_dir(&self.path);
        let _ = fs::remove_dir(&self.above);
    }
}

/// How often a vassal was refused one more process than its `pids.max`.
#[derive(Debug)]
pub struct RefusedForks {
    file: AsyncFd<OwnedFd>,
}

impl RefusedForks {
    /// So far.
    ///
    /// # Errors
    /// The group is gone.
    pub fn count(&self) -> io::Result<u64> {
        let mut text = [0; 64];
        let length = pread(self.file.get_ref(), &mut text, 0)?;
        let text = text.get(..length).and_then(|text| str::from_utf8(text).ok());
        text.and_then(|text| counted(text, "max ")).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Waits until it is more than at the last [`count`](Self::count).
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn rises(&self) -> io::Result<()> {
        self.file.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

fn kills(group: &Path) -> Option<u64> {
    counted(&fs::read_to_string(group.join("memory.events")).ok()?, "oom_kill ")
}

/// What is counted under this name.
fn counted(events: &str, name: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix(name)).and_then(|count| count.parse().ok())
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// Moves this process through a group's [door](Group::door).
///
/// # Errors
/// It may not be moved.
pub fn enter(door: OwnedFd) -> io::Result<()> {
    fs::File::from(door).write_all(b"0")
}

/// Whether the group of this process is that of a [vassal's life](Tree::group), and limits processes.
#[must_use]
pub fn limits_own_processes() -> bool {
    own_group().is_ok_and(|own| limits_processes(&own))
}

fn limits_processes(own: &Path) -> bool {
    let Some(above) = own.parent() else { return false };
    let named = above.file_name().is_some_and(|name| name.as_bytes().starts_with(VASSAL.as_bytes()));
    named && above.join("pids.max").exists()
}

/// Where this process's group of version 2 is in the file system.
fn own_group() -> io::Result<PathBuf> {
    let group = fs::read_to_string("/proc/self/cgroup")?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    find(&group, &mounts).ok_or_else(|| io::Error::other("there are no control groups of version 2"))
}

fn find(group: &str, mounts: &str) -> Option<PathBuf> {
    let group = Path::new(group.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = place.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        let below = group.strip_prefix(root).ok()?;
        // No slash at the end.
        Some(Path::new(mount).join(below).components().collect())
    })
}

/// A name for a directory that no two vassals share: letters, digits and `.-_` stay, all else is `%XX`.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    // The longest names are told apart by a sum of them.
    const LONGEST: usize = 200;
    if out.len() > LONGEST {
        let sum = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        out.truncate(LONGEST);
        let _ = write!(out, "%{sum:016x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let mounts = "24 30 0:22 / /proc rw - proc proc rw\n\
                      30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        let inner = "31 24 0:26 /unit /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        for (group, mounts, expected) in [
            ("0::/system.slice/liege.service\n", mounts, Some("/sys/fs/cgroup/system.slice/liege.service")),
            ("9:pids:/\n0::/\n", mounts, Some("/sys/fs/cgroup")),
            ("0::/unit/a\n", inner, Some("/sys/fs/cgroup/unified/a")),
            ("0::/other\n", inner, None),
            ("9:pids:/\n", mounts, None),
            ("0::/a\n", "", None),
        ] {
            assert_eq!(find(group, mounts), expected.map(PathBuf::from), "{group}");
        }
    }

    #[test]
    fn names_are_told_apart() {
        assert_eq!(escaped("a b/ü.ini"), "a%20b%2F%C3%BC.ini");
        let (one, two) = ("x".repeat(250) + "1", "x".repeat(250) + "2");
        assert!(escaped(&one) != escaped(&two) && escaped(&one).len() < 255);
    }

    /// What the kernel makes of a directory is imitated by files: only what is written, and where, is looked at.
    #[test]
    fn limits_are_those_of_the_vassal_and_processes_those_of_the_life() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        let refused = Tree::take_at(dir.path(), &["memory", "pids"]).unwrap_err();
        assert!(refused.contains("lack pids"), "{refused}");
        let tree = Tree::take_at(dir.path(), &["memory", "cpu"]).unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(
            (
                read("emperor/cgroup.procs"),
                read("cgroup.subtree_control"),
                read("vassals/cgroup.subtree_control")
            ),
            ("0".into(), "+memory +cpu".into(), "+memory +cpu".into())
        );
        assert_eq!(Tree::take_at(&dir.path().join("emperor"), &["memory"]).unwrap(), tree);
        // The next emperor is born where this one went.
        assert_eq!(Tree::taken_at(&dir.path().join("emperor")), Some(tree.clone()));
        assert_eq!(Tree::taken_at(dir.path()), None);
        let group = tree.group("a.ini", 7);
        group.make().unwrap();
        group.limit("memory.max", "1024").unwrap();
        group.take_in(77).unwrap();
        group.kill().unwrap();
        assert_eq!(read("vassals/vassal-a.ini/7/cgroup.procs"), "77");
        enter(group.door().unwrap()).unwrap();
        assert_eq!(read("vassals/vassal-a.ini/memory.max"), "1024");
        assert_eq!(
            (read("vassals/vassal-a.ini/7/cgroup.procs"), read("vassals/vassal-a.ini/7/cgroup.kill")),
            ("07".into(), "1".into())
        );
        assert_eq!((group.kills(), tree.kills()), (None, None));
        let own = dir.path().join("vassals/vassal-a.ini/7");
        assert!(!limits_processes(&own), "only memory and CPUs");
        group.limit("pids.max", "10").unwrap();
        assert_eq!((limits_processes(&own), limits_processes(dir.path())), (true, false));
        fs::write(
            dir.path().join("vassals/vassal-a.ini/memory.events"),
            "oom 3\noom_kill 2\noom_group_kill 0\n",
        )
        .unwrap();
        assert_eq!((group.kills(), tree.kills()), (Some(2), None));
        assert!(group.exists() && !tree.group("a.ini", 8).exists());
    }

    #[test]
    fn a_life_in_a_real_group_is_killed_and_its_group_removed() {
        let Ok(own) = own_group() else { return };
        let tree = Tree { root: own };
        let group = tree.group(&format!("test-{}", std::process::id()), 1);
        if group.make().is_err() {
            return;
        }
        let child = super::super::process::Launch::new("/bin/sleep").arg("100").spawn().unwrap();
        let taken = group.take_in(child.pid()).and_then(|()| group.kill());
        if taken.is_err() {
            child.kill().unwrap();
        }
        super::super::process::wait(&child).unwrap();
        group.remove();
        assert!(!group.exists());
    }
}
