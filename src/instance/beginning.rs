//! The hooks of a start, before there is a loop: they are waited for, and so is everything that ends the wait.

use std::env;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::hooks;
use crate::config::hook::{Hook, Point};
use crate::config::instance::InstanceSpec;
use crate::hook::{self, role::Word};
use crate::sys::clock;
use crate::sys::process::{self, Child, Launch};
use crate::sys::signals::Stops;
use crate::sys::wait;
use crate::tick::Tick;
use crate::wire::channel::{self, Received};
use crate::wire::failure::Failure;
use crate::wire::message::{FromInstance, ToInstance};

/// How many messages of the emperor wait for the loop.
const HEARD: usize = 64;
/// What a hook gets beyond what it gives itself.
const MARGIN: Duration = Duration::from_secs(10);

/// What each hook of the emperor in the vassal's process gets: as much as loading an application by default.
const AS_VASSAL: Duration = Duration::from_secs(300);

/// Why an instance did not begin.
#[derive(Debug)]
pub(super) enum Unbegun {
    /// Something failed.
    Failed(Failure),
    /// It was told to stop meanwhile.
    Stopped,
}

impl From<Failure> for Unbegun {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A start, and who may end it.
pub(super) struct Beginning<'a> {
    /// The emperor.
    pub(super) emperor: Option<&'a OwnedFd>,
    /// What the emperor said meanwhile, for the loop.
    pub(super) heard: Vec<Received<ToInstance>>,
    /// How long each hook may take that gives itself no time; `None`: any time.
    pub(super) patience: Option<Duration>,
    /// Somebody else adds the time to the lines of the log.
    pub(super) supervised: bool,
    /// What to do about one that takes longer.
    advice: &'static str,
    stops: Stops,
    /// The emperor is gone, or said more than is kept: the loop sees to it.
    is_deaf: bool,
}

/// What ended a wait.
enum Woken {
    Said,
    Stop,
    Late,
}

impl<'a> Beginning<'a> {
    /// # Errors
    /// `signalfd`.
    pub(super) fn new(emperor: Option<&'a OwnedFd>) -> io::Result<Self> {
        Ok(Self {
            emperor,
            heard: Vec::new(),
            patience: None,
            supervised: emperor.is_some(),
            advice: "raise startup-timeout, or mend it",
            stops: Stops::new()?,
            is_deaf: false,
        })
    }

    /// Does what `spec` says of these points.
    ///
    /// # Errors
    /// What failed, or that the instance is to stop.
    pub(super) fn perform(&mut self, spec: &InstanceSpec, points: &[Point]) -> Result<(), Unbegun> {
        let hooks = hook::of(&spec.hooks, points);
        if hooks.is_empty() {
            return Ok(());
        }
        let started = hooks::start(spec, hooks, (self.supervised, false), None).map_err(unstarted)?;
        self.attend(started)
    }

    /// Does what the emperor says of all vassals, before anything of this one is read.
    ///
    /// # Errors
    /// What failed, or that the instance is to stop.
    pub(super) fn perform_as_vassal(&mut self, name: &str, hooks: &[Hook]) -> Result<(), Unbegun> {
        if hooks.is_empty() {
            return Ok(());
        }
        let own = (self.patience, self.advice);
        (self.patience, self.advice) = (Some(AS_VASSAL), "mend it: it is an option of the emperor");
        let started = hooks::start_as_vassal(name, hooks.to_vec()).map_err(unstarted)?;
        let done = self.attend(started);
        (self.patience, self.advice) = own;
        done
    }

