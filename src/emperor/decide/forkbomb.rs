//! Decisions about fork bombs: each is ended at once, and rests the longer the more often it was one.

use super::turn::Turn;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::forkbomb::Evidence;
use crate::emperor::life::{Leaving, LifeId};
use crate::wire::failure::Failure;

impl Turn<'_> {
    /// A life forks without end, which was known after so many milliseconds.
    pub(super) fn fork_bomb(&mut self, id: &str, life: LifeId, evidence: Evidence, within_ms: u64) {
        let now = self.now;
        let Some(vassal) = self.vassal(id) else { return };
        let is_current = vassal.is_current(life);
        let known = vassal.lives_mut().find(|known| known.id == life);
        let Some(known) = known.filter(|known| known.fork_bomb_ms.is_none()) else { return };
        let failure = Failure::new(format!("a fork bomb: {}", evidence.told(within_ms))).with_hint(
            "what forks without end is in the application; pids-max or limit-nproc may be higher if it needs that many",
        );
        known.fork_bomb_ms = Some(within_ms);
        known.leaving = Some(Leaving::Killed(now + super::stop::KILLED));
        known.failure.get_or_insert_with(|| Box::new(failure.clone()));
        let pid = known.pid.unwrap_or(0);
        let text = format!("{}: SIGKILL to all that pid {pid} started", failure.message);
        if is_current {
            vassal.last_failure = Some(failure);
        }
        self.out.push(Effect::Kill { life });
        self.warn(Some(id), EventKind::Forced.because("a fork bomb"), text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::World;
    use crate::emperor::event::{Event, News};
    use crate::emperor::fleet::{ExitKind, State};
    use crate::emperor::forkbomb::Evidence;
    use crate::emperor::handle::Request;
    use crate::emperor::life::{Leaving, LifeId};

    const A: &str = "a.ini";

    impl World {
        pub(in super::super) fn bomb(&mut self, vassal: &str, life: LifeId) {
            let evidence = Evidence::Refused { count: 1000, most: Some(100) };
            let news = News::ForkBomb { evidence, within_ms: 200 };
            self.tell(Event::News { vassal: vassal.to_owned(), life, news });
        }

        fn current(&self) -> LifeId {
            self.vassal(A).current.as_ref().unwrap().id
        }
    }

    #[test]
    fn it_is_killed_and_rests_longer_each_time() {
        let mut world = World::with(4, &[A, "b.ini"]);
        let mut rests = Vec::new();
        for _ in 0..4 {
            // Long enough that any other failure were forgiven.
            world.run_for(60_000);
            let life = world.current();
            world.bomb(A, life);
            world.bomb(A, life);
            world.run_for(500);
            let State::Resting { attempts, .. } = world.vassal(A).state else { panic!("{:?}", world.log) };
            let vassal = world.vassal(A);
            assert_eq!(vassal.last_exit.unwrap().how, ExitKind::ForkBomb);
            let said = &vassal.last_failure.as_ref().unwrap().message;
            assert_eq!(
                said,
                "a fork bomb: refused 1000 processes within 0.2 s beyond the 100 that it may have"
            );
            rests.push((attempts, vassal.rested_for_ms));
        }
        let killed = world.log.iter().filter(|line| line.contains("SIGKILL to all")).count();
        assert_eq!(killed, 4, "each is told once: {:?}", world.log);
        let ms = |rest: &(u32, u64)| rest.1;
        assert!(rests.iter().all(|rest| ms(rest) >= 40_000), "two hundred times 0.2 s: {rests:?}");
        assert_eq!(rests.iter().map(|rest| rest.0).collect::<Vec<_>>(), [1, 2, 3, 4], "{rests:?}");
        world.run_for(700_000);
        let life = world.current();
        world.bomb(A, life);
        world.run_for(500);
        assert!(
            matches!(world.state(A), Some(State::Resting { attempts: 1, .. })),
            "what was long ago is forgiven"
        );
        assert_eq!(world.launches.iter().filter(|(_, of)| of == "b.ini").count(), 1);
    }

    #[test]
    fn what_is_left_of_one_gets_no_mercy() {
        let mut world = World::with(4, &[A]);
        world.run_for(100);
        let life = world.current();
        world.bomb(A, life);
        let exit = ExitKind::Signal(9);
        let news = News::Exited { exit, survivors: true };
        world.tell(Event::News { vassal: A.to_owned(), life, news });
        let left = world.vassal(A).leaving.first().unwrap();
        assert!(matches!(left.leaving, Some(Leaving::Killed(_))), "{left:?}");
        world.run_for(100);
        assert!(world.vassal(A).leaving.is_empty());
    }

    #[test]
    fn one_that_is_on_its_way_out_or_in_does_not_end_the_one_that_serves() {
        let mut world = World::with(4, &[A]);
        world.run_for(100);
        world.ask(Request::Restart { vassal: A.to_owned() }).unwrap();
        let (old, new) = (world.current(), world.vassal(A).next.as_ref().unwrap().id);
        world.bomb(A, new);
        world.run_for(100);
        assert_eq!((world.current(), world.alive(A)), (old, 1), "{:?}", world.log);
        assert!(world.is_up(A));
    }
}
