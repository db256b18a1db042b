//! Rests after failures, and what ends them, told as stories in the simulated world.

use std::time::Duration;

use super::world::{Manners, Start, World, reload, start};
use crate::emperor::fleet::{Ending, State};
use crate::emperor::handle::Request;

#[test]
fn a_crash_loop_rests_longer_and_longer_and_a_touch_ends_the_rest() {
    let mut world = World::with(4, &["good.ini"]);
    world.behave("a.ini", Manners { start: Start::Exits(22), load_ms: 0, ..Manners::default() });
    world.write("a.ini");
    world.run_for(600_000);
    let launches = world.launches_of("a.ini");
    let gaps: Vec<u64> = launches.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, full) in gaps.iter().zip([1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 180_000]) {
        assert!((full * 3 / 4..=full).contains(gap), "{gaps:?}");
    }
    assert!(launches.len() < 13, "{launches:?}");
    assert!(matches!(world.state("a.ini"), Some(State::Resting { .. })));
    world.behave("a.ini", Manners::default());
    world.write("a.ini");
    world.run_for(100);
    assert!(world.is_up("a.ini"));
    assert!(world.is_up("good.ini"));
    assert_eq!(world.launches_of("good.ini").len(), 1);
}

#[test]
fn an_operator_ends_a_rest() {
    let one = || "a.ini".to_owned();
    for ends in [
        Request::ClearBackOff { vassal: Some(one()) },
        Request::ClearBackOff { vassal: None },
        start("a.ini"),
        reload("a.ini"),
        Request::Restart { vassal: one() },
        Request::ReloadAll,
    ] {
        let mut world = World::new(4);
        world.behave("a.ini", Manners { start: Start::Exits(22), load_ms: 0, ..Manners::default() });
        world.write("a.ini");
        world.run_for(600_000);
        assert!(matches!(world.state("a.ini"), Some(State::Resting { attempts: 9.., .. })));
        world.ask(ends.clone()).unwrap();
        world.run_for(10);
        let State::Resting { attempts: 1, until } = world.state("a.ini").unwrap() else {
            panic!("{ends:?}: {:?}", world.state("a.ini"));
        };
        assert!(until.since(world.now) <= Duration::from_secs(1), "it begins anew: {ends:?}");
    }
}

#[test]
fn a_file_of_which_a_part_is_not_there_yet_is_tried_again_by_itself() {
    let mut world = World::new(4);
    world.behave("a.ini", Manners { start: Start::MissesAFile, ..Manners::default() });
    world.write("a.ini");
    world.run_for(10_000);
    assert!(matches!(world.state("a.ini"), Some(State::Resting { .. })), "{:?}", world.state("a.ini"));
    assert!(world.vassal("a.ini").config_error.is_some());
    world.behave("a.ini", Manners::default());
    world.run_for(180_000);
    assert!(world.is_up("a.ini"));
}

#[test]
fn a_file_with_mistakes_waits_for_its_change_or_an_operator() {
    let mut world = World::new(4);
    world.behave("a.ini", Manners { start: Start::Mistaken, ..Manners::default() });
    world.write("a.ini");
    world.run_for(600_000);
    let one = Request::ClearBackOff { vassal: Some("a.ini".to_owned()) };
    assert!(world.ask(one).is_err(), "it waits for no time");
    world.ask(Request::ClearBackOff { vassal: None }).unwrap();
    assert_eq!(world.launches_of("a.ini"), [0]);
    assert_eq!(world.state("a.ini"), Some(State::Broken));
    assert_eq!(world.vassal("a.ini").restarts, 0);
    assert!(world.vassal("a.ini").config_error.is_some());
    let asked = world.ask(reload("a.ini")).unwrap();
    world.run_for(100);
    assert_eq!(world.launches_of("a.ini").len(), 2);
    assert!(matches!(world.fleet.operation(asked).unwrap().ending, Some(Ending::Failed(_))));
    // Changed while the mistakes are being read.
    world.write("a.ini");
    world.run_for(10);
    world.behave("a.ini", Manners::default());
    world.write("a.ini");
    world.run_for(200);
    assert!(world.is_up("a.ini"), "{:?}", world.log);
    assert_eq!(world.launches_of("a.ini").len(), 4);
}

#[test]
fn serving_briefly_forgives_once_and_serving_long_forgives_all() {
    let mut world = World::new(4);
    world.behave(
        "a.ini",
        Manners { start: Start::Crashes { after_ms: 100 }, load_ms: 0, ..Manners::default() },
    );
    world.write("a.ini");
    world.run_for(10_000);
    let launches = world.launches_of("a.ini");
    assert_eq!(launches[..2], [0, 100], "the first restart is for nothing");
    assert!(launches.len() <= 5, "then it rests: {launches:?}");
    world.behave("a.ini", Manners { start: Start::Crashes { after_ms: 20_000 }, ..Manners::default() });
    world.write("a.ini");
    world.run_for(100_000);
    assert!(world.vassal("a.ini").attempts <= 1);
}
