//! What a process may use, and all that it starts: set by a master before it gives up its rights, and by the zygote of each
//! generation.

use std::io;
use std::time::Duration;

use tokio::time::sleep;

use super::failure::Failure;
use crate::config::instance::InstanceSpec;
use crate::sys::{cgroup, limits, session};

/// Ten processes of a host may make their sessions nice in one second.
const AGAIN: Duration = Duration::from_millis(100);

/// Limits this process as configured; what is not limited stays as it is.
///
/// # Errors
/// A limit is refused: only root may raise one.
pub fn set(spec: &InstanceSpec) -> Result<(), Failure> {
    let set = |option: &str, set: fn(u64) -> io::Result<()>, value: Option<u64>| match value.map(set) {
        Some(Err(error)) => Err(Failure::new(format!("cannot set {option}: {error}"))
            .at(spec.place_of(&[option]))
            .with_hint("only root may raise a limit: use LimitNOFILE= and the like of the service unit")),
        _ => Ok(()),
    };
    let spec = &spec.limits;
    set("max-fd", limits::limit_files, spec.files)?;
    set("limit-as", limits::limit_memory_bytes, spec.memory_bytes)?;
    set("limit-nproc", limit_processes, spec.processes)?;
    set_nice(spec.nice);
    Ok(())
}

/// Where a control group holds the limit, and the emperor sees what it refuses, that of the user must not be reached first,
/// nor while many forks that will be refused have begun.
fn limit_processes(count: u64) -> io::Result<()> {
    if cgroup::limits_own_processes() && limits::limit_processes(count.saturating_mul(2)).is_ok() {
        return Ok(());
    }
    limits::limit_processes(count)
}

/// As in uWSGI it goes on where it may not.
fn set_nice(nice: i32) {
    let set = if nice == 0 { Ok(()) } else { limits::set_nice(nice) };
    match set.and_then(|()| session::share_nice()) {
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            tracing::warn!("cannot set prio to {nice}: {error}");
        }
        _ => {}
    }
}

/// Makes the session of this process as nice as it, also where all that want that now have to wait for each other
/// ([`session::share_nice`]).
pub async fn share_nice() {
    while let Err(error) = session::share_nice() {
        if error.kind() != io::ErrorKind::WouldBlock {
            return tracing::warn!("other sessions do not notice its nice value: {error}");
        }
        sleep(AGAIN).await;
    }
}
