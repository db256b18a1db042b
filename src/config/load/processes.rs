//! The options about the processes of an instance: what they are called, what they may use, the files that tell their
//! pids or let only one instance start, and how they begin and end.

use std::path::Path;

use super::instance::large;
use super::sift::{Said, Sift};
use crate::config::instance::{InstanceSpec, LockSpec};
use crate::config::namespaces::Namespaces;
use crate::config::patch::{Patch, PatchSpec};

/// Obeys an option, if it is one of these. Relative paths start from the start directory, or from `chdir`.
pub(super) fn obey(
    sift: &mut Sift<'_>,
    said: Said<'_>,
    (start, chdir): (&Path, &Path),
    spec: &mut InstanceSpec,
) -> bool {
    titles(said, spec) || limits(sift, said, spec) || patches(said, &mut spec.patches) || {
        let files = &mut spec.files;
        match said.name() {
            "pidfile" => files.pidfile = sift.path(said, start),
            "pidfile2" => files.pidfile2 = sift.path(said, chdir),
            "safe-pidfile" => files.safe_pidfile = sift.path(said, chdir),
            "safe-pidfile2" => files.safe_pidfile2 = sift.path(said, chdir),
            name @ ("flock" | "flock-wait" | "flock2" | "flock-wait2") => {
                let (waits, late) = (name.contains("wait"), name.ends_with('2'));
                let path = sift.path(said, start);
                files.locks.extend(path.map(|path| LockSpec { path, waits, late }));
            }
            "unshare" => match Namespaces::parse(said.text()) {
                Ok(Namespaces { pids: true, .. }) => sift.error(
                    said,
                    "`pid`: a master is born in one, or not at all",
                    Some("say emperor-use-clone = pid in the emperor's options".to_owned()),
                ),
                Ok(namespaces) => spec.unshare = namespaces,
                Err(error) => sift.error(said, error, Some("say some of fs, ipc, net, uts".to_owned())),
            },
            "exit-on-reload" => spec.exit_on_reload = said.flag(),
            "fallback-config" => spec.fallback = sift.path(said, start),
            _ => return false,
        }
        true
    }
}

/// Each of them asks for titles, whatever it says, as in uWSGI.
fn titles(said: Said<'_>, spec: &mut InstanceSpec) -> bool {
    let text = || said.text().to_owned();
    match said.name() {
        "auto-procname" => {
            spec.auto_procname = said.flag();
            return true;
        }
        "procname-prefix" => spec.procname_prefix = text(),
        "procname-prefix-spaced" => spec.procname_prefix = format!("{} ", said.text()),
        "procname-append" => spec.titles.append = text(),
        "procname" => spec.titles.all = Some(text()),
        "procname-master" => spec.titles.master = Some(text()),
        _ => return false,
    }
    spec.auto_procname = true;
    true
}

/// A program counts more than a command, whichever is said last, as in uWSGI.
fn patches(said: Said<'_>, patches: &mut PatchSpec) -> bool {
    let place =
        if said.name().starts_with("un") { &mut patches.unprivileged } else { &mut patches.privileged };
    match said.name() {
        "privileged-binary-patch" | "unprivileged-binary-patch" => {
            *place = Some(Patch::Program(said.text().to_owned()));
        }
        "privileged-binary-patch-arg" | "unprivileged-binary-patch-arg" => {
            if !matches!(place, Some(Patch::Program(_))) {
                *place = Some(Patch::Command(said.text().to_owned()));
            }
        }
        _ => return false,
    }
    true
}

/// The fewest descriptors with which a reload goes well, as measured: a master has some for itself, and for each worker of
/// two generations a channel and what tells its end. With a router it has more, and a worker two for each thread.
fn fewest_files(workers: u64, threads: u64, is_routed: bool) -> u64 {
    let plain = workers.saturating_mul(4).saturating_add(32);
    if !is_routed {
        return plain;
    }
    let worker = threads.saturating_mul(2).saturating_add(32);
    plain.saturating_add(workers).saturating_add(8).max(worker)
}

/// With too few descriptors nothing starts, and what fails first says nothing to anybody.
pub(super) fn check_descriptors(sift: &mut Sift<'_>, spec: &InstanceSpec) {
    let workers = u64::from(spec.workers.processes.max(1));
    let is_routed = spec.listen.iter().any(|listen| listen.protocol.is_of_router());
    let fewest = fewest_files(workers, spec.workers.threads.into(), is_routed);
    if let Some(files) = spec.limits.files.filter(|files| *files < fewest) {
        let message = format!("{files} descriptors are too few for processes = {workers}");
        sift.error_at(
            "max-fd",
            message,
            format!("write {fewest} at least, and one more for each client at a time"),
        );
    }
}

fn limits(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut InstanceSpec) -> bool {
    let limits = &mut spec.limits;
    match said.name() {
        "max-fd" => limits.files = Some(large(sift, said)).filter(|count| *count > 0),
        "limit-as" => {
            let bytes = large(sift, said).saturating_mul(1 << 20);
            limits.memory_bytes = Some(bytes).filter(|bytes| *bytes > 0);
        }
        "limit-nproc" => limits.processes = Some(large(sift, said)).filter(|count| *count > 0),
        // The kernel knows no others.
        "prio" => limits.nice = i32::try_from(sift.number(said).clamp(-20, 19)).unwrap_or_default(),
        _ => return false,
    }
    true
}
