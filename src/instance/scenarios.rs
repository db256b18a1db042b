//! What an instance does in situations that matter, in a simulated world.

use std::time::Duration;

use super::event::Event;
use super::roster::{Settings, SlotState};
use super::world::{Load, Nature, World, gone, settings};
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, Outcome};

#[test]
fn it_starts_serves_and_stops() {
    let mut world = World::new(settings(2), Nature { load_ms: 300, ..Nature::default() });
    assert_eq!(world.states, [InstanceState::Starting]);
    world.pass(1000);
    assert_eq!(world.accepting(), 2);
    world.event(Event::Answered);
    world.event(Event::Stop { mercy: None });
    world.pass(10);
    use InstanceState::{Loyal, Ready, Starting, Stopping};
    assert_eq!(world.states, [Starting, Ready, Loyal, Stopping]);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_worker_that_accepts_already_finishes_though_nobody_heard_that_it_does() {
    let slow = Nature { ready_ms: 50, request_ms: 3000, ..Nature::default() };
    for (after_ms, lives_ms) in [(30, 0), (51, 3000), (100, 3000)] {
        let mut world = World::new(settings(2), slow);
        world.pass(after_ms);
        let heard = world.accepting();
        assert_eq!(heard, if after_ms == 100 { 2 } else { 0 });
        world.event(Event::Stop { mercy: None });
        world.pass(lives_ms);
        assert_eq!(world.exit, None, "{after_ms}");
        world.pass(100);
        assert_eq!(world.exit, Some(0), "{after_ms}");
    }
    // Its time is that of the stop.
    let mut world = World::new(settings(1), slow);
    world.pass(51);
    world.event(Event::Stop { mercy: Some(Duration::from_secs(1)) });
    world.pass(1100);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn at_rest_there_is_no_deadline() {
    let mut world = World::new(Settings { router: true, ..settings(3) }, Nature::default());
    world.pass(100);
    assert_eq!(world.roster.next_deadline(), None);
    world.reload(1, Nature::default());
    world.pass(100_000);
    assert_eq!(world.roster.next_deadline(), None);
    assert_eq!(world.roster.generations.len(), 1);
}

#[test]
fn who_may_fork_a_mule_at_any_time_is_kept_and_not_started_again_and_again() {
    for mules in [false, true] {
        let mut world = World::new(Settings { lazy: true, mules, ..settings(2) }, Nature::default());
        world.pass(10_000);
        let [first] = world.zygotes.keys().copied().collect::<Vec<_>>()[..] else { panic!() };
        world.event(gone(first));
        world.pass(100);
        let newest = world.roster.newest_zygote;
        assert_eq!(newest, if mules { 2 } else { 1 });
        if mules {
            world.event(gone(newest));
            assert_eq!(world.roster.newest_zygote, newest, "it lived for no time at all");
            world.pass(1000);
            assert_eq!(world.roster.newest_zygote, newest + 1);
        }
    }
}

#[test]
fn a_first_generation_without_app_serves_errors_or_ends() {
    let mut world = World::new(settings(1), Nature { load: Load::WithoutApp, ..Nature::default() });
    world.pass(100);
    assert_eq!(world.states, [InstanceState::Starting, InstanceState::ReadyWithoutApp]);
    let mut world = World::new(settings(1), Nature { load: Load::Fails, ..Nature::default() });
    world.pass(100);
    assert_eq!(world.exit, Some(22));
    let mut world = World::new(settings(1), Nature { load: Load::Crashes, ..Nature::default() });
    world.pass(100);
    assert_eq!(world.exit, Some(1));
}

#[test]
fn an_app_that_never_returns_from_import_blocks_neither_reload_nor_stop() {
    let hangs = Nature { load: Load::Hangs, ..Nature::default() };
    let mut world = World::new(settings(1), hangs);
    world.pass(10_000);
    world.reload(1, hangs);
    world.pass(10_000);
    world.reload(2, Nature::default());
    world.pass(1000);
    assert_eq!(world.ended, [(1, Outcome::Superseded), (2, Outcome::Swapped)]);
    world.reload(3, hangs);
    world.pass(1000);
    world.event(Event::Stop { mercy: None });
    world.pass(100);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_a_crash_loop_is_slowed() {
    let mut world = World::new(settings(2), Nature::default());
    world.pass(100);
    world.kill(*world.workers.keys().next().unwrap());
    world.pass(10);
    assert_eq!(world.accepting(), 2);
    let before = world.lives;
    for _ in 0..1000 {
        if let Some(slot) = world.workers.keys().next().copied() {
            world.kill(slot);
        }
        world.pass(10);
    }
    assert!(world.lives - before < 40, "{} forks in 10 s", world.lives - before);
    world.pass(5000);
    assert_eq!(world.accepting(), 2);
}

#[test]
fn where_no_more_can_be_forked_those_that_are_there_serve_and_none_is_an_end() {
    for (most, exit) in [(0, Some(1)), (2, None)] {
        let mut world = World::new(settings(4), Nature { forks_at_most: Some(most), ..Nature::default() });
        world.pass(60_000);
        assert_eq!((world.exit, world.accepting()), (exit, most), "{most}");
        let before = world.refused;
        world.pass(60_000);
        assert!(world.refused - before <= 60, "each 2 s at most: {}", world.refused - before);
        assert_eq!(world.shortfalls, if most == 0 { vec![] } else { vec![true] }, "said once");
        if exit.is_none() {
            world.natures.values_mut().for_each(|nature| nature.forks_at_most = None);
            world.pass(60_000);
            assert_eq!((world.accepting(), &world.shortfalls[..]), (4, &[true, false][..]));
        }
    }
}

#[test]
fn a_recycled_worker_ends_after_its_replacement_accepts() {
    for router in [false, true] {
        let mut world = World::new(
            Settings { router, ..settings(2) },
            Nature { ready_ms: 500, request_ms: 5, ..Nature::default() },
        );
        world.pass(1000);
        let old = *world.workers.keys().next().unwrap();
        world.event(Event::Recycle { slot: old });
        for _ in 0..1000 {
            world.pass(1);
            assert!(world.accepting() >= 2);
        }
        assert_eq!(world.accepting(), 2);
        assert!(!world.workers.contains_key(&old));
        assert_eq!(world.lives, 3);
    }
}

#[test]
fn who_is_of_no_use_to_the_router_is_replaced_less_and_less_often() {
    let mut world = World::new(Settings { router: true, ..settings(2) }, Nature::default());
    for _ in 0..6_000 {
        world.pass(10);
        let serving = |slot: &SlotState| *slot == SlotState::Serving;
        let slots = world.roster.slots.iter().map(|slot| (slot.state, slot.generation)).enumerate();
        let lost: Vec<_> = slots.filter(|(_, (state, _))| serving(state)).collect();
        for (slot, (_, generation)) in lost {
            world.event(Event::Lost { slot, generation });
        }
    }
    assert!((4..60).contains(&world.lives), "{} workers in a minute", world.lives);
}

#[test]
fn who_overran_is_killed_or_gets_time_to_finish_while_another_serves() {
    for (nature, grace_s, gone_after_ms) in [
        (Nature { request_ms: 2_000, ..Nature::default() }, None, 1),
        (Nature { request_ms: 2_000, ..Nature::default() }, Some(5), 2_000),
        (Nature { ignores_drain: true, ..Nature::default() }, Some(5), 5_001),
        (Nature { ignores_drain: true, ..Nature::default() }, Some(600), 60_001),
    ] {
        for router in [false, true] {
            let mut world = World::new(Settings { router, ..settings(1) }, nature);
            world.pass(1000);
            let (old, (life, _)) =
                world.workers.first_key_value().map(|(slot, worker)| (*slot, *worker)).unwrap();
            let lives = |world: &World| world.workers.values().any(|worker| worker.0 == life);
            world.event(Event::Overran { slot: old, grace: grace_s.map(Duration::from_secs) });
            world.pass(gone_after_ms - 1);
            assert!(lives(&world), "{nature:?} {grace_s:?}");
            assert!(grace_s.is_none() || world.accepting() == 1, "another serves meanwhile");
            world.pass(if router { 10 } else { 1 });
            assert!(!lives(&world), "{nature:?} {grace_s:?}");
            world.pass(100);
            assert_eq!((world.accepting(), world.lives), (1, 2));
        }
    }
}

#[test]
fn who_ignores_the_drain_is_killed_when_mercy_ends() {
    let stubborn = Nature { ignores_drain: true, ..Nature::default() };
    let mut world = World::new(settings(1), stubborn);
    world.pass(100);
    world.reload(1, Nature::default());
    world.pass(59_000);
    assert_eq!(world.workers.len(), 2);
    world.pass(2000);
    assert_eq!(world.workers.len(), 1);
    world.reload(2, stubborn);
    world.pass(100);
    world.event(Event::Stop { mercy: Some(Duration::from_secs(3)) });
    world.pass(2900);
    assert_eq!(world.exit, None);
    world.pass(200);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_second_stop_does_not_wait() {
    let mut world = World::new(settings(1), Nature { ignores_drain: true, ..Nature::default() });
    world.pass(100);
    world.event(Event::Stop { mercy: None });
    world.pass(1000);
    world.event(Event::StopNow);
    world.pass(100);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn a_dead_zygote_is_replaced_and_the_workers_serve_on() {
    let mut world = World::new(settings(2), Nature { load_ms: 300, ..Nature::default() });
    world.pass(3000);
    let zygote = *world.zygotes.keys().next().unwrap();
    world.zygote(zygote, 0, gone(zygote));
    world.pass(1000);
    assert_eq!((world.accepting(), world.zygotes.len(), world.lives), (2, 1, 2));
    world.kill(*world.workers.keys().next().unwrap());
    world.pass(10);
    assert_eq!(world.accepting(), 2);
}

#[test]
fn a_dead_router_is_replaced_and_workers_with_new_connections_follow() {
    let mut world = World::new(Settings { router: true, ..settings(2) }, Nature::default());
    world.pass(3000);
    world.event(Event::RouterGone);
    world.pass(100);
    assert_eq!(world.accepting(), 2);
    assert_eq!(world.lives, 4);
    assert!(world.roster.slots.iter().all(|s| s.state == SlotState::Empty || s.routed));
}

#[test]
fn workers_come_and_go_as_an_operator_wants_until_the_next_reload() {
    for router in [false, true] {
        let mut world = World::new(Settings { router, ..settings(2) }, Nature::default());
        world.pass(100);
        for (operation, workers, accepting, refused) in
            [(1, 5, 5, false), (2, 1, 1, false), (3, 0, 1, true), (4, 9, 1, true), (5, 3, 3, false)]
        {
            world.event(Event::Scale { operation, workers, idle: vec![] });
            world.pass(5000);
            assert_eq!(world.accepting(), accepting, "{workers}");
            let (last, outcome) = world.ended.last().unwrap();
            assert_eq!((*last, matches!(outcome, Outcome::Refused(_))), (operation, refused), "{outcome:?}");
        }
        world.reload(6, Nature::default());
        world.pass(5000);
        assert_eq!((world.accepting(), world.roster.next_deadline()), (2, None));
    }
}

#[test]
fn a_hook_that_fails_ends_a_first_start_and_rolls_a_reload_back() {
    let failure = || Failure::new("exec-pre-app = false (app.ini:3): the command ended with exit status 1");
    let slow = Nature { load_ms: 1000, ready_ms: 1000, ..Nature::default() };
    let of_zygote = |zygote| Event::ZygoteHookFailed { zygote, failure: failure() };
    let of_worker = |slot| Event::WorkerHookFailed { slot, failure: failure() };
    // Before the application is loaded, and in a worker after it.
    for at_ms in [500, 1500] {
        let mut world = World::new(settings(1), slow);
        world.pass(at_ms);
        let slot = world.workers.keys().next().copied();
        world.event(slot.map_or_else(|| of_zygote(1), of_worker));
        assert_eq!(world.exit, Some(1), "after {at_ms} ms");
        let mut world = World::new(settings(1), Nature::default());
        world.pass(100);
        let old: Vec<usize> = world.workers.keys().copied().collect();
        world.reload(7, slow);
        world.pass(at_ms);
        let slot = world.workers.keys().find(|slot| !old.contains(slot)).copied();
        world.event(slot.map_or_else(|| of_zygote(2), of_worker));
        world.pass(5000);
        assert!(matches!(world.ended.as_slice(), [(7, Outcome::RolledBack(_))]), "{:?}", world.ended);
        assert_eq!((world.serving(), world.accepting(), world.exit), (Some(1), 1, None));
    }
}

#[test]
fn only_the_first_worker_of_each_number_is_the_first() {
    let mut world = World::new(settings(2), Nature::default());
    let firsts = |world: &World| {
        let slots = world.roster.slots.iter().filter(|slot| slot.state == SlotState::Serving);
        let mut all: Vec<(u64, u32, bool)> = slots.map(|s| (s.generation, s.worker, s.first)).collect();
        all.sort_unstable();
        all
    };
    world.pass(100);
    assert_eq!(firsts(&world), [(1, 1, true), (1, 2, true)]);
    let slot = world.roster.slots.iter().position(|slot| slot.worker == 1).unwrap();
    world.kill(slot);
    world.pass(100);
    assert_eq!(firsts(&world), [(1, 1, false), (1, 2, true)]);
    world.reload(7, Nature::default());
    world.pass(5000);
    assert_eq!(firsts(&world), [(2, 1, true), (2, 2, true)]);
}
