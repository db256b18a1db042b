//! How the number of workers follows the load, in a simulated world.

use super::event::Event;
use super::roster::Settings;
use super::world::{Nature, World, settings};
use crate::config::cheaper::CheaperSpec;
use crate::wire::message::{InstanceState, Outcome};

fn adaptive(least: u32, most: u32) -> Settings {
    Settings { cheaper: CheaperSpec { least, ..CheaperSpec::default() }, ..settings(most) }
}

#[test]
fn workers_follow_the_load_and_rest_costs_nothing() {
    for router in [false, true] {
        let mut world = World::new(Settings { router, ..adaptive(1, 4) }, Nature::default());
        world.pass(5000);
        assert_eq!((world.accepting(), world.roster.next_deadline()), (1, None));
        let looks = world.looks;
        world.pass(100_000);
        assert_eq!(world.looks, looks, "nobody looks while nothing happens");
        world.be_busy(9);
        world.pass(20_000);
        assert_eq!(world.accepting(), 4);
        world.be_busy(0);
        world.pass(30_000);
        assert_eq!((world.accepting(), world.roster.next_deadline()), (1, None));
        let wanted: Vec<u32> = world.resized.iter().map(|(to, _)| *to).collect();
        assert_eq!(wanted, [2, 3, 4, 3, 2, 1]);
        assert_eq!(world.resized[1].1, "all 2 workers are busy for 3 s");
    }
}

#[test]
fn a_new_generation_has_as_many_workers_as_the_load_needs() {
    let mut world = World::new(adaptive(1, 4), Nature { ready_ms: 50, ..Nature::default() });
    world.pass(1000);
    world.be_busy(9);
    world.pass(7_000);
    assert_eq!(world.accepting(), 3);
    world.reload(1, Nature { load_ms: 5_000, ready_ms: 50, ..Nature::default() });
    for _ in 0..200 {
        world.pass(100);
        assert!(world.accepting() >= 3, "fewer workers than before");
    }
    assert_eq!((world.serving(), world.accepting()), (Some(2), 4));
    world.be_busy(0);
    world.pass(60_000);
    assert_eq!(world.accepting(), 1);
}

#[test]
fn an_operators_number_holds_until_the_load_wants_another() {
    let mut world = World::new(adaptive(1, 4), Nature::default());
    world.pass(1000);
    world.event(Event::Scale { operation: 1, workers: 6, idle: vec![] });
    world.pass(1000);
    assert_eq!(world.accepting(), 6);
    world.pass(60_000);
    assert_eq!(world.accepting(), 1);
    let mut world = World::new(settings(3), Nature::default());
    world.pass(1000);
    let slots: Vec<usize> = world.workers.keys().copied().collect();
    world.event(Event::Scale { operation: 1, workers: 2, idle: vec![slots[1]] });
    world.pass(1000);
    assert_eq!(world.workers.keys().copied().collect::<Vec<_>>(), [slots[0], slots[2]]);
}

#[test]
fn without_a_call_a_cheap_instance_has_no_worker() {
    for (router, lazy) in [(false, false), (true, false), (false, true), (true, true)] {
        let cheaper = CheaperSpec { cheap: true, ..CheaperSpec::default() };
        let settings = Settings { router, lazy, cheaper, ..settings(2) };
        let mut world = World::new(settings, Nature::default());
        world.pass(1000);
        assert_eq!((world.accepting(), world.router, world.roster.next_deadline()), (0, false, None));
        assert_eq!(world.states.last(), Some(&InstanceState::Ready));
        assert!(world.roster.is_cheap());
        world.reload(1, Nature::default());
        world.pass(1000);
        assert_eq!((world.serving(), world.accepting()), (Some(2), 0));
        world.event(Event::Called);
        world.pass(1000);
        assert_eq!((world.accepting(), world.router), (2, router));
        world.event(Event::GoCheap { reason: "nothing happens".into() });
        world.pass(1000);
        assert_eq!((world.accepting(), world.router, world.roster.is_cheap()), (0, false, true));
        world.event(Event::Called);
        world.pass(1000);
        assert_eq!(world.accepting(), 2);
        world.event(Event::Stop { mercy: None });
        world.pass(100);
        assert_eq!(world.exit, Some(0));
    }
}

#[test]
fn a_router_before_other_servers_needs_no_worker() {
    let forwards = Settings { router: true, lazy: true, names_app: false, ..settings(0) };
    let mut world = World::new(forwards, Nature::default());
    world.pass(1000);
    assert_eq!((world.router, world.zygotes.len(), world.workers.len()), (true, 0, 0));
    assert_eq!(world.states.last(), Some(&InstanceState::Ready));
    assert!(!world.roster.is_cheap() && world.roster.next_deadline().is_none());
    for event in [
        Event::Called,
        Event::GoCheap { reason: "nothing happens".into() },
        Event::Scale { operation: 9, workers: 1, idle: Vec::new() },
    ] {
        world.event(event);
    }
    world.pass(1000);
    assert_eq!((world.router, world.workers.len()), (true, 0));
    assert!(matches!(world.ended.pop(), Some((9, Outcome::Refused(_)))));
    // Its file names an application, and none again.
    world.settings = Settings { router: true, ..settings(2) };
    world.reload(1, Nature::default());
    world.pass(1000);
    assert_eq!((world.serving(), world.accepting(), world.router), (Some(2), 2, true));
    world.settings = forwards;
    world.reload(2, Nature::default());
    world.pass(1000);
    assert_eq!((world.serving(), world.workers.len(), world.router), (Some(3), 0, true));
    world.event(Event::Stop { mercy: None });
    world.pass(100);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn workers_that_a_socket_needs_stay() {
    let mut world = World::new(Settings { needs: 2, ..adaptive(2, 4) }, Nature::default());
    world.pass(1000);
    world.be_busy(9);
    world.pass(20_000);
    assert_eq!(world.accepting(), 4);
    world.be_busy(0);
    world.pass(60_000);
    let number = world.roster.serving().unwrap().number;
    assert_eq!(world.roster.active(number).into_keys().collect::<Vec<_>>(), [1, 2]);
    world.event(Event::Scale { operation: 1, workers: 1, idle: vec![0, 1] });
    world.pass(1000);
    assert_eq!(world.accepting(), 2, "one would not serve every socket");
}
