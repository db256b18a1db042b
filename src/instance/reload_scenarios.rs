//! What reloads come to, in a simulated world.

use std::time::Duration;

use super::event::{Event, Plan};
use super::operations;
use super::roster::Settings;
use super::world::{Load, Nature, World, settings};
use crate::wire::message::Outcome;

#[test]
fn a_reload_that_is_the_end_lets_running_requests_finish() {
    let mut world = World::new(settings(2), Nature::default());
    world.pass(100);
    world.event(Event::Reload(7));
    // Before its rehearsal answers.
    world.event(Event::Rehearsed { operation: 7, plan: Ok(Plan::End) });
    world.pass(1000);
    assert_eq!(world.ended, [(7, Outcome::Done)]);
    assert_eq!((world.exit, world.accepting()), (Some(0), 0));
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
        ("its workers cannot be forked", Nature { forks_at_most: Some(3), ..Nature::default() }, false),
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
fn a_generation_that_is_not_ready_in_time_is_given_up_and_a_first_one_only_told() {
    let patience = Some(Duration::from_secs(5));
    let hangs = Nature { load: Load::Hangs, ..Nature::default() };
    for lazy in [false, true] {
        let hangs = if lazy { Nature { ready_ms: 1_000_000, ..Nature::default() } } else { hangs };
        let mut world = World::new(Settings { patience, lazy, ..settings(2) }, Nature::default());
        world.pass(100);
        world.reload(7, hangs);
        world.pass(4_900);
        assert_eq!(world.ended, []);
        world.pass(200);
        assert_eq!(world.ended, [(7, Outcome::TimedOut)]);
        assert_eq!((world.serving(), world.accepting(), world.late), (Some(1), 2, 0));
        world.pass(100_000);
        assert_eq!((world.roster.generations.len(), world.workers.len()), (1, 2));
        assert_eq!(world.roster.next_deadline(), None);
    }
    let mut world = World::new(Settings { patience, ..settings(1) }, hangs);
    world.pass(100_000);
    assert_eq!((world.late, world.exit, world.zygotes.len()), (1, None, 1));
    world.reload(8, Nature { load_ms: 8_000, ..Nature::default() });
    world.pass(6_000);
    assert_eq!((world.ended.as_slice(), world.late), ([(8, Outcome::TimedOut)].as_slice(), 2));
    world.pass(6_000);
    assert_eq!((world.serving(), world.ended.len()), (Some(2), 1));
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

#[test]
fn who_reloads_without_end_has_its_pace_and_the_emperor_none() {
    let mut world = World::new(settings(1), Nature::default());
    world.pass(60_000);
    for number in 1..=10 {
        world.reload_by_itself(number, Nature::default(), None);
        world.pass(100);
    }
    assert_eq!(world.serving(), Some(11), "ten at once");
    let slow = Nature { load_ms: 3000, ..Nature::default() };
    for number in 11..=60 {
        world.reload_by_itself(number, slow, (number == 20).then_some(true));
        world.pass(100);
    }
    let ended = |world: &World, wanted: &Outcome| world.ended.iter().filter(|(_, o)| o == wanted).count();
    // It waits, and nothing else begins: the last one stands for all, with what any of them wanted.
    assert_eq!((world.serving(), ended(&world, &Outcome::Superseded)), (Some(11), 48));
    assert_eq!(world.roster.candidate().map(|g| g.operation), Some(Some(operations::OWN | 50)));
    world.pass(2500);
    assert_eq!(
        (world.serving(), world.roster.waiting.map(|w| w.operation)),
        (Some(12), Some(operations::OWN | 60))
    );
    world.reload(7, Nature::default());
    world.pass(100);
    assert_eq!((world.serving(), world.roster.waiting), (Some(13), None), "an operator does not wait");
    world.reload_by_itself(61, Nature::default(), None);
    world.event(Event::Stop { mercy: None });
    world.pass(1000);
    assert_eq!(world.roster.give_up_requests().count(), 0);
    assert_eq!(world.ended.len(), world.begun.len(), "{:?}", world.ended);
}

#[test]
fn a_reload_is_over_once_no_earlier_worker_takes_a_request_but_waits_not_long_for_one_that_is_deaf() {
    let busy = Nature { request_ms: 5000, ..Nature::default() };
    let cases = [
        (Nature { hears_ms: 300, ..busy }, 300),
        (Nature { hears_ms: 3000, ..busy }, 1000),
        (Nature { ignores_drain: true, ..busy }, 1000),
    ];
    for (nature, over_ms) in cases {
        for router in [false, true] {
            let mut world = World::new(Settings { router, ..settings(2) }, nature);
            world.pass(100);
            world.reload(7, Nature { load_ms: 50, ..Nature::default() });
            while world.serving() != Some(2) {
                world.pass(1);
            }
            world.pass(over_ms - 5);
            assert_eq!((world.accepting(), world.ended.as_slice()), (2, [].as_slice()), "{nature:?}");
            world.pass(10);
            assert_eq!(world.ended, [(7, Outcome::Swapped)], "{nature:?}");
            world.pass(100_000);
            assert_eq!((world.ended.len(), world.roster.next_deadline()), (1, None));
        }
    }
}

#[test]
fn a_reload_that_waits_for_earlier_workers_ends_with_them_by_the_next_one_and_by_a_stop() {
    let deaf = Nature { ignores_drain: true, ..Nature::default() };
    let swapped = |operation| (operation, Outcome::Swapped);
    let reloaded = || {
        let mut world = World::new(settings(1), deaf);
        world.pass(100);
        world.reload(1, deaf);
        while world.serving() != Some(2) {
            world.pass(1);
        }
        assert_eq!(world.ended, []);
        world
    };
    let mut world = reloaded();
    let old = world.workers.keys().copied().find(|slot| world.roster.slots[*slot].generation == 1);
    world.kill(old.unwrap());
    world.pass(2);
    assert_eq!(world.ended, [swapped(1)]);

    let mut world = reloaded();
    world.reload(2, Nature::default());
    world.pass(500);
    assert_eq!((world.serving(), world.ended.as_slice()), (Some(3), [].as_slice()));
    world.pass(2000);
    assert_eq!(world.ended, [swapped(1), swapped(2)]);

    let mut world = reloaded();
    world.event(Event::Stop { mercy: None });
    assert_eq!(world.ended, [swapped(1)]);
}
