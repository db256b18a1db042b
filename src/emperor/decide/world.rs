//! A simulated world for tests: a virtual clock, files, and fake instances that start slowly, hang, crash or ignore
//! what they are told. After every step the invariants are checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub(super) use super::manners::{Manners, Reload, Start};
use super::{decide, hang_up, request};
use crate::config::address::Address;
use crate::config::diagnostic::{Cause, Diagnostic, Severity};
use crate::emperor::attributes::Attributes;
use crate::emperor::event::{Effect, Event, News};
use crate::emperor::fleet::{Ending, ExitKind, FileIdentity, Fleet, Rules, State, Vassal};
use crate::emperor::handle::{Refusal, Request};
use crate::emperor::life::LifeId;
use crate::emperor::scan::{Found, Look};
use crate::tick::Tick;
use crate::wire::PROTOCOL;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, InstanceState, OperationId, Outcome, ToInstance};

#[derive(Debug)]
pub(super) struct Process {
    pub(super) vassal: String,
    pub(super) manners: Manners,
    pub(super) alive: bool,
    pub(super) survivors: bool,
    pub(super) asked_to_stop: bool,
    /// Another program than ours leads it.
    pub(super) foreign: bool,
    exit_told: bool,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) fleet: Fleet,
    pub(super) now: Tick,
    pub(super) manners: BTreeMap<String, Manners>,
    pub(super) exited: bool,
    /// Whether files that are found wait for a connection.
    pub(super) on_demand: bool,
    pub(super) ready: bool,
    /// Every launch: when, and of which vassal.
    pub(super) launches: Vec<(u64, String)>,
    pub(super) log: Vec<String>,
    pub(super) processes: BTreeMap<LifeId, Process>,
    pub(super) coming: BTreeMap<(Tick, u64), Event>,
    pub(super) files: BTreeMap<String, FileIdentity>,
    pub(super) attributes: BTreeMap<String, Attributes>,
    count: u64,
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
            process.alive = false;
            // The kernel tells of an end once.
            if std::mem::replace(&mut process.exit_told, true) {
                return;
            }
            process.survivors = *survivors;
        }
        let of = match &event {
            Event::News { vassal, .. } | Event::Looked { id: vassal, .. } => Some(vassal.clone()),
            _ => None,
        };
        let before: BTreeMap<String, State> =
            self.fleet.vassals.iter().map(|(id, vassal)| (id.clone(), vassal.state)).collect();
        let said = format!("{event:?}");
        let mut out = Vec::new();
        decide(&mut self.fleet, event, self.now, &mut out);
        if let Some(of) = of {
            self.check_others(&of, &before, &said);
        }
        self.carry_out(out);
        self.check(&said);
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
                let (_, event) = self.coming.pop_first().unwrap();
                self.tell(event);
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
                let on_demand = self.on_demand.then(|| Address::Abstract(id.to_owned()));
                let directory = PathBuf::from("/v");
                Look::Found(Found {
                    id: id.to_owned(),
                    directory,
                    identity: *identity,
                    attributes,
                    program,
                    on_demand,
                    tenant: None,
                })
            }
        };
        self.tell(Event::Looked { id: id.to_owned(), look, not_started: Vec::new() });
    }

    fn later(&mut self, ms: u64, event: Event) {
        self.count += 1;
        self.coming.insert((Tick::from_ms(self.now.as_ms() + ms), self.count), event);
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
                    assert_eq!(self.alive(&vassal), 0);
                    self.look(&vassal);
                }
                Effect::Log { message, .. } => self.log.push(message),
                Effect::Ready => self.ready = true,
                Effect::Reexec(operation) => self.later(10, Event::Reexecuted(operation)),
                Effect::Exit => {
                    assert!(self.processes.values().all(|p| !p.alive && !p.survivors));
                    self.exited = true;
                }
                Effect::Adopt { .. } | Effect::Rescan | Effect::LogLevel(_) => {}
                Effect::Attend { operation, .. } => self.later(1, Event::Attended(operation, Ok(()))),
                Effect::Sleep { .. } => {}
                Effect::Awake { .. } | Effect::Close { .. } => {}
            }
        }
    }

    fn launch(&mut self, vassal: String, life: LifeId) {
        self.launches.push((self.now.as_ms(), vassal.clone()));
        let known: Vec<LifeId> = self.vassal(&vassal).lives().map(|life| life.id).collect();
        let strays =
            self.processes.iter().filter(|(id, p)| p.alive && p.vassal == vassal && !known.contains(id));
        assert_eq!(strays.count(), 0, "a twin of what runs for {vassal}");
        let manners = self.manners.get(&vassal).cloned().unwrap_or_default();
        let identity = self.files.get(&vassal).copied().unwrap_or_default();
        let (load_ms, start) = (manners.load_ms, manners.start);
        let alive = start != Start::FailsToLaunch;
        let program = self.vassal(&vassal).program.clone();
        let process = Process {
            vassal,
            manners,
            alive,
            survivors: false,
            asked_to_stop: false,
            foreign: program.is_some(),
            exit_told: false,
        };
        assert!(self.processes.insert(life, process).is_none(), "a life is launched once");
        if !alive {
            return self.news(0, life, News::LaunchFailed(Failure::new("cannot start")));
        }
        let foreign = program.is_some();
        self.news(0, life, News::Launched { pid: u32::try_from(life).unwrap() + 100, identity, program });
        if foreign {
            return self.launch_foreign(life, load_ms, start);
        }
        let hello = FromInstance::Hello { protocol: PROTOCOL, version: "1".to_owned(), pid: 0 };
        self.news(1, life, News::Said(hello));
        match start {
            Start::Serves | Start::Crashes { .. } => {
                self.news(load_ms, life, News::Said(FromInstance::State(InstanceState::Ready)));
                if let Start::Crashes { after_ms } = start {
                    let exit = News::Exited { exit: ExitKind::Signal(11), survivors: false };
                    self.news(load_ms + after_ms, life, exit);
                }
            }
            Start::Exits(status) => self.fail(life, load_ms, Failure::new("no app"), status),
            Start::Mistaken => {
                let mistake = Diagnostic {
                    severity: Severity::Error,
                    file: "a.ini".to_owned(),
                    line: Some(1),
                    option: None,
                    message: "wrong".to_owned(),
                    suggestion: None,
                    cause: Cause::default(),
                };
                let failure = Failure { diagnostics: vec![mistake], ..Failure::new("mistakes") };
                self.fail(life, load_ms, failure, 1);
            }
            Start::Hangs => self.news(60_000, life, News::Said(FromInstance::Late { after_s: 60 })),
            Start::FailsToLaunch => {}
        }
    }

    fn fail(&mut self, life: LifeId, ms: u64, failure: Failure, status: i32) {
        self.news(ms, life, News::Said(FromInstance::Failed(failure)));
        self.news(ms, life, News::Exited { exit: ExitKind::Status(status), survivors: false });
    }

    fn send(&mut self, life: LifeId, message: &ToInstance) {
        let manners = self.processes[&life].manners.clone();
        match message {
            ToInstance::Stop { .. } => {
                self.processes.get_mut(&life).unwrap().asked_to_stop = true;
                if manners.stops {
                    self.end(life, ExitKind::Status(0), 20);
                }
            }
            ToInstance::Reload { .. } if self.processes[&life].foreign => {
                self.reload_foreign(life, &manners);
            }
            ToInstance::Reload { operation, .. } | ToInstance::Reexec { operation, .. } => {
                let outcome = match manners.reload {
                    Reload::Swaps => Outcome::Swapped,
                    Reload::RollsBack => Outcome::RolledBack(Failure::new("SyntaxError")),
                    Reload::NeedsReplacement => Outcome::NeedsReplace { reason: "uid changed".to_owned() },
                    Reload::Hangs => return,
                    Reload::Dies => return self.end(life, ExitKind::Signal(6), manners.load_ms),
                };
                let ended = FromInstance::Ended { operation: *operation, outcome };
                self.news(manners.load_ms, life, News::Said(ended));
            }
            ToInstance::Start { .. } | ToInstance::Adopt { .. } => {
                panic!("sent with the launch, or the call")
            }
            ToInstance::Scale { operation, .. } => {
                let ended = FromInstance::Ended { operation: *operation, outcome: Outcome::Done };
                self.news(1, life, News::Said(ended));
            }
            ToInstance::LogLevel(_) => {}
        }
    }

    fn kill_all(&mut self, life: LifeId) {
        self.end(life, ExitKind::Signal(9), 1);
        let process = self.processes.get_mut(&life).unwrap();
        if process.survivors {
            process.survivors = false;
            self.news(2, life, News::Emptied);
        }
    }
}
