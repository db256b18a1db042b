//! Decisions about vassals that other programs run: what their bytes mean, and what is done where they know no word.

use std::time::Duration;

use super::turn::Turn;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{Ending, OperationKind, State, Vassal};
use crate::emperor::foreign::{BEGINNING, Foreign, SILENCE, Speech};
use crate::emperor::life::{Leaving, Life, LifeId};
use crate::tick::Tick;
use crate::wire::bytes::FromVassal;
use crate::wire::failure::Failure;
use crate::wire::message::{InstanceState, OperationId, Outcome};

/// For so long is read what may have been said before anybody is killed for saying nothing.
const LISTENS: Duration = Duration::from_secs(1);

impl Turn<'_> {
    pub(super) fn byte(&mut self, id: &str, life: LifeId, word: FromVassal) {
        let (now, epoch_ms) = (self.now, self.epoch_ms());
        let Some(foreign) = self.foreign(id, life) else { return };
        foreign.speech = Speech::Heard;
        match word {
            FromVassal::Spawned => foreign.spawned_epoch_ms = Some(epoch_ms),
            FromVassal::Accepting => {
                foreign.accepting_epoch_ms = Some(epoch_ms);
                foreign.begins_until = Some(now + BEGINNING);
                let reload = foreign.reload.take();
                self.state(id, life, InstanceState::Ready);
                if let Some((operation, _)) = reload {
                    self.operation_ended(id, life, operation, Outcome::Swapped);
                }
            }
            FromVassal::Loyal => {
                foreign.loyal_epoch_ms = Some(epoch_ms);
                self.state(id, life, InstanceState::Loyal);
            }
            FromVassal::VoluntaryStop => self.wants_to_end(id, life),
            FromVassal::Heartbeat => self.lives(id, life),
            // There is no configuration to send, and nobody reinforces a vassal.
            FromVassal::WantsConfig | FromVassal::Reinforcements => {}
        }
    }

    /// One of ours is another program from now on. Beside the one that it was to replace it would want the same sockets:
    /// both end, and it is started again.
    pub(super) fn becomes(&mut self, id: &str, life: LifeId, program: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        let replace = vassal.plan.replace.filter(|_| vassal.is_next(life));
        let Some(known) = vassal.lives_mut().find(|known| known.id == life && known.foreign.is_none()) else {
            return;
        };
        known.foreign = Some(Foreign { by_configuration: true, ..Foreign::new(program.to_owned()) });
        known.doing = None;
        if vassal.is_current(life) {
            (vassal.spec, vassal.config, vassal.config_error) = (None, None, None);
            vassal.warnings.clear();
        }
        self.note(Some(id), EventKind::Said, format!("becomes {program}, as its file says"));
        if let Some(operation) = replace {
            self.start_anew(id, operation, &format!("{program} is to run it"));
        }
    }

    /// The program that was to run it could not be executed: it is another one.
    pub(super) fn tries(&mut self, id: &str, life: LifeId, program: &str) {
        let Some(foreign) = self.foreign(id, life) else { return };
        let asked = foreign.program.clone();
        foreign.instead = Some(program.to_owned());
        let text = format!("{asked} cannot be executed: {program} is to run it");
        self.note(Some(id), EventKind::Said, text);
    }

    /// A sign of life: from the first one on they are required.
    pub(super) fn lives(&mut self, id: &str, life: LifeId) {
        let (now, epoch_ms) = (self.now, self.epoch_ms());
        let required = self.fleet.rules.heartbeat;
        let Some(vassal) = self.vassal(id) else { return };
        let Some(known) = vassal.lives_mut().find(|known| known.id == life) else { return };
        known.heartbeat_epoch_ms = Some(epoch_ms);
        // Its workers may say so until they end, and then it loads, for as long as that takes.
        let reloads = known.foreign.as_ref().is_some_and(|foreign| foreign.reload.is_some());
        known.beat_until = (!reloads && !required.is_zero()).then_some(now + required);
        known.is_silent = false;
    }

    /// What it was is another program's now, or nothing can be said to it: it ends, and then it is started again.
    pub(super) fn start_anew(&mut self, id: &str, operation: OperationId, why: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        let Some(life) = vassal.current.take() else { return };
        let keep_files = vassal.on_demand.is_some();
        let next = vassal.take_next();
        vassal.state = State::Stopping;
        vassal.lose_sight();
        vassal.plan.loads_no_more();
        vassal.plan.own_reloads.clear();
        let plan = &mut vassal.plan;
        let given_up =
            [plan.start.replace(operation), plan.reload.take(), plan.replace.take(), plan.reexec.take()];
        let of_vassal = self.fleet.operations.iter().filter(|o| o.vassal.as_deref() == Some(id));
        let running: Vec<OperationId> = of_vassal
            .filter(|o| o.ending.is_none() && o.kind != OperationKind::Stop && o.id != operation)
            .map(|o| o.id)
            .collect();
        for before in given_up.into_iter().flatten().chain(running).filter(|o| *o != operation) {
            self.end(before, Ending::Superseded);
        }
        let text = format!("{why}: it ends, and is started again");
        self.tell(Some(id), EventKind::Stopping.because(why).of(operation), text);
        for life in next.into_iter().chain([life]) {
            self.ask(id, life, keep_files);
        }
    }

    /// Why the vassal has to be started anew where one of ours would reload; `None`: it can be told.
    pub(super) fn reason_to_start_anew(&mut self, id: &str) -> Option<String> {
        let vassal = self.vassal(id)?;
        let life = vassal.current.as_ref()?;
        // What it became by its own configuration was begun as one of ours.
        let given = life.foreign.as_ref().filter(|foreign| !foreign.by_configuration);
        let runs = given.map(|foreign| foreign.program.as_str());
        let ours = |program: Option<&str>| program.unwrap_or("liege").to_owned();
        if runs != vassal.program.as_deref() {
            return Some(format!("{} is to run it, not {}", ours(vassal.program.as_deref()), ours(runs)));
        }
        let foreign = life.foreign.as_ref().filter(|foreign| foreign.is_mute())?;
        let runs = foreign.running();
        Some(format!("{runs} does not speak uWSGI's language, and cannot be asked to reload"))
    }

    /// Its end of the descriptor is closed; answers whether that is no more than the program's way.
    pub(super) fn fell_silent(&mut self, id: &str, life: LifeId) -> bool {
        let Some(foreign) = self.foreign(id, life).filter(|foreign| foreign.speech != Speech::Heard) else {
            return false;
        };
        foreign.speech = Speech::Mute;
        true
    }

    /// What the time alone brings for the current life.
    pub(super) fn look_after(&mut self, id: &str) {
        let now = self.now;
        let required = self.fleet.rules.heartbeat.as_secs();
        let Some(life) = self.vassal(id).and_then(|vassal| vassal.current.as_mut()) else { return };
        let (number, pid) = (life.id, life.pid.unwrap_or(0));
        if let Some(until) = life.beat_until.take_if(|until| *until <= now) {
            // Who stood still itself, as all of a host may, has not read yet what others said meanwhile.
            if !std::mem::replace(&mut life.is_silent, true) || now.since(until) >= LISTENS {
                life.beat_until = Some(now + LISTENS);
                return;
            }
            life.leaving = Some(Leaving::Killed(now + super::stop::KILLED));
            self.out.push(Effect::Kill { life: number });
            let text = format!(
                "pid {pid} has given no sign of life for {required} s: SIGKILL to all that it started"
            );
            return self.warn(Some(id), EventKind::Forced, text);
        }
        let silent = life.silent_at().is_some_and(|at| at <= now);
        let Some(foreign) = &mut life.foreign else { return };
        if let Some((operation, _)) = foreign.reload.take_if(|(_, until)| *until <= now) {
            let failure = Failure::new("it has not said that it accepts requests again")
                .with_hint("its log tells more; liege stop and liege start begin anew");
            self.end(operation, Ending::Failed(failure));
            self.reloaded(id, operation);
            return self.reload_again(id);
        }
        if foreign.begins_until.take_if(|until| *until <= now).is_some() {
            self.reload_again(id);
        } else if silent {
            foreign.speech = Speech::Mute;
            let text = format!(
                "{} has said nothing for {} s: it counts as up while it runs",
                foreign.running(),
                SILENCE.as_secs()
            );
            self.note(Some(id), EventKind::Said, text);
            self.state(id, number, InstanceState::Ready);
        }
    }

    /// It has nothing to do and asks for its end: where the emperor has its socket it sleeps, else it stays away.
    fn wants_to_end(&mut self, id: &str, life: LifeId) {
        let Some(vassal) = self.vassal(id).filter(|vassal| vassal.is_current(life)) else { return };
        let waits = vassal.plan.reload.take().or(vassal.plan.replace);
        let under_way = || {
            let reload = vassal.current.as_ref()?.foreign.as_ref()?.reload;
            reload.map(|(operation, _)| operation)
        };
        if let Some(operation) = waits.or_else(under_way) {
            return self.start_anew(id, operation, "it has nothing to do, and was to reload");
        }
        if vassal.on_demand.is_some() {
            return self.lay_down(id, "it has nothing to do");
        }
        vassal.plan.stopped = true;
        vassal.plan.by_itself = true;
        let text = "it has nothing to do and ends, until its file changes or somebody starts it";
        self.tell(Some(id), EventKind::Stopping, text);
        self.stop(id);
    }

    /// Whether the program of others that runs it reloads or begins just now.
    pub(super) fn begins_as_foreign(&mut self, id: &str) -> bool {
        let current = self.vassal(id).and_then(|vassal| vassal.current.as_ref());
        let foreign = current.and_then(|life| life.foreign.as_ref());
        foreign.is_some_and(|foreign| foreign.reload.is_some() || foreign.begins_until.is_some())
    }

    /// It can be told to reload: one that was asked for meanwhile may begin.
    fn reload_again(&mut self, id: &str) {
        if self.vassal(id).is_some_and(|vassal| vassal.plan.reload.is_some()) {
            self.queue(id);
        }
    }

    fn foreign(&mut self, id: &str, life: LifeId) -> Option<&mut Foreign> {
        let vassal = self.vassal(id)?;
        vassal.lives_mut().find(|known| known.id == life)?.foreign.as_mut()
    }
}

