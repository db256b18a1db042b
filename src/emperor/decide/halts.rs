//! Decisions about masters that a signal stopped: their workers serve on, and nothing waits for them.

use super::turn::Turn;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, OperationKind};
use crate::emperor::life::LifeId;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

impl Turn<'_> {
    pub(super) fn halted(&mut self, id: &str, life: LifeId, halted: bool) {
        let Some(vassal) = self.vassal(id) else { return };
        let is_current = vassal.is_current(life);
        let Some(known) = vassal.lives_mut().find(|known| known.id == life && known.halted != halted) else {
            return;
        };
        known.halted = halted;
        let pid = known.pid.unwrap_or(0);
        if !halted {
            return self.tell(Some(id), EventKind::Halted, format!("its master, pid {pid}, goes on"));
        }
        let text = format!(
            "its master, pid {pid}, was stopped by a signal: workers serve on, but it neither reloads nor replaces them until `kill -CONT {pid}`"
        );
        self.warn(Some(id), EventKind::Halted, text);
        if !is_current {
            return;
        }
        let sent = |kind| matches!(kind, OperationKind::Reload | OperationKind::Upgrade);
        let Some(vassal) = self.vassal(id) else { return };
        let waiting = [vassal.plan.reload, vassal.plan.reexec, vassal.plan.replace];
        let of_vassal = self.fleet.operations.iter().filter(|o| o.vassal.as_deref() == Some(id));
        let under_way: Vec<OperationId> = of_vassal
            .filter(|o| o.ending.is_none() && sent(o.kind) && !waiting.contains(&Some(o.id)))
            .map(|o| o.id)
            .collect();
        for operation in under_way {
            self.end_if_halted(id, operation);
        }
    }

    /// Ends what was asked of a master that was stopped: nobody knows when it will do it.
    pub(super) fn end_if_halted(&mut self, id: &str, operation: OperationId) {
        let life = self.vassal(id).and_then(|vassal| vassal.current.as_ref());
        let Some(pid) = life.filter(|life| life.halted).map(|life| life.pid.unwrap_or(0)) else { return };
        let failure = Failure::new(format!("its master, pid {pid}, was stopped by a signal"))
            .with_hint(format!("it does this when it goes on: kill -CONT {pid}"));
        self.end(operation, Ending::Failed(failure));
        self.reloaded(id, operation);
    }
}

#[cfg(test)]
mod tests {
    use super::super::manners::{Manners, Reload};
    use super::super::world::World;
    use crate::emperor::event::{Event, News};
    use crate::emperor::fleet::{Ending, State};
    use crate::emperor::handle::Request;

    fn reload() -> Request {
        Request::Reload { vassal: "a.ini".to_owned() }
    }

    fn halt(world: &mut World, halted: bool) {
        let life = world.vassal("a.ini").current.as_ref().unwrap().id;
        world.tell(Event::News { vassal: "a.ini".to_owned(), life, news: News::Halted(halted) });
    }

    #[test]
    fn nothing_waits_for_a_master_that_was_stopped() {
        let mut world = World::new(4);
        world.behave("a.ini", Manners { reload: Reload::Hangs, ..Manners::default() });
        world.write("a.ini");
        world.run_for(100);
        let before = world.ask(reload()).unwrap();
        let all = world.ask(Request::ReloadAll).unwrap();
        assert_eq!(world.ending(all), None);
        halt(&mut world, true);
        for operation in [before, all, world.ask(reload()).unwrap(), world.ask(Request::ReloadAll).unwrap()] {
            assert!(matches!(world.ending(operation), Some(Ending::Failed(_))), "{operation}");
        }
        assert!(matches!(world.state("a.ini"), Some(State::Up { .. })));
        assert!(world.vassal("a.ini").current.as_ref().unwrap().halted);
        let told = world.log.len();
        halt(&mut world, true);
        assert_eq!(world.log.len(), told, "it is told once");
        halt(&mut world, false);
        let after = world.ask(reload()).unwrap();
        assert_eq!(world.ending(after), None);
    }
}
