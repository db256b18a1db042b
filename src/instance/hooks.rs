//! What hooks say is done by a process of its own, which can be held up by a command or a file as long as it likes:
//! the master hears what it does, and ends it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::launch;
use super::logs::Output;
use crate::config::hook::Hook;
use crate::config::instance::InstanceSpec;
use crate::hook::{Stage, perform};
use crate::sys::process::{self, Child, Exit, Launch};
use crate::sys::{orphan, signals, wait};
use crate::trace;
use crate::wire::failure::Failure;
use crate::wire::{channel, inherited};

/// What it is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) hooks: Vec<Hook>,
    /// Variables of the commands.
    pub(super) env: Vec<(String, Option<String>)>,
    /// Somebody else adds the time to its lines.
    pub(super) relayed: bool,
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    /// This one begins, which gives itself so long.
    Begins { what: String, limit_ms: Option<u64> },
    /// All are done; this is its directory now.
    Done { directory: PathBuf },
    /// One failed.
    Failed(Failure),
}

/// Starts it; answers our end of its channel. It leads a process group, in which everything is that it starts.
///
/// # Errors
/// It cannot be started, or no descriptor is left.
pub(super) fn start(
    spec: &InstanceSpec,
    hooks: Vec<Hook>,
    (supervised, again): (bool, bool),
    output: Option<&Output>,
) -> io::Result<(Child, OwnedFd)> {
    let mut env = launch::environment(spec, supervised);
    env.push((inherited::VARIABLE.to_owned(), None));
    if again {
        env.push(("UWSGI_RELOADS".to_owned(), Some("1".to_owned())));
    }
    let (child, socket) = launch::hooks(&spec.name, output)?;
    let order = Order { hooks, env, relayed: supervised || output.is_some() };
    channel::send(&socket, &order, &[])?;
    Ok((child, socket))
}

/// The role `liege hooks NAME`: one order, and a word for each step.
#[must_use]
pub fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            trace::start(true);
            tracing::error!("the hooks cannot be done: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    signals::ignore_sigpipe()?;
    let channel = inherited::take()?;
    // Without its master nobody would end it.
    orphan::die_with_parent(0)?;
    wait::readable(&channel, None)?;
    let Some((order, _)) = channel::receive::<Order>(&channel)? else { return Ok(()) };
    trace::start(order.relayed);
    let mut teller = Teller { channel };
    let word = match perform(&order.hooks, &order.env, &mut teller) {
        Ok(()) => Word::Done { directory: std::env::current_dir()? },
        Err(failure) => Word::Failed(failure),
    };
    channel::send(&teller.channel, &word, &[])
}

/// Tells each step; whoever hears it counts the time.
struct Teller {
    channel: OwnedFd,
}

impl Stage for Teller {
    fn begins(&mut self, what: &str, limit: Option<Duration>) {
        let limit_ms = limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        // A master that is gone ends it anyway.
        let _ = channel::send(&self.channel, &Word::Begins { what: what.to_owned(), limit_ms }, &[]);
    }

    fn run(&mut self, command: Launch) -> io::Result<Option<Exit>> {
        process::wait(&command.spawn()?).map(Some)
    }
}
