//! The trial load of an application: in its own interpreter, as its own user, and gone again before it serves.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{interpreter, jail, launch};
use crate::config::instance::InstanceSpec;
use crate::stats::scoreboard::Scoreboard;
use crate::sys::process;
use crate::sys::{signals, wait};
use crate::wire::failure::Failure;
use crate::wire::message::{FromZygote, ToZygote};
use crate::wire::{PROTOCOL, channel, inherited};

/// How long an application may take to load.
const LONGEST: Duration = Duration::from_secs(120);

/// An application that loads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loads {
    /// Milliseconds that it took.
    pub startup_ms: u64,
}

/// Loads the application of `spec` once, in processes of its own.
///
/// # Errors
/// Why it does not load.
pub fn run(spec: &InstanceSpec) -> Result<Loads, Failure> {
    let failed = |error: io::Error| Failure::new(format!("the trial load cannot be made: {error}"));
    let (child, socket) = launch::role("trial", &spec.name, None, None, None).map_err(failed)?;
    channel::send(&socket, spec, &[]).map_err(failed)?;
    let answer = wait::readable(&socket, Some(LONGEST + Duration::from_secs(10)))
        .and_then(|_| channel::receive::<Result<Loads, Failure>>(&socket));
    let _ = child.kill();
    let exit = process::wait(&child).map_err(failed)?;
    match answer.map_err(failed)? {
        Some((answer, _)) => answer,
        None => Err(Failure::new(format!("the trial load ended early: {exit}"))),
    }
}

/// The role `liege trial NAME`: one spec, one answer.
#[must_use]
pub fn main() -> ExitCode {
    let tried = signals::ignore_sigpipe().and_then(|()| inherited::take()).and_then(|channel| {
        wait::readable(&channel, None)?;
        let Some((spec, _)) = channel::receive::<InstanceSpec>(&channel)? else { return Ok(()) };
        channel::send(&channel, &load(&spec), &[])
    });
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn load(spec: &InstanceSpec) -> Result<Loads, Failure> {
    jail::become_user(spec)?;
    let interpreter = interpreter::find_all(spec, None)?;
    let failed = |error: io::Error| {
        Failure::new(format!("the interpreter {} cannot be used: {error}", interpreter.python.display()))
    };
    // What the application says while it loads is of no use here: a failure carries its traceback.
    let silence = || OpenOptions::new().write(true).open(Path::new("/dev/null")).map(OwnedFd::from);
    let (child, socket) = launch::zygote(&interpreter, spec, false, &silence).map_err(failed)?;
    let board = Scoreboard::create(1, 1).map_err(failed)?;
    let mut spec = Box::new(spec.clone());
    spec.workers.lazy_apps = false;
    spec.app.need_app = true;
    spec.honour_stdin = false;
    // Looking changes nothing.
    spec.hooks.clear();
    let order = ToZygote::Load { protocol: PROTOCOL, generation: 1, spec, listeners: Vec::new() };
    channel::send(&socket, &order, &[board.share()]).map_err(failed)?;
    let heard = loop {
        match wait::readable(&socket, Some(LONGEST)) {
            Ok(true) => {}
            Ok(false) => break Err(Failure::new(format!("not loaded within {} s", LONGEST.as_secs()))),
            Err(error) => break Err(failed(error)),
        }
        match channel::receive::<FromZygote>(&socket) {
            Ok(Some((FromZygote::Hello { .. }, _))) => {}
            Ok(Some((FromZygote::Loaded { startup_ms, .. }, _))) => break Ok(Loads { startup_ms }),
            Ok(Some((FromZygote::LoadFailed(failure), _))) => break Err(failure),
            Ok(Some(_)) => break Err(Failure::new("the interpreter answered something else")),
            Ok(None) => break Err(Failure::new("the interpreter ended while it loaded the application")),
            Err(error) => break Err(failed(error)),
        }
    };
    let _ = child.kill();
    let _ = process::wait(&child);
    heard
}
