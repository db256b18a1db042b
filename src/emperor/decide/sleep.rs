//! Decisions about sleep: a vassal that nobody asks anything ends its instance, and the first connection starts it again.

use super::turn::Turn;
use crate::config::address::Address;
use crate::emperor::event::Effect;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{FileIdentity, OperationKind, State, Vassal};
use crate::emperor::handle::Refusal;
use crate::emperor::life::LifeId;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

impl Turn<'_> {
    /// Nothing runs for it, and it sleeps until it is called.
    pub(super) fn fall_asleep(&mut self, id: &str, why: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.state = State::Asleep;
        vassal.plan.asleep = false;
        self.tell(Some(id), EventKind::Asleep.because(why), format!("asleep: {why}"));
        self.out.push(Effect::Sleep { vassal: id.to_owned() });
    }

    /// Somebody has connected to one of its sockets.
    pub(super) fn called(&mut self, id: &str) {
        if self.vassal(id).is_some_and(|vassal| vassal.state == State::Asleep) {
            self.wake(id, "a connection");
        }
    }

    /// The file of a socket at which it waits is gone. Another one takes its place: of ours we make it, of its own the
    /// instance does.
    pub(super) fn out_of_reach(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id).filter(|vassal| vassal.state == State::Asleep) else { return };
        let Some(address) = vassal.on_demand.clone() else {
            return self.wake(id, "the removal of a socket");
        };
        self.warn(Some(id), EventKind::Asleep, format!("{address} was removed: it is made anew"));
        self.out.push(Effect::Sleep { vassal: id.to_owned() });
    }

    /// It is to wait to be called at another socket: what runs ends, and it sleeps there.
    pub(super) fn sleep_elsewhere(&mut self, id: &str, socket: Option<&Address>) {
        let reason = match socket {
            Some(address) => format!("a connection to {address} is to wake it from now on"),
            None => "it is not to wait for a connection any more".to_owned(),
        };
        self.remove(id, &reason);
    }

    pub(super) fn wake(&mut self, id: &str, why: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        // Somebody waits for it, who did not wait for those that are started because they are there.
        vassal.plan.urgent = true;
        self.out.push(Effect::Awake { vassal: id.to_owned() });
        self.tell(Some(id), EventKind::Awake.because(why), format!("woken by {why}"));
        self.queue(id);
    }

    /// The emperor cannot wait on its sockets: it is started, which tells better what is wrong.
    pub(super) fn not_asleep(&mut self, id: &str, failure: Failure) {
        let Some(vassal) = self.vassal(id).filter(|vassal| vassal.state == State::Asleep) else { return };
        vassal.last_failure = Some(failure.clone());
        self.warn(Some(id), EventKind::Failed, format!("{}: it is started", failure.message));
        self.queue(id);
    }

    /// An instance says that nobody has asked it anything for a while.
    pub(super) fn idle(&mut self, id: &str, life: LifeId, idle_s: u32) {
        let Some(vassal) = self.vassal(id) else { return };
        let plan = &vassal.plan;
        let busy =
            !vassal.is_current(life) || [plan.reload, plan.reexec, plan.replace].iter().any(Option::is_some);
        if busy || !matches!(vassal.state, State::Up { .. }) || !vassal.has_sockets() {
            return;
        }
        self.lay_down(id, &format!("no request for {idle_s} s"));
    }

    pub(super) fn ask_sleep(&mut self, who: &str, id: &str, state: State) -> Result<OperationId, Refusal> {
        let refused = match state {
            State::Up { .. } if self.vassal(id).is_some_and(|vassal| vassal.has_sockets()) => None,
            State::Up { .. } => Some("has no socket that could wake it"),
            State::Asleep => Some("is asleep already"),
            _ => Some("does not serve now"),
        };
        if let Some(why) = refused {
            return Err(super::requests::conflict(id, why));
        }
        let operation = self.begin(OperationKind::Sleep, Some(id), None, who);
        if let Some(vassal) = self.vassal(id) {
            vassal.plan.stop = Some(operation);
        }
        self.lay_down(id, who);
        Ok(operation)
    }

    pub(super) fn ask_wake(&mut self, who: &str, id: &str, state: State) -> Result<OperationId, Refusal> {
        if state != State::Asleep {
            return Err(super::requests::conflict(id, "is not asleep"));
        }
        let operation = self.begin(OperationKind::Wake, Some(id), None, who);
        if let Some(vassal) = self.vassal(id) {
            vassal.plan.start = Some(operation);
        }
        self.wake(id, who);
        Ok(operation)
    }

    /// Ends the instance and keeps its sockets: who connects meanwhile waits in their queues.
    pub(super) fn lay_down(&mut self, id: &str, why: &str) {
        self.drop_replacement(id);
        let Some(vassal) = self.vassal(id) else { return };
        let Some(life) = vassal.current.take() else { return };
        vassal.state = State::Stopping;
        vassal.plan.asleep = true;
        vassal.lose_sight();
        self.tell(Some(id), EventKind::Stopping.because(why), format!("put to sleep: {why}"));
        self.let_go(id, life);
    }
}

