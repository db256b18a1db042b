//! A simulated world around [`decide`]: a virtual clock, zygotes and workers that start slowly, hang, fail, die, or
//! ignore what they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::decide::{Effect, Event, Plan, decide};
use super::roster::{Pending, Phase, Roster, Settings, SlotState};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId, Outcome};

/// How the processes of a generation behave.
#[derive(Clone, Copy, Debug, Default)]
struct Nature {
    load_ms: u64,
    load: Load,
    ready_ms: u64,
    /// Workers that die before they are ready.
    dies_at_start: bool,
    /// Workers that never answer, and ignore everything but a kill.
    ignores_drain: bool,
    request_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Load {
    #[default]
    Works,
    Fails,
    WithoutApp,
    Crashes,
    Hangs,
    Threads,
}

struct World {
    roster: Roster,
    now: u64,
    sequence: u64,
    coming: BTreeMap<(u64, u64), Coming>,
    natures: BTreeMap<u64, Nature>,
    next_nature: Nature,
    settings: Settings,
    zygotes: BTreeMap<u64, u64>,
    /// Worker processes: slot to (life, nature).
    workers: BTreeMap<usize, (u64, Nature)>,
    router: bool,
    lives: u64,
    begun: BTreeSet<OperationId>,
    ended: Vec<(OperationId, Outcome)>,
    states: Vec<InstanceState>,
    exit: Option<u8>,
    rehearsal_fails: bool,
}

#[derive(Clone, Debug)]
enum Coming {
    Event(Event),
    Zygote { zygote: u64, event: Event },
    Worker { slot: usize, life: u64, event: Event },
}

fn settings(processes: u32) -> Settings {
    Settings {
        processes,
        threads: 1,
        lazy: false,
        names_app: true,
        router: false,
        mercy: Duration::from_secs(60),
    }
}

impl World {
    fn new(settings: Settings, nature: Nature) -> Self {
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
            router: false,
            lives: 0,
            begun: BTreeSet::new(),
            ended: Vec::new(),
            states: Vec::new(),
            exit: None,
            rehearsal_fails: false,
        };
        world.event(Event::Begin(settings));
        world
    }

    fn event(&mut self, event: Event) {
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

    fn zygote(&mut self, zygote: u64, after_ms: u64, event: Event) {
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
                    self.lives += 1;
                    self.workers.insert(slot, (self.lives, nature));
                    self.worker(slot, 1, Event::Forked { slot });
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
                    self.worker(slot, nature.request_ms, Event::WorkerGone { slot, how: String::new() });
                }
            }
            Effect::Kill { slot } => self.worker(slot, 1, Event::WorkerGone { slot, how: String::new() }),
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
                self.at(2, Coming::Event(Event::Released { slot, generation }));
            }
            Effect::State(state) => self.states.push(state),
            Effect::Ended { operation, outcome } => self.ended.push((operation, outcome)),
            Effect::Exit { code, .. } => {
                assert_eq!(self.exit.replace(code), None, "it exits once");
            }
            Effect::Clear { .. }
            | Effect::Discard { .. }
            | Effect::Swap { .. }
            | Effect::Grow { .. }
            | Effect::AddToRouter { .. }
            | Effect::Tell(_) => {}
        }
    }

    /// Lets time pass until nothing more is due before `until_ms` from now.
    fn pass(&mut self, ms: u64) {
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

    fn reload(&mut self, operation: OperationId, nature: Nature) {
        self.next_nature = nature;
        self.event(Event::Reload(operation));
    }

    fn accepting(&self) -> usize {
        self.roster.slots.iter().filter(|s| s.state == SlotState::Serving).count()
    }

    fn serving(&self) -> Option<u64> {
        self.roster.serving().map(|g| g.number)
    }

    fn kill(&mut self, slot: usize) {
        self.worker(slot, 0, Event::WorkerGone { slot, how: "signal 9".into() });
    }
}

fn gone(zygote: u64) -> Event {
    Event::ZygoteGone { zygote, how: "exit status 1".into() }
}

