//! A simulated world for tests: a virtual clock, files, and fake instances that start slowly, hang, crash or ignore
//! what they are told. After every step the invariants are checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) use super::manners::{Manners, Reload, Start};
use super::{decide, hang_up, request};
use crate::config::address::Address;
use crate::config::tenant::Tenant;
use crate::emperor::attributes::Attributes;
use crate::emperor::event::{Effect, Event, News};
use crate::emperor::fleet::{Ending, ExitKind, FileIdentity, Fleet, Rules, State, Vassal};
use crate::emperor::handle::{Refusal, Request};
use crate::emperor::life::LifeId;
use crate::emperor::scan::{Found, Look};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;
use crate::wire::succession::Succession;

#[derive(Debug)]
pub(super) struct Process {
    pub(super) vassal: String,
    pub(super) manners: Manners,
    pub(super) alive: bool,
    pub(super) survivors: bool,
    pub(super) asked_to_stop: bool,
    /// How often it was told to reload.
    pub(super) reloads: usize,
    /// It was told to end, in whatever way.
    pub(super) is_to_end: bool,
    /// The file as it was given to it last, and whom it runs as.
    pub(super) file: (FileIdentity, Option<Tenant>),
    /// Who it was told serves on its sockets.
    pub(super) succession: Option<Succession>,
    /// Another program than ours leads it.
    pub(super) foreign: bool,
    pub(super) exit_told: bool,
}

/// What is on its way.
#[derive(Debug)]
pub(super) enum Coming {
    Event(Box<Event>),
    /// A name settles.
    Look(String),
}

#[derive(Default)]
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) now: Tick,
    pub(super) manners: BTreeMap<String, Manners>,
    pub(super) exited: bool,
    /// Whether files that are found wait for a connection.
    pub(super) on_demand: bool,
    /// Whether files that are found belong to vassals that slept when the last emperor ended.
    pub(super) slept: bool,
    /// Whose sockets were closed.
    pub(super) closed: Vec<String>,
    /// The directories of files that are not in `/v`.
    pub(super) directories: BTreeMap<String, &'static str>,
    /// Whom files belong to, where that counts.
    pub(super) owners: BTreeMap<String, u32>,
    /// The sockets on which single files wait.
    pub(super) sockets: BTreeMap<String, &'static str>,
    pub(super) ready: bool,
    /// Every launch: when, and of which vassal.
    pub(super) launches: Vec<(u64, String)>,
    pub(super) log: Vec<String>,
    pub(super) processes: BTreeMap<LifeId, Process>,
    pub(super) coming: BTreeMap<(Tick, u64), Coming>,
    pub(super) files: BTreeMap<String, FileIdentity>,
    pub(super) attributes: BTreeMap<String, Attributes>,
    /// Whether the next image of the emperor is no good.
    pub(super) fails_to_reexec: bool,
    count: u64,
}

pub(super) fn reload(vassal: &str) -> Request {
    Request::Reload { vassal: vassal.to_owned() }
}

pub(super) fn stop(vassal: &str) -> Request {
    Request::Stop { vassal: vassal.to_owned() }
}

pub(super) fn start(vassal: &str) -> Request {
    Request::Start { vassal: vassal.to_owned() }
}

impl World {
    pub(super) fn new(places: usize) -> Self {
        let mut world = Self::default();
        world.fleet.rules = Rules { places, ..Rules::default() };
        world.fleet.scanned = Some(Tick::default());
        world
    }

    /// A world in which these files were found at the start.
    pub(super) fn with(places: usize, files: &[&str]) -> Self {
        let mut world = Self::new(places);
        world.fleet.scanned = None;
        for file in files {
            world.write(file);
        }
        world.tell(Event::FirstScanDone);
        world
    }

    /// A file is written, and settles.
    pub(super) fn write(&mut self, id: &str) {
        self.count += 1;
        self.files.insert(id.to_owned(), FileIdentity { inode: self.count, ..FileIdentity::default() });
        self.look(id);
    }

    /// A file is removed, and stays away.
    pub(super) fn remove(&mut self, id: &str) {
        self.files.remove(id);
        self.look(id);
    }

    pub(super) fn behave(&mut self, id: &str, manners: Manners) {
        self.manners.insert(id.to_owned(), manners);
    }

    /// The current master of a vassal is killed from outside.
    pub(super) fn kill(&mut self, id: &str) {
        let life = self.vassal(id).current.as_ref().map(|life| life.id);
        if let Some(life) = life {
            self.end(life, ExitKind::Signal(9), 0);
            self.run_for(0);
        }
    }

