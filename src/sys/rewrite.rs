//! Files that are replaced in one step: whoever reads one gets the old content or the new, whatever happens.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Replaces the content of the regular file at `path`, whose owner, group and mode stay. `still` is asked last: the
/// content just before it is replaced.
///
/// # Errors
/// It is no regular file, its content is not as `still` wants it (`ErrorKind::AlreadyExists`), or what the system
/// says; the file is as it was then.
pub fn rewrite(path: &Path, content: &[u8], still: impl FnOnce(&[u8]) -> bool) -> io::Result<()> {
    let old = fs::symlink_metadata(path)?;
    if !old.is_file() {
        return Err(io::Error::other("it is not a regular file; change what it leads to"));
    }
    let draft = Draft::beside(path)?;
    // One of this pid may be left of a container's emperor that died while it wrote: there each has the same.
    let _ = fs::remove_file(&draft.0);
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft.0)?;
    file.write_all(content)?;
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    file.sync_all()?;
    if !still(&fs::read(path)?) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "it was changed in the meantime"));
    }
    fs::rename(&draft.0, path)?;
    // The name is what must survive a crash now.
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// A file that is gone when it was not put into its place.
struct Draft(PathBuf);

impl Draft {
    /// A name that no emperor takes for a vassal's.
    fn beside(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?.to_string_lossy();
        Ok(Self(path.with_file_name(format!(".{name}.liege-{}", std::process::id()))))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.ini");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        rewrite(&path, b"new", |content| content == b"old").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        fs::write(home.path().join(format!(".a.ini.liege-{}", std::process::id())), "of one that died")
            .unwrap();
        let error = rewrite(&path, b"newer", |content| content == b"old").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let link = home.path().join("link.ini");
        symlink(&path, &link).unwrap();
        assert!(rewrite(&link, b"newer", |_| true).is_err());
        assert!(rewrite(&home.path().join("none.ini"), b"newer", |_| true).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no draft is left");
    }
}
