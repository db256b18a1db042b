//! Hooks that are done while the instance runs, beside its loop: those before a reload's new generation, and those that
//! only are to be done.

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::children::{Owner, Process};
use super::event::Event;
use super::hooks;
use super::link::Link;
use super::master::{Master, Report};
use super::rehearse::Found;
use super::roster::Phase;
use crate::config::hook::{Hook, Point};
use crate::config::instance::InstanceSpec;
use crate::hook::{
    self,
    role::{Order, Word},
};
use crate::sys::clock;
use crate::sys::process::{Child, Exit};
use crate::tick::Tick;
use crate::wire::channel::Received;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, OperationId};

/// How many are done at the same time, besides those of a reload.
const AT_ONCE: usize = 8;
/// What each gets that belongs to no start.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a hook gets beyond what it gives itself.
const MARGIN: Duration = Duration::from_secs(10);

/// All chores.
#[derive(Debug, Default)]
pub(super) struct Chores {
    running: BTreeMap<u64, Chore>,
    /// The reload that begins after the one whose hooks are being done; a later one takes its place.
    next: Option<(OperationId, Box<Found>)>,
}

#[derive(Debug)]
struct Chore {
    process: Process<Order, Word>,
    purpose: Purpose,
    doing: String,
    patience: Option<Duration>,
    deadline: Option<Tick>,
    result: Option<Result<(), Failure>>,
}

/// What follows.
#[derive(Debug)]
enum Purpose {
    Reload(OperationId, Box<Found>),
    /// The instance stops, and requests get so long.
    Stop(Option<Duration>),
    Nothing,
}

impl Chores {
    /// When the first of them has had its time.
    pub(super) fn next_deadline(&self) -> Option<Tick> {
        self.running.values().filter_map(|chore| chore.deadline).min()
    }

    /// Ends all of them.
    pub(super) fn kill(&self) {
        for child in self.running.values().filter_map(|chore| chore.process.child.as_ref()) {
            let _ = child.kill_group();
        }
    }

    /// One was reaped.
    pub(super) fn reaped(&mut self, id: u64, exit: Exit) {
        if let Some(chore) = self.running.get_mut(&id) {
            chore.process.exit = Some(exit);
            chore.process.link.end();
        }
    }

    fn reloads(&self) -> bool {
        self.running.values().any(|chore| matches!(chore.purpose, Purpose::Reload(..)))
    }
}

impl Master {
    /// Does what comes before a reload's new generation, then plans it.
    pub(super) fn act_before(&mut self, operation: OperationId, found: Found) {
        if self.chores.reloads() {
            self.chores.next = Some((operation, Box::new(found)));
            return;
        }
        let spec = found.rehearsed.said.spec.clone();
        let hooks = hook::of(&spec.hooks, &[Point::Asap, Point::InJail, Point::MasterStart]);
        let again = self.roster.pending.filter(|pending| pending.operation == operation);
        let reloads = again.is_some_and(|pending| pending.reexec != Some(false));
        if hooks.is_empty() || !reloads || self.is_replaced_by(&spec) {
            let plan = self.plan(found);
            return self.handle(Event::Rehearsed { operation, plan });
        }
        let purpose = Purpose::Reload(operation, Box::new(found));
        let patience = Duration::from_secs(spec.workers.startup_timeout_s.into());
        let patience = Some(patience).filter(|patience| !patience.is_zero());
        if let Err(error) = self.begin_chore(&spec, hooks, patience, purpose) {
            let plan = Err(Failure::new(format!("hooks cannot be done: {error}")));
            self.handle(Event::Rehearsed { operation, plan });
        }
    }

    /// Does what is said of a point, beside everything else.
    pub(super) fn act(&mut self, point: &Point) {
        self.act_for(point, Purpose::Nothing);
    }

    /// Does what is said of a point, then stops.
    pub(super) fn act_and_stop(&mut self, point: &Point, mercy: Option<Duration>) {
        if self.roster.phase != Phase::Running || !self.act_for(point, Purpose::Stop(mercy)) {
            self.handle(Event::Stop { mercy });
        }
    }

    /// Whether there is something to do, and it was begun.
    fn act_for(&mut self, point: &Point, purpose: Purpose) -> bool {
        let current = Rc::clone(&self.current);
        let hooks = hook::of(&current.said.spec.hooks, std::slice::from_ref(point));
        if hooks.is_empty() {
            return false;
        }
        if self.chores.running.len() >= AT_ONCE {
            let phase = point.phase();
            self.tell(format!("the hooks ({phase}) are not done: {AT_ONCE} others are not over yet"));
            return false;
        }
        let begun = self.begin_chore(&current.said.spec, hooks, Some(PATIENCE), purpose);
        if let Err(error) = &begun {
            self.tell(format!("hooks cannot be done: {error}"));
        }
        begun.is_ok()
    }