    /// Runs the command that the emperor runs before each start (`vassals-start-hook`), and waits for it: only this vassal
    /// waits, for a bounded time, and what it returns does not matter.
    ///
    /// # Errors
    /// The instance is to stop.
    pub(super) fn run_start_hook(&mut self, hook: &str, name: &str) -> Result<(), Unbegun> {
        let mut words = hook.split_whitespace();
        let Some(program) = words.next() else { return Ok(()) };
        let directory = env::current_dir().unwrap_or_default();
        let launch = words.chain([name]).fold(Launch::new(program), Launch::arg);
        let launched = launch.own_group().env("UWSGI_VASSALS_DIR", directory).spawn();
        let child = match launched {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!("vassals-start-hook {hook}: {error}");
                return Ok(());
            }
        };
        self.tell(Some(format!("vassals-start-hook {hook}")));
        let woken = self.wait(child.as_fd(), Some(clock::now() + AS_VASSAL));
        if !matches!(woken, Ok(Woken::Said)) {
            let _ = child.kill_group();
        }
        let exit = process::wait(&child).map_err(unstarted)?;
        self.tell(None);
        match woken? {
            Woken::Stop => return Err(Unbegun::Stopped),
            Woken::Late => tracing::warn!(
                "vassals-start-hook {hook}: it ran for more than {} s: SIGKILL",
                AS_VASSAL.as_secs()
            ),
            Woken::Said if !exit.is_success() => tracing::warn!("vassals-start-hook {hook}: {exit}"),
            Woken::Said => {}
        }
        Ok(())
    }

    /// Follows the process that does them to its end.
    fn attend(&mut self, (child, socket): (Child, OwnedFd)) -> Result<(), Unbegun> {
        let done = self.hear(&socket);
        if !matches!(done, Ok(Some(()))) {
            // What a command left running in the background goes on only when all went well.
            let _ = child.kill_group();
        }
        let exit = process::wait(&child).map_err(unstarted)?;
        self.tell(None);
        match done? {
            Some(()) => Ok(()),
            None => Err(Failure::new(format!("the process that does the hooks ended: {exit}")).into()),
        }
    }

    /// Waits until somebody else is done, of whom `end` becomes readable then.
    ///
    /// # Errors
    /// The instance is to stop.
    pub(super) fn wait_for(&mut self, doing: String, end: &OwnedFd) -> Result<(), Unbegun> {
        self.tell(Some(doing));
        let woken = self.wait(end, None)?;
        self.tell(None);
        match woken {
            Woken::Said | Woken::Late => Ok(()),
            Woken::Stop => Err(Unbegun::Stopped),
        }
    }

    /// Hears it to its end; `None`: it ended without a word.
    fn hear(&mut self, socket: &OwnedFd) -> Result<Option<()>, Unbegun> {
        let (mut doing, mut deadline) = (String::new(), None);
        loop {
            match self.wait(socket, deadline)? {
                Woken::Stop => return Err(Unbegun::Stopped),
                Woken::Late => {
                    let seconds = self.patience.unwrap_or_default().as_secs();
                    let failure = Failure::new(format!("{doing}: it ran for more than {seconds} s"));
                    return Err(failure.with_hint(self.advice).into());
                }
                Woken::Said => {}
            }
            match channel::receive::<Word>(socket) {
                Ok(Some((Word::Begins { what, limit_ms }, _))) => {
                    let limit = limit_ms.map(|ms| Duration::from_millis(ms) + MARGIN).or(self.patience);
                    deadline = limit.map(|limit| clock::now() + limit);
                    self.tell(Some(what.clone()));
                    doing = what;
                }
                Ok(Some((Word::Done { directory }, _))) => {
                    if env::current_dir().ok().as_deref() != Some(&directory) {
                        env::set_current_dir(&directory).map_err(|e| {
                            Failure::new(format!("cannot chdir to {}: {e}", directory.display()))
                        })?;
                    }
                    return Ok(Some(()));
                }
                Ok(Some((Word::Failed(failure), _))) => return Err(failure.into()),
                Ok(None) => return Ok(None),
                Err(error) => return Err(Failure::from(error).into()),
            }
        }
    }

    fn wait(&mut self, socket: impl AsFd, deadline: Option<Tick>) -> Result<Woken, Failure> {
        loop {
            let emperor = self.emperor.filter(|_| !self.is_deaf);
            let mut fds = vec![socket.as_fd(), self.stops.as_fd()];
            fds.extend(emperor.map(AsFd::as_fd));
            let left = deadline.map(|deadline| deadline.since(clock::now()));
            match wait::any_readable(&fds, left)? {
                None => return Ok(Woken::Late),
                Some(0) => return Ok(Woken::Said),
                Some(1) => return Ok(Woken::Stop),
                Some(_) => {
                    if let Some(emperor) = emperor
                        && self.hear_emperor(emperor)
                    {
                        return Ok(Woken::Stop);
                    }
                }
            }
        }
    }

    /// Hears one message; whether it is to stop.
    fn hear_emperor(&mut self, emperor: &OwnedFd) -> bool {
        match channel::receive::<ToInstance>(emperor) {
            Ok(Some((ToInstance::Stop { .. }, _))) => return true,
            Ok(Some(message)) => {
                self.heard.push(message);
                self.is_deaf |= self.heard.len() >= HEARD;
            }
            Ok(None) | Err(_) => self.is_deaf = true,
        }
        false
    }

    /// Tells the emperor what is waited for.
    fn tell(&self, doing: Option<String>) {
        if let Some(emperor) = self.emperor {
            let _ = channel::send(emperor, &FromInstance::Doing(doing), &[]);
        }
    }
}

fn unstarted(error: io::Error) -> Failure {
    Failure::new(format!("hooks cannot be done: {error}"))
}