impl Life {
    /// When to look after it next, whatever happens.
    pub(super) fn looked_after_at(&self) -> Option<Tick> {
        if self.leaving.is_some() {
            // Its end has steps of its own.
            return None;
        }
        let foreign = self.foreign.as_ref();
        let reload = foreign.and_then(|foreign| foreign.reload).map(|(_, until)| until);
        let begins = foreign.and_then(|foreign| foreign.begins_until);
        [self.beat_until, reload, begins, self.silent_at()].into_iter().flatten().min()
    }

    fn silent_at(&self) -> Option<Tick> {
        let waited_for = self.foreign.as_ref().is_some_and(|foreign| foreign.speech == Speech::None);
        (waited_for && self.pid.is_some()).then(|| self.started + SILENCE)
    }
}

impl Vassal {
    /// The program of others that runs it now.
    #[must_use]
    pub fn foreign_program(&self) -> Option<&str> {
        let foreign = self.current.as_ref()?.foreign.as_ref()?;
        Some(foreign.running())
    }
}

#[cfg(test)]
mod tests {
    use super::super::manners::{Manners, Reload, Start};
    use super::super::world::World;
    use super::*;
    use crate::emperor::event::{Event, News};
    use crate::emperor::handle::Request;
    use crate::wire::message::FromInstance;

