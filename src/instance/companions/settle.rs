//! Brings the companions from what they are to what they should be: what follows from the state alone.

use std::time::Duration;

use super::cron;
use super::{Companion, Companions, Effect, Moment, Run, Stage, Standing, Task};
use crate::config::companions::{CronSpec, Tracking};

/// How many runs of one command there may be at the same time.
const RUNS: usize = 8;
/// By how much the clock must have been set back to count anew.
const SET_BACK_S: u64 = 3 * 3600;
const MINUTE_S: u64 = 60;

/// Does whatever the state asks for. Called after every event; changes nothing when called again.
pub(super) fn settle(companions: &mut Companions, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    expire(companions, moment, out);
    set_back(companions, moment);
    if companions.stage == Stage::Attending {
        let mut lives = companions.lives;
        for companion in companions.all.iter_mut().filter(|companion| companion.wanted) {
            match companion.task {
                Task::Daemon(_) | Task::Mule(_) => {
                    let due =
                        matches!(companion.standing, Standing::Resting(rest) if rest.until <= moment.now);
                    if due && companion.runs.is_empty() {
                        companion.standing = Standing::Settled;
                        start(companion, &mut lives, moment, out);
                    }
                }
                Task::Cron(_) => ring(companion, &mut lives, moment, out),
                Task::Touch(_) => {}
            }
        }
        companions.lives = lives;
    }
    companions.all.retain(|companion| companion.wanted || !companion.runs.is_empty());
    if companions.stage == Stage::Parting && companions.all.is_empty() {
        companions.stage = Stage::Gone;
        out.push(Effect::Alone);
    }
}

/// Starts it, unless too much of it runs.
pub(super) fn start(companion: &mut Companion, lives: &mut u64, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    let name = &companion.name;
    if companion.runs.len() >= RUNS {
        out.push(Effect::Tell(format!("\"{name}\" runs {RUNS} times already, and is not started once more")));
        return;
    }
    *lives += 1;
    let (mut deadline, mut look_at) = (None, None);
    match &companion.task {
        Task::Daemon(daemon) => {
            let again = if companion.starts > 0 { "re" } else { "" };
            out.push(Effect::Log(format!("[uwsgi-daemons] {again}spawning \"{name}\"")));
            if let Tracking::Background { patience_s, .. } = daemon.tracking {
                look_at = Some(moment.now + Duration::from_secs(patience_s.into()));
            }
        }
        Task::Cron(cron) => {
            out.push(Effect::Log(format!("[uwsgi-cron] running \"{name}\"")));
            let limit = cron.harakiri_s.filter(|seconds| *seconds > 0);
            deadline = limit.map(|seconds| moment.now + Duration::from_secs(seconds.into()));
        }
        Task::Touch(_) => out.push(Effect::Log(format!("[uwsgi-touch-exec] running \"{name}\""))),
        // Its zygote says when it is there.
        Task::Mule(_) => {}
    }
    companion.starts += 1;
    companion.runs.push(Run {
        life: *lives,
        pid: None,
        since: moment.now,
        since_epoch_s: moment.epoch_s,
        asked: false,
        deadline,
        look_at,
        end: None,
    });
    out.push(Effect::Start { number: companion.number, life: *lives });
}

/// The first minute that a command runs in, from this one on.
pub(super) fn first(cron: &CronSpec, moment: &Moment<'_>) -> Option<u64> {
    cron::next(cron, moment.epoch_s, moment.local)
}

/// A clock that was set back by much shows other times: those are what counts. By little, what ran does not run again.
fn set_back(companions: &mut Companions, moment: &Moment<'_>) {
    if moment.epoch_s.saturating_add(SET_BACK_S) < companions.seen_epoch_s {
        for companion in &mut companions.all {
            if let Task::Cron(cron) = &companion.task {
                companion.next = first(cron, moment);
            }
        }
    }
    companions.seen_epoch_s = moment.epoch_s;
}

/// Runs a command whose minute has come.
fn ring(companion: &mut Companion, lives: &mut u64, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    let minute = moment.epoch_s - moment.epoch_s % MINUTE_S;
    while let Some(due) = companion.next.filter(|next| *next <= moment.epoch_s) {
        let Task::Cron(cron) = &companion.task else { return };
        let unique = cron.unique;
        companion.next = cron::next(cron, minute.max(due + MINUTE_S), moment.local);
        let name = &companion.name;
        if due < minute {
            out.push(Effect::Tell(format!("[uwsgi-cron] \"{name}\" was not run: its minute has passed")));
        } else if unique && !companion.runs.is_empty() {
            out.push(Effect::Log(format!("[uwsgi-cron] \"{name}\" still runs, and is not run again")));
        } else {
            start(companion, lives, moment, out);
        }
    }
}

/// Kills what was given time and did not use it.
fn expire(companions: &mut Companions, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    for companion in &mut companions.all {
        let (name, number) = (&companion.name, companion.number);
        let is_mule = matches!(companion.task, Task::Mule(_));
        for run in &mut companion.runs {
            let pid = run.pid.unwrap_or(0);
            if run.deadline.is_some_and(|deadline| deadline <= moment.now) {
                run.deadline = None;
                out.push(match run.asked {
                    true if is_mule => Effect::Tell(format!(
                        "{name} (pid: {pid}) is taking too much time to die...NO MERCY !!!"
                    )),
                    true => Effect::Log(format!(
                        "[uwsgi-daemons] daemon did not die in time, killing (pid: {pid}): \"{name}\""
                    )),
                    false => Effect::Tell(format!("*** HARAKIRI ON CRON \"{name}\" (pid: {pid}) ***")),
                });
                out.push(Effect::Kill { life: run.life });
            }
            if run.look_at.is_some_and(|at| at <= moment.now) {
                run.look_at = Some(moment.now + Duration::from_secs(1));
                out.push(Effect::Look { number });
            }
        }
    }
}
