//! What happens to companions, and what follows from it. No I/O, no clock.

use std::time::Duration;

use super::{Companion, Companions, Effect, End, Event, Moment, Rest, Run, Stage, Standing, Task, settle};
use crate::config::companions::Tracking;
use crate::tick::Tick;
use crate::wire::companion::{LastExit, MOST};

/// A daemon that ends within this time of its start ended too soon.
const QUICK: Duration = Duration::from_secs(3);
/// One that lived so long has proved itself.
const PROVED: Duration = Duration::from_secs(60);
/// How often a pid file is looked at that does not name anybody yet.
const LOOK: Duration = Duration::from_secs(1);
const HUP: i32 = 1;

/// Takes one event, changes the companions, and says what is to be done, in order. Late and repeated events change
/// nothing.
pub fn decide(companions: &mut Companions, event: Event, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    match event {
        Event::Renew { tasks, mercy } => renew(companions, tasks, mercy, moment, out),
        Event::Looked { number, pid } => looked(companions, number, pid, moment, out),
        Event::StrangerGone { number, pid } => stranger_gone(companions, number, pid, moment, out),
        Event::Started { life, pid } => {
            if let Some((_, run)) = companions.run(life).filter(|(_, run)| run.pid.is_none()) {
                run.pid = Some(pid);
            }
        }
        Event::Failed { life, failure } => {
            if let Some((_, run)) = companions.run(life) {
                run.end = Some(End { how: format!("it could not be started: {failure}"), success: false });
            }
        }
        Event::Ended { life, end } => ended(companions, life, end, moment.now, out),
        Event::Gone { life, how } => gone(companions, life, how, moment, out),
        Event::Touched(path) => {
            let touched = |c: &&mut Companion| match &c.task {
                Task::Daemon(daemon) => c.wanted && daemon.touch.contains(&path),
                Task::Mule(mule) => c.wanted && mule.touch.contains(&path),
                Task::Touch(touch) => c.wanted && touch.file == path,
                Task::Cron(_) => false,
            };
            let (mercy, attends) = (companions.mercy, companions.stage == Stage::Attending);
            let mut lives = companions.lives;
            for companion in companions.all.iter_mut().filter(touched).filter(|_| attends) {
                if companion.task.stays() {
                    let (path, called) = (path.display(), companion.called());
                    out.push(Effect::Log(format!(
                        "*** {path} has been touched... reloading {called} !!! ***"
                    )));
                    companion.ask_to_end(moment.now + companion.task.mercy(mercy), out);
                } else {
                    settle::start(companion, &mut lives, moment, out);
                }
            }
            companions.lives = lives;
        }
        Event::Part(by) => part(companions, by, moment, out),
        Event::Timer => {}
    }
    settle::settle(companions, moment, out);
}

/// Who is there already and is to stay keeps what runs of it.
fn renew(
    companions: &mut Companions,
    tasks: Vec<Task>,
    mercy: Duration,
    moment: &Moment<'_>,
    out: &mut Vec<Effect>,
) {
    if matches!(companions.stage, Stage::Parting | Stage::Gone) {
        return;
    }
    companions.stage = Stage::Attending;
    companions.mercy = mercy;
    let mut before = std::mem::take(&mut companions.all);
    let mut wanted = Vec::new();
    for task in tasks.into_iter().take(MOST) {
        let known = before.iter().position(|companion| companion.wanted && companion.task == task);
        match known.map(|at| before.remove(at)) {
            Some(mut companion) => {
                companion.reloaded(moment.now + companion.task.mercy(mercy), out);
                wanted.push(companion);
            }
            None => {
                companions.numbers += 1;
                let name = task.name();
                let taken = wanted.iter().filter(|c: &&Companion| base(&c.name) == name).count();
                let name = if taken == 0 { name } else { format!("{name}:{}", taken + 1) };
                wanted.push(Companion::new(companions.numbers, task, name, moment, out));
            }
        }
    }
    for companion in &mut before {
        companion.wanted = false;
        companion.standing = Standing::Settled;
        if companion.task.stays() {
            companion.ask_to_end(moment.now + companion.task.mercy(mercy), out);
        }
    }
    before.append(&mut wanted);
    companions.all = before;
}

/// A name without what tells it from an equal one.
fn base(name: &str) -> &str {
    name.split_once(':').map_or(name, |(base, _)| base)
}

