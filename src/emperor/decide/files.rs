//! Decisions about files: found, changed, gone.

use super::turn::Turn;
use crate::config::address::Address;
use crate::emperor::events::EventKind;
use crate::emperor::fleet::{FileIdentity, NotStarted, OperationKind, State, Vassal};
use crate::emperor::scan::{Found, Look};
use crate::wire::failure::Failure;

impl Turn<'_> {
    pub(super) fn listed(&mut self, not_started: Vec<NotStarted>, problems: Vec<Option<String>>) {
        self.fleet.not_started = self.told(not_started);
        for (place, problem) in problems.into_iter().enumerate() {
            let Some(directory) = self.fleet.directories.get_mut(place) else { break };
            if directory.problem == problem {
                continue;
            }
            let path = directory.path.display().to_string();
            directory.problem.clone_from(&problem);
            match problem {
                Some(problem) => {
                    self.warn(
                        None,
                        EventKind::Source.because(problem.clone()),
                        format!("cannot list {path}: {problem}; what runs goes on"),
                    );
                }
                None => self.tell(None, EventKind::Source, format!("{path} can be listed again")),
            }
        }
    }

    pub(super) fn looked(&mut self, id: &str, look: Look, not_started: Vec<NotStarted>) {
        let not_started = self.told(not_started);
        self.fleet.not_started.retain(|refused| refused.id.as_deref() != Some(id));
        self.fleet.not_started.extend(not_started);
        if let Some(vassal) = self.vassal(id) {
            vassal.unseen = match &look {
                Look::Unanswered(reason) => Some(reason.clone()),
                _ => None,
            };
        }
        match look {
            Look::Found(found) => self.found(*found),
            Look::Disowned(_, owner) if self.vassal(id).is_some_and(|v| v.tenant != Some(owner)) => {
                self.remove(id, &format!("its file belongs to {owner} now"));
            }
            Look::Refused(refused) | Look::Disowned(refused, _) => self.unusable(id, &refused),
            // The directory is told of when it is listed, and so is the server.
            Look::Unlisted | Look::Unanswered(_) => {}
            Look::Missing => self.missing(id),
            Look::Unknown(reason) => {
                self.warn(
                    Some(id),
                    EventKind::Source.because(reason.clone()),
                    format!("cannot look at its file now: {reason}"),
                );
            }
        }
    }

    /// Tells of what is not started and was not before. A file that became unusable under its vassal is told of with that.
    fn told(&mut self, mut not_started: Vec<NotStarted>) -> Vec<NotStarted> {
        not_started.retain(|refused| {
            let vassal = refused.id.as_ref().and_then(|id| self.fleet.vassals.get(id));
            vassal.is_none_or(|vassal| vassal.path != refused.directory.join(&refused.name))
        });
        for refused in &not_started {
            if self.fleet.not_started.contains(refused) {
                continue;
            }
            let path = refused.directory.join(&refused.name);
            self.warn(
                None,
                EventKind::NotStarted.because(refused.reason.clone()),
                format!("{} is not started: {}", path.display(), refused.reason),
            );
        }
        not_started
    }

    /// The file of a vassal that is there cannot be used any more.
    fn unusable(&mut self, id: &str, refused: &NotStarted) {
        let Some(vassal) = self.vassal(id) else { return };
        let reason = Failure::new(format!("{}: {}", vassal.path.display(), refused.reason));
        // Whatever file comes back counts as changed.
        vassal.identity = FileIdentity::default();
        if vassal.config_error.as_ref() == Some(&reason) {
            return;
        }
        let follows = if vassal.serves() { "; what runs of it goes on" } else { "" };
        let message = format!("its file {reason}{follows}");
        vassal.config_error = Some(reason);
        self.warn(Some(id), EventKind::Source.because(refused.reason.clone()), message);
    }

    fn found(&mut self, found: Found) {
        if found.was.iter().any(|id| self.is_too_early(id)) {
            return;
        }
        let predecessor = self.predecessor(&found);
        let Some(vassal) = self.vassal(&found.id) else {
            let id = found.id.clone();
            let mut vassal = Vassal::new(found.id, found.directory, found.identity);
            vassal.attributes = found.attributes;
            vassal.tenant = found.tenant;
            vassal.owner = found.owner;
            vassal.program = found.program;
            vassal.last_served = self.fleet.remembered.get(&id).copied().unwrap_or_default();
            vassal.on_demand = found.on_demand;
            let waits = |address: &Address| format!("a connection to {address} wakes it");
            let sleeps_on = || "it slept, and a connection to its sockets wakes it".to_owned();
            let sleeps = vassal.on_demand.as_ref().map(waits).or_else(|| found.slept.then(sleeps_on));
            let path = vassal.path.display().to_string();
            self.fleet.vassals.insert(id.clone(), vassal);
            self.note(Some(&id), EventKind::Found, format!("found {path}"));
            if let Some(before) = predecessor {
                self.bequeath(&before, &id);
            }
            match sleeps {
                Some(why) => self.fall_asleep(&id, &why),
                None => self.queue(&id),
            }
            return;
        };
        if vassal.state == State::Adopting {
            vassal.on_demand.clone_from(&found.on_demand);
        }
        // The name is looked at again when the old instance is gone.
        if vassal.plan.removed {
            return;
        }
        if vassal.plan.gone {
            self.disinherit(&found.id);
        }
        let Some(vassal) = self.vassal(&found.id) else { return };
        vassal.attributes = found.attributes;
        vassal.owner = found.owner;
        vassal.program = found.program;
        if vassal.tenant != found.tenant {
            // What ran for one user hands nothing over to another: neither sockets nor requests.
            let reason = match found.tenant {
                Some(owner) => format!("its file belongs to {owner} now"),
                None => "it is not run as the owner of its file any more".to_owned(),
            };
            return self.remove(&found.id, &reason);
        }
        if vassal.identity != found.identity && vassal.on_demand != found.on_demand {
            if vassal.state != State::Stopped {
                return self.sleep_elsewhere(&found.id, found.on_demand.as_ref());
            }
            vassal.on_demand.clone_from(&found.on_demand);
        }
        if vassal.directory != found.directory && self.is_too_early(&found.id) {
            return;
        }
        let Some(vassal) = self.vassal(&found.id) else { return };
        if vassal.directory != found.directory && vassal.can_move() {
            // Its instance still has its old place: another one takes over from it.
            vassal.path = found.directory.join(&found.id);
            vassal.directory = found.directory;
            vassal.identity = found.identity;
            vassal.plan.moved = true;
            self.changed(&found.id);
        } else if vassal.directory != found.directory {
            let reason = format!("the file in {} counts now", found.directory.display());
            self.remove(&found.id, &reason);
        } else if vassal.identity != found.identity {
            vassal.identity = found.identity;
            self.changed(&found.id);
        }
    }

    fn changed(&mut self, id: &str) {
        let Some(vassal) = self.vassal(id) else { return };
        vassal.attempts = 0;
        match vassal.state {
            State::Resting { .. } | State::Broken => {
                self.tell(Some(id), EventKind::Changed, "its file changed: tried again at once");
                self.queue(id);
            }
            State::Starting | State::Up { .. } | State::Reloading { .. } | State::Adopting => {
                let operation = self.begin(OperationKind::Reload, Some(id), None, "touched");
                self.want_reload(id, operation);
            }
            State::Stopped | State::Stopping if std::mem::take(&mut vassal.plan.by_itself) => {
                vassal.plan.stopped = false;
                let stopped = vassal.state == State::Stopped;
                self.tell(Some(id), EventKind::Changed, "its file changed: started again");
                if stopped {
                    self.queue(id);
                }
            }
            State::Stopped => {
                self.tell(Some(id), EventKind::Changed, "its file changed, but it was stopped by request")
            }
            // What it sleeps on may have been named by the file that has changed.
            State::Asleep if vassal.on_demand.is_none() => self.wake(id, "a change of its file"),
            State::Stopping => vassal.plan.asleep &= vassal.on_demand.is_some(),
            // The file is opened when the instance is launched.
            State::Waiting | State::Asleep => {}
        }
    }

    fn missing(&mut self, id: &str) {
        if self.is_too_early(id) {
            return;
        }
        let Some(vassal) = self.vassal(id) else { return };
        vassal.plan.gone = vassal.plan.successor.is_some();
        if !vassal.plan.gone {
            self.remove(id, "its file is gone");
        }
    }

    pub(super) fn remove(&mut self, id: &str, reason: &str) {
        let Some(vassal) = self.vassal(id).filter(|vassal| !vassal.plan.removed) else { return };
        vassal.plan.removed = true;
        self.tell(Some(id), EventKind::Removed.because(reason), format!("{reason}: stopping"));
        self.stop(id);
    }
}

impl Vassal {
    /// Whether it has an instance that another one can take over from.
    fn can_move(&self) -> bool {
        let runs = matches!(self.state, State::Starting | State::Up { .. } | State::Reloading { .. });
        runs && self.program.is_none()
            && self.current.as_ref().is_some_and(|life| life.foreign.is_none() && !life.is_awaited())
    }
}
