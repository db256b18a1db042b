//! The emperor becomes a new image of its binary: rehearsed first, then executed with everything that it holds.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::fleet::{Fleet, Phase};
use super::masters::Masters;
use super::record::{self, Header};
use super::turns::Emperor;
use crate::sys::process::{Child, Exit, Launch};
use crate::sys::{clock, exec, memfd, own, signals};
use crate::tick::Tick;
use crate::wire::failure::Failure;
use crate::wire::inherited;
use crate::wire::message::OperationId;

/// Set for a rehearsal: the process reads its options and a record, as the next image will, becomes its user, and ends
/// before it does anything.
const REHEARSAL: &str = "LIEGE_EMPEROR_REHEARSAL";
/// A rehearsal gets this long: the host may be busy, and meanwhile the emperor does its work.
const PATIENCE: Duration = Duration::from_secs(30);
/// As much of its reason to fail is heard.
const REASON_LIMIT_BYTES: u64 = 4096;

/// What those whom the API has let in get to be answered before it executes itself …
const ANSWERS: Duration = Duration::from_millis(500);
/// … and how often is looked whether they are.
const LOOK: Duration = Duration::from_millis(2);

/// A run of the binary that shows whether it starts and understands its options.
#[derive(Debug)]
pub struct Rehearsal {
    /// The operation that it is for.
    pub operation: OperationId,
    child: Child,
    /// Where it says why it fails.
    reason: OwnedFd,
    deadline: Tick,
}

impl Rehearsal {
    /// Starts one.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn start(
        binary: &str,
        header: &Header,
        fleet: &Fleet,
        masters: &Masters,
        now: Tick,
    ) -> io::Result<Self> {
        let reason = memfd::fixed("liege-reason", REASON_LIMIT_BYTES)?;
        let mut launch = Launch::new(binary)
            .stdin(record::write(header, fleet, masters)?)
            .env(REHEARSAL, "1")
            .unset_env(inherited::RECORD_VARIABLE)
            .unset_env("NOTIFY_SOCKET")
            .unset_env(inherited::VARIABLE)
            .stdout(reason.try_clone()?);
        for argument in own::arguments().iter().skip(1) {
            launch = launch.arg(argument);
        }
        Ok(Self { operation: header.operation, child: launch.spawn()?, reason, deadline: now + PATIENCE })
    }

    /// Its pid.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Until when it may take.
    #[must_use]
    pub const fn deadline(&self) -> Tick {
        self.deadline
    }

    /// It has failed.
    #[must_use]
    pub fn failure(self, binary: &str, exit: &Exit) -> Failure {
        let said = memfd::read_all(self.reason, REASON_LIMIT_BYTES).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let reason = match said.trim_matches(|c: char| c == '\0' || c.is_whitespace()) {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        Failure::new(format!("{binary} failed its rehearsal: {exit}{reason}"))
            .with_hint("all is as it was; mend the binary or the emperor's options")
    }

    /// It took too long: kills it, and says so.
    #[must_use]
    pub fn give_up(&self) -> Failure {
        let _ = self.child.kill();
        Failure::new(format!("its rehearsal did not end within {} s", PATIENCE.as_secs()))
    }
}

impl Emperor {
    pub(super) fn rehearse(&mut self, operation: OperationId) {
        if self.rehearsal.is_some() || self.handle.visitors().are_kept_out() {
            self.due.push_back(Event::ReexecFailed(operation, Failure::new("another one is under way")));
            return;
        }
        self.manager.reloading(clock::monotonic_us());
        let header = self.header(operation);
        let binary = &self.launcher.policy.binary;
        let started = Rehearsal::start(binary, &header, &self.handle.fleet(), &self.masters, clock::now());
        match started {
            Ok(rehearsal) => self.rehearsal = Some(rehearsal),
            Err(error) => {
                let failure = Failure::new(format!("cannot rehearse {binary}: {error}"));
                self.manager.ready();
                self.due.push_back(Event::ReexecFailed(operation, failure));
            }
        }
    }

    fn header(&self, operation: OperationId) -> record::Header {
        let hooks = self.hooks.pending(self.slumber.commands());
        let descriptor_limit = self.launcher.descriptor_limit;
        record::Header { operation, descriptor_limit, hooks, pid_file: self.pid_file.clone() }
    }

    pub(super) fn reexec_failed(&mut self, operation: OperationId, failure: Failure) {
        self.manager.ready();
        self.decide(Event::ReexecFailed(operation, failure));
    }

    /// Becomes the binary anew, with everything that is held.
    pub(super) async fn execute(&mut self, operation: OperationId) {
        if self.handle.fleet().phase == Phase::Stopping {
            return self.decide(Event::ReexecFailed(operation, Failure::new("the emperor is stopping")));
        }
        self.answer_visitors().await;
        self.patrol.let_go();
        self.end_parking();
        // Who waits for a server ends, or is left behind.
        self.probers.keep(|_| false);
        // What the tasks have read from the channels is decided on by this image.
        for _ in 0..2 {
            self.hear_waiting();
            tokio::task::yield_now().await;
        }
        self.hear_waiting();
        let header = self.header(operation);
        let binary = self.launcher.policy.binary.clone();
        let error = execute(&binary, &header, &self.handle.fleet(), &self.masters);
        record::hold_back(&self.masters);
        self.handle.visitors().close(false);
        self.reexec_failed(operation, Failure::new(format!("cannot execute {binary}: {error}")));
    }

    /// Who was let in gets an answer, if there is one soon; who comes from now on waits for the next image.
    async fn answer_visitors(&mut self) {
        let visitors = Arc::clone(self.handle.visitors());
        visitors.close(true);
        let until = clock::now() + ANSWERS;
        while visitors.are_owed() && clock::now() < until {
            while let Ok(command) = self.commands.try_recv() {
                self.command(command);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Whether this process only shows that the next image would start.
#[must_use]
pub fn is_rehearsal() -> bool {
    env::var_os(REHEARSAL).is_some()
}

/// In a rehearsal that fails: tells the emperor why, beside its log.
pub fn give_reason(reason: &str) {
    if is_rehearsal() {
        let _ = io::stdout().write_all(reason.as_bytes()).and_then(|()| io::stdout().flush());
    }
}

/// Executes the binary with the record of everything. Returns only when that fails; all is as it was then, but for
/// the flags of the descriptors (see [`record::hold_back`]).
fn execute(binary: &str, header: &Header, fleet: &Fleet, masters: &Masters) -> io::Error {
    let attempt = || {
        // One that arrived before the next image has its handlers would kill it.
        signals::block_all()?;
        let file = record::write(header, fleet, masters)?;
        record::hand_over(&file, masters)?;
        let variable = (OsString::from(inherited::RECORD_VARIABLE), file.as_raw_fd().to_string().into());
        let environment = env::vars_os().filter(|(name, _)| *name != variable.0).chain([variable.clone()]);
        exec::execute(Path::new(binary), own::arguments(), environment)
    };
    match attempt() {
        Ok(never) => match never {},
        Err(error) => {
            if let Err(error) = signals::unblock_all() {
                tracing::error!("cannot unblock signals: {error}");
            }
            error
        }
    }
}