    pub(super) fn ask(&mut self, asked: Request) -> Result<OperationId, Refusal> {
        let mut out = Vec::new();
        let answer = request(&mut self.fleet, "test", asked, self.now, &mut out);
        self.carry_out(out);
        answer
    }

    pub(super) fn hang_up(&mut self) {
        let mut out = Vec::new();
        hang_up(&mut self.fleet, self.now, &mut out);
        self.carry_out(out);
    }

    pub(super) fn tell(&mut self, event: Event) {
        if let Event::News { life, news: News::Exited { survivors, .. }, .. } = &event {
            let process = self.processes.get_mut(life).unwrap();
            let was_alive = std::mem::replace(&mut process.alive, false);
            // The kernel tells of an end once.
            if std::mem::replace(&mut process.exit_told, true) {
                return;
            }
            // Those who were killed before their master was found dead are found gone after it.
            let killed = !was_alive && !process.survivors;
            process.survivors = *survivors && !killed;
            if *survivors && killed {
                self.news(2, *life, News::Emptied);
            }
        }
        let of = match &event {
            Event::News { vassal, .. } | Event::Looked { id: vassal, .. } => Some(vassal.clone()),
            _ => None,
        };
        // Those that were renamed depend on each other.
        let was = match &event {
            Event::Looked { look: Look::Found(found), .. } => found.was.clone(),
            _ => Vec::new(),
        };
        let depends =
            |id: &String, v: &Vassal| v.plan.successor.is_some() || v.plan.shares || was.contains(id);
        let alone = self.fleet.vassals.iter().filter(|(id, vassal)| !depends(id, vassal));
        let before: BTreeMap<String, State> = alone.map(|(id, vassal)| (id.clone(), vassal.state)).collect();
        if matches!(event, Event::Reexecuted(_)) {
            self.carry_over();
        }
        let said = format!("{event:?}");
        let mut out = Vec::new();
        decide(&mut self.fleet, event, self.now, &mut out);
        if let Some(of) = of {
            self.check_others(&of, &before, &said);
        }
        self.carry_out(out);
        self.check(&said);
    }

    /// All that the next image knows is what this one wrote down.
    fn carry_over(&mut self) {
        let written = serde_json::to_vec(&self.fleet).unwrap();
        let rules = self.fleet.rules;
        self.fleet = Fleet { rules, ..serde_json::from_slice(&written).unwrap() };
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = Tick::from_ms(self.now.as_ms() + ms);
        loop {
            let event = self.coming.first_key_value().map(|((at, _), _)| *at);
            let deadline = self.fleet.next_deadline();
            let next = event.into_iter().chain(deadline).min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if event.is_some_and(|at| at <= self.now) {
                match self.coming.pop_first().unwrap().1 {
                    Coming::Event(event) => self.tell(*event),
                    Coming::Look(id) => self.look(&id),
                }
            } else {
                self.tell(Event::Deadline);
                let later = self.fleet.next_deadline();
                assert!(later.is_none_or(|later| later > self.now), "a deadline in the past: a busy loop");
            }
        }
        self.now = end;
    }

    pub(super) fn vassal(&self, id: &str) -> &Vassal {
        &self.fleet.vassals[id]
    }

    pub(super) fn state(&self, id: &str) -> Option<State> {
        self.fleet.vassals.get(id).map(|vassal| vassal.state)
    }

    pub(super) fn is_up(&self, id: &str) -> bool {
        matches!(self.state(id), Some(State::Up { .. }))
    }

    pub(super) fn ending(&self, id: OperationId) -> Option<Ending> {
        self.fleet.operation(id).and_then(|operation| operation.ending.clone())
    }

    /// How many processes of a vassal are alive, survivors of dead masters included.
    pub(super) fn alive(&self, id: &str) -> usize {
        self.processes.values().filter(|p| p.vassal == id && (p.alive || p.survivors)).count()
    }

    pub(super) fn launches_of(&self, id: &str) -> Vec<u64> {
        self.launches.iter().filter(|(_, vassal)| vassal == id).map(|(at, _)| *at).collect()
    }

    pub(super) fn asked_to_stop(&self, id: &str) -> usize {
        self.processes.values().filter(|p| p.vassal == id && p.asked_to_stop).count()
    }