impl Vassal {
    /// Whether it sleeps.
    #[must_use]
    pub const fn is_asleep(&self) -> bool {
        matches!(self.state, State::Asleep)
    }

    /// The file that it will begin with, where it sleeps because nobody has asked it anything.
    pub(in crate::emperor) fn sleeps_by_itself(&self) -> Option<FileIdentity> {
        (self.is_asleep() && self.on_demand.is_none()).then_some(self.identity)
    }

    fn has_sockets(&self) -> bool {
        self.on_demand.is_some() || self.spec.as_ref().is_some_and(|spec| !spec.listen.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{Manners, Start, World};
    use crate::config::address::Address;
    use crate::emperor::event::{Event, News};
    use crate::emperor::fleet::{Ending, State};
    use crate::emperor::handle::Request;
    use crate::wire::failure::Failure;
    use crate::wire::message::FromInstance;

    fn asleep(world: &mut World) {
        world.on_demand = true;
        world.write("a.ini");
        world.tell(Event::FirstScanDone);
    }

    fn call(world: &mut World) {
        world.tell(Event::Called { vassal: "a.ini".to_owned() });
    }

    fn idle(world: &mut World) {
        let life = world.vassal("a.ini").current.as_ref().unwrap().id;
        let news = News::Said(FromInstance::Idle { idle_s: 60 });
        world.tell(Event::News { vassal: "a.ini".to_owned(), life, news });
    }

    #[test]
    fn a_connection_wakes_it_and_quiet_puts_it_to_sleep_over_and_over() {
        let mut world = World::new(4);
        asleep(&mut world);
        world.run_for(60_000);
        assert_eq!((world.state("a.ini"), world.launches.len(), world.ready), (Some(State::Asleep), 0, true));
        for round in 1..=3 {
            call(&mut world);
            call(&mut world);
            world.run_for(100);
            assert!(world.is_up("a.ini"));
            assert_eq!(world.launches.len(), round);
            idle(&mut world);
            call(&mut world);
            world.run_for(100);
            assert_eq!((world.state("a.ini"), world.alive("a.ini")), (Some(State::Asleep), 0));
        }
        assert_eq!(world.vassal("a.ini").restarts, 0);
        world.remove("a.ini");
        assert_eq!(world.state("a.ini"), None);
    }

    #[test]
    fn who_slept_when_the_last_emperor_ended_sleeps_on_until_its_file_changes() {
        let mut world = World::new(4);
        world.slept = true;
        world.write("a.ini");
        world.tell(Event::FirstScanDone);
        world.run_for(60_000);
        assert_eq!((world.state("a.ini"), world.launches.len(), world.ready), (Some(State::Asleep), 0, true));
        world.write("a.ini");
        world.run_for(100);
        assert!(world.is_up("a.ini"));
    }

    #[test]
    fn a_socket_whose_file_was_removed_is_made_anew_while_it_sleeps() {
        let mut world = World::new(4);
        asleep(&mut world);
        let gone = || Event::OutOfReach { vassal: "a.ini".to_owned() };
        let told = |world: &World| world.log.iter().filter(|line| line.contains("it is made anew")).count();
        world.tell(gone());
        assert_eq!((world.state("a.ini"), told(&world)), (Some(State::Asleep), 1));
        call(&mut world);
        world.run_for(100);
        world.tell(gone());
        assert!(world.is_up("a.ini") && told(&world) == 1, "an instance has its sockets");

        let mut world = World::new(4);
        world.slept = true;
        world.write("a.ini");
        world.tell(Event::FirstScanDone);
        world.tell(gone());
        world.run_for(100);
        assert!(world.is_up("a.ini"), "which makes its own anew");
    }

    #[test]
    fn who_is_to_wait_elsewhere_does_so_whatever_runs_of_it() {
        for (woken, next) in [(false, Some("y")), (true, Some("y")), (false, None), (true, None)] {
            let mut world = World::new(4);
            world.sockets.insert("a.ini".to_owned(), "x");
            world.write("a.ini");
            world.tell(Event::FirstScanDone);
            if woken {
                call(&mut world);
            }
            world.run_for(100);
            world.sockets.remove("a.ini");
            world.sockets.extend(next.map(|socket| ("a.ini".to_owned(), socket)));
            world.write("a.ini");
            world.run_for(1000);
            assert_eq!(world.closed, ["a.ini"], "what it waited at is closed");
            let expected = next.map(|name| Address::Abstract(name.to_owned()));
            assert_eq!(world.vassal("a.ini").on_demand, expected);
            assert_eq!(world.state("a.ini") == Some(State::Asleep), next.is_some(), "{woken} {next:?}");
            assert_eq!(world.is_up("a.ini"), next.is_none(), "{woken} {next:?}");
            assert_eq!(world.alive("a.ini"), usize::from(next.is_none()));
        }
        let mut world = World::new(4);
        asleep(&mut world);
        world.ask(Request::Stop { vassal: "a.ini".to_owned() }).unwrap();
        world.sockets.insert("a.ini".to_owned(), "y");
        world.write("a.ini");
        world.run_for(1000);
        assert_eq!(world.state("a.ini"), Some(State::Stopped), "an operator's word counts");
        assert_eq!(world.vassal("a.ini").on_demand, Some(Address::Abstract("y".to_owned())));
    }

    #[test]
    fn operators_wake_it_put_it_to_sleep_and_stop_it() {
        let mut world = World::new(4);
        asleep(&mut world);
        let a = || "a.ini".to_owned();
        assert!(world.ask(Request::Sleep { vassal: a() }).is_err());
        let wake = world.ask(Request::Wake { vassal: a() }).unwrap();
        assert_eq!(world.ending(wake), None);
        world.run_for(100);
        assert_eq!((world.ending(wake), world.is_up("a.ini")), (Some(Ending::Done), true));
        assert!(world.ask(Request::Wake { vassal: a() }).is_err());
        let sleep = world.ask(Request::Sleep { vassal: a() }).unwrap();
        world.run_for(100);
        assert_eq!((world.ending(sleep), world.state("a.ini")), (Some(Ending::Done), Some(State::Asleep)));
        world.ask(Request::ReloadAll).unwrap();
        world.write("a.ini");
        assert_eq!(world.state("a.ini"), Some(State::Asleep), "it reads its file when it wakes");
        world.ask(Request::Stop { vassal: a() }).unwrap();
        call(&mut world);
        world.run_for(100);
        assert_eq!(world.state("a.ini"), Some(State::Stopped));
    }

    #[test]
    fn who_fails_to_wake_is_tried_again_and_a_socket_that_cannot_be_had_starts_it() {
        let mut world = World::new(4);
        world.behave("a.ini", Manners { start: Start::Exits(22), ..Manners::default() });
        asleep(&mut world);
        call(&mut world);
        world.run_for(100);
        assert!(matches!(world.state("a.ini"), Some(State::Resting { .. })), "who has called waits");
        world.behave("a.ini", Manners::default());
        world.run_for(10_000);
        assert!(world.is_up("a.ini"));

        let mut world = World::new(4);
        asleep(&mut world);
        let failure = Failure::new("address in use");
        world.tell(Event::NotAsleep { vassal: "a.ini".to_owned(), failure });
        world.run_for(100);
        assert!(world.is_up("a.ini"));
    }
}
