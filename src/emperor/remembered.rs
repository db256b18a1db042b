//! The options that the emperor was started with last, as they were understood: while vassals of an emperor that died serve,
//! the next one goes on with them where the new ones are refused.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ledger;
use super::reexec;
use crate::config::emperor::EmperorSpec;
use crate::sys::{host, output, user};
use crate::wire::inherited;

const LIMIT_BYTES: usize = 1024 * 1024;

/// Writes the options down in the runtime directory, in one step, readable by the emperor's user alone.
///
/// # Errors
/// The disk is full, and the like.
pub(super) fn write(directory: &Path, spec: &EmperorSpec) -> io::Result<()> {
    let fresh = private(directory).join(".options");
    output::replace(&fresh, &serde_json::to_vec(spec)?)?;
    fs::rename(fresh, place(directory))
}

/// The options to go on with where new ones are refused that name this runtime directory: those of the emperor before, if
/// vassals of it run, and nobody but this user can have written them.
#[must_use]
pub fn read(directory: &Path) -> Option<EmperorSpec> {
    let is_later_image = reexec::is_rehearsal() || std::env::var_os(inherited::RECORD_VARIABLE).is_some();
    if is_later_image || !ledger::has_orphans(directory) {
        return None;
    }
    let is_private = |path: &Path| {
        fs::symlink_metadata(path)
            .is_ok_and(|found| found.uid() == user::current_uid() && found.mode() & 0o022 == 0)
    };
    let file = place(directory);
    if ![directory, &private(directory), &file].into_iter().all(is_private) {
        return None;
    }
    let bytes = host::read_regular(&file, LIMIT_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Where only the emperor's user looks.
fn private(directory: &Path) -> PathBuf {
    directory.join("instances")
}

fn place(directory: &Path) -> PathBuf {
    private(directory).join("options")
}
