//! A name in a directory that is held: what is done there is done in the directory that was looked at, though its path may
//! lead to another one by then.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::user::current_uid;
use super::way::{self, Kind, Step};

const GROUP_OR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// Such a name.
#[derive(Debug)]
pub struct Place {
    directory: File,
    name: OsString,
    path: PathBuf,
}

impl Place {
    /// The last name of a path. Root follows the links of another user on the way to it only into a directory of that
    /// user's, where he can do the same himself.
    ///
    /// # Errors
    /// The directory cannot be reached, or only by such a link.
    pub fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if current_uid() != 0 {
            let flags = (OFlag::O_PATH | OFlag::O_DIRECTORY).bits();
            let directory = File::options().read(true).custom_flags(flags).open(parent)?;
            return Ok(Self { directory, name, path: path.to_owned() });
        }
        let (directory, steps) = way::hold(&std::path::absolute(parent)?)?;
        let owner = fstat(&directory)?.st_uid;
        let is_foreign = |step: &&Step| step.kind == Kind::Link && ![0, owner].contains(&step.uid);
        if let Some(link) = steps.iter().find(is_foreign) {
            return Err(foreign_link(&link.path, link.uid));
        }
        // Its own name is the better one (the kernel shows it to people), but others could have it lead elsewhere.
        let path = if steps.iter().all(is_roots) {
            path.to_owned()
        } else {
            Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(&name)
        };
        Ok(Self { directory, name, path })
    }

    /// A path that leads to this name in this directory, for as long as this value lives.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who owns the directory.
    ///
    /// # Errors
    /// `fstat`.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(fstat(&self.directory)?.st_uid)
    }

    /// What is there, no link followed; `None`: nothing.
    ///
    /// # Errors
    /// `fstatat`.
    pub fn stat(&self) -> io::Result<Option<FileStat>> {
        match fstatat(&self.directory, self.name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Holds what is there, no link followed, open for nothing.
    ///
    /// # Errors
    /// `openat`.
    pub fn hold(&self) -> io::Result<File> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, self.name.as_os_str(), flags, Mode::empty()).map(File::from)?)
    }

    /// Removes what is there, if it is there.
    ///
    /// # Errors
    /// `unlinkat`.
    pub fn remove(&self) -> io::Result<()> {
        match unlinkat(&self.directory, self.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => Ok(()),
            done => Ok(done?),
        }
    }
}

/// Why root does not follow this link.
pub(super) fn foreign_link(link: &Path, maker: u32) -> io::Error {
    let reason =
        format!("root does not follow the symbolic link {} of another user (uid {maker})", link.display());
    io::Error::new(io::ErrorKind::PermissionDenied, reason)
}

/// Whether nobody but root can have the way go on elsewhere from here.
fn is_roots(step: &Step) -> bool {
    let is_shut = step.kind == Kind::Link || step.mode & GROUP_OR_OTHERS == 0 || step.mode & STICKY != 0;
    step.uid == 0 && is_shut
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn nothing_is_removed_in_another_directory_than_the_one_that_was_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for directory in ["theirs", "ours"] {
            fs::create_dir(at(directory)).unwrap();
        }
        fs::write(at("ours/file"), "precious").unwrap();
        fs::write(at("theirs/file"), "").unwrap();
        if current_uid() == 0 {
            lchown(at("theirs"), Some(65534), None).unwrap();
        }
        let place = Place::of(&at("theirs/file")).unwrap();
        assert!(place.stat().unwrap().is_some());
        fs::rename(at("theirs"), at("aside")).unwrap();
        symlink(at("ours"), at("theirs")).unwrap();
        if current_uid() == 0 {
            fs::write(place.path(), "here").unwrap();
            assert_eq!(fs::read(at("aside/file")).unwrap(), b"here");
        }
        place.remove().unwrap();
        assert!(place.stat().unwrap().is_none());
        assert_eq!(fs::read(at("ours/file")).unwrap(), b"precious");
    }

    #[test]
    fn root_follows_links_of_others_only_into_directories_of_theirs() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for directory in ["theirs", "theirs/sub", "another's", "ours"] {
            fs::create_dir(at(directory)).unwrap();
        }
        for (link, target) in
            [("to-theirs", "theirs/sub"), ("to-another's", "another's"), ("to-ours", "ours")]
        {
            symlink(at(target), at("theirs").join(link)).unwrap();
        }
        symlink("theirs", at("current")).unwrap();
        assert!(Place::of(&at("theirs/to-ours/file")).is_ok(), "one's own links are followed");
        assert_eq!(Place::of(&at("none/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
        if current_uid() != 0 {
            return;
        }
        for path in ["theirs", "theirs/sub", "theirs/to-theirs", "theirs/to-another's", "theirs/to-ours"] {
            lchown(at(path), Some(65534), None).unwrap();
        }
        lchown(at("another's"), Some(65533), None).unwrap();
        for (path, is_followed, keeps_its_name) in [
            ("ours/file", true, true),
            ("current/file", true, false),
            ("theirs/to-theirs/file", true, false),
            ("current/to-theirs/file", true, false),
            ("theirs/to-another's/file", false, false),
            ("theirs/to-ours/file", false, false),
            ("theirs/to-ours/../ours/file", false, false),
        ] {
            let place = Place::of(&at(path));
            assert_eq!(place.is_ok(), is_followed, "{path}");
            assert_eq!(place.is_ok_and(|place| place.path() == at(path)), keeps_its_name, "{path}");
        }
    }
}
