//! What is mounted where, as far as this process sees: that it has changed, and which of it lies on servers.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::way;
use super::{filesystem, reactor};

const TABLE: &str = "/proc/self/mountinfo";

/// An ear for changes.
#[derive(Debug)]
pub struct Mounts {
    file: AsyncFd<OwnedFd>,
}

impl Mounts {
    /// Listens from now on.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn watch() -> io::Result<Self> {
        let file = fs::File::open(TABLE)?;
        Ok(Self { file: reactor::register_changes(file.into())? })
    }

    /// Waits until something was mounted or unmounted since this was told last. Cancel-safe.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn change(&self) -> io::Result<()> {
        self.file.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Its number, which no other has while it is there.
    pub id: u64,
    parent: u64,
    /// Of the file system: another one that is mounted here later is another.
    device: Vec<u8>,
    /// Where.
    pub place: PathBuf,
    /// What kind of file system it is, as `mount` calls it.
    pub kind: String,
    /// Who uses it waits for another machine, or for a program.
    is_served: bool,
}

impl Mount {
    /// Where its server is to be asked for the sake of this path: what mounts by itself does so further down.
    #[must_use]
    pub fn door(&self, path: &Path) -> PathBuf {
        if self.kind == "autofs" { path.to_owned() } else { self.place.clone() }
    }
}

/// What was mounted when it was read, what servers have first.
#[derive(Clone, Debug, Default)]
pub struct Table(Vec<Mount>);

impl Table {
    /// Reads what the kernel says.
    ///
    /// # Errors
    /// There is no `/proc`.
    pub fn read() -> io::Result<Self> {
        fs::read(TABLE).map(|text| Self::parse(&text))
    }

    /// What this text in the form of `/proc/self/mountinfo` says.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(mount).collect();
        mounts.sort_by_key(|mount| !mount.is_served);
        // Where nothing lies on a server, nobody has to know what lies where.
        if mounts.first().is_some_and(|mount| mount.is_served) { Self(mounts) } else { Self::default() }
    }

    /// Whether this one is there still.
    #[must_use]
    pub fn has(&self, mount: &Mount) -> bool {
        self.0.contains(mount)
    }

    /// Goes along an absolute path, where its links lead, too, and asks at each mount that a server has, before anything
    /// there is touched. `may_enter` gets the mount, and the whole path.
    ///
    /// # Errors
    /// Where that says no the way ends.
    pub fn pass<E>(
        &self,
        path: &Path,
        mut may_enter: impl FnMut(&Mount, &Path) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut here = PathBuf::from("/");
        let mut left = way::names(path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            match name.as_bytes() {
                b"." => continue,
                b".." => {
                    here.pop();
                    continue;
                }
                _ => here.push(&name),
            }
            if self.may_be_served(&here)
                && let Some(mount) = self.at(&here).filter(|mount| mount.is_served)
            {
                may_enter(mount, &left.iter().fold(here.clone(), |path, name| path.join(name)))?;
            }
            let Ok(target) = fs::read_link(&here) else { continue };
            links += 1;
            if links > way::LINKS {
                break;
            }
            // What an absolute one leads to begins at the root.
            here.pop();
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            let mut onward = way::names(&target);
            onward.append(&mut left);
            left = onward;
        }
        Ok(())
    }

    fn may_be_served(&self, path: &Path) -> bool {
        let mut served = self.0.iter().take_while(|mount| mount.is_served);
        served.any(|mount| path.starts_with(&mount.place))
    }

    /// The mount that a path without links and dots lies on: from the root on, the first that is in the way, again and
    /// again. One that was mounted over it later hides what is longer.
    fn at(&self, path: &Path) -> Option<&Mount> {
        let is_known = |id: u64| self.0.iter().any(|mount| mount.id == id);
        let mut at: Option<&Mount> = None;
        for _ in &self.0 {
            let is_next = |mount: &&Mount| match at {
                Some(at) => mount.parent == at.id && mount.id != at.id,
                None => mount.parent == mount.id || !is_known(mount.parent),
            };
            let in_the_way = self.0.iter().filter(|mount| path.starts_with(&mount.place)).filter(is_next);
            match in_the_way.min_by_key(|mount| mount.place.as_os_str().len()) {
                Some(next) => at = Some(next),
                None => break,
            }
        }
        at
    }
}

