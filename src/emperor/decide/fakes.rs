//! The fake instances of the simulated world: what they do when they are launched, and told something.

use super::world::{Process, Reload, Start, World};
use crate::config::diagnostic::{Cause, Diagnostic, Severity};
use crate::emperor::event::News;
use crate::emperor::fleet::ExitKind;
use crate::emperor::life::LifeId;
use crate::wire::PROTOCOL;
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, InstanceState, Outcome, ToInstance};

impl World {
    pub(super) fn launch(&mut self, vassal: String, life: LifeId) {
        self.launches.push((self.now.as_ms(), vassal.clone()));
        let of_vassal = self.vassal(&vassal);
        let known: Vec<LifeId> = of_vassal.lives().map(|life| life.id).collect();
        let running = || self.processes.iter().filter(|(_, p)| p.alive && p.vassal == vassal);
        assert!(running().all(|(id, _)| known.contains(id)), "a twin of what runs for {vassal}");
        // Only a replacement is started beside one that is to stay.
        let beside = running().filter(|(_, process)| !process.is_to_end).count();
        assert!(beside <= usize::from(of_vassal.is_next(life)), "{vassal} is started twice");
        let tenant = of_vassal.tenant;
        let manners = self.manners.get(&vassal).cloned().unwrap_or_default();
        let identity = self.files.get(&vassal).copied().unwrap_or_default();
        let (load_ms, start) = (manners.load_ms, manners.start);
        let alive = start != Start::FailsToLaunch && self.files.contains_key(&vassal);
        let program = self.vassal(&vassal).program.clone();
        let process = Process {
            vassal,
            manners,
            alive,
            survivors: false,
            asked_to_stop: false,
            reloads: 0,
            is_to_end: false,
            file: (identity, tenant),
            succession: None,
            foreign: program.is_some(),
            exit_told: false,
        };
        assert!(self.processes.insert(life, process).is_none(), "a life is launched once");
        if !alive {
            return self.news(0, life, News::LaunchFailed(Failure::new("cannot start")));
        }
        let foreign = program.is_some();
        self.news(0, life, News::Launched { pid: u32::try_from(life).unwrap() + 100, identity, program });
        if foreign {
            return self.launch_foreign(life, load_ms, start);
        }
        let hello = FromInstance::Hello { protocol: PROTOCOL, version: "1".to_owned(), pid: 0 };
        self.news(1, life, News::Said(hello));
        match start {
            Start::Serves | Start::Crashes { .. } => {
                self.news(load_ms, life, News::Said(FromInstance::State(InstanceState::Ready)));
                if let Start::Crashes { after_ms } = start {
                    let exit = News::Exited { exit: ExitKind::Signal(11), survivors: false };
                    self.news(load_ms + after_ms, life, exit);
                }
            }
            Start::Exits(status) => self.fail(life, load_ms, Failure::new("no app"), status),
            Start::Mistaken | Start::MissesAFile => {
                let mistake = Diagnostic {
                    severity: Severity::Error,
                    file: "a.ini".to_owned(),
                    line: Some(1),
                    option: None,
                    message: "wrong".to_owned(),
                    suggestion: None,
                    cause: if start == Start::MissesAFile { Cause::Host } else { Cause::Value },
                };
                let failure = Failure { diagnostics: vec![mistake], ..Failure::new("mistakes") };
                self.fail(life, load_ms, failure, 1);
            }
            Start::Hangs => self.news(60_000, life, News::Said(FromInstance::Late { after_s: 60 })),
            Start::FailsToLaunch => {}
        }
    }

    fn fail(&mut self, life: LifeId, ms: u64, failure: Failure, status: i32) {
        self.news(ms, life, News::Said(FromInstance::Failed(failure)));
        self.news(ms, life, News::Exited { exit: ExitKind::Status(status), survivors: false });
    }

    pub(super) fn send(&mut self, life: LifeId, message: &ToInstance) {
        let manners = self.processes[&life].manners.clone();
        match message {
            ToInstance::Stop { succession, .. } => {
                let process = self.processes.get_mut(&life).unwrap();
                (process.asked_to_stop, process.is_to_end) = (true, true);
                process.succession = Some(*succession);
                if manners.stops {
                    self.end(life, ExitKind::Status(0), 20);
                }
            }
            ToInstance::Reload { .. } if self.processes[&life].foreign => {
                self.processes.get_mut(&life).unwrap().reloads += 1;
                self.reload_foreign(life, &manners);
            }
            ToInstance::Reload { operation, .. }
                if !self.files.contains_key(&self.processes[&life].vassal) =>
            {
                let outcome = Outcome::RolledBack(Failure::new("cannot open its file"));
                let ended = FromInstance::Ended { operation: *operation, outcome };
                self.news(0, life, News::Said(ended));
            }
            ToInstance::Reload { operation, .. } | ToInstance::Reexec { operation, .. } => {
                if let ToInstance::Reload { .. } = message {
                    let process = self.processes.get_mut(&life).unwrap();
                    process.file.0 = self.files[&process.vassal];
                }
                let outcome = match manners.reload {
                    Reload::Swaps => Outcome::Swapped,
                    Reload::RollsBack => Outcome::RolledBack(Failure::new("SyntaxError")),
                    Reload::NeedsReplacement => Outcome::NeedsReplace { reason: "uid changed".to_owned() },
                    Reload::Hangs => return,
                    Reload::Dies => return self.end(life, ExitKind::Signal(6), manners.load_ms),
                };
                let ended = FromInstance::Ended { operation: *operation, outcome };
                self.news(manners.load_ms, life, News::Said(ended));
            }
            ToInstance::Start { .. } | ToInstance::Adopt { .. } => {
                panic!("sent with the launch, or the call")
            }
            ToInstance::Scale { operation, .. } => {
                let ended = FromInstance::Ended { operation: *operation, outcome: Outcome::Done };
                self.news(1, life, News::Said(ended));
            }
            ToInstance::LogLevel(_) => {}
        }
    }

    pub(super) fn kill_all(&mut self, life: LifeId) {
        let process = self.processes.get_mut(&life).unwrap();
        process.is_to_end = true;
        if process.alive {
            // What it started dies with it.
            process.manners.leaves_survivors = false;
            self.end(life, ExitKind::Signal(9), 1);
        } else if std::mem::take(&mut process.survivors) && process.exit_told {
            self.news(2, life, News::Emptied);
        }
    }
}
