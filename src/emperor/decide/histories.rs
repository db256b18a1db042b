//! Random histories in the simulated world: whatever happens, the invariants hold, and every stop ends.

use proptest::prelude::*;

use super::world::{Manners, Reload, Start, World};
use crate::emperor::event::Event;
use crate::emperor::handle::Request;
use crate::wire::bytes::FromVassal;

const NAMES: [&str; 4] = ["a.ini", "b.ini", "c.ini", "d.ini"];

#[derive(Clone, Debug)]
enum Step {
    Write(&'static str),
    Remove(&'static str),
    Behave(&'static str, Manners),
    Kill(&'static str),
    Exec(&'static str, bool),
    Byte(&'static str, FromVassal),
    Ask(Request),
    HangUp,
    Crash,
    Call(&'static str),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || prop::sample::select(&NAMES[..]);
    let requests = name().prop_flat_map(|vassal| {
        let vassal = vassal.to_owned();
        prop::sample::select(vec![
            Request::Reload { vassal: vassal.clone() },
            Request::Stop { vassal: vassal.clone() },
            Request::Start { vassal: vassal.clone() },
            Request::Restart { vassal: vassal.clone() },
            Request::Scale { vassal: vassal.clone(), workers: 3 },
            Request::Sleep { vassal: vassal.clone() },
            Request::Wake { vassal: vassal.clone() },
            Request::ClearBackOff { vassal: Some(vassal) },
            Request::ReloadAll,
            Request::Upgrade,
        ])
    });
    let word = prop::sample::select(vec![
        FromVassal::Accepting,
        FromVassal::Loyal,
        FromVassal::VoluntaryStop,
        FromVassal::Heartbeat,
        FromVassal::Reinforcements,
    ]);
    prop_oneof![
        4 => name().prop_map(Step::Write),
        2 => name().prop_map(Step::Remove),
        3 => (name(), manners()).prop_map(|(name, manners)| Step::Behave(name, manners)),
        2 => name().prop_map(Step::Kill),
        2 => (name(), any::<bool>()).prop_map(|(name, other)| Step::Exec(name, other)),
        3 => (name(), word).prop_map(|(name, word)| Step::Byte(name, word)),
        4 => requests.prop_map(Step::Ask),
        1 => Just(Step::HangUp),
        1 => Just(Step::Crash),
        2 => name().prop_map(Step::Call),
        5 => prop::sample::select(vec![0, 1, 5, 40, 300, 2_000, 20_000]).prop_map(Step::Wait),
    ]
}

fn manners() -> impl Strategy<Value = Manners> {
    let start = prop::sample::select(vec![
        Start::Serves,
        Start::Serves,
        Start::FailsToLaunch,
        Start::Exits(1),
        Start::Mistaken,
        Start::Hangs,
        Start::Crashes { after_ms: 30 },
    ]);
    let reload = prop::sample::select(vec![
        Reload::Swaps,
        Reload::RollsBack,
        Reload::Hangs,
        Reload::NeedsReplacement,
        Reload::Dies,
    ]);
    let load_ms = prop::sample::select(vec![0, 30, 900]);
    (load_ms, start, reload, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(load_ms, start, reload, stops, terminates, calls, leaves_survivors)| Manners {
            load_ms,
            start,
            reload,
            stops,
            terminates,
            calls,
            leaves_survivors,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_every_stop_ends(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::with(2, &["a.ini", "b.ini"]);
        for step in steps {
            match step {
                Step::Write(name) => world.write(name),
                Step::Remove(name) => world.remove(name),
                Step::Behave(name, manners) => world.behave(name, manners),
                Step::Kill(name) if world.fleet.vassals.contains_key(name) => world.kill(name),
                Step::Kill(_) => {}
                Step::Exec(name, other) => world.run_by(name, other.then_some("uwsgi")),
                Step::Byte(name, word) => world.say(name, word),
                Step::Ask(request) => {
                    let _ = world.ask(request);
                }
                Step::HangUp => world.hang_up(),
                Step::Crash => world.crash(),
                Step::Call(name) => world.tell(Event::Called { vassal: name.to_owned() }),
                Step::Wait(ms) => world.run_for(ms),
            }
        }
        world.run_for(100);
        world.tell(Event::StopAll);
        world.run_for(70_000);
        prop_assert!(world.exited, "{:#?}", world.fleet.vassals);
        prop_assert!(world.fleet.operations.iter().all(|o| o.ending.is_some() || o.vassal.is_none()),
            "{:#?}", world.fleet.operations);
    }
}