    const A: &str = "a.ini";

    fn uwsgi(manners: Manners) -> World {
        let mut world = World::new(4);
        world.behave(A, manners);
        world.run_by(A, Some("uwsgi"));
        world.run_for(100);
        world
    }

    fn reload() -> Request {
        Request::Reload { vassal: A.to_owned() }
    }

    #[test]
    fn bytes_bring_it_up_and_end_its_reloads() {
        let mut world = uwsgi(Manners::default());
        assert_eq!(world.state(A), Some(State::Up { app: true, loyal: false }));
        world.say(A, FromVassal::Loyal);
        assert_eq!(world.state(A), Some(State::Up { app: true, loyal: true }));
        world.run_for(1_000);
        let asked = world.ask(reload()).unwrap();
        assert_eq!(
            (world.ending(asked), world.state(A)),
            (None, Some(State::Reloading { operation: asked }))
        );
        world.say(A, FromVassal::Heartbeat);
        world.run_for(100);
        assert_eq!(world.ending(asked), Some(Ending::Swapped));
        world.write(A);
        world.run_for(1_100);
        assert_eq!((world.launches.len(), world.vassal(A).reloads), (1, 2), "in the same process");
        let upgrade = world.ask(Request::Upgrade).unwrap();
        world.run_for(100);
        assert_eq!(world.ending(upgrade), Some(Ending::Done), "of another program nothing is renewed");
        assert!(world.ask(Request::Scale { vassal: A.to_owned(), workers: 3 }).is_err());
    }

