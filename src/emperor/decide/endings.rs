//! How the emperor ends, told as stories in the simulated world.

use super::world::{Manners, Start, World};
use crate::emperor::event::Event;
use crate::emperor::handle::{Refusal, Request};

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