fn looked(
    companions: &mut Companions,
    number: u64,
    pid: Option<u32>,
    moment: &Moment<'_>,
    out: &mut Vec<Effect>,
) {
    let Some(companion) = companions.all.iter_mut().find(|c| c.number == number) else { return };
    if let Standing::Looking(rest) = companion.standing {
        companion.standing = match pid {
            Some(pid) => {
                let name = &companion.name;
                out.push(Effect::Log(format!(
                    "[uwsgi-daemons] found valid/active pidfile for \"{name}\" (pid: {pid})"
                )));
                out.push(Effect::Watch { number, pid });
                Standing::Stranger(pid)
            }
            None => Standing::Resting(rest),
        };
        return;
    }
    let Task::Daemon(daemon) = &companion.task else { return };
    let Tracking::Background { patience_s, pidfile } = &daemon.tracking else { return };
    let name = &companion.name;
    let Some(run) = companion.runs.first_mut() else { return };
    match pid {
        Some(pid) => (run.pid, run.look_at) = (Some(pid), None),
        None if moment.now.since(run.since) < Duration::from_secs((*patience_s).into()) => {
            run.look_at = Some(moment.now + LOOK);
        }
        None => {
            run.look_at = None;
            let file = pidfile.display();
            out.push(Effect::Tell(format!(
                "[uwsgi-daemons] \"{name}\" did not daemonize: {file} names no process that runs after {patience_s} s"
            )));
        }
    }
}

fn stranger_gone(
    companions: &mut Companions,
    number: u64,
    pid: u32,
    moment: &Moment<'_>,
    out: &mut Vec<Effect>,
) {
    let attends = companions.stage == Stage::Attending;
    let Some(companion) = companions.all.iter_mut().find(|c| c.number == number) else { return };
    if companion.standing != Standing::Stranger(pid) {
        return;
    }
    companion.failures += 1;
    let name = &companion.name;
    out.push(Effect::Tell(format!("[uwsgi-daemons] \"{name}\" (pid: {pid}) is gone")));
    let end =
        LastExit { at_epoch_s: moment.epoch_s, how: "how it ended is not known".to_owned(), asked: false };
    companion.last = Some(end);
    companion.standing = Standing::Settled;
    if attends && companion.wanted {
        companion.rest(Duration::ZERO, false, moment, out);
    }
}

fn ended(companions: &mut Companions, life: u64, end: End, now: Tick, out: &mut Vec<Effect>) {
    let Some((companion, run)) = companions.run(life) else { return };
    let (number, success) = (companion, end.success);
    run.end = Some(end);
    let lingers = run.look_at.is_some();
    if lingers && success {
        run.look_at = Some(now + LOOK);
        out.push(Effect::Look { number });
    }
}

fn gone(companions: &mut Companions, life: u64, how: String, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    let attends = companions.stage == Stage::Attending;
    let has_it = |c: &&mut Companion| c.runs.iter().any(|run| run.life == life);
    let Some(companion) = companions.all.iter_mut().find(has_it) else { return };
    let Some(at) = companion.runs.iter().position(|run| run.life == life) else { return };
    let run = companion.runs.remove(at);
    let end = run.end.clone().unwrap_or(End { how, success: false });
    companion.last = Some(LastExit { at_epoch_s: moment.epoch_s, how: end.how.clone(), asked: run.asked });
    let lived = moment.now.since(run.since);
    let (name, pid) = (companion.name.clone(), run.pid.unwrap_or(0));
    match &companion.task {
        Task::Daemon(_) | Task::Mule(_) => {
            let (most, control) = (companion.task.throttle_s(), companion.task.is_control());
            if run.asked {
                out.push(Effect::Log(format!("{} (pid: {pid}) annihilated", companion.called())));
            } else {
                companion.failures += 1;
            }
            let mut delay = Duration::ZERO;
            if !run.asked && lived <= QUICK {
                companion.quick = companion.quick.saturating_add(1);
                delay = Duration::from_secs(companion.quick.min(most).into());
            } else if lived >= PROVED {
                companion.quick = 0;
            }
            if !attends || !companion.wanted {
                return;
            }
            if !run.asked {
                let then = if control {
                    "the instance stops with it".to_owned()
                } else if delay.is_zero() {
                    "it is started again".to_owned()
                } else {
                    format!("too soon: it is started again in {} s", delay.as_secs())
                };
                let how = &end.how;
                out.push(Effect::Tell(match companion.task {
                    Task::Mule(_) => format!("OOOPS {name} (pid: {pid}) crippled: {how}; {then}"),
                    _ => format!("[uwsgi-daemons] \"{name}\" (pid: {pid}) ended: {how}; {then}"),
                }));
            }
            if control && !run.asked {
                companion.wanted = false;
                out.push(Effect::Stop);
            } else {
                companion.rest(delay, !delay.is_zero(), moment, out);
            }
        }
        Task::Cron(_) | Task::Touch(_) => {
            let what =
                if matches!(companion.task, Task::Cron(_)) { "uwsgi-cron" } else { "uwsgi-touch-exec" };
            let (seconds, how) = (lived.as_secs(), &end.how);
            let line = format!("[{what}] \"{name}\" (pid: {pid}) ended after {seconds} second(s): {how}");
            if end.success || run.asked {
                out.push(Effect::Log(line));
            } else {
                companion.failures += 1;
                out.push(Effect::Tell(line));
            }
        }
    }
}

