//! Opening a file and knowing the whole way to it: every directory and symbolic link that was passed, as it was when it
//! was passed. A path that is only checked may lead elsewhere by the time it is opened.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use super::access_list;

/// As many links as the kernel follows.
pub(super) const LINKS: u32 = 40;

/// Something that was passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permissions, the sticky bit included.
    pub mode: u32,
    /// An access control list lets others than these write to it.
    pub listed: bool,
}

/// What was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory, in which the way goes on.
    Directory,
    /// A symbolic link, which leads elsewhere.
    Link,
}

/// A file, and the way to it.
#[derive(Debug)]
pub struct Reached {
    /// The file, opened as by [`super::file::open_untrusted`].
    pub file: File,
    /// What was passed, from the root directory on.
    pub steps: Vec<Step>,
    /// How many of them lead to the directory of the path's last name; the rest is what that name itself leads through.
    pub to_directory: usize,
}

/// Opens an absolute path for reading, step by step.
///
/// # Errors
/// As `open`; `ELOOP` also when a name became a link while it was being opened.
pub fn open(path: &Path) -> io::Result<Reached> {
    let last = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut walk = Walk::begin()?;
    let file = match walk.go(path)? {
        Some(name) => openat(&walk.at, name.as_os_str(), last, Mode::empty())?,
        None => openat(&walk.at, ".", last | OFlag::O_DIRECTORY, Mode::empty())?,
    };
    let to_directory = walk.to_directory.unwrap_or(walk.steps.len());
    Ok(Reached { file: File::from(file), to_directory, steps: walk.steps })
}

/// Holds the directory that an absolute path leads to, open for nothing but to be begun from; and what was passed.
///
/// # Errors
/// As [`open`]; `ENOTDIR` when it is something else.
pub fn hold(path: &Path) -> io::Result<(File, Vec<Step>)> {
    let mut walk = Walk::begin()?;
    match walk.go(path)? {
        Some(_) => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        None => Ok((walk.at, walk.steps)),
    }
}

/// The directory on the way to an absolute path that does not let this process pass.
#[must_use]
pub fn barrier(path: &Path) -> Option<PathBuf> {
    let mut walk = Walk::begin().ok()?;
    let error = walk.go(path).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied);
    // By its own name, whatever links and dots lead to it.
    error.map(|_| fs::read_link(format!("/proc/self/fd/{}", walk.at.as_raw_fd())).unwrap_or(walk.here))
}

/// A way, as far as it was gone.
struct Walk {
    at: File,
    here: PathBuf,
    steps: Vec<Step>,
    to_directory: Option<usize>,
}

const STEP: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

impl Walk {
    fn begin() -> io::Result<Self> {
        let at = root()?;
        let steps = vec![Step::directory(Path::new("/"), &at, &at.metadata()?)];
        Ok(Self { at, here: PathBuf::from("/"), steps, to_directory: None })
    }

    /// Goes to the directory where the path ends, and answers the name in it if it is none itself.
    fn go(&mut self, path: &Path) -> io::Result<Option<OsString>> {
        let mut left = names(path);
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            // What a link leads to comes before the names that are left.
            if left.is_empty() {
                self.to_directory.get_or_insert(self.steps.len());
            }
            let entry = File::from(openat(&self.at, name.as_os_str(), STEP, Mode::empty())?);
            let metadata = entry.metadata()?;
            let path = self.here.join(&name);
            if metadata.is_symlink() {
                links += 1;
                if links > LINKS {
                    return Err(io::Error::from_raw_os_error(libc::ELOOP));
                }
                let target = PathBuf::from(readlinkat(&entry, "")?);
                self.steps.push(Step::link(&path, &metadata));
                if target.is_absolute() {
                    (self.at, self.here) = (root()?, PathBuf::from("/"));
                }
                let mut onward = names(&target);
                onward.append(&mut left);
                left = onward;
            } else if metadata.is_dir() {
                self.steps.push(Step::directory(&path, &entry, &metadata));
                (self.at, self.here) = (entry, path);
            } else if left.is_empty() {
                return Ok(Some(name));
            } else {
                return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
            }
        }
        Ok(None)
    }
}

fn root() -> io::Result<File> {
    Ok(openat(AT_FDCWD, "/", STEP | OFlag::O_DIRECTORY, Mode::empty()).map(File::from)?)
}

impl Step {
    fn directory(path: &Path, open: &File, metadata: &Metadata) -> Self {
        let listed = access_list::lets_others_write(open, metadata);
        Self { kind: Kind::Directory, listed, ..Self::link(path, metadata) }
    }

    fn link(path: &Path, metadata: &Metadata) -> Self {
        let mode = metadata.mode() & 0o7777;
        let (uid, gid) = (metadata.uid(), metadata.gid());
        Self { path: path.to_owned(), kind: Kind::Link, uid, gid, mode, listed: false }
    }
}

/// The names of a path, `..` included: what that means depends on where the links before it lead.
pub(super) fn names(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut names: VecDeque<OsString> = named.collect();
    // With a slash at its end only a directory is meant.
    if path.as_os_str().as_bytes().ends_with(b"/") {
        names.push_back(OsString::from("."));
    }
    names
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_whole_way_is_told_links_included() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("a/b/file"), "text").unwrap();
        symlink("a/./b", base.join("short")).unwrap();
        symlink(base.join("short/../b/file"), base.join("link")).unwrap();
        let Reached { mut file, steps, to_directory } = open(&base.join("link")).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
        let links: Vec<_> = steps.iter().filter(|step| step.kind == Kind::Link).map(|s| &s.path).collect();
        assert_eq!(links, [&base.join("link"), &base.join("short")]);
        assert_eq!(steps[to_directory - 1].path, base, "the rest is the link's");
        assert!(steps.iter().any(|step| step.path == base.join("a/b") && step.kind == Kind::Directory));
    }

    #[test]
    fn what_cannot_be_opened_fails_as_open_does() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        symlink("loop", at("loop")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        fs::write(at("file"), "").unwrap();
        for (name, expected) in [
            ("loop", libc::ELOOP),
            ("dangling", libc::ENOENT),
            ("missing", libc::ENOENT),
            ("file/below", libc::ENOTDIR),
            ("file/", libc::ENOTDIR),
        ] {
            assert_eq!(open(&at(name)).unwrap_err().raw_os_error(), Some(expected), "{name}");
        }
        assert!(open(dir.path()).unwrap().file.metadata().unwrap().is_dir());
        assert!(open(&at("file")).unwrap().file.metadata().unwrap().is_file());
    }
}
