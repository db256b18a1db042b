//! What hooks say is done by a process of its own, which can be held up by a command or a file as long as it likes:
//! whoever started it hears what it does, and ends it; or it limits itself.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Stage, limit, perform};
use crate::config::hook::Hook;
use crate::sys::process::{self, Exit, Launch};
use crate::sys::{orphan, signals, wait};
use crate::trace;
use crate::wire::failure::Failure;
use crate::wire::{channel, inherited};

/// The binary that this process runs, even if another one has its path by now.
const THIS_BINARY: &str = "/proc/self/exe";

/// What it is to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// What is done, in order.
    pub hooks: Vec<Hook>,
    /// Variables of the commands.
    pub env: Vec<(String, Option<String>)>,
    /// Somebody else adds the time to its lines.
    pub relayed: bool,
    /// How long each command may run, in milliseconds, and that nobody listens: it limits itself, and logs what fails.
    pub alone_ms: Option<u64>,
}

impl Order {
    /// The longest that it takes where it limits itself.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let each = Duration::from_millis(self.alone_ms.unwrap_or_default());
        self.hooks.iter().map(|hook| limit(hook).unwrap_or(each)).sum()
    }
}

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    /// This one begins, which gives itself so long.
    Begins {
        /// The hook.
        what: String,
        /// Milliseconds.
        limit_ms: Option<u64>,
    },
    /// All are done.
    Done {
        /// This is its directory now.
        directory: PathBuf,
    },
    /// One failed.
    Failed(Failure),
}

/// What commands around a vassal's start find of it, as in uWSGI.
#[must_use]
pub fn about(vassal: &str, pid: u32, uid: u32, gid: u32) -> [(String, Option<String>); 4] {
    [
        ("UWSGI_VASSAL_CONFIG".to_owned(), Some(vassal.to_owned())),
        ("UWSGI_VASSAL_PID".to_owned(), Some(pid.to_string())),
        ("UWSGI_VASSAL_UID".to_owned(), Some(uid.to_string())),
        ("UWSGI_VASSAL_GID".to_owned(), Some(gid.to_string())),
    ]
}

/// How it is started: as the leader of a process group, in which everything is that it starts; with our end of its
/// channel, which gets the order.
///
/// # Errors
/// No descriptor is left.
pub fn launch(name: &str) -> io::Result<(Launch, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    let launch = Launch::new(Path::new(THIS_BINARY))
        .arg0("liege")
        .arg("hooks")
        .arg(name)
        .stdin(theirs)
        .env(inherited::VARIABLE, "0")
        .own_group();
    Ok((launch, ours))
}

/// The role `liege hooks NAME`: one order, and a word for each step.
#[must_use]
pub fn main() -> ExitCode {
    match serve() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            trace::start(true);
            tracing::error!("the hooks cannot be done: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all was done that nobody else hears of.
fn serve() -> io::Result<bool> {
    signals::ignore_sigpipe()?;
    let channel = inherited::take()?;
    // Without its master nobody would end it.
    orphan::die_with_parent(0)?;
    wait::readable(&channel, None)?;
    let Some((order, _)) = channel::receive::<Order>(&channel)? else { return Ok(true) };
    trace::start(order.relayed);
    if let Some(ms) = order.alone_ms {
        let done = perform(&order.hooks, &order.env, &mut Alone { patience: Duration::from_millis(ms) });
        if let Err(failure) = &done {
            tracing::error!("{failure}");
        }
        return Ok(done.is_ok());
    }
    let mut teller = Teller { channel };
    let word = match perform(&order.hooks, &order.env, &mut teller) {
        Ok(()) => Word::Done { directory: std::env::current_dir()? },
        Err(failure) => Word::Failed(failure),
    };
    channel::send(&teller.channel, &word, &[])?;
    Ok(true)
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

/// Nobody listens.
struct Alone {
    patience: Duration,
}

impl Stage for Alone {
    fn begins(&mut self, _what: &str, _limit: Option<Duration>) {}

    fn run(&mut self, command: Launch) -> io::Result<Option<Exit>> {
        let child = command.own_group().spawn()?;
        if wait::readable(&child, Some(self.patience))? {
            return process::wait(&child).map(Some);
        }
        child.kill_group()?;
        process::wait(&child).map(|_| None)
    }
}
