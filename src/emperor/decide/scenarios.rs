//! What the emperor does, told as stories in the simulated world.

use super::world::{Manners, Reload, Start, World, reload, start, stop};
use crate::emperor::attributes::Attributes;
use crate::emperor::event::Event;
use crate::emperor::events::{EventKind, EventOutcome};
use crate::emperor::fleet::{Ending, Phase, State};
use crate::emperor::handle::{Refusal, Request};

#[test]
fn files_become_vassals_a_bounded_number_at_a_time() {
    let names: Vec<String> = (0..20).map(|n| format!("{n}.ini")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with(4, &names);
    assert_eq!(world.launches.len(), 4);
    world.run_for(49);
    assert_eq!(world.launches.len(), 4);
    assert!(!world.ready);
    world.run_for(1);
    assert_eq!(world.launches.len(), 8);
    world.run_for(200);
    assert!(names.iter().all(|name| world.is_up(name)));
    assert!(world.ready);
    assert_eq!(world.fleet.phase, Phase::Running);
}

#[test]
fn the_more_important_start_first_and_then_those_that_served_last() {
    let mut world = World::new(1);
    world.write("first.ini");
    for (name, importance) in [("b.ini", 0), ("low.ini", -1), ("a.ini", 0), ("high.ini", 5)] {
        world.attributes.insert(name.to_owned(), Attributes { importance, ..Attributes::default() });
        world.write(name);
    }
    world.run_for(1000);
    let order: Vec<&str> = world.launches.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(order, ["first.ini", "high.ini", "b.ini", "a.ini", "low.ini"]);
}

#[test]
fn who_dies_while_it_waits_for_a_reload_does_not_wait_behind_the_reloads_of_others() {
    let mut world = World::with(1, &["a.ini", "b.ini", "c.ini", "d.ini"]);
    world.run_for(1000);
    for name in ["a.ini", "b.ini", "c.ini", "d.ini"] {
        let life = world.vassal(name).current.as_ref().unwrap().id;
        world.processes.get_mut(&life).unwrap().manners.load_ms = 2000;
    }
    world.ask(Request::ReloadAll).unwrap();
    world.kill("d.ini");
    world.run_for(100);
    assert!(world.is_up("d.ini"));
}

#[test]
fn who_is_started_does_not_wait_behind_the_reloads_of_those_who_serve() {
    let mut world = World::with(1, &["a.ini", "b.ini", "c.ini", "d.ini"]);
    world.run_for(1000);
    for process in world.processes.values_mut() {
        process.manners.load_ms = 2000;
    }
    world.ask(Request::ReloadAll).unwrap();
    world.attributes.insert("new.ini".to_owned(), Attributes { importance: -5, ..Attributes::default() });
    world.write("new.ini");
    world.run_for(2200);
    assert!(world.is_up("new.ini"), "{:?}", world.fleet.queue);
}

#[test]
fn hanging_vassals_give_their_places_back() {
    let mut world = World::new(2);
    for hanging in ["a.ini", "b.ini"] {
        world.behave(hanging, Manners { start: Start::Hangs, ..Manners::default() });
    }
    for name in ["a.ini", "b.ini", "c.ini"] {
        world.write(name);
    }
    world.tell(Event::FirstScanDone);
    world.run_for(2999);
    assert_eq!(world.state("c.ini"), Some(State::Waiting));
    world.run_for(100);
    assert!(world.is_up("c.ini"));
    assert!(!world.ready);
    world.run_for(30_000);
    assert!(world.ready, "a hanging vassal does not hold up the service manager");
}

#[test]
fn a_touch_reloads_and_a_look_without_a_change_does_not() {
    let mut world = World::with(4, &["a.ini"]);
    world.run_for(100);
    world.write("a.ini");
    assert!(matches!(world.state("a.ini"), Some(State::Reloading { .. })));
    world.run_for(100);
    assert!(world.is_up("a.ini"));
    let last = world.vassal("a.ini").last_reload.clone().unwrap();
    assert_eq!((last.why.as_str(), last.ending), ("touched", Some(Ending::Swapped)));
    assert_eq!(world.launches.len(), 1);
    assert_eq!(world.vassal("a.ini").reloads, 1);
}

#[test]
fn a_reload_that_fails_leaves_the_old_one_serving_and_says_so() {
    let mut world = World::with(4, &["a.ini"]);
    world.behave("a.ini", Manners::default());
    world.run_for(100);
    world.behave("b.ini", Manners { reload: Reload::RollsBack, ..Manners::default() });
    world.write("b.ini");
    world.run_for(100);
    let operation = world.ask(reload("b.ini")).unwrap();
    world.run_for(100);
    assert!(matches!(world.ending(operation), Some(Ending::RolledBack(f)) if f.message == "SyntaxError"));
    assert!(world.is_up("b.ini"));
    assert_eq!(world.alive("b.ini"), 1);
}

#[test]
fn the_events_of_an_operation_tell_who_why_and_how_it_ended() {
    let mut world = World::with(4, &["a.ini"]);
    world.run_for(100);
    world.behave("b.ini", Manners { reload: Reload::RollsBack, ..Manners::default() });
    world.write("b.ini");
    world.run_for(100);
    let operation = world.ask(reload("b.ini")).unwrap();
    world.run_for(100);
    let told: Vec<_> = world
        .fleet
        .events_after(0)
        .filter(|event| event.vassal.as_deref() == Some("b.ini"))
        .map(|event| (event.kind, event.operation, event.outcome, event.reason.as_deref()))
        .collect();
    let expected = [
        (EventKind::Found, None, None, None),
        (EventKind::Launched, None, None, None),
        (EventKind::Up, None, None, None),
        (EventKind::Began, Some(operation), None, Some("test")),
        (EventKind::Ended, Some(operation), Some(EventOutcome::RolledBack), Some("SyntaxError")),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_burst_of_touches_collapses_into_the_last() {
    let mut world = World::new(4);
    world.behave("a.ini", Manners { reload: Reload::Hangs, ..Manners::default() });
    world.write("a.ini");
    world.run_for(100);
    let first = world.ask(reload("a.ini")).unwrap();
    let second = world.ask(reload("a.ini")).unwrap();
    assert_eq!(world.state("a.ini"), Some(State::Reloading { operation: second }));
    assert_eq!(world.ending(first), None, "the instance says how the first one ended");
    world.kill("a.ini");
    assert!(matches!(world.ending(first), Some(Ending::Failed(_))));
    assert!(matches!(world.ending(second), Some(Ending::Failed(_))));
    world.run_for(100);
    assert!(world.is_up("a.ini"));
}

#[test]
fn what_is_not_ready_in_time_ends_its_operation() {
    let hangs = || Manners { start: Start::Hangs, reload: Reload::NeedsReplacement, ..Manners::default() };
    // A first instance goes on loading …
    let mut world = World::new(4);
    world.behave("a.ini", hangs());
    world.write("a.ini");
    world.run_for(100);
    world.ask(Request::Stop { vassal: "a.ini".to_owned() }).unwrap();
    world.run_for(1000);
    let start = world.ask(Request::Start { vassal: "a.ini".to_owned() }).unwrap();
    world.run_for(59_000);
    assert_eq!(world.ending(start), None);
    world.run_for(2_000);
    assert_eq!(world.ending(start), Some(Ending::TimedOut));
    assert_eq!(world.state("a.ini"), Some(State::Starting));
    assert_eq!(world.alive("a.ini"), 1);
    // … and a replacement gives way to what serves.
    let mut world = World::new(4);
    world.behave("a.ini", Manners { reload: Reload::NeedsReplacement, ..Manners::default() });
    world.write("a.ini");
    world.run_for(100);
    world.behave("a.ini", hangs());
    let operation = world.ask(reload("a.ini")).unwrap();
    world.run_for(30_000);
    assert_eq!((world.ending(operation), world.alive("a.ini")), (None, 2));
    world.run_for(35_000);
    assert_eq!((world.ending(operation), world.alive("a.ini")), (Some(Ending::TimedOut), 1));
    assert!(world.is_up("a.ini"));
}

#[test]
fn a_killed_master_is_replaced_at_once_and_its_workers_get_their_time() {
    let mut world = World::new(4);
    world.behave("a.ini", Manners { leaves_survivors: true, ..Manners::default() });
    world.write("a.ini");
    world.run_for(1000);
    world.kill("a.ini");
    assert_eq!(world.launches_of("a.ini"), [0, 1000]);
    world.run_for(100);
    assert!(world.is_up("a.ini"));
    assert_eq!(world.alive("a.ini"), 2, "the survivors finish their requests");
    world.run_for(30_000);
    assert_eq!(world.alive("a.ini"), 1, "and are killed after the mercy");
    assert_eq!(world.vassal("a.ini").restarts, 1);
}

#[test]
fn a_removed_file_ends_its_vassal_however_stubborn() {
    for (stops, terminates, by_ms) in [(true, true, 100), (false, true, 31_100), (false, false, 33_100)] {
        let mut world = World::new(4);
        world.behave("a.ini", Manners { stops, terminates, leaves_survivors: true, ..Manners::default() });
        world.write("a.ini");
        world.run_for(100);
        world.remove("a.ini");
        assert_eq!(world.asked_to_stop("a.ini"), 1);
        world.run_for(by_ms);
        assert_eq!(world.state("a.ini"), None, "{stops} {terminates}");
        assert_eq!(world.alive("a.ini"), 0);
    }
}

#[test]
fn a_file_that_returns_while_its_vassal_stops_is_started_after_it() {
    let mut world = World::new(4);
    world.behave("a.ini", Manners { stops: false, ..Manners::default() });
    world.write("a.ini");
    world.run_for(100);
    world.remove("a.ini");
    world.run_for(100);
    world.write("a.ini");
    assert_eq!(world.launches.len(), 1);
    world.run_for(40_000);
    assert_eq!(world.launches.len(), 2);
    assert!(world.is_up("a.ini"));
}

#[test]
fn an_operator_stops_and_starts() {
    let mut world = World::with(4, &["a.ini"]);
    world.run_for(100);
    let stopping = world.ask(stop("a.ini")).unwrap();
    assert_eq!(world.ending(stopping), None);
    world.run_for(100);
    assert_eq!(world.ending(stopping), Some(Ending::Done));
    assert_eq!(world.state("a.ini"), Some(State::Stopped));
    world.write("a.ini");
    world.run_for(1000);
    assert_eq!(world.state("a.ini"), Some(State::Stopped), "a touch does not undo an operator's stop");
    assert!(matches!(world.ask(reload("a.ini")), Err(Refusal::Conflict(_))));
    assert!(matches!(world.ask(stop("a.ini")), Err(Refusal::Conflict(_))));
    assert!(matches!(world.ask(reload("b.ini")), Err(Refusal::UnknownVassal(_))));
    let starting = world.ask(start("a.ini")).unwrap();
    assert_eq!(world.ending(starting), None);
    world.run_for(100);
    assert_eq!(world.ending(starting), Some(Ending::Done));
    assert!(world.is_up("a.ini"));
    assert!(matches!(world.ask(start("a.ini")), Err(Refusal::Conflict(_))));
}

#[test]
fn a_replacement_takes_over_beside_the_old_one_or_leaves_it_serving() {
    for (start, expected_launches) in [(Start::Serves, 2), (Start::Exits(1), 2), (Start::FailsToLaunch, 2)] {
        let mut world = World::new(4);
        world.behave("a.ini", Manners { reload: Reload::NeedsReplacement, ..Manners::default() });
        world.write("a.ini");
        world.run_for(100);
        world.behave("a.ini", Manners { start, load_ms: 500, ..Manners::default() });
        let operation = world.ask(reload("a.ini")).unwrap();
        world.run_for(100);
        assert_eq!(world.asked_to_stop("a.ini"), 0, "nothing drains before the new one is ready");
        world.run_for(1000);
        let ending = world.ending(operation).unwrap();
        if start == Start::Serves {
            assert_eq!(ending, Ending::Swapped);
            assert_eq!(world.asked_to_stop("a.ini"), 1);
        } else {
            assert!(matches!(ending, Ending::RolledBack(_)), "{ending:?}");
            assert_eq!(world.asked_to_stop("a.ini"), 0);
        }
        assert!(world.is_up("a.ini"), "{:?}", world.state("a.ini"));
        assert_eq!(world.alive("a.ini"), 1);
        assert_eq!(world.launches.len(), expected_launches);
    }
}

#[test]
fn the_old_one_dies_while_its_replacement_starts() {
    let mut world = World::new(4);
    world.behave("a.ini", Manners { reload: Reload::NeedsReplacement, ..Manners::default() });
    world.write("a.ini");
    world.run_for(100);
    world.behave("a.ini", Manners { load_ms: 500, ..Manners::default() });
    let operation = world.ask(reload("a.ini")).unwrap();
    world.run_for(100);
    world.kill("a.ini");
    world.run_for(1000);
    assert!(world.is_up("a.ini"));
    assert_eq!(world.launches.len(), 2);
    assert_eq!(world.ending(operation), Some(Ending::Swapped));
}

#[test]
fn a_hang_up_reloads_every_vassal_after_the_emperor_itself() {
    let names: Vec<String> = (0..10).map(|n| format!("{n}.ini")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with(2, &names);
    world.run_for(1000);
    world.hang_up();
    world.run_for(11);
    let reloading =
        || world.fleet.vassals.values().filter(|v| matches!(v.state, State::Reloading { .. })).count();
    assert_eq!(reloading(), 2, "a bounded number at a time");
    world.run_for(1000);
    let parent = world.fleet.operations.iter().find(|o| o.why == "SIGHUP").unwrap();
    assert_eq!(parent.ending, Some(Ending::Done));
    assert!(world.fleet.vassals.values().all(|vassal| vassal.reloads == 1));
    let upgrade = world.ask(Request::Upgrade).unwrap();
    world.run_for(1000);
    assert_eq!(world.ending(upgrade), Some(Ending::Done));
    assert!(world.fleet.vassals.values().all(|vassal| vassal.reloads == 1), "an upgrade reloads no app");
    assert_eq!(world.launches.len(), 10);
}
