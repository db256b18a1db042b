//! Random histories in the simulated world: whatever happens, the invariants hold, the fleet becomes what the files say,
//! and every stop ends.

use proptest::prelude::*;

use super::world::{Manners, Reload, Start, World};
use crate::config::address::Address;
use crate::emperor::attributes::Attributes;
use crate::emperor::event::{Event, News};
use crate::emperor::fleet::{State, Vassal};
use crate::emperor::handle::Request;
use crate::emperor::scan::{Look, not_started};
use crate::wire::bytes::FromVassal;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, InstanceState};

const NAMES: [&str; 4] = ["a.ini", "b.ini", "c.ini", "d.ini"];
/// How long everything that heals by itself takes, in milliseconds: the longest back-off, a start, an end.
const LONG: u64 = 600_000;

#[derive(Clone, Debug)]
enum Step {
    Write(&'static str),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    /// Of two files with this name another one counts now.
    Move(&'static str, &'static str),
    Chown(&'static str, Option<u32>),
    Refuse(&'static str),
    /// It is written, and waits on this socket.
    OnDemand(&'static str, Option<&'static str>),
    Importance(&'static str, i32),
    Behave(&'static str, Manners),
    Kill(&'static str),
    Exec(&'static str, bool),
    Byte(&'static str, FromVassal),
    Say(&'static str, FromInstance),
    Halt(&'static str, bool),
    ForkBomb(&'static str, usize),
    Ask(Request),
    HangUp,
    FailToReexec(bool),
    Crash,
    Call(&'static str),
    OutOfReach(&'static str),
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
    let said = prop::sample::select(vec![
        FromInstance::Heartbeat,
        FromInstance::Idle { idle_s: 60 },
        FromInstance::Late { after_s: 60 },
        FromInstance::Shortfall(Some(Failure::new("EAGAIN"))),
        FromInstance::State(InstanceState::Loyal),
        FromInstance::Becomes { program: "other".to_owned() },
        FromInstance::Tries { program: "another".to_owned() },
        FromInstance::Began { operation: 7, reason: "by itself".to_owned() },
    ]);
    let pause = prop::sample::select(vec![0, 1, 5, 40, 300, 2_000, 20_000]);
    let socket = prop::option::of(prop::sample::select(vec!["one", "two"]));
    let directory = prop::sample::select(vec!["/v", "/w"]);
    prop_oneof![
        4 => name().prop_map(Step::Write),
        2 => name().prop_map(Step::Remove),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => (name(), directory).prop_map(|(name, directory)| Step::Move(name, directory)),
        1 => (name(), prop::option::of(1000_u32..1002)).prop_map(|(name, owner)| Step::Chown(name, owner)),
        1 => name().prop_map(Step::Refuse),
        1 => (name(), socket).prop_map(|(name, socket)| Step::OnDemand(name, socket)),
        1 => (name(), -1..2).prop_map(|(name, importance)| Step::Importance(name, importance)),
        3 => (name(), manners()).prop_map(|(name, manners)| Step::Behave(name, manners)),
        2 => name().prop_map(Step::Kill),
        2 => (name(), any::<bool>()).prop_map(|(name, other)| Step::Exec(name, other)),
        2 => (name(), word).prop_map(|(name, word)| Step::Byte(name, word)),
        2 => (name(), said).prop_map(|(name, said)| Step::Say(name, said)),
        1 => (name(), any::<bool>()).prop_map(|(name, halted)| Step::Halt(name, halted)),
        1 => (name(), 0..3_usize).prop_map(|(name, which)| Step::ForkBomb(name, which)),
        4 => requests.prop_map(Step::Ask),
        1 => Just(Step::HangUp),
        1 => any::<bool>().prop_map(Step::FailToReexec),
        1 => Just(Step::Crash),
        2 => name().prop_map(Step::Call),
        1 => name().prop_map(Step::OutOfReach),
        6 => pause.prop_map(Step::Wait),
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

impl World {
    fn step(&mut self, step: Step) {
        match step {
            Step::Write(name) => self.write(name),
            Step::Remove(name) => self.remove(name),
            Step::Rename(from, to) if from != to => self.rename(from, to),
            Step::Rename(..) => {}
            Step::Move(name, directory) => {
                self.directories.insert(name.to_owned(), directory);
                self.look(name);
            }
            Step::Chown(name, owner) => {
                self.owners.remove(name);
                self.owners.extend(owner.map(|owner| (name.to_owned(), owner)));
                self.look(name);
            }
            Step::Refuse(name) => {
                let refused = not_started(name, "/v/name".as_ref(), "it is a directory".to_owned());
                self.tell(Event::Looked {
                    id: name.to_owned(),
                    look: Look::Refused(refused.clone()),
                    not_started: vec![refused],
                });
            }
            Step::OnDemand(name, socket) => {
                self.sockets.remove(name);
                self.sockets.extend(socket.map(|socket| (name.to_owned(), socket)));
                self.write(name);
            }
            Step::Importance(name, importance) => {
                self.attributes.insert(name.to_owned(), Attributes { importance, ..Attributes::default() });
                self.write(name);
            }
            Step::Behave(name, manners) => self.behave(name, manners),
            Step::Kill(name) if self.fleet.vassals.contains_key(name) => self.kill(name),
            Step::Kill(_) => {}
            Step::Exec(name, other) => self.run_by(name, other.then_some("uwsgi")),
            Step::Byte(name, word) => self.say(name, word),
            Step::Say(name, said) => self.current_says(name, News::Said(said)),
            Step::Halt(name, halted) => self.current_says(name, News::Halted(halted)),
            Step::ForkBomb(name, which) => {
                let lives = self.fleet.vassals.get(name).into_iter().flat_map(Vassal::lives);
                let life = lives.map(|life| life.id).nth(which);
                if let Some(life) = life {
                    self.bomb(name, life);
                }
            }
            Step::Ask(request) => {
                let _ = self.ask(request);
            }
            Step::HangUp => self.hang_up(),
            Step::FailToReexec(fails) => self.fails_to_reexec = fails,
            Step::Crash => self.crash(),
            Step::Call(name) => self.tell(Event::Called { vassal: name.to_owned() }),
            Step::OutOfReach(name) => self.tell(Event::OutOfReach { vassal: name.to_owned() }),
            Step::Wait(ms) => self.run_for(ms),
        }
    }

    fn current_says(&mut self, name: &str, news: News) {
        let current = self.fleet.vassals.get(name).and_then(|vassal| vassal.current.as_ref());
        if let Some(life) = current.map(|life| life.id) {
            self.tell(Event::News { vassal: name.to_owned(), life, news });
        }
    }

    /// Once everybody behaves and every file was touched the fleet is what the files say.
    fn check_convergence(&mut self) {
        self.fails_to_reexec = false;
        NAMES.iter().for_each(|name| self.behave(name, Manners::GOOD));
        self.run_for(LONG);
        let files: Vec<String> = self.files.keys().cloned().collect();
        files.iter().for_each(|name| self.write(name));
        self.run_for(LONG);
        // A name that is gone serves on while the app of the new one never comes to the end of its import.
        let hangs = |id: &String| {
            let life = self.fleet.vassals.get(id).and_then(|vassal| vassal.current.as_ref());
            life.is_some_and(|life| self.processes[&life.id].manners.start == Start::Hangs)
        };
        let waits = |vassal: &Vassal| vassal.plan.successor.as_ref().is_some_and(hangs);
        let vassals = self.fleet.vassals.iter().filter(|(_, vassal)| !waits(vassal));
        let vassals: Vec<&String> = vassals.map(|(id, _)| id).collect();
        let served: Vec<&String> = self.files.keys().collect();
        assert_eq!(vassals, served, "the vassals are the files: {:#?}", self.fleet.vassals);
        for (id, vassal) in &self.fleet.vassals {
            let current = vassal.current.as_ref().map(|life| &self.processes[&life.id].manners);
            let is_well = match vassal.state {
                State::Up { .. } | State::Reloading { .. } | State::Asleep | State::Stopped => true,
                State::Starting => current.is_some_and(|manners| manners.start == Start::Hangs),
                State::Adopting => current.is_some_and(|manners| !manners.calls),
                _ => false,
            };
            assert!(is_well, "{id} does not come to rest: {vassal:#?}");
            let socket = self.sockets.get(id).map(|name| Address::Abstract((*name).to_owned()));
            assert_eq!(vassal.on_demand, socket, "{id} waits elsewhere: {vassal:#?}");
            let runs = usize::from(vassal.current.is_some()) + usize::from(vassal.next.is_some());
            assert_eq!(self.alive(id), runs, "{id}: {:#?}", self.processes);
            assert!(vassal.plan.successor.is_none() || waits(vassal), "{id} still waits for another");
        }
    }
}

/// `PROPTEST_CASES` asks for more than the usual number of histories.
fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig { cases: cases.unwrap_or(300), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]
    #[test]
    fn whatever_happens_the_fleet_becomes_what_the_files_say_and_every_stop_ends(
        steps in prop::collection::vec(step(), 1..60),
        converges in any::<bool>(),
    ) {
        let mut world = World::with(2, &["a.ini", "b.ini"]);
        for step in steps {
            world.step(step);
        }
        if converges {
            world.check_convergence();
        }
        world.run_for(100);
        world.tell(Event::StopAll);
        world.run_for(70_000);
        prop_assert!(world.exited, "{:#?}", world.fleet.vassals);
        prop_assert!(world.fleet.operations.iter().all(|o| o.ending.is_some() || o.vassal.is_none()),
            "{:#?}", world.fleet.operations);
    }
}