    pub(super) fn look(&mut self, id: &str) {
        let look = match self.files.get(id) {
            None => Look::Missing,
            Some(identity) => {
                let attributes = self.attributes.get(id).cloned().unwrap_or_default();
                let program = attributes.exec.clone().map(String::from);
                let own = self.sockets.get(id).copied().or(self.on_demand.then_some(id));
                let on_demand = own.map(|name| Address::Abstract(name.to_owned()));
                let directory = PathBuf::from(self.directories.get(id).copied().unwrap_or("/v"));
                let tenant = self.owners.get(id).map(|uid| Tenant { uid: *uid, gid: *uid });
                Look::Found(Box::new(Found {
                    id: id.to_owned(),
                    directory,
                    identity: *identity,
                    slept: self.slept,
                    attributes,
                    program,
                    on_demand,
                    tenant,
                    owner: tenant,
                    was: self.had_this_file(id, *identity),
                }))
            }
        };
        self.tell(Event::Looked { id: id.to_owned(), look, not_started: Vec::new() });
    }

    /// Whose file this was under a name that is gone.
    fn had_this_file(&self, id: &str, identity: FileIdentity) -> Vec<String> {
        let others = self.fleet.vassals.values().filter(|_| !self.fleet.vassals.contains_key(id));
        let had = others.filter(|v| v.identity.is_same_file(&identity) && !self.files.contains_key(&v.id));
        had.map(|v| v.id.clone()).collect()
    }

    /// A file is renamed: the new name settles at once, the old one when it is known not to come back.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let Some(identity) = self.files.remove(from) else { return };
        self.count += 1;
        let ctime_ns = i64::try_from(self.count).unwrap();
        self.files.insert(to.to_owned(), FileIdentity { ctime_ns, ..identity });
        self.look(to);
        self.come(200, Coming::Look(from.to_owned()));
    }

    /// What is not as it is known settles.
    fn rescan(&mut self) {
        let known: BTreeMap<String, FileIdentity> =
            self.fleet.vassals.values().map(|vassal| (vassal.id.clone(), vassal.identity)).collect();
        let changed = self.files.iter().filter(|(id, file)| known.get(*id) != Some(file));
        let changed: Vec<String> = changed.map(|(id, _)| id.clone()).collect();
        let gone: Vec<String> = known.into_keys().filter(|id| !self.files.contains_key(id)).collect();
        for (ms, ids) in [(20, changed), (200, gone)] {
            ids.into_iter().for_each(|id| self.come(ms, Coming::Look(id)));
        }
    }

    fn later(&mut self, ms: u64, event: Event) {
        self.come(ms, Coming::Event(Box::new(event)));
    }

    fn come(&mut self, ms: u64, what: Coming) {
        self.count += 1;
        self.coming.insert((Tick::from_ms(self.now.as_ms() + ms), self.count), what);
    }

    pub(super) fn news(&mut self, ms: u64, life: LifeId, news: News) {
        let vassal = self.processes[&life].vassal.clone();
        self.later(ms, Event::News { vassal, life, news });
    }

    /// A master ends, now or later; a dead one does not end again.
    pub(super) fn end(&mut self, life: LifeId, exit: ExitKind, ms: u64) {
        let process = self.processes.get_mut(&life).unwrap();
        if process.alive {
            process.alive = false;
            process.survivors = process.manners.leaves_survivors;
            let survivors = process.survivors;
            self.news(ms, life, News::Disconnected);
            self.news(ms, life, News::Exited { exit, survivors });
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Launch { vassal, life } => self.launch(vassal, life),
                Effect::Send { life, message, .. } => self.send(life, &message),
                Effect::Terminate { life, .. } => {
                    self.processes.get_mut(&life).unwrap().is_to_end = true;
                    if self.processes[&life].manners.terminates {
                        self.end(life, ExitKind::Signal(15), 5);
                    }
                }
                Effect::Kill { life } => self.kill_all(life),
                Effect::Release { life } => {
                    let process = &self.processes[&life];
                    assert!(!process.alive && !process.survivors, "released while it runs: {process:?}");
                }
                Effect::Forget { vassal } => {
                    self.closed.push(vassal.clone());
                    assert_eq!(self.alive(&vassal), 0);
                    self.look(&vassal);
                }
                Effect::Log { message, .. } => self.log.push(message),
                Effect::Ready => self.ready = true,
                Effect::Reexec(operation) if self.fails_to_reexec => {
                    self.later(10, Event::ReexecFailed(operation, Failure::new("no luck")));
                }
                Effect::Reexec(operation) => self.later(10, Event::Reexecuted(operation)),
                Effect::Exit => {
                    assert!(self.processes.values().all(|p| !p.alive && !p.survivors));
                    self.exited = true;
                }
                Effect::Rescan => self.rescan(),
                Effect::Adopt { .. } | Effect::LogLevel(_) => {}
                Effect::Attend { operation, .. } => self.later(1, Event::Attended(operation, Ok(()))),
                Effect::Sleep { .. } => {}
                Effect::Close { vassal } => self.closed.push(vassal),
                Effect::Awake { .. } | Effect::Bequeath { .. } => {}
            }
        }
    }
}
