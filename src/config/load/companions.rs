//! The options about what lives beside the workers.

use std::path::Path;

use super::sift::{Said, Sift};
use crate::config::companions::{CompanionSpec, CronSpec, DaemonSpec, MOST_MULES, MuleSpec, TouchExec};

/// Obeys an option, if it is one of these.
pub(super) fn obey(spec: &mut CompanionSpec, sift: &mut Sift<'_>, said: Said<'_>, chdir: &Path) -> bool {
    match said.name() {
        "attach-daemon" | "attach-control-daemon" => {
            if said.text().trim().is_empty() {
                sift.error(said, "there is no command", None);
            }
            let control = said.name() == "attach-control-daemon";
            spec.daemons.push(DaemonSpec { control, ..DaemonSpec::attached(said.text()) });
        }
        "smart-attach-daemon" | "smart-attach-daemon2" => {
            match DaemonSpec::smart(said.text(), said.name() == "smart-attach-daemon2", chdir) {
                Ok(daemon) => spec.daemons.push(daemon),
                Err(reason) => sift.error(said, reason, Some("PIDFILE COMMAND".to_owned())),
            }
        }
        "attach-daemon2" => match DaemonSpec::keyval(said.text(), chdir) {
            Ok((daemon, ignored)) => {
                warn_of(sift, said, &ignored);
                spec.daemons.push(daemon);
            }
            Err(reason) => sift.error(said, reason, Some("cmd=COMMAND,stopsignal=15,…".to_owned())),
        },
        "cron" | "unique-cron" => {
            let syntax = "minute hour day month weekday command; -1 is any, -5 every fifth";
            match CronSpec::parse(said.text(), said.name() == "unique-cron") {
                Ok(cron) => add_cron(spec, sift, said, cron),
                Err(reason) => sift.error(said, reason, Some(syntax.to_owned())),
            }
        }
        "cron2" => match CronSpec::keyval(said.text()) {
            Ok((cron, ignored)) => {
                warn_of(sift, said, &ignored);
                add_cron(spec, sift, said, cron);
            }
            Err(reason) => {
                let suggestion = "minute=0,hour=3,unique=1 COMMAND";
                sift.error(
                    said,
                    format!("unable to parse cron definition: {reason}"),
                    Some(suggestion.to_owned()),
                );
            }
        },
        "touch-exec" => {
            let task = TouchExec::parse(said.text(), chdir);
            match task.command.is_empty() {
                true => sift.error(said, "there is no command", Some("FILE COMMAND".to_owned())),
                false => spec.touch_exec.push(task),
            }
        }
        "mule" => drop(add_mule(spec, sift, said, said.text_or(""), chdir)),
        "mules" => {
            for _ in 0..sift.count(said) {
                if !add_mule(spec, sift, said, "", chdir) {
                    break;
                }
            }
        }
        "touch-mules-reload" => spec.mule_touch.extend(sift.path(said, chdir)),
        "mule-msg-size" => spec.mule_queue_bytes = sift.count(said),
        // Settled when all is read.
        "daemons-honour-stdin" | "cron-harakiri" | "mule-reload-mercy" | "mule-harakiri" => {}
        _ => return false,
    }
    true
}

/// Fills in what is said once for all, wherever it stands; `idle`: seconds without a request.
pub(super) fn finish(spec: &mut CompanionSpec, sift: &mut Sift<'_>, obeyed: &[Said<'_>]) {
    let last = |name: &str| obeyed.iter().rfind(|said| said.name() == name).copied();
    if last("daemons-honour-stdin").is_some_and(|said| said.flag()) {
        spec.daemons.iter_mut().for_each(|daemon| daemon.stdin = true);
    }
    if let Some(said) = last("cron-harakiri") {
        let seconds = sift.count(said);
        for cron in &mut spec.crons {
            cron.harakiri_s.get_or_insert(seconds);
        }
    }
    finish_mules(spec, sift, obeyed);
    if let Some(idle) = last("idle").filter(|_| spec.keeps_awake()) {
        let message =
            "daemons, cron and mules keep the instance awake: only its workers end until somebody connects";
        sift.warn(idle, message, None);
    }
}

/// Adds a mule; whether there was room.
fn add_mule(spec: &mut CompanionSpec, sift: &mut Sift<'_>, said: Said<'_>, code: &str, chdir: &Path) -> bool {
    let has_room = spec.mules.len() < MOST_MULES;
    if has_room {
        let (mule, doubt) = MuleSpec::new(spec.mules.len(), code, chdir);
        if let Some(reason) = doubt {
            sift.warn(said, reason, None);
        }
        spec.mules.push(mule);
    } else {
        sift.error(said, format!("there are more than {MOST_MULES} mules"), None);
    }
    has_room
}

/// What is said of all mules.
fn finish_mules(spec: &mut CompanionSpec, sift: &mut Sift<'_>, obeyed: &[Said<'_>]) {
    for said in obeyed {
        let of_mule: fn(&mut MuleSpec) -> &mut u32 = match said.name() {
            "mule-reload-mercy" => |mule| &mut mule.mercy_s,
            "mule-harakiri" => |mule| &mut mule.harakiri_s,
            _ => continue,
        };
        let seconds = sift.count(*said);
        spec.mules.iter_mut().for_each(|mule| *of_mule(mule) = seconds);
    }
    for mule in &mut spec.mules {
        mule.touch.clone_from(&spec.mule_touch);
    }
}

fn add_cron(spec: &mut CompanionSpec, sift: &mut Sift<'_>, said: Said<'_>, cron: CronSpec) {
    if let Some(reason) = cron.never() {
        sift.warn(said, reason, None);
    }
    spec.crons.push(cron);
}

fn warn_of(sift: &mut Sift<'_>, said: Said<'_>, ignored: &[String]) {
    for part in ignored {
        sift.warn(said, format!("{part} is ignored: there is no such key"), None);
    }
}