fn part(companions: &mut Companions, by: Option<Tick>, moment: &Moment<'_>, out: &mut Vec<Effect>) {
    if companions.stage == Stage::Gone {
        return;
    }
    let first = companions.stage != Stage::Parting;
    companions.stage = Stage::Parting;
    for companion in &mut companions.all {
        if first {
            companion.tell_stranger(companion.task.stop_signal(), out);
        }
        companion.wanted = false;
        companion.standing = Standing::Settled;
        let usual = moment.now + companion.task.mercy(companions.mercy);
        companion.ask_to_end(by.map_or(usual, |by| by.min(usual)), out);
    }
}

impl Companions {
    fn run(&mut self, life: u64) -> Option<(u64, &mut Run)> {
        let runs = self.all.iter_mut().flat_map(|c| c.runs.iter_mut().map(|run| (c.number, run)));
        runs.into_iter().find(|(_, run)| run.life == life)
    }
}

impl Companion {
    fn new(number: u64, task: Task, name: String, moment: &Moment<'_>, out: &mut Vec<Effect>) -> Self {
        let mut new = Self {
            number,
            task,
            name,
            wanted: true,
            runs: Vec::new(),
            standing: Standing::Settled,
            starts: 0,
            failures: 0,
            quick: 0,
            last: None,
            next: None,
        };
        match &new.task {
            Task::Daemon(_) | Task::Mule(_) => new.rest(Duration::ZERO, false, moment, out),
            Task::Cron(cron) => new.next = settle::first(cron, moment),
            Task::Touch(_) => {}
        }
        new
    }

    /// It is started after so long, unless its pid file names one that runs.
    fn rest(&mut self, delay: Duration, back_off: bool, moment: &Moment<'_>, out: &mut Vec<Effect>) {
        let rest = Rest { until: moment.now + delay, epoch_s: moment.epoch_s + delay.as_secs(), back_off };
        self.standing = match &self.task {
            Task::Daemon(daemon) if daemon.tracking.pidfile().is_some() => {
                out.push(Effect::Look { number: self.number });
                Standing::Looking(rest)
            }
            _ => Standing::Resting(rest),
        };
    }

    /// A new generation serves, whose configuration says the same of it.
    fn reloaded(&mut self, deadline: Tick, out: &mut Vec<Effect>) {
        let daemon = match &self.task {
            Task::Daemon(daemon) => daemon,
            Task::Mule(_) => return self.ask_to_end(deadline, out),
            Task::Cron(_) | Task::Touch(_) => return,
        };
        let (signal, notify, outlives) = (daemon.reload_signal, daemon.notify, daemon.outlives_reloads());
        match (outlives, signal) {
            (true, signal) if notify => {
                let signal = signal.unwrap_or(HUP);
                self.tell_stranger(signal, out);
                self.signal(signal, out);
            }
            (true, _) => {}
            (false, Some(signal)) => self.signal(signal, out),
            (false, None) => self.ask_to_end(deadline, out),
        }
    }

    fn signal(&self, signal: i32, out: &mut Vec<Effect>) {
        out.extend(
            self.runs.iter().filter(|run| !run.asked).map(|run| Effect::Signal { life: run.life, signal }),
        );
    }

    fn tell_stranger(&self, signal: i32, out: &mut Vec<Effect>) {
        if let (Task::Daemon(daemon), Standing::Stranger(pid)) = (&self.task, self.standing)
            && daemon.notify
        {
            out.push(Effect::SignalStranger { number: self.number, pid, signal });
        }
    }

    /// Asks what runs of it to end; what has not by then is killed.
    fn ask_to_end(&mut self, deadline: Tick, out: &mut Vec<Effect>) {
        let signal = self.task.stop_signal();
        for run in &mut self.runs {
            if run.asked {
                run.deadline = run.deadline.map(|own| own.min(deadline));
                continue;
            }
            (run.asked, run.deadline) = (true, Some(deadline));
            if matches!(self.task, Task::Daemon(_)) {
                let (name, pid) = (&self.name, run.pid.unwrap_or(0));
                out.push(Effect::Log(format!("[uwsgi-daemons] stopping daemon \"{name}\" (pid: {pid})")));
            }
            out.push(Effect::Signal { life: run.life, signal });
        }
    }
}
