//! Decisions about renamed files: the vassal of the new name takes over the sockets of the old one, which serves until the
//! new one does.

use super::turn::Turn;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Phase, State, Vassal};
use crate::emperor::scan::Found;

/// How it stands with the vassal of the new name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Successor {
    /// It is not there yet.
    Coming,
    /// It serves, or waits for connections at the sockets.
    There,
    /// Nobody comes: its file is gone as well, or an operator stopped it.
    Gone,
}

impl Turn<'_> {
    /// The vassal that had this file under another name, if its sockets can be handed over.
    pub(super) fn predecessor(&self, found: &Found) -> Option<String> {
        // Programs of others bind their sockets themselves, but for the one that we made.
        let is_ours = |vassal: &Vassal| {
            vassal.program.is_none()
                && found.program.is_none()
                && vassal.lives().all(|life| life.foreign.is_none())
        };
        let is_fit = |vassal: &&Vassal| {
            !vassal.plan.removed
                && !vassal.plan.stopped
                && vassal.state != State::Adopting
                && vassal.tenant == found.tenant
                && vassal.on_demand == found.on_demand
                && (vassal.on_demand.is_some() || is_ours(vassal))
        };
        let known = found.was.iter().filter_map(|id| self.fleet.vassals.get(id)).filter(is_fit);
        // Of a file that is renamed twice in a row the one that serves counts.
        known.max_by_key(|vassal| vassal.serves()).map(|vassal| vassal.id.clone())
    }

    /// The vassal `to` is to follow the vassal `from`.
    pub(super) fn bequeath(&mut self, from: &str, to: &str) {
        let Some(before) = self.vassal(from) else { return };
        let until = if before.serves() { format!(", and {from} serves until then") } else { String::new() };
        before.plan.successor = Some(to.to_owned());
        before.plan.gone = true;
        before.plan.shares = true;
        if let Some(after) = self.vassal(to) {
            after.plan.shares = true;
        }
        self.out.push(Effect::Bequeath { from: from.to_owned(), to: to.to_owned() });
        let why = format!("the file of {from} is called {to} now");
        self.tell(
            Some(to),
            EventKind::Said.because(why.clone()),
            format!("{why}: it takes over its sockets{until}"),
        );
    }

    /// The file of a renamed vassal is there again: it keeps its sockets, and who was to follow has to find its own.
    pub(super) fn disinherit(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.plan.gone = false;
        let Some(successor) = vassal.plan.successor.take() else { return };
        vassal.plan.shares = false;
        if !self.fleet.vassals.contains_key(&successor) {
            return;
        }
        self.out.push(Effect::Bequeath { from: successor.clone(), to: id.to_owned() });
        self.out.push(Effect::Awake { vassal: successor.clone() });
        self.out.push(Effect::Close { vassal: successor.clone() });
        self.stop(&successor);
        if let Some(successor) = self.vassal(&successor) {
            successor.plan.shares = false;
        }
    }

    /// Lets those go whose successors serve, and those who have none any more.
    pub(super) fn settle_successions(&mut self) {
        if self.fleet.phase == Phase::Stopping {
            return;
        }
        let successions = self.fleet.vassals.values().filter_map(|vassal| {
            let successor = vassal.plan.successor.clone()?;
            Some((vassal.id.clone(), successor))
        });
        for (id, successor) in successions.collect::<Vec<_>>() {
            self.settle_succession(&id, &successor);
        }
    }

    fn settle_succession(&mut self, id: &str, successor: &str) {
        let stands = self.fleet.vassals.get(successor).map_or(Successor::Gone, Vassal::as_successor);
        let shared = self.share_an_address(id, successor);
        let Some(vassal) = self.vassal(id) else { return };
        // Without its file it cannot come back.
        let is_over = vassal.current.is_none() || vassal.plan.stopped;
        if stands == Successor::Coming && !is_over {
            return;
        }
        vassal.plan.successor = None;
        vassal.plan.shares = stands != Successor::Gone && shared;
        let gone = vassal.plan.gone;
        if let Some(next) = self.vassal(successor) {
            next.plan.shares = false;
            // It need not wait for what the other one had any more.
            if is_over && matches!(next.state, State::Resting { .. }) {
                next.attempts = 0;
                self.queue(successor);
            }
        }
        if gone {
            let why = match stands {
                Successor::There => format!("its file is called {successor} now, which has its sockets"),
                _ => "its file is gone".to_owned(),
            };
            self.remove(id, &why);
        }
    }

    /// Whether the sockets of one are those of the other, too; so it is taken to be while that is not known.
    fn share_an_address(&self, one: &str, other: &str) -> bool {
        let spec = |id: &str| self.fleet.vassals.get(id).and_then(|vassal| vassal.spec.as_ref());
        let (Some(one), Some(other)) = (spec(one), spec(other)) else { return true };
        one.listen.iter().any(|listen| other.listen.iter().any(|known| known.address == listen.address))
    }
}

