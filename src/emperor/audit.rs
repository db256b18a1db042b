//! Who else could put files into a watched directory.

use std::path::Path;

use super::sources::Sources;
use crate::sys::user;
use crate::sys::way::{self, Kind, Step};

const GROUP_OR_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// For each source a warning, if others than root and this user control one of the directories that it leads to or through.
#[must_use]
pub fn warnings(sources: &Sources) -> Vec<Option<String>> {
    let warning = |directory: &Path| {
        sources.servers().pass(directory).ok()?;
        warning(directory)
    };
    let mut warnings: Vec<Option<String>> = sources.bases().map(|(_, base)| warning(base)).collect();
    for place in sources.places() {
        if let Some(none @ None) = warnings.get_mut(place.source) {
            *none = warning(&place.directory);
        }
    }
    warnings
}

/// A warning about a watched directory, or one above it, that others than root and this user control.
fn warning(directory: &Path) -> Option<String> {
    problem(&way::open(directory).ok()?.steps, user::current_uid())
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
    use crate::config::emperor::Source;
    use crate::emperor::scan::Manner;

    #[test]
    fn all_directories_that_a_pattern_leads_through_count() {
        let dir = tempfile::tempdir().unwrap();
        for below in ["a/conf", "b/conf"] {
            fs::create_dir_all(dir.path().join(below)).unwrap();
        }
        let pattern = Source::Pattern(dir.path().join("*/conf/*.ini"));
        let sources = Sources::new(&[pattern], &[], Manner::default()).unwrap();
        for (path, mode, warned) in
            [("b", 0o755, false), ("b/conf", 0o777, true), ("b/conf", 0o755, false), ("b", 0o775, true)]
        {
            fs::set_permissions(dir.path().join(path), Permissions::from_mode(mode)).unwrap();
            let warnings = warnings(&sources);
            assert!(
                matches!(&warnings[..], [warning] if warning.is_some() == warned),
                "{path}: {warnings:?}"
            );
        }
    }

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
