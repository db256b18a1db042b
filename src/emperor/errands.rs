//! What the emperor does for `decide`: carry out effects, and bring news of lives.

use std::path::Path;

use super::event::{Effect, Event, News};
use super::fleet::{ExitKind, Vassal};
use super::forkbomb::{self, Bomb, Evidence};
use super::life::LifeId;
use super::link::{Heard, Link, Said};
use super::patrol::Found;
use super::reap;
use super::servers::{Need, Reach};
use super::settle::Note;
use super::turns::Emperor;
use crate::config::limits::Limits;
use crate::sys::process::Signal;
use crate::sys::{clock, own, peer, process};
use crate::trace;
use crate::wire::death::Cause;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, Outcome, ToInstance};
use crate::wire::succession::Succession;

impl Emperor {
    pub(super) fn do_one(&mut self, effect: Effect) {
        match effect {
            Effect::Launch { vassal, life } => self.launch(vassal, life),
            Effect::Send { life, message, file_of } => self.send(life, &self.with_options(message), file_of),
            Effect::Terminate { life, signal } => self.masters.terminate(life, signal),
            Effect::Kill { life } => self.masters.kill(life),
            Effect::Adopt { vassal, life } => self.masters.adopt(&vassal, life),
            Effect::Release { life } => self.release(life),
            Effect::Sleep { vassal } => self.put_to_bed(vassal),
            Effect::Awake { vassal } => self.stop_waiting(&vassal),
            Effect::Close { vassal } => self.close_sockets(&vassal),
            Effect::Bequeath { from, to } => self.bequeath(&from, &to),
            Effect::Forget { vassal } => {
                self.close_sockets(&vassal);
                self.watcher.forget(&vassal);
                self.settle.note(&vassal, Note::Changed, clock::now());
            }
            Effect::Rescan => self.rescan_at = clock::now(),
            Effect::Log { audit: true, message, .. } => tracing::info!(target: trace::AUDIT, "{message}"),
            Effect::Log { vassal, warning, message, .. } => match (vassal, warning) {
                (Some(vassal), false) => tracing::info!(vassal, "{message}"),
                (Some(vassal), true) => tracing::warn!(vassal, "{message}"),
                (None, false) => tracing::info!("{message}"),
                (None, true) => tracing::warn!("{message}"),
            },
            Effect::Attend { operation, master, pid, signal } => {
                let done = attend(master, pid, signal);
                self.due.push_back(Event::Attended(operation, done));
            }
            Effect::LogLevel(level) => trace::set_level(level),
            Effect::Ready => self.manager.ready(),
            Effect::Reexec(operation) => self.rehearse(operation),
            Effect::Exit => self.done = true,
        }
    }

    pub(super) fn launch(&mut self, vassal: String, life: LifeId) {
        let directory = self.handle.fleet().vassals.get(&vassal).map(|known| known.directory.clone());
        let Some(directory) = directory else { return };
        self.hooks.began(life, &directory);
        self.hold_on_demand(&vassal);
        if self.handle.fleet().vassals.get(&vassal).is_some_and(|known| known.program.is_some()) {
            self.make_way(&vassal, life);
        }
        let path = directory.join(&vassal);
        let reached = self.reached(&path);
        let launched = reached.and_then(|()| self.masters.launch(&self.launcher, &vassal, &directory, life));
        let news = match launched {
            Ok((launched, owner)) => {
                if let News::Launched { pid, .. } = launched {
                    self.hooks.started(&vassal, pid, owner, clock::now());
                }
                launched
            }
            Err(failure) => News::LaunchFailed(failure),
        };
        self.due.push_back(Event::News { vassal, life, news });
    }

    /// Whether a file can be opened now: its server was asked.
    fn reached(&self, path: &Path) -> Result<(), Failure> {
        match self.servers.reach(path, Need::default()) {
            Reach::Not(reason) => Err(Failure::new(format!("cannot open {}: {reason}", path.display()))
                .with_hint("see to the server, or keep the files of vassals on the host's own disk")),
            Reach::Now | Reach::Soon => Ok(()),
        }
    }

