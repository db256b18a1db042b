//! Files that only one instance at a time may have locked (`flock` and its like): taken at the start, kept to the end.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;

use super::beginning::{Beginning, Unbegun};
use crate::config::instance::{InstanceSpec, LockSpec};
use crate::sys::{flock, pipe};
use crate::wire::failure::Failure;

/// Locks the files of `spec` whose time it is: those before the log is set up, or those `late`. They are locked as long
/// as these descriptors are open.
///
/// # Errors
/// A file that cannot be opened, that another one has locked, or the wish to stop while it is waited for.
pub(super) fn take(
    spec: &InstanceSpec,
    late: bool,
    beginning: &mut Beginning<'_>,
) -> Result<Vec<OwnedFd>, Unbegun> {
    spec.files
        .locks
        .iter()
        .filter(|lock| lock.late == late)
        .map(|lock| take_one(spec, lock, beginning))
        .collect()
}

fn take_one(
    spec: &InstanceSpec,
    wanted: &LockSpec,
    beginning: &mut Beginning<'_>,
) -> Result<OwnedFd, Unbegun> {
    let path = wanted.path.display();
    let at = |failure: Failure| {
        let names = ["flock", "flock-wait", "flock2", "flock-wait2"];
        failure.at(spec.place_of_path(&names, &wanted.path))
    };
    let failed = |error: io::Error| at(Failure::new(format!("cannot lock {path}: {error}")));
    let missing =
        |error: io::Error| failed(error).with_hint("make it: it must be a file that can be written");
    let file = flock::open(&wanted.path).map_err(missing)?;
    if !flock::take(&file).map_err(failed)? {
        if !wanted.waits {
            let failure = at(Failure::new(format!("uWSGI ERROR: {path} is locked by another instance")));
            return Err(failure.with_hint("end that one, or say `flock-wait` to wait for it").into());
        }
        tracing::info!("waiting for the lock on {path}");
        let (end, writer) = pipe::plain().map_err(failed)?;
        let waiting = file.try_clone().map_err(failed)?;
        // There is no event for a lock, only a call that waits. The process's end ends it.
        let thread = thread::Builder::new().spawn(move || {
            let waited = flock::wait_for(&waiting);
            drop(writer);
            waited
        });
        let thread = thread.map_err(failed)?;
        beginning.wait_for(format!("waiting for the lock on {path}"), &end)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("its thread failed"))).map_err(failed)?;
    }
    Ok(file)
}
