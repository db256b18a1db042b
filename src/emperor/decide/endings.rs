//! How the emperor ends, told as stories in the simulated world.

use std::time::Duration;

use super::world::{Manners, Reload, Start, World, reload};
use crate::emperor::event::{Event, News};
use crate::emperor::fleet::Ending;
use crate::emperor::handle::{Refusal, Request};
use crate::wire::message::{FromInstance, Outcome};
use crate::wire::succession::Succession;

#[test]
fn stopping_all_ends_with_an_exit_even_among_the_stubborn() {
    let mut world = World::new(4);
    for (name, manners) in [
        ("good.ini", Manners::default()),
        (
            "deaf.ini",
            Manners { stops: false, terminates: false, leaves_survivors: true, ..Manners::default() },
        ),
        ("hangs.ini", Manners { start: Start::Hangs, stops: false, ..Manners::default() }),
        ("crashes.ini", Manners { start: Start::Exits(1), ..Manners::default() }),
    ] {
        world.behave(name, manners);
        world.write(name);
    }
    world.tell(Event::FirstScanDone);
    world.run_for(500);
    world.tell(Event::StopAll);
    world.write("late.ini");
    assert!(matches!(world.ask(reload("good.ini")), Err(Refusal::Stopping)));
    world.run_for(30_000);
    assert!(!world.exited);
    world.run_for(5_000);
    assert!(world.exited);
    assert!(world.launches_of("late.ini").is_empty());
}

#[test]
fn each_end_has_the_patience_that_was_said_for_it() {
    let [long, short] = [Duration::from_secs(100), Duration::from_secs(5)];
    for (mercy, end_mercy, all, until_ms) in [
        (long, short, false, 103_000),
        (long, short, true, 8_000),
        (short, long, false, 8_000),
        (short, long, true, 103_000),
    ] {
        let mut world = World::new(4);
        (world.fleet.rules.mercy, world.fleet.rules.end_mercy) = (mercy, end_mercy);
        world.behave("a.ini", Manners { stops: false, terminates: false, ..Manners::default() });
        world.write("a.ini");
        world.run_for(100);
        match all {
            true => world.tell(Event::StopAll),
            false => world.remove("a.ini"),
        }
        world.run_for(until_ms - 1);
        assert_eq!(world.alive("a.ini"), 1, "{mercy:?} {end_mercy:?} {all}");
        world.run_for(100);
        assert_eq!(world.alive("a.ini"), 0, "{mercy:?} {end_mercy:?} {all}");
    }
    // What is on its way out when the emperor stops has no more time than all others.
    let mut world = World::new(4);
    (world.fleet.rules.mercy, world.fleet.rules.end_mercy) = (long, short);
    world.behave("a.ini", Manners { stops: false, terminates: false, ..Manners::default() });
    world.write("a.ini");
    world.run_for(100);
    world.remove("a.ini");
    world.run_for(1000);
    world.tell(Event::StopAll);
    world.run_for(8_100);
    assert!(world.exited);
}

#[test]
fn sockets_that_outlast_the_emperor_are_closed_with_their_vassal_only() {
    type End = fn(&mut World);
    let ends: End = |world| world.tell(Event::StopAll);
    for (what, outlasts, end, told, closed) in [
        ("the emperor ends", false, ends, Succession::Nobody, true),
        ("the service manager keeps them", true, ends, Succession::NextStart, false),
        ("its file goes", true, |world| world.remove("a.ini"), Succession::Nobody, true),
        (
            "an operator stops it",
            true,
            |world| drop(world.ask(Request::Stop { vassal: "a.ini".to_owned() })),
            Succession::Nobody,
            true,
        ),
        ("another serves on", true, |world| drop(world.ask(reload("a.ini"))), Succession::Another, false),
    ] {
        let mut world = World::new(4);
        world.behave("a.ini", Manners { reload: Reload::NeedsReplacement, ..Manners::default() });
        world.write("a.ini");
        world.run_for(100);
        world.fleet.vassals.get_mut("a.ini").unwrap().outlasts = outlasts;
        end(&mut world);
        world.run_for(5_000);
        let process = world.processes.values().find(|process| process.asked_to_stop).unwrap();
        assert_eq!((process.succession, !world.closed.is_empty()), (Some(told), closed), "{what}");
    }
}

#[test]
fn asking_twice_to_stop_ends_patience() {
    let mut world = World::new(4);
    world.behave("deaf.ini", Manners { stops: false, terminates: false, ..Manners::default() });
    world.write("deaf.ini");
    world.run_for(100);
    world.tell(Event::StopAll);
    world.run_for(900);
    world.tell(Event::StopAll);
    world.run_for(2_500);
    assert!(!world.exited, "a signal to the whole group may arrive twice, and is one order");
    world.tell(Event::StopAll);
    world.run_for(2_100);
    assert!(world.exited);
}

#[test]
fn who_has_itself_replaced_without_end_has_its_pace_and_operators_none() {
    let mut world = World::with(4, &["a.ini"]);
    world.run_for(100);
    for number in 1..=12 {
        let life = world.vassal("a.ini").current.as_ref().unwrap().id;
        let say = |said| Event::News { vassal: "a.ini".to_owned(), life, news: News::Said(said) };
        world.tell(say(FromInstance::Began { operation: number, reason: "SIGHUP".to_owned() }));
        let outcome = Outcome::NeedsReplace { reason: "exit-on-reload".to_owned() };
        world.tell(say(FromInstance::Ended { operation: number, outcome }));
        world.run_for(200);
        assert!(world.is_up("a.ini"));
    }
    assert_eq!(world.launches.len(), 11, "ten times at once");
    let last = world.fleet.operations.back().unwrap();
    let Some(Ending::Failed(failure)) = &last.ending else { panic!("{last:?}") };
    assert!(failure.message.starts_with("it was replaced too often: not again in the next 2."), "{failure}");
    world.behave("a.ini", Manners { reload: Reload::NeedsReplacement, ..Manners::default() });
    for process in world.processes.values_mut() {
        process.manners.reload = Reload::NeedsReplacement;
    }
    let asked = world.ask(reload("a.ini")).unwrap();
    world.run_for(200);
    assert_eq!((world.ending(asked), world.launches.len()), (Some(Ending::Swapped), 12));
}
