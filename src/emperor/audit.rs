//! Who else could put files into a watched directory.

use std::path::Path;

use crate::sys::user;
use crate::sys::way::{self, Kind, Step};

const GROUP_OR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A warning about a watched directory, or one above it, that others than root and this user control.
#[must_use]
pub fn warning(directory: &Path) -> Option<String> {
    problem(&way::open(directory).ok()?.steps, user::current_uid())
}

/// Tells of a warning in the log.
pub fn tell(warning: Option<&str>) {
    if let Some(warning) = warning {
        tracing::warn!("whoever can write there runs code as the emperor's user: {warning}");
    }
}

/// What is wrong with the way to a directory, if others than root and `us` control a part of it.
#[must_use]
pub fn problem(way: &[Step], us: u32) -> Option<String> {
    let last = way.iter().rposition(|step| step.kind == Kind::Directory);
    way.iter().enumerate().find_map(|(place, step)| {
        let path = step.path.display();
        // In a sticky directory nobody can rename what belongs to another; but everybody can add files.
        let sticky_parent = Some(place) != last && step.mode & STICKY != 0;
        if step.kind == Kind::Directory && step.mode & GROUP_OR_OTHERS != 0 && !sticky_parent {
            return Some(format!("{path} is writable by its group or others (mode {:04o})", step.mode));
        }
        if step.uid != 0 && step.uid != us {
            return Some(format!("{path} belongs to user {}", step.uid));
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
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
