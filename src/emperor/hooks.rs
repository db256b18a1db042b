//! What the emperor does around the lives of vassals: the hooks of a start, and the command of an end. Beside the loop, a
//! bounded number at a time, and each for a bounded time.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::handle::Handle;
use super::life::LifeId;
use super::logs::LogPipe;
use crate::config::emperor::EmperorSpec;
use crate::config::hook::{Hook, Point};
use crate::config::tenant::Tenant;
use crate::hook::{self, role};
use crate::sys::process::{self, Child, Exit, Launch};
use crate::sys::{own, pipe, user};
use crate::tick::Tick;
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::inherited;

/// How many run at the same time.
const AT_ONCE: usize = 8;
/// How many wait for their turn; what is beyond is not run, and told of.
const WAITING: usize = 4096;
/// How long each command may run before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);
/// What hooks that limit themselves get beyond that.
const MARGIN: Duration = Duration::from_secs(70);

/// What is done, and where it is being done.
#[derive(Debug)]
pub struct Hooks {
    at_start: Vec<Hook>,
    at_end: Vec<String>,
    handle: Handle,
    running: Vec<Running>,
    waiting: VecDeque<Task>,
    /// Where the vassals of the lives are.
    directories: BTreeMap<LifeId, PathBuf>,
}

/// What the last image had not done yet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pending {
    /// The pids of the hooks that run, and of children for whose answers nobody waits.
    running: Vec<u32>,
    obsolete: Vec<u32>,
    waiting: Vec<Task>,
    directories: BTreeMap<LifeId, PathBuf>,
}

/// What is to be done for a vassal.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Task {
    vassal: String,
    what: What,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum What {
    /// A master was started.
    Start { pid: u32, owner: Tenant },
    /// An instance of a vassal in this directory ended.
    End { directory: PathBuf },
}

impl What {
    const fn name(&self) -> &'static str {
        match self {
            Self::Start { .. } => "what is done as emperor",
            Self::End { .. } => "its stop hook",
        }
    }
}

#[derive(Debug)]
struct Running {
    /// `None`: an image before has started it.
    vassal: Option<String>,
    name: &'static str,
    child: Child,
    patience: Duration,
    until: Tick,
}

impl Hooks {
    /// What an emperor with these options does, beginning with what the last image has left; output goes to the logs of
    /// the vassals.
    #[must_use]
    pub fn new(spec: &EmperorSpec, handle: Handle, pending: Pending, now: Tick) -> Self {
        let command = spec.stop_hook.as_deref().unwrap_or_default();
        let mut hooks = Self {
            at_start: hook::of(&spec.hooks, &[Point::AsEmperor]),
            at_end: command.split_whitespace().map(str::to_owned).collect(),
            handle,
            running: Vec::new(),
            waiting: pending.waiting.into(),
            directories: pending.directories,
        };
        hooks.resume(pending.running, pending.obsolete, now);
        hooks
    }

    /// Takes over the children that an image before has started: what runs has its time from now on, what nobody waits for
    /// any more ends.
    fn resume(&mut self, running: Vec<u32>, obsolete: Vec<u32>, now: Tick) {
        let children = own::children().unwrap_or_default();
        let child = |pid: u32| children.contains(&pid).then(|| Child::adopt(pid).ok()).flatten();
        for child in running.into_iter().filter_map(child) {
            let (name, until) = ("a hook from before the re-execution", now + PATIENCE);
            self.running.push(Running { vassal: None, name, child, patience: PATIENCE, until });
        }
        obsolete.into_iter().filter_map(child).for_each(|child| drop(child.kill_group()));
        self.go_on(now);
    }

    /// What the next image needs to go on; it ends the children that are `obsolete`.
    #[must_use]
    pub fn pending(&self, obsolete: Vec<u32>) -> Pending {
        Pending {
            running: self.running.iter().map(|running| running.child.pid()).collect(),
            obsolete,
            waiting: self.waiting.iter().cloned().collect(),
            directories: self.directories.clone(),
        }
    }

    /// A life began, of a vassal in this directory.
    pub fn began(&mut self, life: LifeId, directory: &Path) {
        if !self.at_end.is_empty() {
            self.directories.insert(life, directory.to_owned());
        }
    }

    /// The master of a life was started, for a file of this owner.
    pub fn started(&mut self, vassal: &str, pid: u32, owner: Tenant, now: Tick) {
        if !self.at_start.is_empty() {
            self.add(vassal, What::Start { pid, owner }, now);
        }
    }

    /// An instance of this vassal has ended.
    pub fn ended(&mut self, life: LifeId, vassal: &str, now: Tick) {
        if !self.at_end.is_empty() {
            let directory = self.directories.remove(&life).unwrap_or_default();
            self.add(vassal, What::End { directory }, now);
        }
    }

    /// A child ended; whether it was one of these.
    pub fn reaped(&mut self, pid: u32, exit: &Exit, now: Tick) -> bool {
        let Some(place) = self.running.iter().position(|running| running.child.pid() == pid) else {
            return false;
        };
        let ended = self.running.swap_remove(place);
        if !exit.is_success() {
            tracing::warn!(vassal = ended.vassal, "{} failed: {exit}", ended.name);
        }
        self.go_on(now);
        true
    }