    fn begin_chore(
        &mut self,
        spec: &InstanceSpec,
        hooks: Vec<Hook>,
        patience: Option<Duration>,
        purpose: Purpose,
    ) -> io::Result<()> {
        let again = matches!(purpose, Purpose::Reload(..));
        let (child, socket) = hooks::start(spec, hooks, (self.supervised, again), Some(&self.output))?;
        let id = self.children.next_life();
        let link = Link::start(socket, self.reports.clone(), move |word| Report::Chore(id, word))?;
        self.children.know(child.pid(), Owner::Chore(id));
        let chore = Chore {
            process: Process::new(Some(child), link),
            purpose,
            doing: String::new(),
            patience,
            deadline: None,
            result: None,
        };
        self.chores.running.insert(id, chore);
        Ok(())
    }

    pub(super) fn hear_chore(&mut self, id: u64, word: Option<Received<Word>>) {
        let Some(chore) = self.chores.running.get_mut(&id) else { return };
        match word.map(|(word, _)| word) {
            None => {
                chore.process.silent = true;
                chore.process.kill();
            }
            Some(Word::Begins { what, limit_ms }) => {
                let limit = limit_ms.map(|ms| Duration::from_millis(ms) + MARGIN).or(chore.patience);
                chore.deadline = limit.map(|limit| clock::now() + limit);
                chore.doing.clone_from(&what);
                self.tell_emperor(&FromInstance::Doing(Some(what)), &[]);
            }
            Some(Word::Done { .. }) => chore.result = Some(Ok(())),
            Some(Word::Failed(failure)) => chore.result = Some(Err(failure)),
        }
    }

    /// Ends those that had their time.
    pub(super) fn chores_overdue(&mut self, now: Tick) {
        let due = |chore: &&mut Chore| chore.deadline.is_some_and(|deadline| deadline <= now);
        for chore in self.chores.running.values_mut().filter(due) {
            chore.deadline = None;
            let patience_s = chore.patience.unwrap_or_default().as_secs();
            let message = format!("{}: it ran for more than {patience_s} s", chore.doing);
            let mut failure = Failure::new(message);
            if matches!(chore.purpose, Purpose::Reload(..)) {
                failure = failure.with_hint("raise startup-timeout, or mend it");
            }
            chore.result.get_or_insert(Err(failure));
            if let Some(child) = &chore.process.child {
                let _ = child.kill_group();
            }
        }
    }

    /// Those that are over are followed by what they were for.
    pub(super) fn bury_chores(&mut self) {
        let over: Vec<(u64, Exit)> =
            self.chores.running.iter().filter_map(|(id, chore)| Some((*id, chore.process.over()?))).collect();
        for (id, exit) in over {
            let Some(chore) = self.chores.running.remove(&id) else { continue };
            let ended = || Err(Failure::new(format!("the process that does the hooks ended: {exit}")));
            let result = chore.result.unwrap_or_else(ended);
            self.tell_emperor(&FromInstance::Doing(None), &[]);
            match (chore.purpose, result) {
                (Purpose::Reload(operation, found), result) => {
                    let is_wanted = self.roster.pending.is_some_and(|p| p.operation == operation);
                    // A later one took its place, or the instance stops: no socket is bound for it.
                    if is_wanted {
                        let plan = result.and_then(|()| self.plan(*found));
                        self.handle(Event::Rehearsed { operation, plan });
                    }
                    if let Some((operation, found)) = self.chores.next.take() {
                        self.act_before(operation, *found);
                    }
                }
                (purpose, result) => {
                    if let Err(failure) = result {
                        self.tell(failure.to_string());
                    }
                    if let Purpose::Stop(mercy) = purpose {
                        self.handle(Event::Stop { mercy });
                    }
                }
            }
        }
    }

    /// A process of ours does what a hook says, or no more.
    pub(super) fn doing(&mut self, owner: Owner, doing: Option<(String, u32)>) {
        self.children.commands.retain(|(whose, _)| *whose != owner);
        let (what, pid) = doing.unzip();
        if let Some(child) = pid.and_then(|pid| Child::adopt(pid).ok()) {
            self.children.commands.push((owner, child));
        }
        self.tell_emperor(&FromInstance::Doing(what), &[]);
    }
}