    /// Nothing of a life is left.
    fn release(&mut self, life: LifeId) {
        let vassal = self.masters.by_life.get(&life).map(|master| master.vassal.clone());
        self.masters.release(life);
        self.patrol.watch(life, None);
        let Some(vassal) = vassal else { return };
        self.hooks.ended(life, &vassal, clock::now());
    }

    /// A reload goes by what is said to all vassals now: this image may have read other options than the last.
    fn with_options(&self, mut message: ToInstance) -> ToInstance {
        if let ToInstance::Reload { vassals, .. } = &mut message {
            *vassals = Some(self.launcher.policy.vassals.clone());
        }
        message
    }

    pub(super) fn send(&mut self, life: LifeId, message: &ToInstance, file_of: Option<String>) {
        let of_vassal = |id: &String| {
            let fleet = self.handle.fleet();
            fleet.vassals.get(id).map(|vassal| (vassal.path.clone(), vassal.tenant))
        };
        let known = file_of.as_ref().and_then(of_vassal);
        let vassal = self.masters.by_life.get(&life).map(|master| master.vassal.clone());
        let Some(vassal) = vassal else { return };
        if matches!(message, ToInstance::Reload { .. }) {
            self.limit(&vassal, life);
        }
        if matches!(message, ToInstance::Stop { succession: Succession::Nobody, .. }) {
            // It makes them refuse everybody: no later life can use them.
            self.masters.give_up_listeners(&vassal);
        }
        if matches!(message, ToInstance::Stop { .. }) {
            self.masters.write_down(life, |record| record.leaving = true);
        }
        let file = known.as_ref().map(|(path, tenant)| (path.as_path(), self.launcher.manner, *tenant));
        let reached = file.map_or(Ok(()), |(path, ..)| self.reached(path));
        let news = match (reached.and_then(|()| self.masters.send(life, message, file)), message) {
            (Ok(Some(identity)), _) => {
                self.masters.write_down(life, |record| record.file = identity);
                News::Opened(identity)
            }
            (Ok(None), _) => return,
            (Err(failure), ToInstance::Reload { operation, .. } | ToInstance::Reexec { operation, .. }) => {
                let outcome = Outcome::RolledBack(failure);
                News::Said(FromInstance::Ended { operation: *operation, outcome })
            }
            (Err(failure), _) => {
                tracing::warn!(vassal, "{failure}");
                News::Disconnected
            }
        };
        self.due.push_back(Event::News { vassal, life, news });
    }

    /// Another program leads this life, and binds the sockets itself: nobody may have them still, however late the service
    /// manager closes them.
    fn make_way(&mut self, vassal: &str, life: LifeId) {
        if let Some(kept) = self.masters.keep_only_on_demand(vassal) {
            self.free_ports(vassal, &kept, Some(life));
        }
        // It waits for that.
        let link = self.masters.by_life.get(&life).and_then(|master| master.link.as_ref());
        if let Some(Err(error)) = link.map(Link::end_sending) {
            tracing::debug!(vassal, "it is not told that its sockets are free: {error}");
        }
        self.settle_store();
    }

    pub(super) fn hear(&mut self, heard: Heard) {
        let Heard { vassal, life, said } = heard;
        let news = match said {
            Said::Byte(word) => News::Byte(word),
            Said::ControlEnded => News::Disconnected,
            // It has become another program.
            Said::ChannelEnded if self.masters.is_foreign(life) => return,
            Said::ChannelEnded => News::Disconnected,
            Said::Message(message) => match self.masters.receive(life, message) {
                Some(mut message) => {
                    self.explain(&vassal, life, &mut message);
                    match message {
                        // It has taken its identity on before it says this.
                        FromInstance::Hello { .. } => self.note_user(&vassal, life),
                        FromInstance::Becomes { .. } => self.make_way(&vassal, life),
                        _ => {}
                    }
                    if matches!(message, FromInstance::Configured { .. }) {
                        self.decide(Event::News { vassal: vassal.clone(), life, news: News::Said(message) });
                        return self.limit(&vassal, life);
                    }
                    News::Said(message)
                }
                None => return,
            },
        };
        self.decide(Event::News { vassal, life, news });
    }

