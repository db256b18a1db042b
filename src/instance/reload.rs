//! Reading the configuration again: a rehearsal in a child, then the sockets it asks for.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::bind::{self, Sockets};
use super::certificates::Certificates;
use super::children::{Owner, Process, Rehearsal};
use super::event::{Event, Plan};
use super::launch;
use super::link::Link;
use super::master::{Config, Master, Report};
use super::operations;
use super::rehearse::{Answer, Found, Rehearsed, Request};
use super::roster::Pending;
use crate::config::diff::{self, Need};
use crate::config::instance::InstanceSpec;
use crate::sys::clock;
use crate::sys::file;
use crate::sys::process::Exit;
use crate::wire::channel::Received;
use crate::wire::failure::Failure;
use crate::wire::message::OperationId;

/// A rehearsal reads files and may ask a script for its interpreter; nothing that takes long.
const LONGEST: Duration = Duration::from_secs(30);

impl Master {
    /// Begins to read the configuration again; an earlier rehearsal is given up.
    pub(super) fn rehearse(&mut self, pending: Pending) {
        self.give_up_rehearsal();
        let operation = pending.operation;
        // What executes another binary only, and loads nothing, is no reload.
        if self.current.said.spec.exit_on_reload && pending.reexec != Some(false) {
            let plan = match self.emperor {
                // It would start it again, too, but not before this one is gone.
                Some(_) => Plan::Replace { reason: "exit-on-reload".to_owned() },
                None => {
                    tracing::info!("uWSGI: GAME OVER (insert coin)");
                    Plan::End
                }
            };
            return self.handle(Event::Rehearsed { operation, plan: Ok(plan) });
        }
        if let Err(error) = self.start_rehearsal(pending) {
            let failure = Failure::new(format!("the configuration cannot be read again: {error}"));
            self.handle(Event::Rehearsed { operation, plan: Err(failure) });
        }
    }

    fn start_rehearsal(&mut self, pending: Pending) -> io::Result<()> {
        let operation = pending.operation;
        let file = self.file_for(operation)?;
        let binary = pending.reexec.is_some().then_some(self.binary.as_path());
        let name = &self.current.said.spec.name;
        let started = launch::role("rehearse", name, binary, Some(&self.directory), Some(&self.output));
        let (child, socket) = started.map_err(|error| {
            io::Error::new(error.kind(), format!("{} cannot be executed: {error}", self.binary.display()))
        })?;
        let wrap = move |message: Option<_>| Report::Rehearsal(operation, message.map(Box::new));
        let link = Link::start(socket, self.reports.clone(), wrap)?;
        let request = Request {
            source: self.source.clone(),
            directory: self.directory.clone(),
            extension: self.policy.extension.clone().map(Into::into),
            bound: self.sockets_at_hand().addresses().cloned().collect(),
        };
        link.send(&request, &file.iter().map(AsFd::as_fd).collect::<Vec<_>>());
        self.children.know(child.pid(), Owner::Rehearsal(operation));
        self.rehearsal = Some(Rehearsal {
            operation,
            process: Process::new(Some(child), link),
            deadline: clock::now() + LONGEST,
            answered: false,
        });
        Ok(())
    }

    /// The vassal file: the one that came with the request, else the one that is at its path now. Where the path may
    /// not be opened any more, privileges having dropped, it is the one that was opened last.
    fn file_for(&self, operation: OperationId) -> io::Result<Option<OwnedFd>> {
        let held = || self.file.as_ref().map(OwnedFd::try_clone).transpose();
        let Some(path) = self.source.file() else { return held() };
        if operation & operations::OWN == 0 && self.file.is_some() {
            return held();
        }
        match file::open_untrusted(Path::new(path)) {
            Ok(file) if file.metadata()?.is_file() => Ok(Some(file.into())),
            Ok(_) => Err(io::Error::other(format!("{path} is not a regular file"))),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => held(),
            Err(error) => Err(io::Error::new(error.kind(), format!("{path}: {error}"))),
        }
    }

    pub(super) fn hear_rehearsal(&mut self, message: Option<Box<Received<Answer>>>) {
        let Some(rehearsal) = &mut self.rehearsal else { return };
        let operation = rehearsal.operation;
        match message.map(|boxed| *boxed) {
            None => {
                rehearsal.process.silent = true;
                rehearsal.process.kill();
            }
            Some((answer, fds)) if !rehearsal.answered => {
                rehearsal.answered = true;
                match answer {
                    Ok(rehearsed) => self.act_before(operation, Found { rehearsed, certificates: fds }),
                    Err(failure) => self.handle(Event::Rehearsed { operation, plan: Err(failure) }),
                }
            }
            Some(_) => {}
        }
    }

