//! Who else could put files into a watched directory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sys::user;

const GROUP_OR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A warning about a watched directory, or one above it, that others than root and this user control.
#[must_use]
pub fn warning(directory: &Path) -> Option<String> {
    let real = fs::canonicalize(directory).ok()?;
    let us = user::current_uid();
    real.ancestors().find_map(|place| {
        let metadata = fs::metadata(place).ok()?;
        // In a sticky directory nobody can rename what belongs to another; but everybody can add files.
        let sticky_parent = place != real && metadata.mode() & STICKY != 0;
        if metadata.mode() & GROUP_OR_OTHERS != 0 && !sticky_parent {
            let mode = metadata.mode() & 0o7777;
            return Some(format!("{} is writable by its group or others (mode {mode:04o})", place.display()));
        }
        if metadata.uid() != 0 && metadata.uid() != us {
            return Some(format!("{} belongs to user {}", place.display(), metadata.uid()));
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_that_others_may_write_to_is_warned_about() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, warned) in [(0o700, false), (0o755, false), (0o775, true), (0o1777, true)] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(warning(dir.path()).is_some(), warned, "{mode:o}");
        }
        let below = dir.path().join("below");
        fs::create_dir(&below).unwrap();
        assert!(warning(&below).is_none(), "the one above is sticky");
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(warning(&below).is_some());
    }
}