impl Vassal {
    fn as_successor(&self) -> Successor {
        match self.state {
            _ if self.plan.removed || self.plan.stopped => Successor::Gone,
            State::Up { .. } | State::Reloading { .. } | State::Asleep => Successor::There,
            _ => Successor::Coming,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{Manners, Start, World};
    use crate::emperor::event::Event;
    use crate::emperor::fleet::State;
    use crate::emperor::handle::Request;
    use crate::wire::succession::Succession;

    const SLOW: Manners = Manners { load_ms: 900, ..Manners::GOOD };

    fn renamed(of_new: Manners) -> World {
        let mut world = World::with(4, &["a.ini"]);
        world.run_for(100);
        world.behave("b.ini", of_new);
        world.rename("a.ini", "b.ini");
        world
    }

    #[test]
    fn the_old_name_serves_until_the_new_one_does() {
        let mut world = renamed(SLOW);
        world.run_for(899);
        assert!(world.is_up("a.ini") && !world.is_up("b.ini"));
        assert_eq!(world.asked_to_stop("a.ini"), 0);
        world.run_for(100);
        assert_eq!((world.state("a.ini"), world.is_up("b.ini")), (None, true));
        let ended = world.processes.values().find(|process| process.vassal == "a.ini").unwrap();
        assert!(ended.succession == Some(Succession::Another));
        world.remove("b.ini");
        let last = world.processes.values().find(|process| process.vassal == "b.ini").unwrap();
        assert!(
            last.succession.is_some_and(|succession| succession != Succession::Another),
            "its sockets are its own now"
        );
    }

    #[test]
    fn where_the_new_name_does_not_come_up_the_old_one_serves_on_until_it_is_stopped() {
        let fails = Manners { start: Start::Exits(1), ..Manners::GOOD };
        let mut world = renamed(fails);
        world.run_for(60_000);
        assert!(world.is_up("a.ini"));
        assert!(matches!(world.state("b.ini"), Some(State::Resting { .. })));
        world.behave("b.ini", Manners::GOOD);
        world.ask(Request::Stop { vassal: "a.ini".to_owned() }).unwrap();
        world.run_for(1000);
        assert_eq!((world.state("a.ini"), world.is_up("b.ini")), (None, true));
    }

    #[test]
    fn who_has_no_file_and_no_successor_any_more_goes() {
        for removed_at_ms in [0, 150, 400] {
            let mut world = renamed(SLOW);
            world.run_for(removed_at_ms);
            world.remove("b.ini");
            world.run_for(2000);
            assert!(world.fleet.vassals.is_empty(), "{removed_at_ms}: {:#?}", world.fleet.vassals);
        }
    }

    #[test]
    fn a_file_that_comes_back_has_its_sockets_to_itself() {
        let mut world = renamed(SLOW);
        world.run_for(100);
        world.write("a.ini");
        let asked = world.processes.values().find(|process| process.vassal == "b.ini").unwrap();
        assert!(asked.succession == Some(Succession::Another), "it had the sockets of another");
        world.run_for(2000);
        assert!(world.is_up("a.ini") && world.is_up("b.ini"));
        assert_eq!((world.launches_of("a.ini").len(), world.launches_of("b.ini").len()), (1, 2));
    }

    #[test]
    fn of_a_file_that_is_renamed_twice_the_first_name_serves_until_the_last_does() {
        let mut world = renamed(SLOW);
        world.run_for(100);
        world.behave("c.ini", SLOW);
        world.rename("b.ini", "c.ini");
        world.run_for(850);
        assert!(world.is_up("a.ini"));
        world.run_for(200);
        assert!(world.is_up("c.ini"));
        assert_eq!((world.state("a.ini"), world.state("b.ini")), (None, None));
        assert!(
            world
                .processes
                .values()
                .filter_map(|p| p.succession)
                .all(|succession| succession == Succession::Another)
        );
    }

    #[test]
    fn who_waits_for_a_connection_does_so_under_the_new_name_whoever_runs_it() {
        for program in [None, Some("uwsgi")] {
            for woken in [false, true] {
                let mut world = World::new(4);
                world.sockets = ["a.ini", "b.ini"].map(|name| (name.to_owned(), "shared")).into();
                ["a.ini", "b.ini"].into_iter().for_each(|name| world.run_by(name, program));
                world.remove("b.ini");
                world.tell(Event::FirstScanDone);
                if woken {
                    world.tell(Event::Called { vassal: "a.ini".to_owned() });
                }
                world.run_for(100);
                assert_eq!((world.is_up("a.ini"), world.launches.len()), (woken, usize::from(woken)));
                world.rename("a.ini", "b.ini");
                world.run_for(2000);
                assert_eq!((world.state("a.ini"), world.state("b.ini")), (None, Some(State::Asleep)));
                assert_eq!(world.launches.len(), usize::from(woken), "{program:?}");
            }
        }
    }
}