    #[test]
    fn what_is_asked_for_while_it_begins_or_reloads_is_told_after_it() {
        let mut world = uwsgi(Manners { reload: Reload::Hangs, ..Manners::default() });
        let early = world.ask(reload()).unwrap();
        world.run_for(800);
        assert_eq!(
            (world.vassal(A).reloads, world.state(A)),
            (0, Some(State::Up { app: true, loyal: false }))
        );
        world.run_for(200);
        assert_eq!(world.state(A), Some(State::Reloading { operation: early }));
        world.say(A, FromVassal::Accepting);
        world.run_for(1_000);
        let asked: Vec<_> = (0..3).map(|_| world.ask(reload()).unwrap()).collect();
        world.run_for(100);
        let told = |world: &World| world.processes.values().map(|process| process.reloads).sum::<usize>();
        let endings = |world: &World| asked.iter().map(|one| world.ending(*one)).collect::<Vec<_>>();
        assert_eq!((told(&world), endings(&world)), (2, vec![None, Some(Ending::Superseded), None]));
        world.say(A, FromVassal::Accepting);
        assert_eq!((told(&world), world.ending(asked[0])), (2, Some(Ending::Swapped)));
        world.run_for(1_000);
        assert_eq!(told(&world), 3);
        world.say(A, FromVassal::Accepting);
        assert_eq!((told(&world), world.ending(asked[2])), (3, Some(Ending::Swapped)));
        world.run_for(1_000);
        // Also after one that was never over.
        let lost = world.ask(reload()).unwrap();
        world.ask(reload()).unwrap();
        world.run_for(121_000);
        assert!(matches!(world.ending(lost), Some(Ending::Failed(_))));
        assert_eq!(told(&world), 5);
    }

    #[test]
    fn a_reload_that_is_never_over_fails_and_its_program_runs_on() {
        let mut world = uwsgi(Manners { reload: Reload::Hangs, ..Manners::default() });
        let asked = world.ask(reload()).unwrap();
        world.run_for(119_000);
        assert_eq!(world.ending(asked), None);
        world.run_for(2_000);
        assert!(matches!(world.ending(asked), Some(Ending::Failed(_))));
        assert!(world.is_up(A));
    }

    #[test]
    fn who_said_that_it_lives_must_go_on_to_say_so_but_not_while_it_loads() {
        let slow = Manners { load_ms: 100_000, ..Manners::default() };
        let mut world = uwsgi(Manners::default());
        world.run_for(100_000);
        assert_eq!(world.launches.len(), 1, "nothing is required of who never said it");
        world.say(A, FromVassal::Heartbeat);
        world.run_for(29_000);
        world.say(A, FromVassal::Heartbeat);
        world.run_for(29_000);
        world.behave(A, slow);
        for process in world.processes.values_mut() {
            process.manners.load_ms = 100_000;
        }
        let asked = world.ask(reload()).unwrap();
        world.say(A, FromVassal::Heartbeat);
        world.run_for(99_000);
        assert_eq!((world.ending(asked), world.launches.len()), (None, 1));
        world.behave(A, Manners::default());
        world.run_for(2_000);
        assert_eq!(world.ending(asked), Some(Ending::Swapped));
        world.say(A, FromVassal::Heartbeat);
        world.run_for(31_000);
        world.run_for(100);
        assert_eq!((world.launches.len(), world.is_up(A)), (2, true), "{:?}", world.log);
    }

    #[test]
    fn none_is_required_of_who_is_asked_to_stop() {
        let mut world = uwsgi(Manners { stops: false, ..Manners::default() });
        world.fleet.rules.heartbeat = Duration::from_secs(3);
        world.say(A, FromVassal::Heartbeat);
        world.remove(A);
        world.run_for(29_000);
        assert_eq!(world.alive(A), 1, "it finishes requests: {:?}", world.log);
        world.run_for(10_000);
        assert_eq!(world.alive(A), 0);
    }

    #[test]
    fn an_emperor_that_stood_still_reads_what_was_said_before_it_kills_anybody() {
        let mut world = uwsgi(Manners::default());
        world.say(A, FromVassal::Heartbeat);
        // The timer may be looked at before what waits to be read.
        let stand_still = |world: &mut World| {
            world.now = world.now + Duration::from_secs(600);
            world.tell(Event::Deadline);
        };
        for times in 1..=3 {
            (0..times).for_each(|_| stand_still(&mut world));
            world.run_for(500);
            world.say(A, FromVassal::Heartbeat);
            world.run_for(29_000);
        }
        assert_eq!((world.launches.len(), world.is_up(A)), (1, true), "{:?}", world.log);
        world.run_for(3_000);
        assert_eq!((world.launches.len(), world.is_up(A)), (2, true), "who says nothing is killed");
    }