#[test]
fn it_starts_serves_and_stops() {
    let mut world = World::new(settings(2), Nature { load_ms: 300, ..Nature::default() });
    assert_eq!(world.states, [InstanceState::Starting]);
    world.pass(1000);
    assert_eq!(world.accepting(), 2);
    world.event(Event::Answered);
    world.event(Event::Stop { mercy: None });
    world.pass(10);
    use InstanceState::{Loyal, Ready, Starting, Stopping};
    assert_eq!(world.states, [Starting, Ready, Loyal, Stopping]);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn at_rest_there_is_no_deadline() {
    let mut world = World::new(Settings { router: true, ..settings(3) }, Nature::default());
    world.pass(100);
    assert_eq!(world.roster.next_deadline(), None);
    world.reload(1, Nature::default());
    world.pass(100_000);
    assert_eq!(world.roster.next_deadline(), None);
    assert_eq!(world.roster.generations.len(), 1);
}

#[test]
fn how_a_new_generation_ends_decides_who_serves() {
    let fails = Nature { load: Load::Fails, ..Nature::default() };
    let cases = [
        ("works", Nature::default(), true),
        ("works with threads", Nature { load: Load::Threads, ..Nature::default() }, true),
        ("does not load", fails, false),
        ("has no app", Nature { load: Load::WithoutApp, ..Nature::default() }, false),
        ("crashes", Nature { load: Load::Crashes, ..Nature::default() }, false),
        ("its workers die", Nature { dies_at_start: true, ..Nature::default() }, false),
    ];
    for (name, nature, swaps) in cases {
        for router in [false, true] {
            let mut world = World::new(Settings { router, ..settings(2) }, Nature::default());
            world.pass(100);
            world.reload(7, nature);
            for _ in 0..200 {
                world.pass(1);
                assert!(world.accepting() >= 2, "{name}: fewer workers than before");
            }
            world.pass(5000);
            let [(7, outcome)] = world.ended.as_slice() else { panic!("{name}: {:?}", world.ended) };
            assert_eq!(*outcome == Outcome::Swapped, swaps, "{name}");
            assert_eq!(world.serving(), Some(if swaps { 2 } else { 1 }), "{name}");
            assert_eq!(world.accepting(), 2, "{name}");
            assert_eq!(world.zygotes.len(), 1, "{name}");
        }
    }
}

#[test]
fn a_first_generation_without_app_serves_errors_or_ends() {
    let mut world = World::new(settings(1), Nature { load: Load::WithoutApp, ..Nature::default() });
    world.pass(100);
    assert_eq!(world.states, [InstanceState::Starting, InstanceState::ReadyWithoutApp]);
    let mut world = World::new(settings(1), Nature { load: Load::Fails, ..Nature::default() });
    world.pass(100);
    assert_eq!(world.exit, Some(22));
    let mut world = World::new(settings(1), Nature { load: Load::Crashes, ..Nature::default() });
    world.pass(100);
    assert_eq!(world.exit, Some(1));
}

#[test]
fn an_app_that_never_returns_from_import_blocks_neither_reload_nor_stop() {
    let hangs = Nature { load: Load::Hangs, ..Nature::default() };
    let mut world = World::new(settings(1), hangs);
    world.pass(10_000);
    world.reload(1, hangs);
    world.pass(10_000);
    world.reload(2, Nature::default());
    world.pass(1000);
    assert_eq!(world.ended, [(1, Outcome::Superseded), (2, Outcome::Swapped)]);
    world.reload(3, hangs);
    world.pass(1000);
    world.event(Event::Stop { mercy: None });
    world.pass(100);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_burst_of_reloads_collapses_into_the_last() {
    let mut world = World::new(settings(2), Nature::default());
    world.pass(100);
    for operation in 1..=5 {
        world.reload(operation, Nature::default());
    }
    world.pass(1000);
    let swapped: Vec<_> = world.ended.iter().filter(|(_, o)| *o == Outcome::Swapped).collect();
    assert_eq!(swapped, [&(5, Outcome::Swapped)]);
    assert_eq!(world.ended.len(), 5);
    assert_eq!(world.serving(), Some(2));
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_a_crash_loop_is_slowed() {
    let mut world = World::new(settings(2), Nature::default());
    world.pass(100);
    world.kill(*world.workers.keys().next().unwrap());
    world.pass(10);
    assert_eq!(world.accepting(), 2);
    let before = world.lives;
    for _ in 0..1000 {
        if let Some(slot) = world.workers.keys().next().copied() {
            world.kill(slot);
        }
        world.pass(10);
    }
    assert!(world.lives - before < 40, "{} forks in 10 s", world.lives - before);
    world.pass(5000);
    assert_eq!(world.accepting(), 2);
}

#[test]
fn a_recycled_worker_ends_after_its_replacement_accepts() {
    for router in [false, true] {
        let mut world = World::new(
            Settings { router, ..settings(2) },
            Nature { ready_ms: 500, request_ms: 5, ..Nature::default() },
        );
        world.pass(1000);
        let old = *world.workers.keys().next().unwrap();
        world.event(Event::Recycle { slot: old });
        for _ in 0..1000 {
            world.pass(1);
            assert!(world.accepting() >= 2);
        }
        assert_eq!(world.accepting(), 2);
        assert!(!world.workers.contains_key(&old));
        assert_eq!(world.lives, 3);
    }
}

#[test]
fn who_ignores_the_drain_is_killed_when_mercy_ends() {
    let stubborn = Nature { ignores_drain: true, ..Nature::default() };
    let mut world = World::new(settings(1), stubborn);
    world.pass(100);
    world.reload(1, Nature::default());
    world.pass(59_000);
    assert_eq!(world.workers.len(), 2);
    world.pass(2000);
    assert_eq!(world.workers.len(), 1);
    world.reload(2, stubborn);
    world.pass(100);
    world.event(Event::Stop { mercy: Some(Duration::from_secs(3)) });
    world.pass(2900);
    assert_eq!(world.exit, None);
    world.pass(200);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_second_stop_does_not_wait() {
    let mut world = World::new(settings(1), Nature { ignores_drain: true, ..Nature::default() });
    world.pass(100);
    world.event(Event::Stop { mercy: None });
    world.pass(1000);
    world.event(Event::StopNow);
    world.pass(100);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_dead_zygote_is_replaced_and_the_workers_serve_on() {
    let mut world = World::new(settings(2), Nature { load_ms: 300, ..Nature::default() });
    world.pass(3000);
    let zygote = *world.zygotes.keys().next().unwrap();
    world.zygote(zygote, 0, gone(zygote));
    world.pass(1000);
    assert_eq!((world.accepting(), world.zygotes.len(), world.lives), (2, 1, 2));
    world.kill(*world.workers.keys().next().unwrap());
    world.pass(10);
    assert_eq!(world.accepting(), 2);
}

#[test]
fn a_dead_router_is_replaced_and_workers_with_new_connections_follow() {
    let mut world = World::new(Settings { router: true, ..settings(2) }, Nature::default());
    world.pass(3000);
    world.event(Event::RouterGone);
    world.pass(100);
    assert_eq!(world.accepting(), 2);
    assert_eq!(world.lives, 4);
    assert!(world.roster.slots.iter().all(|s| s.state == SlotState::Empty || s.routed));
}

#[test]
fn the_binary_is_executed_again_and_a_new_generation_follows_if_asked_for() {
    let mut world = World::new(settings(2), Nature::default());
    world.pass(100);
    world.event(Event::Reexec { operation: 1, reload: false });
    world.pass(100);
    assert_eq!((world.serving(), world.ended.as_slice()), (Some(1), [(1, Outcome::Swapped)].as_slice()));
    world.event(Event::Reexec { operation: 2, reload: true });
    world.pass(100);
    assert_eq!(world.serving(), Some(2));
    world.rehearsal_fails = true;
    world.event(Event::Reexec { operation: 3, reload: true });
    world.pass(100);
    assert_eq!(world.serving(), Some(2));
    assert!(matches!(world.ended.last(), Some((3, Outcome::RolledBack(_)))));
}

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Reload(Nature, u32, bool),
    Reexec(bool),
    KillWorker(usize),
    KillZygote,
    KillRouter,
    Recycle(usize),
    Overran(usize),
    RehearsalsFail(bool),
}

fn nature() -> impl Strategy<Value = Nature> {
    let load = prop_oneof![
        6 => Just(Load::Works),
        1 => Just(Load::Fails),
        1 => Just(Load::WithoutApp),
        1 => Just(Load::Crashes),
        1 => Just(Load::Hangs),
        1 => Just(Load::Threads),
    ];
    (load, 0..500_u64, 0..100_u64, prop::bool::weighted(0.1), prop::bool::weighted(0.2), 0..3000_u64)
        .prop_map(|(load, load_ms, ready_ms, dies_at_start, ignores_drain, request_ms)| Nature {
            load_ms,
            load,
            ready_ms,
            dies_at_start,
            ignores_drain,
            request_ms,
        })
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..2000_u64).prop_map(Act::Pass),
        4 => (nature(), 1..5_u32, any::<bool>()).prop_map(|(n, p, r)| Act::Reload(n, p, r)),
        1 => any::<bool>().prop_map(Act::Reexec),
        2 => (0..12_usize).prop_map(Act::KillWorker),
        1 => Just(Act::KillZygote),
        1 => Just(Act::KillRouter),
        1 => (0..12_usize).prop_map(Act::Recycle),
        1 => (0..12_usize).prop_map(Act::Overran),
        1 => any::<bool>().prop_map(Act::RehearsalsFail),
    ]
}

proptest! {
    /// Whatever happens in whatever order: slots hold one process, reloads take nobody away before somebody else is
    /// there, every operation ends once, and every stop ends.
    #[test]
    fn any_history_ends_well(first in nature(), router: bool, lazy: bool, acts in prop::collection::vec(act(), 0..40)) {
        let mut world = World::new(Settings { router, lazy, ..settings(2) }, first);
        let mut operation = 0;
        for act in acts {
            let before = world.accepting();
            let fewest = world.roster.generations.iter().map(|g| g.settings.processes).min().unwrap_or(0);
            let mut peaceful = true;
            match act {
                Act::Pass(ms) => world.pass(ms),
                Act::Reload(nature, processes, router) => {
                    operation += 1;
                    world.settings = Settings { processes, router, ..world.settings };
                    world.reload(operation, nature);
                    if world.exit.is_some() { world.begun.remove(&operation); }
                }
                Act::Reexec(reload) => {
                    operation += 1;
                    world.event(Event::Reexec { operation, reload });
                    if world.exit.is_some() { world.begun.remove(&operation); }
                }
                Act::KillWorker(slot) => { peaceful = false; world.kill(slot); world.pass(1); }
                Act::KillZygote => {
                    if let Some(zygote) = world.zygotes.keys().next_back().copied() {
                        world.zygote(zygote, 0, gone(zygote));
                    }
                }
                Act::KillRouter => { world.event(Event::RouterGone); }
                Act::Recycle(slot) => world.event(Event::Recycle { slot }),
                Act::Overran(slot) => { peaceful = false; world.event(Event::Overran { slot }); }
                Act::RehearsalsFail(fail) => world.rehearsal_fails = fail,
            }
            if peaceful && !matches!(act, Act::Pass(_)) && world.exit.is_none() {
                let needed = before.min(usize::try_from(fewest).unwrap());
                prop_assert!(world.accepting() >= needed, "{act:?} took workers away");
            }
        }
        world.event(Event::Stop { mercy: None });
        world.pass(70_000);
        prop_assert!(world.exit.is_some(), "the stop never ended: {:#?}", world.roster);
        prop_assert_eq!(world.roster.phase, Phase::Ended);
        if world.exit == Some(0) {
            prop_assert!(world.workers.is_empty());
            prop_assert!(world.zygotes.is_empty());
        }
        let mut ended: Vec<OperationId> = world.ended.iter().map(|(o, _)| *o).collect();
        ended.sort_unstable();
        prop_assert_eq!(ended, world.begun.iter().copied().collect::<Vec<_>>());
    }
}
