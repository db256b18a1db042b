//! A directory of our own that others can pass through but not change, and the lock that one process holds on it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use super::user::current_uid;

/// The most that is read of what the holder of a lock says of itself.
const SAID_LIMIT_BYTES: u64 = 16 * 1024;

/// Makes a directory for `owner` with exactly this mode, and those above it that are missing.
///
/// # Errors
/// `mkdir` or `chown`; or something is there that another user controls.
pub fn make(path: &Path, mode: u32, owner: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(path)?;
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if !found.is_dir() {
        return refused("it is no directory".to_owned());
    }
    if ![owner, current_uid()].contains(&found.uid()) {
        return refused(format!("it belongs to another user (uid {})", found.uid()));
    }
    if found.uid() != owner {
        chown(path, Some(owner), None)?;
    }
    if found.mode() & 0o7777 != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Locks a file, made if need be, for this process and what it becomes by `execve`, and writes into it who that is.
/// `Err(Ok(said))`: another process holds it, and wrote this.
///
/// # Errors
/// Also what the system says.
pub fn lock(path: &Path, saying: &str) -> Result<OwnedFd, io::Result<String>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path);
    let mut file = open.map_err(Err)?;
    // SAFETY: flock takes two numbers; the descriptor is open because `file` is.
    #[expect(unsafe_code, reason = "nix's lock ends with its value, this one with the process")]
    let done = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if done == 0 {
        let write = |file: &mut File| file.set_len(0).and_then(|()| file.write_all(saying.as_bytes()));
        return write(&mut file).map(|()| file.into()).map_err(Err);
    }
    let error = io::Error::last_os_error();
    if error.kind() != io::ErrorKind::WouldBlock {
        return Err(Err(error));
    }
    let mut said = String::new();
    Err(file.take(SAID_LIMIT_BYTES).read_to_string(&mut said).map(|_| said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_its_mode_and_is_no_link() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/b");
        for _ in 0..2 {
            make(&path, 0o711, current_uid()).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o711);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(make(&link, 0o711, current_uid()).is_err());
    }

    #[test]
    fn a_lock_is_held_by_one_who_is_named_to_the_others() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let held = lock(&path, "first").unwrap();
        assert_eq!(lock(&path, "second").unwrap_err().unwrap(), "first");
        drop(held);
        let _held = lock(&path, "third").unwrap();
        assert_eq!(lock(&path, "fourth").unwrap_err().unwrap(), "third");
    }
}