    /// When patience with one of them ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Tick> {
        self.running.iter().map(|running| running.until).min()
    }

    /// Kills those that run for too long.
    pub fn catch_up(&mut self, now: Tick) {
        for running in self.running.iter_mut().filter(|running| running.until <= now) {
            let seconds = running.patience.as_secs();
            tracing::warn!(vassal = running.vassal, "{} runs for {seconds} s: SIGKILL", running.name);
            let _ = running.child.kill_group();
            running.until = now + PATIENCE;
        }
    }

    /// Whether none runs or waits.
    #[must_use]
    pub fn are_done(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    fn add(&mut self, vassal: &str, what: What, now: Tick) {
        if self.waiting.len() >= WAITING {
            tracing::warn!(vassal, "{} is not run: {WAITING} others wait", what.name());
            return;
        }
        self.waiting.push_back(Task { vassal: vassal.to_owned(), what });
        self.go_on(now);
    }

    fn go_on(&mut self, now: Tick) {
        while self.running.len() < AT_ONCE {
            let Some(Task { vassal, what }) = self.waiting.pop_front() else { return };
            let name = what.name();
            let begun = match what {
                What::Start { pid, owner } => self.begin_start(&vassal, pid, owner),
                What::End { directory } => self.begin_end(&vassal, directory),
            };
            match begun {
                Ok((child, patience)) => {
                    let until = now + patience;
                    self.running.push(Running { vassal: Some(vassal), name, child, patience, until });
                }
                Err(error) => tracing::warn!(vassal, "{name} cannot be started: {error}"),
            }
        }
    }

    /// In a process that limits itself also when this image ends before it.
    fn begin_start(&self, vassal: &str, pid: u32, owner: Tenant) -> io::Result<(Child, Duration)> {
        let order = order(self.at_start.clone(), role::about(vassal, pid, owner.uid, owner.gid), true);
        let (launch, socket) = role::launch(vassal)?;
        let child = self.logged(launch, vassal)?.spawn()?;
        channel::send(&socket, &order, &[])?;
        Ok((child, order.longest() + MARGIN))
    }

    fn begin_end(&self, vassal: &str, directory: PathBuf) -> io::Result<(Child, Duration)> {
        let (program, arguments) = self.at_end.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut launch = Launch::new(program).own_group().env("UWSGI_VASSALS_DIR", directory);
        for argument in arguments.iter().map(String::as_str).chain([vassal]) {
            launch = launch.arg(argument);
        }
        let launch = self.logged(launch, vassal)?.unset_env("NOTIFY_SOCKET");
        launch
            .spawn()
            .map(|child| (child, PATIENCE))
            .map_err(|error| io::Error::other(format!("{program}: {error}")))
    }

    /// Its output is that of the vassal.
    fn logged(&self, launch: Launch, vassal: &str) -> io::Result<Launch> {
        let (output, write_end) = pipe::for_output()?;
        LogPipe::start(output, Vec::new(), vassal, self.handle.clone())?;
        Ok(launch.stdout(write_end.try_clone()?).stderr(write_end))
    }
}

/// What an emperor does with the rights of whoever starts it, and what it does as its user, before it starts anything.
pub const BEFORE_DROP: [Point; 6] =
    [Point::Asap, Point::PreJail, Point::InJail, Point::PostJail, Point::Waits, Point::AsRoot];
/// See [`BEFORE_DROP`].
pub const AFTER_DROP: [Point; 3] = [Point::AsUser, Point::WaitsForSocket, Point::EmperorStart];

/// Does what is said of these points of the emperor's own life, and waits for it. What is for root is not done by others.
///
/// # Errors
/// What failed is in the log.
pub fn perform(hooks: &[Hook], points: &[Point]) -> Result<(), Failure> {
    let mut hooks = hook::of(hooks, points);
    if user::current_uid() != 0 {
        for hook in hooks.extract_if(.., |hook| hook.point.is_of_root()) {
            tracing::warn!("{} is not done: not started as root", hook::name(&hook));
        }
    }
    if hooks.is_empty() {
        return Ok(());
    }
    let undone = |error: io::Error| Failure::new(format!("the emperor's hooks cannot be done: {error}"));
    let (launch, socket) = role::launch("emperor").map_err(undone)?;
    let child = launch.spawn().map_err(undone)?;
    channel::send(&socket, &order(hooks, [], false), &[]).map_err(undone)?;
    match process::wait(&child).map_err(undone)? {
        exit if exit.is_success() => Ok(()),
        exit => Err(Failure::new(format!("a hook of the emperor failed: {exit}"))
            .with_hint("the line above names it: mend it, or remove it")),
    }
}

/// Commands find nothing that is meant for the emperor alone.
fn order(
    hooks: Vec<Hook>,
    about: impl IntoIterator<Item = (String, Option<String>)>,
    relayed: bool,
) -> role::Order {
    let removed = inherited::OF_ONE_PROCESS.map(|name| (name.to_owned(), None));
    let alone_ms = u64::try_from(PATIENCE.as_millis()).ok();
    role::Order { hooks, env: removed.into_iter().chain(about).collect(), relayed, alone_ms }
}