/// A line: `ID PARENT DEVICE ROOT PLACE OPTIONS [MORE]... - KIND SOURCE OPTIONS`.
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse::<u64>().ok();
    let (id, parent) = (number()?, number()?);
    let device = fields.next()?.to_vec();
    let place = PathBuf::from(plain(fields.nth(1)?));
    let kind = OsStr::from_bytes(fields.skip_while(|field| *field != b"-").nth(1)?).to_string_lossy();
    // Without its root nothing of a host goes on, and what the kernel shows of itself nobody has vassals in.
    let is_apart =
        place.parent().is_some() && !["/proc", "/sys", "/dev"].iter().any(|own| place.starts_with(own));
    let is_served = filesystem::is_served(&kind) && is_apart;
    Some(Mount { id, parent, device, place, kind: kind.into_owned(), is_served })
}

/// Spaces, tabs, line ends and backslashes are written as `\NNN`, in octal digits.
fn plain(field: &[u8]) -> OsString {
    let mut bytes = Vec::new();
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| *first == b'\\');
        let coded = digits.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(coded.unwrap_or(*first));
        rest = coded.and(after.get(3..)).unwrap_or(after);
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const HOST: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:30 / /proc/sys/fs/binfmt_misc rw - autofs systemd-1 rw
40 27 0:40 / /srv/far rw,relatime shared:7 master:2 - nfs4 files:/srv rw,hard
41 40 254:1 / /srv/far/near rw,relatime - ext4 /dev/vdb rw
42 27 0:42 / /mnt/a\\040b rw - fuse.sshfs u@h: rw
43 27 254:2 / /hidden/deep rw - cifs //h/deep rw
44 27 254:3 / /hidden rw - tmpfs tmpfs rw
45 27 0:45 / /net rw - autofs auto.net rw
46 27 0:46 / /over rw - tmpfs tmpfs rw
47 46 0:47 / /over rw - 9p host rw
";

    #[test]
    fn what_lies_on_a_server_is_known_by_its_path() {
        let table = Table::parse(HOST.as_bytes());
        for (path, expected) in [
            ("/", None),
            ("/srv/farther/a", None),
            ("/srv/far", Some("/srv/far")),
            ("/srv/far/a/b", Some("/srv/far")),
            ("/srv/far/near/a", None),
            ("/mnt/a b/c", Some("/mnt/a b")),
            ("/proc/sys/fs/binfmt_misc/a", None),
            ("/hidden/deep/a", None),
            ("/over/a", Some("/over")),
            ("/net/h/a", Some("/net")),
        ] {
            let at = table.at(Path::new(path)).filter(|mount| mount.is_served);
            assert_eq!(at.map(|mount| &*mount.place), expected.map(Path::new), "{path}");
        }
        let door = |path: &str| table.at(Path::new(path)).unwrap().door(Path::new(path));
        assert_eq!(door("/net/h/a"), Path::new("/net/h/a"));
        assert_eq!(door("/srv/far/a"), Path::new("/srv/far"));
        assert!(
            Table::parse(b"27 1 254:0 / / rw - nfs4 h:/ rw\nx\n\n1 2 3\n").0.is_empty(),
            "all or nothing"
        );
    }

    #[test]
    fn a_link_is_followed_as_far_as_it_touches_no_server() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        for made in ["near", "far/sub", "farther"] {
            fs::create_dir_all(base.join(made)).unwrap();
        }
        symlink("../far/sub/app.ini", base.join("near/a.ini")).unwrap();
        symlink(base.join("near"), base.join("way")).unwrap();
        symlink("b", base.join("near/b")).unwrap();
        symlink("../near/c", base.join("far/back")).unwrap();
        let text =
            format!("1 0 8:1 / / rw - ext4 d rw\n2 1 0:9 / {} rw - nfs h:/ rw\n", base.join("far").display());
        let table = Table::parse(text.as_bytes());
        for (path, entered) in [
            ("near/c", None),
            ("near/b", None),
            ("farther/c", None),
            ("near/a.ini", Some("far/sub/app.ini")),
            ("way/a.ini", Some("far/sub/app.ini")),
            ("near/none/../../far/c", Some("far/c")),
            ("far/back", Some("far/back")),
            ("far/../near/c", Some("far/../near/c")),
        ] {
            let refused = table.pass(&base.join(path), |mount, path| Err((mount.id, path.to_owned())));
            let expected = entered.map_or(Ok(()), |path| Err((2, base.join(path))));
            assert_eq!(refused, expected, "{path}");
        }
        let mut seen = 0;
        let passed: Result<(), ()> = table.pass(&base.join("far/back"), |_, _| {
            seen += 1;
            Ok(())
        });
        assert_eq!((passed, seen), (Ok(()), 2), "from where it was let in it leads back");
    }
}