    /// What a master cannot know of a process that was killed: whether the kernel did it, because memory was short.
    fn explain(&mut self, vassal: &str, life: LifeId, message: &mut FromInstance) {
        let cgroups = &mut self.masters.cgroups;
        let killed = process::Exit::Signal(Signal::Kill.number()).to_string();
        let mut by_kernel = |how: &str| how.ends_with(&killed) && cgroups.ran_out_of_memory(vassal, life);
        match message {
            FromInstance::Died(death) if death.cause == Cause::Signal && by_kernel(&death.how) => {
                death.cause = Cause::OutOfMemory;
            }
            FromInstance::AppFailed(failure)
            | FromInstance::Failed(failure)
            | FromInstance::Ended { outcome: Outcome::RolledBack(failure), .. }
                if by_kernel(&failure.message) =>
            {
                failure.message = format!("{}; {}", failure.message, Cause::OutOfMemory);
            }
            _ => {}
        }
    }

    /// A vassal forks without end: of its lives it is the largest that does.
    pub(super) fn defuse(&mut self, Bomb { vassal, refused, within_ms }: Bomb) {
        let lives = self.masters.by_life.iter().filter(|(_, master)| master.vassal == vassal);
        let largest = self.masters.cgroups.largest(&vassal, lives.map(|(life, _)| *life));
        if let Some((life, most)) = largest {
            let evidence = Evidence::Refused { count: refused, most };
            self.decide(Event::News { vassal, life, news: News::ForkBomb { evidence, within_ms } });
        }
    }

    /// Looks at those whom no control group counts, and ends those among them who fork without end.
    pub(super) fn look_at_crowds(&mut self) {
        let finished = |vassal: &str| forkbomb::finished(&self.handle, vassal);
        for Found { life, evidence, within_ms, held } in self.patrol.go_on(&self.masters, finished) {
            let Some(master) = self.masters.by_life.get_mut(&life) else { continue };
            master.forks_without_end = true;
            let vassal = master.vassal.clone();
            self.decide(Event::News { vassal, life, news: News::ForkBomb { evidence, within_ms } });
            // Who was stopped is killed by now.
            drop(held);
        }
    }

    /// Sets the limits of a vassal anew, after something new was said of them.
    fn limit(&mut self, vassal: &str, life: LifeId) {
        let mut fleet = self.handle.fleet();
        let Some(pid) = self.masters.by_life.get(&life).map(|master| master.child.pid()) else { return };
        let Some(known) = fleet.vassals.get_mut(vassal) else { return };
        let own = own_limits(known, life);
        self.masters.cgroups.adjust(vassal, &known.attributes, (life, pid), own);
        drop(fleet);
        self.watch_for_crowds(vassal, life);
    }

    /// A life whose refused processes no control group counts is looked at from now on, where its user may have so many.
    pub(super) fn watch_for_crowds(&mut self, vassal: &str, life: LifeId) {
        let mut fleet = self.handle.fleet();
        let most = fleet.vassals.get_mut(vassal).and_then(|known| own_limits(known, life).processes);
        self.patrol.watch(life, most.filter(|_| !self.masters.cgroups.counts(vassal, life)));
    }

    /// The same for all lives that an earlier image has followed.
    pub(super) fn watch_for_all_crowds(&mut self) {
        let lives: Vec<_> =
            self.masters.by_life.iter().map(|(life, master)| (*life, master.vassal.clone())).collect();
        for (life, vassal) in lives {
            self.watch_for_crowds(&vassal, life);
        }
    }

