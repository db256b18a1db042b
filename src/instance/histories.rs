//! Whatever happens to an instance in whatever order, in a simulated world.

use std::time::Duration;

use proptest::prelude::*;

use super::event::Event;
use super::operations;
use super::roster::{Phase, Settings};
use super::world::{Load, Nature, World, gone, settings};
use crate::config::cheaper::CheaperSpec;
use crate::wire::message::OperationId;

#[derive(Clone, Debug)]
enum Act {
    Pass(u64),
    Reload(Nature, u32, bool),
    Reexec(bool),
    ReloadByItself(Nature, Option<bool>),
    KillWorker(usize),
    KillZygote,
    KillRouter,
    Recycle(usize),
    Overran(usize, Option<Duration>),
    RehearsalsFail(bool),
    Busy(usize),
    Scale(u32),
    GoCheap,
    Call,
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
    let forks = prop::option::weighted(0.1, 0..4_usize);
    let ends = (prop::bool::weighted(0.2), 0..3000_u64, 0..1500_u64);
    (load, 0..500_u64, 0..100_u64, prop::bool::weighted(0.1), ends, forks).prop_map(
        |(load, load_ms, ready_ms, dies_at_start, (ignores_drain, request_ms, hears_ms), forks_at_most)| {
            Nature {
                forks_at_most,
                load_ms,
                load,
                ready_ms,
                dies_at_start,
                ignores_drain,
                request_ms,
                hears_ms,
            }
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0..2000_u64).prop_map(Act::Pass),
        4 => (nature(), 0..5_u32, any::<bool>()).prop_map(|(n, p, r)| Act::Reload(n, p, r)),
        1 => any::<bool>().prop_map(Act::Reexec),
        4 => (nature(), prop::sample::select(vec![None, Some(true)])).prop_map(|(n, r)| Act::ReloadByItself(n, r)),
        2 => (0..12_usize).prop_map(Act::KillWorker),
        1 => Just(Act::KillZygote),
        1 => Just(Act::KillRouter),
        1 => (0..12_usize).prop_map(Act::Recycle),
        1 => (0..12_usize, patience()).prop_map(|(slot, grace)| Act::Overran(slot, grace)),
        1 => any::<bool>().prop_map(Act::RehearsalsFail),
        2 => (0..6_usize).prop_map(Act::Busy),
        1 => (0..6_u32).prop_map(Act::Scale),
        1 => Just(Act::GoCheap),
        1 => Just(Act::Call),
    ]
}

fn cheaper() -> impl Strategy<Value = CheaperSpec> {
    (0..3_u32, 0..4_u32, any::<bool>()).prop_map(|(least, initial, cheap)| CheaperSpec {
        least,
        initial,
        cheap,
        ..CheaperSpec::default()
    })
}

fn patience() -> impl Strategy<Value = Option<Duration>> {
    prop::sample::select(vec![None, Some(Duration::from_millis(200)), Some(Duration::from_secs(5))])
}

proptest! {
    /// Whatever happens in whatever order: slots hold one process, reloads take nobody away before somebody else is
    /// there, every operation ends once, and every stop ends.
    #[test]
    fn any_history_ends_well(first in nature(), router: bool, lazy: bool, patience in patience(), cheaper in cheaper(), acts in prop::collection::vec(act(), 0..40)) {
        let mut world = World::new(Settings { router, lazy, patience, cheaper, ..settings(3) }, first);
        let mut operation = 0;
        for act in acts {
            let before = world.accepting();
            let fewest = world.roster.generations.iter().map(super::roster::Generation::wanted).min().unwrap_or(0);
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
                Act::ReloadByItself(nature, reexec) => {
                    operation += 1;
                    world.reload_by_itself(operation, nature, reexec);
                    if world.exit.is_some() { world.begun.remove(&(operations::OWN | operation)); }
                }
                Act::KillWorker(slot) => { peaceful = false; world.kill(slot); world.pass(1); }
                Act::KillZygote => {
                    if let Some(zygote) = world.zygotes.keys().next_back().copied() {
                        world.zygote(zygote, 0, gone(zygote));
                    }
                }
                Act::KillRouter => { world.event(Event::RouterGone); }
                Act::Recycle(slot) => world.event(Event::Recycle { slot }),
                Act::Overran(slot, grace) => { peaceful = false; world.event(Event::Overran { slot, grace }); }
                Act::RehearsalsFail(fail) => world.rehearsal_fails = fail,
                Act::Busy(busy) => world.be_busy(busy),
                Act::Scale(workers) => {
                    operation += 1;
                    peaceful = false;
                    world.begun.insert(operation);
                    world.event(Event::Scale { operation, workers, idle: vec![] });
                    if world.exit.is_some() { world.begun.remove(&operation); }
                }
                Act::GoCheap => { peaceful = false; world.event(Event::GoCheap { reason: String::new() }); }
                Act::Call => world.event(Event::Called),
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
