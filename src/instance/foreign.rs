//! A vassal that another program runs: this process was started for it, prepares what that program finds, and becomes it.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::beginning::{Beginning, Unbegun};
use super::jail;
use super::launch::OURS;
use super::source::FILE_LIMIT_BYTES;
use super::start::{go_to, run_start_hook};
use crate::config::load;
use crate::config::surroundings::{Purpose, World};
use crate::config::tenant::Tenant;
use crate::sys::{exec, fd, memfd, orphan, peer, process, signals, user};
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::foreign::Foreign;
use crate::wire::inherited;
use crate::wire::message::{FromInstance, Policy};

/// uWSGI's status for a vassal whose program cannot be executed.
const EXIT_EXILE: u8 = 26;
/// Says on which descriptor the emperor is spoken to.
const EMPEROR_FD: &str = "UWSGI_EMPEROR_FD";
/// What the emperor reads of its environment itself, and what nobody else is to read.
const EMPERORS: [&str; 2] = ["UWSGI_EMPEROR", "LIEGE_EMPEROR_RECORD"];

/// What the program is to find.
#[derive(Debug)]
pub(super) struct Birth {
    /// The program.
    pub(super) foreign: Foreign,
    /// Whom to become before anything else.
    pub(super) tenant: Option<Tenant>,
    /// Where it begins, if not where it is.
    pub(super) begin_in: Option<String>,
    /// Where the emperor is told of what goes wrong until then.
    pub(super) channel: OwnedFd,
    /// Where it is spoken to from then on.
    pub(super) control: OwnedFd,
    /// The vassal's file.
    pub(super) file: OwnedFd,
    /// The vassal's id.
    pub(super) name: String,
    /// The path by which the emperor found it.
    pub(super) path: String,
    /// The socket on which the vassal was waited for.
    pub(super) listener: Option<OwnedFd>,
}

/// Becomes the program; comes back only when that fails.
pub(super) fn main(birth: &Birth, policy: &Policy) -> ExitCode {
    let failure = match become_it(birth, policy) {
        Err(Unbegun::Failed(failure)) => failure,
        Err(Unbegun::Stopped) => {
            tracing::info!("stopped before it began");
            return ExitCode::SUCCESS;
        }
    };
    super::announce::failure(&failure);
    let _ = channel::send(&birth.channel, &FromInstance::Failed(failure), &[]);
    EXIT_EXILE.into()
}

fn become_it(birth: &Birth, policy: &Policy) -> Result<Infallible, Unbegun> {
    let failed = |what: &'static str| move |error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let program = birth.foreign.programs.first().map_or("", String::as_str);
    jail::bound(&policy.privileges)?;
    if let Some(tenant) = birth.tenant {
        jail::become_tenant(tenant, &policy.privileges)?;
    }
    refuse_root(birth, policy).map_err(failed("read the vassal's file"))??;
    if let Some(hook) = &policy.start_hook {
        run_start_hook(hook, &birth.name, &env::current_dir().unwrap_or_default());
    }
    let beginning = Beginning::new(Some(&birth.channel)).map_err(Failure::from);
    beginning?.perform_as_vassal(&birth.name, &policy.hooks)?;
    go_to(birth.begin_in.as_ref())?;
    for (option, _) in &policy.vassals.defaults {
        tracing::warn!(
            "vassals-default {option} is not said to {program}: it has no such thing as a default"
        );
    }
    let listener = match &birth.listener {
        Some(listener) => listener.try_clone(),
        None => File::open("/dev/null").map(OwnedFd::from),
    };
    listener.and_then(|listener| fd::replace(listener, 0)).map_err(failed("set its standard input"))?;
    fd::set_close_on_exec(&birth.control, false).map_err(failed("hand over its descriptor"))?;
    process::end_child_subreaper().map_err(failed("be no sub-reaper"))?;
    let emperor = peer::of(&birth.channel).map_err(failed("find its emperor"))?;
    // Last, because a change of the user clears it.
    if !orphan::die_with_parent(emperor.pid).map_err(failed("end with its emperor"))? {
        return Err(Failure::new("its emperor is gone").into());
    }
    let ready = signals::heed_sigpipe().and_then(|()| signals::unblock_all());
    ready.map_err(failed("restore its signals"))?;
    let environment = environment(env::vars_os(), &birth.control);
    let error = execute(&birth.foreign, &environment);
    let failure = Failure::new(format!("{error}"));
    Err(failure.with_hint("name a program that is there: `exec`, `emperor-wrapper`").into())
}