    #[test]
    fn one_of_ours_is_held_to_its_heartbeat_as_well() {
        let mut world = World::with(4, &[A]);
        world.run_for(100);
        let life = world.vassal(A).current.as_ref().unwrap().id;
        let news = News::Said(FromInstance::Heartbeat);
        world.tell(Event::News { vassal: A.to_owned(), life, news });
        world.run_for(29_000);
        assert_eq!(world.launches.len(), 1);
        world.run_for(3_000);
        assert_eq!((world.launches.len(), world.is_up(A)), (2, true));
    }

    #[test]
    fn who_never_speaks_counts_as_up_and_is_started_anew_where_it_cannot_reload() {
        let mut world = uwsgi(Manners { start: Start::Hangs, stops: false, ..Manners::default() });
        world.run_for(29_000);
        assert_eq!(world.state(A), Some(State::Starting));
        world.run_for(2_000);
        assert!(world.is_up(A));
        let asked = world.ask(reload()).unwrap();
        world.run_for(100);
        assert_eq!(world.launches.len(), 2, "SIGTERM at once: {:?}", world.log);
        assert_eq!(world.ending(asked), None);
        world.run_for(31_000);
        assert_eq!(world.ending(asked), Some(Ending::Swapped));
        let life = world.vassal(A).current.as_ref().unwrap().id;
        world.tell(Event::News { vassal: A.to_owned(), life, news: News::Disconnected });
        world.run_for(100_000);
        assert_eq!(world.launches.len(), 2, "it may close what it does not know");
    }

    #[test]
    fn a_program_that_runs_in_the_place_of_another_is_named_and_told_what_the_other_would_be() {
        let mut world = uwsgi(Manners::default());
        let life = world.vassal(A).current.as_ref().unwrap().id;
        for (program, running) in [("second", "second"), ("third", "third")] {
            let news = News::Said(FromInstance::Tries { program: program.to_owned() });
            world.tell(Event::News { vassal: A.to_owned(), life, news });
            assert_eq!(world.vassal(A).foreign_program(), Some(running));
        }
        world.run_for(1_000);
        let asked = world.ask(reload()).unwrap();
        world.run_for(200);
        assert_eq!((world.ending(asked), world.launches.len()), (Some(Ending::Swapped), 1));
    }

    #[test]
    fn who_closes_its_descriptor_and_stays_is_killed_in_the_end() {
        let mut world = uwsgi(Manners { terminates: false, ..Manners::default() });
        let life = world.vassal(A).current.as_ref().unwrap().id;
        world.tell(Event::News { vassal: A.to_owned(), life, news: News::Disconnected });
        world.run_for(29_000);
        assert_eq!(world.launches.len(), 1);
        world.run_for(5_000);
        assert_eq!((world.launches.len(), world.is_up(A)), (2, true));
    }

    #[test]
    fn an_app_moves_to_another_program_and_back_by_a_change_of_its_file() {
        let mut world = World::with(4, &[A]);
        world.run_for(100);
        for (round, program) in [(2, Some("uwsgi")), (3, None), (4, Some("uwsgi")), (5, Some("other"))] {
            world.run_by(A, program);
            world.run_for(200);
            assert!(world.is_up(A));
            assert_eq!((world.launches.len(), world.vassal(A).foreign_program()), (round, program));
            assert_eq!(world.alive(A), 1);
        }
        let restart = world.ask(Request::Restart { vassal: A.to_owned() }).unwrap();
        world.run_for(200);
        assert_eq!((world.ending(restart), world.launches.len()), (Some(Ending::Done), 6));
        assert_eq!(world.alive(A), 1, "two of them could not have the same sockets");
    }

    fn becomes(world: &mut World, life: LifeId) {
        let news = News::Said(FromInstance::Becomes { program: "serve".to_owned() });
        world.tell(Event::News { vassal: A.to_owned(), life, news });
    }

    /// One of ours is asked to reload, and needs to be replaced; the operation, and the life that still serves.
    fn replaced(world: &mut World) -> (OperationId, LifeId) {
        let asked = world.ask(reload()).unwrap();
        let life = world.vassal(A).current.as_ref().unwrap().id;
        let outcome = Outcome::NeedsReplace { reason: "another listener".to_owned() };
        let news = News::Said(FromInstance::Ended { operation: asked, outcome });
        world.tell(Event::News { vassal: A.to_owned(), life, news });
        (asked, life)
    }

