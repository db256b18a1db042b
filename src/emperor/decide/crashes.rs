//! Deaths of the emperor itself in the simulated world, and what its successor makes of them.

use std::path::PathBuf;

use super::world::{Manners, Reload, World};
use crate::emperor::event::{Event, Heir, News};
use crate::emperor::fleet::{Ending, ExitKind, Fleet, State};
use crate::emperor::handle::Request;
use crate::emperor::life::{LifeId, Origin};
use crate::wire::PROTOCOL;
use crate::wire::message::{FromInstance, InstanceState};
use crate::wire::succession::Succession;

impl World {
    /// The emperor is killed, and another one starts: what ran runs on, and calls (or not).
    pub(super) fn crash(&mut self) {
        // Programs of others end without their emperor.
        for process in self.processes.values_mut().filter(|process| process.foreign) {
            (process.alive, process.survivors) = (false, false);
        }
        let heirs: Vec<Heir> = self
            .processes
            .iter()
            .filter(|(_, process)| process.alive)
            .map(|(life, process)| Heir {
                vassal: process.vassal.clone(),
                directory: PathBuf::from("/v"),
                life: *life,
                pid: u32::try_from(*life).unwrap() + 100,
                started_epoch_ms: 0,
                file: process.file.0,
                tenant: process.file.1,
                leaving: process.asked_to_stop,
            })
            .collect();
        let rules = self.fleet.rules;
        self.fleet = Fleet { rules, ..Fleet::default() };
        // What was on its way to the dead emperor is lost; what is left of dead masters ends by itself.
        self.coming.clear();
        self.processes.retain(|_, process| process.alive);
        let lives: Vec<LifeId> = heirs.iter().map(|heir| heir.life).collect();
        self.tell(Event::Inherited { heirs, gone: Vec::new(), adopt: true });
        let known: Vec<String> = self.fleet.vassals.keys().chain(self.files.keys()).cloned().collect();
        known.iter().for_each(|id| self.look(id));
        self.tell(Event::FirstScanDone);
        for life in lives {
            let manners = self.processes[&life].manners.clone();
            if manners.calls {
                self.news(30, life, News::Adopted);
                let hello = FromInstance::Hello { protocol: PROTOCOL + 1, version: "2".to_owned(), pid: 0 };
                self.news(30, life, News::Said(hello));
                self.news(31, life, News::Said(FromInstance::State(InstanceState::Ready)));
            }
            // One that was about to end does so all the same.
            if self.processes[&life].asked_to_stop && manners.stops {
                self.end(life, ExitKind::Unknown, 20);
            }
        }
    }
}

fn silent() -> Manners {
    Manners { calls: false, ..Manners::default() }
}

#[test]
fn what_runs_is_adopted_and_nothing_is_started_beside_it() {
    let mut world = World::with(4, &["a.ini", "b.ini"]);
    world.run_for(100);
    world.crash();
    assert_eq!((world.state("a.ini"), world.launches.len()), (Some(State::Adopting), 2));
    assert!(!world.ready || world.vassal("a.ini").serves());
    world.run_for(100);
    assert!(world.is_up("a.ini") && world.is_up("b.ini") && world.ready);
    assert_eq!(world.launches.len(), 2);
    // From here on it is a vassal like any other.
    world.write("a.ini");
    world.run_for(100);
    assert_eq!(world.vassal("a.ini").reloads, 1);
    world.kill("b.ini");
    world.run_for(100);
    assert!(world.is_up("b.ini"));
    world.remove("a.ini");
    world.run_for(100);
    assert_eq!((world.state("a.ini"), world.alive("a.ini")), (None, 0));
}

#[test]
fn what_happened_while_there_was_no_emperor_is_made_up_for() {
    let mut world = World::with(4, &["a.ini", "b.ini", "c.ini"]);
    world.run_for(100);
    let c = world.vassal("c.ini").current.as_ref().unwrap().id;
    world.processes.get_mut(&c).unwrap().alive = false;
    world.files.remove("a.ini");
    world.crash();
    world.write("b.ini");
    assert_eq!(world.vassal("b.ini").reloads, 0, "it has not called yet");
    world.run_for(400);
    assert_eq!((world.state("a.ini"), world.alive("a.ini")), (None, 0), "its file is gone");
    assert_eq!(world.vassal("b.ini").reloads, 1, "its file has changed");
    assert!(world.is_up("c.ini"), "it had died");
    assert_eq!(world.launches_of("c.ini").len(), 2);
}

