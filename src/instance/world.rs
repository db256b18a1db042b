//! A simulated world around [`decide`]: a virtual clock, zygotes and workers that start slowly, hang, fail, die, or
//! ignore what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cheaper::{Sample, Seen};
use super::decide::decide;
use super::event::{Effect, Event, Plan};
use super::operations;
use super::roster::{Pending, Roster, Settings, SlotState};
use crate::config::cheaper::CheaperSpec;
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId, Outcome};

/// How the processes of a generation behave.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nature {
    pub(super) load_ms: u64,
    pub(super) load: Load,
    pub(super) ready_ms: u64,
    /// Workers that die before they are ready.
    pub(super) dies_at_start: bool,
    /// No more workers than these can be forked.
    pub(super) forks_at_most: Option<usize>,
    /// Workers that never answer, and ignore everything but a kill.
    pub(super) ignores_drain: bool,
    pub(super) request_ms: u64,
    /// What it takes them to hear that they accept no more.
    pub(super) hears_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Load {
    #[default]
    Works,
    Fails,
    WithoutApp,
    Crashes,
    Hangs,
    Threads,
}

pub(super) struct World {
    pub(super) roster: Roster,
    pub(super) now: u64,
    sequence: u64,
    coming: BTreeMap<(u64, u64), Coming>,
    pub(super) natures: BTreeMap<u64, Nature>,
    pub(super) next_nature: Nature,
    pub(super) settings: Settings,
    pub(super) zygotes: BTreeMap<u64, u64>,
    /// Worker processes: slot to (life, nature).
    pub(super) workers: BTreeMap<usize, (u64, Nature)>,
    /// When the worker in a slot begins to accept, a moment before that is heard.
    begins: BTreeMap<usize, u64>,
    pub(super) router: bool,
    pub(super) lives: u64,
    /// How many forks were refused.
    pub(super) refused: u64,
    /// Whether workers were said to lack, each time it was said.
    pub(super) shortfalls: Vec<bool>,
    pub(super) begun: BTreeSet<OperationId>,
    pub(super) ended: Vec<(OperationId, Outcome)>,
    pub(super) states: Vec<InstanceState>,
    pub(super) late: usize,
    pub(super) exit: Option<u8>,
    pub(super) rehearsal_fails: bool,
    /// How many of the workers that serve are busy, the lowest slots.
    pub(super) busy: usize,
    /// How many must be for a worker to say so.
    lookout: u32,
    /// How often workers were looked at.
    pub(super) looks: usize,
    /// How many workers there were wanted to be, one after the other, and why.
    pub(super) resized: Vec<(u32, String)>,
}

#[derive(Clone, Debug)]
enum Coming {
    Event(Event),
    Zygote { zygote: u64, event: Event },
    Worker { slot: usize, life: u64, event: Event },
}

pub(super) fn settings(processes: u32) -> Settings {
    Settings {
        processes,
        threads: 1,
        lazy: false,
        names_app: true,
        router: false,
        mercy: Duration::from_secs(60),
        patience: None,
        cheaper: CheaperSpec::default(),
        needs: 0,
        mules: false,
    }
}

impl World {
    pub(super) fn new(settings: Settings, nature: Nature) -> Self {
        let mut world = Self {
            roster: Roster::default(),
            now: 1000,
            sequence: 0,
            coming: BTreeMap::new(),
            natures: BTreeMap::new(),
            next_nature: nature,
            settings,
            zygotes: BTreeMap::new(),
            workers: BTreeMap::new(),
            begins: BTreeMap::new(),
            router: false,
            lives: 0,
            refused: 0,
            shortfalls: Vec::new(),
            begun: BTreeSet::new(),
            ended: Vec::new(),
            states: Vec::new(),
            late: 0,
            exit: None,
            rehearsal_fails: false,
            busy: 0,
            lookout: 0,
            looks: 0,
            resized: Vec::new(),
        };
        world.event(Event::Begin(settings));
        world
    }

    pub(super) fn event(&mut self, event: Event) {
        match &event {
            Event::Reload(operation) | Event::Reexec { operation, .. } => {
                self.begun.insert(*operation);
            }
            _ => {}
        }
        let mut out = Vec::new();
        decide(&mut self.roster, event, Tick::from_ms(self.now), &mut out);
        for effect in out {
            self.perform(effect);
        }
        let mut again = Vec::new();
        let before = self.roster.clone();
        decide(&mut self.roster, Event::Timer, Tick::from_ms(self.now), &mut again);
        assert_eq!(again, [], "settling twice does more than settling once");
        assert_eq!(before, self.roster);
        let overdue = self.roster.next_deadline().is_some_and(|d| d <= Tick::from_ms(self.now));
        assert!(!overdue, "a deadline that has passed stays: the loop would spin\n{:#?}", self.roster);
    }