/// Tries the programs in order; answers why none was executed.
fn execute(foreign: &Foreign, environment: &[(OsString, OsString)]) -> Failure {
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
    let mut reasons = Vec::new();
    for program in &foreign.programs {
        let found =
            process::find_program(OsStr::new(program), path).unwrap_or_else(|| PathBuf::from(program));
        let arguments: Vec<OsString> =
            std::iter::once(program).chain(&foreign.arguments).map(OsString::from).collect();
        let Err(error) = exec::execute(&found, &arguments, environment.iter().cloned());
        reasons.push(format!("{program}: {error}"));
    }
    Failure::new(format!("cannot execute {}", reasons.join(", ")))
}

/// What the program finds in its environment: what uWSGI's emperor would hand on, and nothing of ours.
fn environment(
    all: impl Iterator<Item = (OsString, OsString)>,
    control: impl AsFd,
) -> Vec<(OsString, OsString)> {
    let mut kept = Vec::new();
    let mut meant = Vec::new();
    for (name, value) in all {
        let is_ours = |ours: &str| name == OsStr::new(ours);
        if name == inherited::VARIABLE || OURS.into_iter().chain(EMPERORS).any(is_ours) || is_ours(EMPEROR_FD)
        {
            continue;
        }
        match name.to_str().and_then(|name| name.strip_prefix("UWSGI_VASSAL_")) {
            Some(rest) if !rest.is_empty() => meant.push((OsString::from(format!("UWSGI_{rest}")), value)),
            _ => kept.push((name, value)),
        }
    }
    kept.retain(|(name, _)| meant.iter().all(|(other, _)| other != name));
    kept.extend(meant);
    let number = control.as_fd().as_raw_fd().to_string();
    kept.push((EMPEROR_FD.into(), number.into()));
    kept
}

/// As root only what root has written says which program runs; and where root runs no applications, the file must
/// name another user, whom that program then becomes.
fn refuse_root(birth: &Birth, policy: &Policy) -> io::Result<Result<(), Failure>> {
    if user::current_uid() != 0 {
        return Ok(Ok(()));
    }
    let owner = File::from(birth.file.try_clone()?).metadata()?.uid();
    if birth.foreign.named_by_file && owner != 0 {
        let reason = format!("its file belongs to uid {owner}: root runs no program (`exec`) that it names");
        return Ok(Err(Failure::new(reason).with_hint("give the file to root, or use `emperor-wrapper`")));
    }
    let bytes = memfd::read_all(birth.file.try_clone()?, FILE_LIMIT_BYTES)?;
    let around = World::at(env::current_dir().unwrap_or_else(|_| Path::new("/").to_owned()))
        .with_purpose(Purpose::Look);
    let raw = load::entries(&policy.vassals, &birth.path, &bytes, &around);
    let uid = raw.entries.iter().rfind(|entry| entry.key == "uid").and_then(|entry| entry.value.clone());
    if uid.as_deref().is_some_and(|uid| user::uid_of(uid).is_ok_and(|uid| uid != 0)) {
        return Ok(Ok(()));
    }
    if policy.deny_root_apps {
        let reason = "the application would run as root, which root-apps = deny refuses";
        return Ok(Err(Failure::new(reason).with_hint("name its user with `uid` and `gid`")));
    }
    tracing::warn!("*** WARNING: the application runs as root! *** (name its user with `uid` and `gid`)");
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_finds_what_is_meant_for_it_and_nothing_of_ours() {
        let before = [
            ("HOME", "/root"),
            ("UWSGI_VASSAL_THREADS", "2"),
            ("UWSGI_THREADS", "9"),
            ("UWSGI_VASSAL_", "x"),
            ("ZED_LONG_VARIABLE_NAME", "abc"),
            ("UWSGI_PYTHONPATH", "/p"),
            ("UWSGI_EMPEROR", "/v"),
            ("UWSGI_EMPEROR_FD", "64"),
            ("UWSGI_RELOADS", "1"),
            ("NOTIFY_SOCKET", "/run/n"),
            ("LIEGE_CHANNEL_FD", "0"),
        ];
        let control = File::open("/dev/null").unwrap();
        let after = environment(before.into_iter().map(|(n, v)| (n.into(), v.into())), &control);
        let number = control.as_raw_fd().to_string();
        let expected = [
            ("HOME", "/root"),
            ("UWSGI_VASSAL_", "x"),
            ("ZED_LONG_VARIABLE_NAME", "abc"),
            ("UWSGI_PYTHONPATH", "/p"),
            ("UWSGI_THREADS", "2"),
            ("UWSGI_EMPEROR_FD", &number),
        ];
        assert_eq!(after, expected.map(|(n, v)| (OsString::from(n), OsString::from(v))));
    }
}