    fn note_user(&mut self, vassal: &str, life: LifeId) {
        let Some(uid) = self.masters.by_life.get(&life).map(|master| peer::user_of(master.child.pid()))
        else {
            return;
        };
        self.masters.write_down(life, |record| record.uid = uid);
        let mut fleet = self.handle.fleet();
        let lives = fleet.vassals.get_mut(vassal).into_iter().flat_map(|vassal| vassal.lives_mut());
        lives.filter(|known| known.id == life).for_each(|known| known.uid = uid);
    }

    /// Reaps, and notices masters that were stopped by a signal; answers children that belong to no life.
    pub(super) fn reap(&mut self) -> Vec<(u32, process::Exit)> {
        let reaped = reap::reap(&mut self.masters);
        self.reap_at = reaped.more.then(|| clock::now() + reap::PAUSE);
        for (life, mut news) in reaped.news {
            let Some(vassal) = self.masters.by_life.get(&life).map(|master| master.vassal.clone()) else {
                continue;
            };
            if matches!(news, News::Exited { .. }) {
                self.hear_last_words(&vassal, life);
            }
            if let News::Exited { exit, .. } = &mut news
                && *exit == ExitKind::Signal(Signal::Kill.number())
                && self.masters.cgroups.ran_out_of_memory(&vassal, life)
            {
                *exit = ExitKind::OutOfMemory;
            }
            self.decide(Event::News { vassal, life, news });
        }
        while let Some((pid, halted)) = process::next_halt() {
            let known = self.masters.by_life.iter().find(|(_, m)| m.child.pid() == pid && !m.reaped);
            if let Some((life, vassal)) = known.map(|(life, master)| (*life, master.vassal.clone())) {
                self.decide(Event::News { vassal, life, news: News::Halted(halted) });
            }
        }
        reaped.others
    }

    /// What a dead master said before it died counts before its death.
    pub(super) fn hear_last_words(&mut self, vassal: &str, life: LifeId) {
        self.hear_waiting();
        for said in self.masters.last_words(life) {
            self.hear(Heard { vassal: vassal.to_owned(), life, said });
        }
    }

    pub(super) fn hear_waiting(&mut self) {
        while let Ok(heard) = self.heard.try_recv() {
            self.hear(heard);
        }
    }
}

/// Sends a signal to a worker of this master, and to nobody else.
fn attend(master: u32, pid: u32, signal: Signal) -> Result<(), Failure> {
    let failed = |reason: &str| Failure::new(format!("worker {pid}: {reason}"));
    let pid = own::child_in_namespace_of(master, pid).ok_or_else(|| failed("there is no such process"))?;
    // The handle first: what is found out after that is about this very process.
    let worker = process::Child::adopt(pid).map_err(|error| failed(&error.to_string()))?;
    if own::group_of(pid) != Some(master) {
        return Err(failed("it is no process of this vassal"));
    }
    if signal == Signal::Usr2 && !own::catches(pid, signal) {
        return Err(failed("it cannot tell its stacks yet, or not any more"));
    }
    worker.signal(signal).map_err(|error| failed(&error.to_string()))
}

/// What the configuration of a life asks for: how many processes and threads its user may have (`limit-nproc`), and how
/// nice it is to others (`prio`).
fn own_limits(known: &mut Vassal, life: LifeId) -> Limits {
    let next = known.next.as_ref().filter(|next| next.id == life);
    let spec = next.and_then(|next| Some(&next.configured.as_ref()?.0)).or(known.spec.as_ref());
    let Some(asked) = spec.map(|spec| spec.limits.clone()) else { return Limits::default() };
    let uid = known.lives_mut().find(|known| known.id == life).and_then(|known| known.uid);
    // Root has as many as it likes.
    let processes = asked.processes.filter(|_| uid.is_some_and(|uid| uid != 0));
    Limits { processes, ..Limits::of_nice(asked.nice) }
}
