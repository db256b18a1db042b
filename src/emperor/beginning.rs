//! What an emperor needs before its loop begins: its log, its pid file, who it is, and what it may. One that starts does
//! not start without; a later image has vassals that serve, so that is tried before, and what still fails is told.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::cgroups::Cgroups;
use super::pid_file::PidFile;
use super::scan::Manner;
use super::sources::Sources;
use super::{record, rights};
use crate::config::emperor::EmperorSpec;
use crate::config::instance::IdentitySpec;
use crate::sys::capabilities::Capabilities;
use crate::sys::user::Identity;
use crate::sys::{background, fd, host, limits, output};
use crate::trace;
use crate::wire::failure::Failure;

/// Tries, in a process that ends then, whether the next image can be what the options ask for. Its user and its rights are
/// those of the emperor, and what they are not enough for now they will not be enough for then.
///
/// # Errors
/// What it could not do.
pub(super) fn rehearse(spec: &EmperorSpec) -> Result<(), Failure> {
    record::rehearse()?;
    drop_privileges(&spec.identity)?;
    rights::prove(spec)?;
    Cgroups::prove(spec.limits.clone(), survives(spec))?;
    Sources::new(&spec.sources, &spec.extra_extensions, Manner::of(spec))
        .map_err(|error| Failure::new(format!("cannot find the directories: {error}")))?;
    Ok(())
}

/// Whether the service manager starts the next emperor beside the instances of one that died.
pub(super) fn survives(spec: &EmperorSpec) -> bool {
    spec.adopt && std::env::var_os("INVOCATION_ID").is_some()
}

/// What a start cannot do without; a later image (`starts` is not set) goes on without it, and says so.
///
/// # Errors
/// It failed, and this is a start.
pub(super) fn needed<T>(done: Result<T, Failure>, starts: bool) -> Result<Option<T>, Failure> {
    match done {
        Err(failure) if !starts => {
            tracing::error!("{failure}");
            Ok(None)
        }
        done => done.map(Some),
    }
}

/// The log goes to the file, and the emperor to the background, if so asked. A later image has both already, and opens the
/// file anew: where that fails lines go on to where they went.
///
/// # Errors
/// This is a start, and the file cannot be opened, or there can be no further process.
pub(super) fn open_log(spec: &EmperorSpec, starts: bool) -> Result<(), Failure> {
    trace::date_lines(spec.log_date.as_deref());
    if let Some(path) = &spec.logto {
        match log_to(path) {
            Err(_) if !starts && is_open(path) => {}
            done => drop(needed(done, starts)?),
        }
    }
    if spec.daemonize && starts {
        let gone = background::SingleThreaded::prove().and_then(background::go_to_background);
        gone.and_then(|()| fd::replace(File::open("/dev/null")?, 0))
            .map_err(|error| Failure::new(format!("cannot go to the background: {error}")))?;
    }
    Ok(())
}

fn log_to(path: &Path) -> Result<(), Failure> {
    let opened = output::append(path).and_then(|log| {
        fd::replace(&log, 1)?;
        fd::replace(&log, 2)
    });
    opened.map_err(|error| {
        Failure::new(format!("cannot open the log {}: {error}", path.display()))
            .with_hint("let the emperor's user write there, or say another path as logto")
    })
}

/// Whether the log goes there already: what root opened, the emperor's user may not be able to open.
fn is_open(path: &Path) -> bool {
    let open = io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    let identity = |found: &Metadata| (found.dev(), found.ino());
    open.is_ok_and(|open| fs::metadata(path).is_ok_and(|found| identity(&found) == identity(&open)))
}

/// The pid file, with the rights of whoever starts the emperor.
///
/// # Errors
/// This is a start, and it cannot be opened.
pub(super) fn open_pid_file(spec: &EmperorSpec, starts: bool) -> Result<Option<PidFile>, Failure> {
    let Some(path) = &spec.pidfile else { return Ok(None) };
    match PidFile::open(path) {
        // As with the log: a later image has the same pid.
        Err(_) if !starts && host::holds_pid(path, std::process::id()) => Ok(None),
        opened => needed(opened, starts),
    }
}

/// The emperor, and so every vassal, runs as this user, if so asked. What needs root was done before.
///
/// # Errors
/// There is no such user, or this one cannot become it.
pub(super) fn drop_privileges(spec: &IdentitySpec) -> Result<(), Failure> {
    if let Some(umask) = spec.umask {
        limits::set_umask(umask);
    }
    let kept = Capabilities::of(&spec.capabilities);
    if spec.uid.is_none() && spec.gid.is_none() && spec.add_gid.is_empty() && kept.is_empty() {
        return Ok(());
    }
    let (uid, gid) = (spec.uid.as_deref(), spec.gid.as_deref());
    let done = Identity::look_up(uid, gid, &spec.add_gid, spec.no_initgroups).and_then(|identity| {
        // A later image is that user already.
        if identity.is_current() { Ok(()) } else { identity.take_on(&kept) }
    });
    done.map_err(|error| {
        let failure = Failure::new(format!("cannot drop privileges: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                failure.with_hint("only an emperor that is root can become another user: restart it")
            }
            _ => failure,
        }
    })
}
