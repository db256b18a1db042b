//! Files that we write at paths which others chose.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::place::{Place, foreign_link};
use super::user::current_uid;

/// Opens a file to write at its end, making it if need be. Never waits for a pipe's reader, never becomes our terminal.
///
/// # Errors
/// `open`, or, for root, a symbolic link that somebody else made; as [`Place::of`].
pub fn append(path: &Path) -> io::Result<File> {
    carefully(path, OpenOptions::new().append(true).create(true).mode(0o640), 0)
}

/// The same, with a mode that only the umask limits; what was in it goes unless `keep`.
///
/// # Errors
/// As [`append`].
pub fn write(path: &Path, keep: bool) -> io::Result<File> {
    carefully(path, OpenOptions::new().append(keep).write(true).truncate(!keep).create(true).mode(0o666), 0)
}

/// Opens a named pipe to write to it; `None`: nobody reads.
///
/// # Errors
/// As [`append`].
pub fn pipe(path: &Path) -> io::Result<Option<File>> {
    match carefully(path, OpenOptions::new().write(true), 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        opened => opened.map(Some),
    }
}

/// Changes the mode of what is at a path.
///
/// # Errors
/// As [`append`], or `chmod`.
pub fn set_mode(path: &Path, mode: impl FnOnce(u32) -> u32) -> io::Result<()> {
    let (file, way) = itself(path)?;
    fs::set_permissions(way, Permissions::from_mode(mode(file.metadata()?.mode()) & 0o7777))
}

/// Gives what is at a path to a user and a group.
///
/// # Errors
/// As [`append`], or `chown`.
pub fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let (_file, way) = itself(path)?;
    std::os::unix::fs::chown(way, Some(uid), Some(gid))
}

/// What is at a path, held, and a path that leads to nothing else.
fn itself(path: &Path) -> io::Result<(File, PathBuf)> {
    let file = carefully(path, OpenOptions::new().read(true), libc::O_PATH)?;
    let way = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok((file, way))
}

/// Opens, and follows a symbolic link at the end of the path only where its maker is to be trusted; those before it as
/// [`Place::of`].
fn carefully(path: &Path, options: &OpenOptions, more: i32) -> io::Result<File> {
    let place = Place::of(path)?;
    let open = |flags: i32| {
        let flags = flags | more | libc::O_NONBLOCK | libc::O_NOCTTY;
        options.clone().custom_flags(flags).open(place.path())
    };
    match open(libc::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {}
        // The link itself.
        Ok(file) if more == libc::O_PATH && file.metadata()?.file_type().is_symlink() => {}
        done => return done,
    }
    // Where logs are kept often belongs to whom they are about: his link would let root write anywhere.
    let maker = place.stat()?.map_or(0, |link| link.st_uid);
    if current_uid() == 0 && maker != 0 {
        return Err(foreign_link(path, maker));
    }
    open(0)
}

/// Opens a small file whose content is to be replaced by [`fill`], or makes it, never through a symbolic link at the
/// path's end.
///
/// # Errors
/// `open`; as [`Place::of`].
pub fn open_to_replace(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o644).custom_flags(flags);
    options.open(Place::of(path)?.path())
}

/// Replaces the content of a file that was just opened.
///
/// # Errors
/// `ftruncate` or `write`.
pub fn fill(file: &mut File, content: &[u8]) -> io::Result<()> {
    match file.set_len(0) {
        // A pipe or a device has no length.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
        done => done?,
    }
    file.write_all(content)
}

/// Makes or replaces a small file's content, never through a symbolic link at the path's end.
///
/// # Errors
/// `open` or `write`.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    fill(&mut open_to_replace(path)?, content)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{lchown, symlink};

    use super::*;

    #[test]
    fn root_appends_through_no_link_of_another_user() {
        let home = tempfile::tempdir().unwrap();
        let (link, target) = (home.path().join("log"), home.path().join("target"));
        symlink(&target, &link).unwrap();
        append(&link).unwrap().write_all(b"own").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"own");
        if current_uid() != 0 {
            return;
        }
        lchown(&link, Some(65534), None).unwrap();
        assert_eq!(append(&link).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::remove_file(&link).unwrap();
        symlink("/dev/null", &link).unwrap();
        append(&link).unwrap();
    }

    #[test]
    fn modes_and_owners_are_those_of_what_is_meant() {
        let home = tempfile::tempdir().unwrap();
        let (link, target) = (home.path().join("link"), home.path().join("target"));
        write(&target, false).unwrap().write_all(b"a").unwrap();
        write(&target, true).unwrap().write_all(b"b").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"ab");
        symlink(&target, &link).unwrap();
        set_mode(&link, |_| 0o600).unwrap();
        set_mode(&target, |mode| mode | 0o1000).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o1600);
        if current_uid() != 0 {
            return;
        }
        give(&link, 65534, 65534).unwrap();
        assert_eq!(fs::metadata(&target).unwrap().uid(), 65534);
        assert_eq!(fs::symlink_metadata(&link).unwrap().uid(), 0);
        lchown(&link, Some(65534), None).unwrap();
        for done in [set_mode(&link, |_| 0o666), give(&link, 0, 0), write(&link, false).map(drop)] {
            assert_eq!(done.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn a_file_is_replaced_and_never_what_a_link_leads_to() {
        let home = tempfile::tempdir().unwrap();
        let (link, target) = (home.path().join("pid"), home.path().join("target"));
        replace(&target, b"longer").unwrap();
        replace(&target, b"42").unwrap();
        symlink(&target, &link).unwrap();
        assert_eq!(replace(&link, b"7").unwrap_err().raw_os_error(), Some(libc::ELOOP));
        assert_eq!(fs::read(&target).unwrap(), b"42");
    }
}