    /// The rehearsal's process is over.
    pub(super) fn rehearsal_over(&mut self, exit: Exit) {
        let Some(rehearsal) = self.rehearsal.take().filter(|r| !r.answered) else { return };
        let failure = Failure::new(format!(
            "{} was to read the configuration, and ended without an answer: {exit}",
            self.binary.display()
        ));
        self.handle(Event::Rehearsed { operation: rehearsal.operation, plan: Err(failure) });
    }

    pub(super) fn rehearsal_timed_out(&mut self) {
        let Some(rehearsal) = self.rehearsal.take() else { return };
        rehearsal.process.kill();
        if !rehearsal.answered {
            let failure = Failure::new(format!("reading the configuration took more than {LONGEST:?}"));
            self.handle(Event::Rehearsed { operation: rehearsal.operation, plan: Err(failure) });
        }
    }

    fn give_up_rehearsal(&mut self) {
        if let Some(rehearsal) = self.rehearsal.take() {
            rehearsal.process.kill();
        }
    }

    /// What the configuration that was found needs; binds the sockets that are new in it.
    pub(super) fn plan(&mut self, found: Found) -> Result<Plan, Failure> {
        let Found { rehearsed, certificates } = found;
        for warning in &rehearsed.said.warnings {
            tracing::warn!("{warning}");
        }
        let spec = &rehearsed.said.spec;
        let change = diff::diff(&self.current.said.spec, spec);
        if change.needs == Need::Replace {
            return Ok(Plan::Replace { reason: change.options.join(", ") });
        }
        let Some(certificates) = self.certificates(&rehearsed, certificates)? else {
            return Ok(Plan::Replace { reason: "https".to_owned() });
        };
        let resolve = |host: &str, port: u16| match rehearsed.hosts.get(host) {
            Some(ip) => Ok((*ip, port).into()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} was not looked up"))),
        };
        let sockets = match bind::bind_all(spec, &self.sockets_at_hand(), &resolve) {
            Ok(sockets) => sockets,
            // What this one gave up, another one has until it drops it.
            Err(unbound) if unbound.denied && self.current.said.spec.identity.uid.is_some() => {
                return Ok(Plan::Replace { reason: "socket".to_owned() });
            }
            Err(unbound) => return Err(unbound.failure),
        };
        let interpreter = rehearsed.interpreter();
        let config = Config { said: rehearsed.said, interpreter, sockets, certificates };
        let settings = config.settings();
        self.prepared = Some(Rc::new(config));
        Ok(Plan::Generation(settings))
    }

    /// The certificates that came with what was read; `None`: only a new instance may read them.
    fn certificates(
        &self,
        rehearsed: &Rehearsed,
        fds: Vec<OwnedFd>,
    ) -> Result<Option<Certificates>, Failure> {
        let current = &self.current.said.spec;
        let Some(denied) = &rehearsed.denied else {
            return Ok(Some(Certificates::of_files(rehearsed.certificates.iter().cloned().zip(fds))));
        };
        let has_dropped = current.identity.uid.is_some() && self.source.tenant().is_none();
        if has_dropped && self.supervised {
            return Ok(None);
        }
        let earlier = &self.current.certificates;
        let kept = earlier.kept_for(&rehearsed.said.spec.router.tls, &current.router.tls);
        if kept.is_some() {
            tracing::warn!("{}: the certificates read at the start serve on", denied.message);
        }
        kept.map(Some).ok_or_else(|| denied.clone())
    }

    /// Whether a configuration is another instance's.
    pub(super) fn is_replaced_by(&self, spec: &InstanceSpec) -> bool {
        diff::diff(&self.current.said.spec, spec).needs == Need::Replace
    }

    /// The sockets of all generations, those in force first.
    fn sockets_at_hand(&self) -> Sockets {
        let mut all = self.current.sockets.clone();
        for config in self.configs.values().chain(&self.prepared) {
            all.listeners.extend(config.sockets.listeners.iter().cloned());
            all.stats.extend(config.sockets.stats.iter().cloned());
        }
        all
    }
}