#[test]
fn who_was_renamed_while_there_was_no_emperor_serves_until_the_new_name_does() {
    for calls in [true, false] {
        let mut world = World::with(4, &["a.ini"]);
        world.run_for(100);
        let life = world.vassal("a.ini").current.as_ref().unwrap().id;
        world.processes.get_mut(&life).unwrap().manners.calls = calls;
        let file = world.files.remove("a.ini").unwrap();
        world.files.insert("b.ini".to_owned(), file);
        world.behave("b.ini", Manners { load_ms: 900, ..Manners::GOOD });
        world.crash();
        assert_eq!((world.state("a.ini"), world.state("b.ini")), (Some(State::Adopting), None));
        world.run_for(600);
        assert_eq!(world.is_up("a.ini"), calls);
        assert_eq!(world.asked_to_stop("a.ini"), 0);
        world.run_for(60_000);
        assert_eq!((world.state("a.ini"), world.is_up("b.ini")), (None, true));
        assert_eq!(
            world.processes[&life].succession == Some(Succession::Another),
            calls,
            "its sockets are those of another"
        );
    }
}

#[test]
fn who_does_not_call_keeps_its_place_until_it_is_gone_and_can_be_stopped() {
    for way in ["dies", "stops", "calls late"] {
        let mut world = World::new(4);
        world.behave("a.ini", silent());
        world.write("a.ini");
        world.tell(Event::FirstScanDone);
        world.run_for(100);
        let life = world.vassal("a.ini").current.as_ref().unwrap().id;
        world.crash();
        world.run_for(60_000);
        assert_eq!(world.state("a.ini"), Some(State::Adopting));
        assert!(world.ready);
        assert_eq!(world.vassal("a.ini").current.as_ref().unwrap().origin, Origin::Overdue);
        assert_eq!(world.log.iter().filter(|line| line.contains("does not call")).count(), 1);
        let reload = world.ask(Request::Reload { vassal: "a.ini".to_owned() }).unwrap();
        world.run_for(100);
        assert_eq!((world.ending(reload), world.launches.len()), (None, 1));
        match way {
            "dies" => {
                world.kill("a.ini");
                world.run_for(200);
                assert!(world.is_up("a.ini"));
                assert_eq!(world.ending(reload), Some(Ending::Swapped), "the new one has read the file");
            }
            "stops" => {
                let stop = world.ask(Request::Stop { vassal: "a.ini".to_owned() }).unwrap();
                world.run_for(100);
                assert_eq!((world.ending(stop), world.alive("a.ini")), (Some(Ending::Done), 0));
            }
            _ => {
                world.tell(Event::News { vassal: "a.ini".to_owned(), life, news: News::Adopted });
                let ready = News::Said(FromInstance::State(InstanceState::Ready));
                world.tell(Event::News { vassal: "a.ini".to_owned(), life, news: ready });
                world.run_for(200);
                assert!(world.is_up("a.ini"));
                assert_eq!(world.ending(reload), Some(Ending::Swapped));
            }
        }
    }
}

#[test]
fn a_replacement_that_had_not_taken_over_goes() {
    let mut world = World::with(4, &["a.ini"]);
    world.run_for(100);
    world.behave("a.ini", Manners { load_ms: 5000, ..Manners::default() });
    let life = world.vassal("a.ini").current.as_ref().unwrap().id;
    world.processes.get_mut(&life).unwrap().manners.reload = Reload::NeedsReplacement;
    world.write("a.ini");
    world.run_for(1000);
    assert_eq!(world.alive("a.ini"), 2);
    world.crash();
    world.run_for(1000);
    assert_eq!(world.alive("a.ini"), 1);
    assert_eq!(world.vassal("a.ini").current.as_ref().unwrap().id, life);
}

#[test]
fn an_emperor_that_adopts_nothing_ends_what_it_finds_before_it_starts_its_own() {
    let mut world = World::with(4, &["a.ini"]);
    world.run_for(100);
    let life = world.vassal("a.ini").current.as_ref().unwrap().id;
    let heir = Heir {
        vassal: "a.ini".to_owned(),
        directory: PathBuf::from("/v"),
        life,
        pid: 101,
        started_epoch_ms: 0,
        file: world.files["a.ini"],
        tenant: None,
        leaving: false,
    };
    world.fleet = Fleet { rules: world.fleet.rules, ..Fleet::default() };
    world.tell(Event::Inherited { heirs: vec![heir], gone: Vec::new(), adopt: false });
    world.look("a.ini");
    world.tell(Event::FirstScanDone);
    assert_eq!(world.launches.len(), 1);
    world.run_for(200);
    assert!(world.is_up("a.ini"));
    assert_eq!((world.launches.len(), world.alive("a.ini")), (2, 1));
}
