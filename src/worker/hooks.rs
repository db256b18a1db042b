//! Hooks in the process that they are about: whoever loads the application, and workers.

use std::io;
use std::time::Duration;

use pyo3::Python;

use super::host::Host;
use crate::config::hook::Point;
use crate::hook::{self, Stage};
use crate::sys::process::{self, Child, Exit, Launch};
use crate::sys::wait;
use crate::wire::failure::Failure;

/// What a process says to its master about its hooks.
pub(super) type Tell<'a> = &'a (dyn Fn(Option<(String, u32)>) + Sync);

/// Does what the configuration says of these points, with the interpreter free for others meanwhile.
///
/// # Errors
/// What failed.
pub(super) fn perform(py: Python<'_>, host: &Host, points: &[Point], tell: Tell<'_>) -> Result<(), Failure> {
    let hooks = hook::of(&host.spec.hooks, points);
    if hooks.is_empty() {
        return Ok(());
    }
    let patience = Duration::from_secs(host.spec.workers.startup_timeout_s.into());
    let patience = Some(patience).filter(|patience| !patience.is_zero());
    // The environment is the interpreter's, which has every variable of the configuration.
    py.detach(|| hook::perform(&hooks, &[], &mut Here { doing: String::new(), patience, tell }))
}

/// What begins, and for how long it may run.
struct Here<'a> {
    doing: String,
    patience: Option<Duration>,
    tell: Tell<'a>,
}

impl Stage for Here<'_> {
    fn begins(&mut self, what: &str, _limit: Option<Duration>) {
        what.clone_into(&mut self.doing);
    }

    fn run(&mut self, command: Launch) -> io::Result<Option<Exit>> {
        let child = command.own_group().spawn()?;
        (self.tell)(Some((self.doing.clone(), child.pid())));
        let exit = self.wait(&child);
        (self.tell)(None);
        exit
    }
}

impl Here<'_> {
    fn wait(&self, child: &Child) -> io::Result<Option<Exit>> {
        if wait::readable(child, self.patience)? {
            return process::wait(child).map(Some);
        }
        child.kill_group()?;
        process::wait(child).map(|_| None)
    }
}
