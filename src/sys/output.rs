//! Files that we write at paths which others chose.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::user::current_uid;

/// Opens a file to write at its end, making it if need be. Never waits for a pipe's reader, never becomes our terminal.
///
/// # Errors
/// `open`, or, for root, a symbolic link that somebody else made.
pub fn append(path: &Path) -> io::Result<File> {
    let open = |flags: i32| {
        let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags).open(path)
    };
    match open(libc::O_NOFOLLOW) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {}
        done => return done,
    }
    // Where logs are kept often belongs to whom they are about: his link would let root write anywhere.
    let maker = fs::symlink_metadata(path)?.uid();
    if current_uid() == 0 && maker != 0 {
        let reason = format!("root follows no symbolic link that another user (uid {maker}) made");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    open(0)
}

/// Opens a small file whose content is to be replaced by [`fill`], or makes it, never through a symbolic link at the
/// path's end.
///
/// # Errors
/// `open`.
pub fn open_to_replace(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o644).custom_flags(flags).open(path)
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
