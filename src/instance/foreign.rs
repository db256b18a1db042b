//! A vassal that another program runs: this process was started for it, prepares what that program finds, and becomes it.

use std::convert::Infallible;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::beginning::{Beginning, Unbegun};
use super::jail;
use super::source::FILE_LIMIT_BYTES;
use super::start::go_to;
use crate::config::load;
use crate::config::surroundings::{Purpose, World};
use crate::config::tenant::Tenant;
use crate::sys::{capabilities, exec, fd, memfd, orphan, peer, process, signals, user};
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::foreign::Foreign;
use crate::wire::inherited;
use crate::wire::message::{FromInstance, Policy};

/// uWSGI's status for a vassal whose program cannot be executed.
const EXIT_EXILE: u8 = 26;
/// Say on which descriptors the emperor is spoken to, and sends configurations.
const CONNECTIONS: [&str; 2] = ["UWSGI_EMPEROR_FD", "UWSGI_EMPEROR_FD_CONFIG"];
/// What the emperor reads of its environment itself.
const EMPERORS: &str = "UWSGI_EMPEROR";

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
    jail::separate(policy.privileges.namespaces)?;
    jail::bound(&policy.privileges)?;
    if let Some(tenant) = birth.tenant {
        jail::become_tenant(tenant, &policy.privileges)?;
    }
    refuse_root(birth, policy).map_err(failed("read the vassal's file"))??;
    let mut beginning = Beginning::new(Some(&birth.channel)).map_err(Failure::from)?;
    if let Some(hook) = &policy.start_hook {
        beginning.run_start_hook(hook, &birth.name)?;
    }
    beginning.perform_as_vassal(&birth.name, &policy.hooks)?;
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
    let heir = Heir { emperor: Some(&birth.channel), control: Some(&birth.control), config: None };
    let failure = leave_to(&birth.foreign.programs, &birth.foreign.arguments, &heir, &[]);
    Err(failure.with_hint("name a program that is there: `exec`, `emperor-wrapper`").into())
}

/// Who supervises this process, and with it the program that it becomes.
pub(super) struct Heir<'a> {
    /// An emperor of ours, by its channel: the program ends with it.
    pub(super) emperor: Option<&'a OwnedFd>,
    /// Where the program is spoken to in uWSGI's language.
    pub(super) control: Option<&'a OwnedFd>,
    /// Where an emperor of uWSGI sends it configurations.
    pub(super) config: Option<&'a OwnedFd>,
}

/// Becomes the first of these programs that can be executed; answers why none could.
pub(super) fn leave_to(
    programs: &[String],
    arguments: &[String],
    heir: &Heir<'_>,
    changes: &[(String, Option<String>)],
) -> Failure {
    let failed = |what: &'static str| move |error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let prepare = || {
        for descriptor in [heir.control, heir.config].into_iter().flatten() {
            fd::set_close_on_exec(descriptor, false).map_err(failed("hand over its descriptor"))?;
        }
        process::end_child_subreaper().map_err(failed("be no sub-reaper"))?;
        if let Some(channel) = heir.emperor {
            let emperor = peer::of(channel).map_err(failed("find its emperor"))?;
            // Last, because a change of the user clears it.
            if !orphan::die_with_parent(emperor.pid).map_err(failed("end with its emperor"))? {
                return Err(Failure::new("its emperor is gone"));
            }
        }
        let ready = signals::heed_sigpipe().and_then(|()| signals::unblock_all());
        ready.map_err(failed("restore its signals"))
    };
    match prepare() {
        Ok(()) => execute(programs, arguments, &environment(env::vars_os(), heir, changes), heir.emperor),
        Err(failure) => failure,
    }
}

/// Tries the programs in order, and tells the emperor which, where it is not the first; answers why none was executed.
fn execute(
    programs: &[String],
    arguments: &[String],
    environment: &[(OsString, OsString)],
    emperor: Option<&OwnedFd>,
) -> Failure {
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
    let mut reasons = Vec::new();
    for program in programs {
        if let Some(channel) = emperor.filter(|_| !reasons.is_empty()) {
            let _ = channel::send(channel, &FromInstance::Tries { program: program.clone() }, &[]);
        }
        let found = exec::find_program(OsStr::new(program), path).unwrap_or_else(|| PathBuf::from(program));
        let arguments: Vec<OsString> =
            std::iter::once(program).chain(arguments).map(OsString::from).collect();
        let Err(error) = exec::execute(&found, &arguments, environment.iter().cloned());
        reasons.push(format!("{program}: {error}"));
    }
    Failure::new(format!("cannot execute {}", reasons.join(", ")))
}

