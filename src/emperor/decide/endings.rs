//! How the emperor ends, told as stories in the simulated world.

use super::world::{Manners, Reload, Start, World};
use crate::emperor::event::Event;
use crate::emperor::handle::{Refusal, Request};
use crate::wire::succession::Succession;

fn reload(vassal: &str) -> Request {
    Request::Reload { vassal: vassal.to_owned() }
}

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