    #[test]
    fn one_of_ours_that_becomes_another_program_is_governed_as_one() {
        let mut world = World::new(4);
        world.behave(A, Manners { start: Start::Hangs, ..Manners::default() });
        world.write(A);
        world.run_for(100);
        let life = world.vassal(A).current.as_ref().unwrap().id;
        becomes(&mut world, life);
        becomes(&mut world, life);
        assert_eq!((world.vassal(A).foreign_program(), world.launches.len()), (Some("serve"), 1));
        world.tell(Event::News { vassal: A.to_owned(), life, news: News::Byte(FromVassal::Accepting) });
        assert!(world.is_up(A));
        world.run_for(1_000);
        // The emperor does not know what its file would name now: it is told to reload, as its own way is.
        let asked = world.ask(reload()).unwrap();
        world.tell(Event::News { vassal: A.to_owned(), life, news: News::Byte(FromVassal::Accepting) });
        assert_eq!((world.ending(asked), world.launches.len()), (Some(Ending::Swapped), 1));
    }

    #[test]
    fn a_replacement_that_becomes_another_program_does_not_stand_beside_what_it_replaces() {
        let mut world = World::with(4, &[A]);
        world.run_for(100);
        let (asked, _) = replaced(&mut world);
        let next = world.vassal(A).next.as_ref().unwrap().id;
        becomes(&mut world, next);
        assert!(world.vassal(A).current.is_none() && world.vassal(A).next.is_none());
        world.run_for(1_000);
        assert_eq!((world.alive(A), world.launches.len()), (1, 3), "{:?}", world.log);
        assert!(world.is_up(A) && world.ending(asked).is_some());
    }

    #[test]
    fn who_ends_itself_stays_away_until_its_file_changes() {
        let mut world = uwsgi(Manners::default());
        world.say(A, FromVassal::VoluntaryStop);
        world.run_for(100_000);
        assert_eq!((world.state(A), world.launches.len()), (Some(State::Stopped), 1));
        world.write(A);
        world.run_for(200);
        assert!(world.is_up(A));
        world.say(A, FromVassal::VoluntaryStop);
        world.write(A);
        world.run_for(200);
        assert!(world.is_up(A), "also while it still ends");
        world.ask(Request::Stop { vassal: A.to_owned() }).unwrap();
        world.run_for(200);
        world.write(A);
        assert_eq!(world.state(A), Some(State::Stopped));

        let mut world = World::new(4);
        world.on_demand = true;
        world.run_by(A, Some("uwsgi"));
        for round in 1..=3 {
            world.tell(Event::Called { vassal: A.to_owned() });
            world.run_for(100);
            world.say(A, FromVassal::VoluntaryStop);
            world.run_for(100);
            assert_eq!((world.state(A), world.launches.len()), (Some(State::Asleep), round));
        }
    }

    #[test]
    fn who_ends_itself_while_it_reloads_is_started_with_what_it_was_to_load() {
        for on_demand in [false, true] {
            let mut world = World::new(4);
            world.on_demand = on_demand;
            world.behave(A, Manners { reload: Reload::Hangs, ..Manners::default() });
            world.run_by(A, Some("uwsgi"));
            world.tell(Event::Called { vassal: A.to_owned() });
            world.run_for(100);
            let asked = world.ask(reload()).unwrap();
            world.say(A, FromVassal::VoluntaryStop);
            world.run_for(200);
            assert_eq!((world.ending(asked), world.is_up(A)), (Some(Ending::Swapped), true));
            assert_eq!((world.launches.len(), world.alive(A)), (2, 1));
        }
    }

    #[test]
    fn what_is_replaced_and_ends_itself_takes_its_replacement_along() {
        let mut world = World::new(4);
        world.on_demand = true;
        world.write(A);
        world.tell(Event::Called { vassal: A.to_owned() });
        world.run_for(100);
        let (asked, life) = replaced(&mut world);
        becomes(&mut world, life);
        world.say(A, FromVassal::VoluntaryStop);
        world.run_for(200);
        assert_eq!((world.ending(asked), world.is_up(A)), (Some(Ending::Swapped), true));
        assert_eq!((world.launches.len(), world.alive(A)), (3, 1));
    }

    #[test]
    fn an_exit_says_what_uwsgi_means_by_it() {
        let world = uwsgi(Manners { start: Start::Exits(22), ..Manners::default() });
        assert!(matches!(world.state(A), Some(State::Resting { .. })));
        assert!(world.log.iter().any(|line| line.contains("no application could be loaded")));
    }
}