/// What the program finds in its environment: what uWSGI's emperor would hand on, and nothing of ours; then what its
/// configuration changes.
fn environment(
    all: impl Iterator<Item = (OsString, OsString)>,
    heir: &Heir<'_>,
    changes: &[(String, Option<String>)],
) -> Vec<(OsString, OsString)> {
    let mut kept = Vec::new();
    let mut meant = Vec::new();
    for (name, value) in all {
        let is_ours = |ours: &str| name == OsStr::new(ours);
        if inherited::OF_ONE_PROCESS.into_iter().chain([EMPERORS]).chain(CONNECTIONS).any(is_ours) {
            continue;
        }
        match name.to_str().and_then(|name| name.strip_prefix("UWSGI_VASSAL_")) {
            Some(rest) if !rest.is_empty() => meant.push((OsString::from(format!("UWSGI_{rest}")), value)),
            _ => kept.push((name, value)),
        }
    }
    kept.retain(|(name, _)| meant.iter().all(|(other, _)| other != name));
    kept.extend(meant);
    for (name, value) in changes {
        kept.retain(|(known, _)| known != OsStr::new(name));
        kept.extend(value.as_ref().map(|value| (name.into(), value.into())));
    }
    for (name, descriptor) in CONNECTIONS.into_iter().zip([heir.control, heir.config]) {
        let number = descriptor.map(|descriptor| descriptor.as_raw_fd().to_string());
        kept.extend(number.map(|number| (name.into(), number.into())));
    }
    kept
}

/// Whether a file of this owner may name a program that runs with the rights of this process: root's, and those of who
/// can become anybody, are not for what others have written.
///
/// # Errors
/// It may not; `option` named the program.
pub(super) fn may_name_program(owner: u32, option: &str) -> Result<(), Failure> {
    if (user::current_uid() != 0 && !capabilities::may_change_users()) || user::is_ours(owner) {
        return Ok(());
    }
    let reason = format!("its file belongs to uid {owner}: root runs no program (`{option}`) that it names");
    Err(Failure::new(reason).with_hint("give the file to root, or run it as its owner: emperor-tyrant"))
}

/// Where root runs no applications, the file must name another user, whom the program then becomes.
fn refuse_root(birth: &Birth, policy: &Policy) -> io::Result<Result<(), Failure>> {
    let owner = File::from(birth.file.try_clone()?).metadata()?.uid();
    if birth.foreign.named_by_file
        && let Err(failure) = may_name_program(owner, "exec")
    {
        return Ok(Err(failure));
    }
    if user::current_uid() != 0 {
        return Ok(Ok(()));
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
            ("UWSGI_EMPEROR_FD_CONFIG", "65"),
            ("OLD", "x"),
            ("UWSGI_RELOADS", "1"),
            ("NOTIFY_SOCKET", "/run/n"),
            ("LIEGE_CHANNEL_FD", "0"),
        ];
        let control = OwnedFd::from(File::open("/dev/null").unwrap());
        let heir = Heir { emperor: None, control: Some(&control), config: None };
        let changes = [("OLD".to_owned(), None), ("NEW".to_owned(), Some("y".to_owned()))];
        let before = before.into_iter().map(|(n, v)| (n.into(), v.into()));
        let after = environment(before, &heir, &changes);
        let number = control.as_raw_fd().to_string();
        let expected = [
            ("HOME", "/root"),
            ("UWSGI_VASSAL_", "x"),
            ("ZED_LONG_VARIABLE_NAME", "abc"),
            ("UWSGI_PYTHONPATH", "/p"),
            ("UWSGI_THREADS", "2"),
            ("NEW", "y"),
            ("UWSGI_EMPEROR_FD", &number),
        ];
        assert_eq!(after, expected.map(|(n, v)| (OsString::from(n), OsString::from(v))));
    }
}