    fn at(&mut self, after_ms: u64, coming: Coming) {
        self.sequence += 1;
        self.coming.insert((self.now + after_ms, self.sequence), coming);
    }

    pub(super) fn zygote(&mut self, zygote: u64, after_ms: u64, event: Event) {
        self.at(after_ms, Coming::Zygote { zygote, event });
    }

    fn worker(&mut self, slot: usize, after_ms: u64, event: Event) {
        let life = self.workers.get(&slot).map_or(0, |w| w.0);
        self.at(after_ms, Coming::Worker { slot, life, event });
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Rehearse(Pending { operation, .. }) => {
                let plan = if self.rehearsal_fails {
                    Err(Failure::new("broken"))
                } else {
                    Ok(Plan::Generation(self.settings))
                };
                self.at(5, Coming::Event(Event::Rehearsed { operation, plan }));
            }
            Effect::Reexec { .. } => self.at(1, Coming::Event(Event::Reexecuted(self.settings))),
            Effect::Adopt { generation } => {
                self.natures.insert(generation, self.next_nature);
            }
            Effect::StartZygote { zygote, generation, lazy } => {
                self.zygotes.insert(zygote, generation);
                let nature = self.natures[&generation];
                let loaded = |app, threads| Event::ZygoteLoaded { zygote, app, threads, failure: None };
                match nature.load {
                    Load::Works => self.zygote(zygote, nature.load_ms, loaded(true, false)),
                    Load::Threads => self.zygote(zygote, nature.load_ms, loaded(true, !lazy)),
                    Load::WithoutApp => self.zygote(zygote, nature.load_ms, loaded(false, false)),
                    Load::Fails => {
                        let failure = Failure::new("ImportError");
                        self.zygote(zygote, nature.load_ms, Event::ZygoteLoadFailed { zygote, failure });
                        self.zygote(zygote, nature.load_ms + 1, gone(zygote));
                    }
                    Load::Crashes => self.zygote(zygote, nature.load_ms, gone(zygote)),
                    Load::Hangs => {}
                }
            }
            Effect::CloseZygote { zygote } => {
                if self.natures[&self.zygotes.get(&zygote).copied().unwrap_or(1)].load != Load::Hangs {
                    self.zygote(zygote, 3, gone(zygote));
                }
            }
            Effect::KillZygote { zygote } => self.zygote(zygote, 1, gone(zygote)),
            Effect::Fork { zygote, slot } => {
                assert!(!self.workers.contains_key(&slot), "two processes in slot {slot}");
                if let Some(generation) = self.zygotes.get(&zygote) {
                    let nature = self.natures[generation];
                    if nature.forks_at_most.is_some_and(|most| self.workers.len() >= most) {
                        let failure = Failure::new("EAGAIN");
                        self.refused += 1;
                        self.at(1, Coming::Event(Event::ForkFailed { slot, failure }));
                        return;
                    }
                    self.lives += 1;
                    self.workers.insert(slot, (self.lives, nature));
                    self.worker(slot, 1, Event::Forked { slot });
                    let begins = if nature.dies_at_start { u64::MAX } else { self.now + nature.ready_ms };
                    self.begins.insert(slot, begins);
                    if nature.dies_at_start {
                        self.worker(
                            slot,
                            nature.ready_ms + 2,
                            Event::WorkerGone { slot, how: String::new() },
                        );
                    } else {
                        self.worker(slot, nature.ready_ms + 2, Event::WorkerReady { slot, app: true });
                    }
                }
            }
            Effect::Drain { slot } => {
                if let Some((_, nature)) = self.workers.get(&slot).copied()
                    && !nature.ignores_drain
                {
                    self.worker(slot, nature.hears_ms, Event::Closed { slot });
                    self.worker(slot, nature.request_ms, Event::WorkerGone { slot, how: String::new() });
                }
            }
            Effect::Kill { slot } => self.worker(slot, 1, Event::WorkerGone { slot, how: String::new() }),
            Effect::KillUnlessBegun { slot } => {
                let begun = self.begins.get(&slot).is_some_and(|begins| *begins <= self.now);
                let gone = Event::WorkerGone { slot, how: String::new() };
                self.worker(slot, u64::from(!begun), if begun { Event::Begun { slot } } else { gone });
            }
            Effect::StartRouter { .. } => {
                self.router = true;
                self.at(4, Coming::Event(Event::RouterReady));
            }
            Effect::DrainRouter | Effect::KillRouter => {
                self.router = false;
                self.at(2, Coming::Event(Event::RouterGone));
            }
            Effect::ReleaseFromRouter { slot } => {
                let generation = self.roster.slots[slot].generation;
                if let Some((_, nature)) = self.workers.get(&slot).copied().filter(|w| !w.1.ignores_drain) {
                    self.worker(slot, nature.hears_ms, Event::Closed { slot });
                }
                self.at(1, Coming::Event(Event::PassedOver { slot, generation }));
                self.at(2, Coming::Event(Event::Released { slot, generation }));
            }
            Effect::State(state) => self.states.push(state),
            Effect::Ended { operation, outcome } => self.ended.push((operation, outcome)),
            Effect::Exit { code, .. } => {
                assert_eq!(self.exit.replace(code), None, "it exits once");
            }
            Effect::Late { .. } => self.late += 1,
            Effect::Shortfall(failure) => self.shortfalls.push(failure.is_some()),
            Effect::Look => {
                self.looks += 1;
                let sample = self.sample();
                self.at(0, Coming::Event(Event::Looked(sample)));
            }
            Effect::LookOut { busy } => {
                self.lookout = busy;
                self.be_busy(self.busy);
            }
            Effect::Resized { from, to, reason } => {
                assert_ne!(from, to);
                self.resized.push((to, reason));
            }
            Effect::Part { .. } => self.at(5, Coming::Event(Event::Alone)),
            Effect::Clear { .. }
            | Effect::Discard { .. }
            | Effect::Swap { .. }
            | Effect::Grow { .. }
            | Effect::AddToRouter { .. }
            | Effect::Warn { .. }
            | Effect::Log(_)
            | Effect::Tell(_) => {}
        }
    }

    /// Lets time pass until nothing more is due before `until_ms` from now.
    pub(super) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        loop {
            let deadline = self.roster.next_deadline().map(Tick::as_ms).filter(|d| *d <= until);
            let first = self.coming.keys().next().copied().filter(|k| k.0 <= until);
            match (first, deadline) {
                (Some(key), d) if d.is_none_or(|d| key.0 <= d) => {
                    self.now = self.now.max(key.0);
                    let coming = self.coming.remove(&key).unwrap();
                    self.happen(coming);
                }
                (_, Some(deadline)) => {
                    self.now = self.now.max(deadline);
                    self.event(Event::Timer);
                }
                _ => break,
            }
        }
        self.now = until;
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Event(event) => self.event(event),
            Coming::Zygote { zygote, event } => {
                if !self.zygotes.contains_key(&zygote) {
                    return;
                }
                if matches!(event, Event::ZygoteGone { .. }) {
                    self.zygotes.remove(&zygote);
                    // What it forked and did not report in time ends with its channel.
                    let unreported: Vec<usize> = (0..self.roster.slots.len())
                        .filter(|n| {
                            let slot = &self.roster.slots[*n];
                            slot.zygote == zygote && !slot.forked && slot.state != SlotState::Empty
                        })
                        .collect();
                    for slot in unreported {
                        self.workers.remove(&slot);
                    }
                }
                self.event(event);
            }
            Coming::Worker { slot, life, event } => {
                if self.workers.get(&slot).is_none_or(|w| w.0 != life) {
                    return;
                }
                if matches!(event, Event::WorkerGone { .. }) {
                    self.workers.remove(&slot);
                }
                self.event(event);
            }
        }
    }

    pub(super) fn reload(&mut self, operation: OperationId, nature: Nature) {
        self.next_nature = nature;
        self.event(Event::Reload(operation));
    }

    /// Something that is no operation of the emperor's asks for it.
    pub(super) fn reload_by_itself(&mut self, number: OperationId, nature: Nature, reexec: Option<bool>) {
        self.next_nature = nature;
        let operation = operations::OWN | number;
        self.event(match reexec {
            None => Event::Reload(operation),
            Some(reload) => Event::Reexec { operation, reload },
        });
    }

    /// So many of the workers that serve are busy from now on.
    pub(super) fn be_busy(&mut self, busy: usize) {
        self.busy = busy;
        let wanted = usize::try_from(self.lookout).unwrap();
        if wanted > 0 && self.busy.min(self.accepting()) >= wanted {
            self.lookout = 0;
            self.at(0, Coming::Event(Event::Stirred));
        }
    }

    fn sample(&self) -> Sample {
        let generation = self.serving();
        let slots = self.roster.slots.iter().enumerate();
        let serving =
            slots.filter(|(_, s)| Some(s.generation) == generation && s.state == SlotState::Serving);
        let seen = |(at, (slot, _))| Seen { slot, busy: at < self.busy, ..Seen::default() };
        Sample { workers: serving.enumerate().map(seen).collect(), backlog: 0 }
    }

    pub(super) fn accepting(&self) -> usize {
        self.roster.slots.iter().filter(|s| s.state == SlotState::Serving).count()
    }

    pub(super) fn serving(&self) -> Option<u64> {
        self.roster.serving().map(|g| g.number)
    }

    pub(super) fn kill(&mut self, slot: usize) {
        self.worker(slot, 0, Event::WorkerGone { slot, how: "signal 9".into() });
    }
}

pub(super) fn gone(zygote: u64) -> Event {
    Event::ZygoteGone { zygote, how: "exit status 1".into() }
}
