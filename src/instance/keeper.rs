//! The keeper of a companion: a small process between the master and a program of others. It becomes whom that runs as,
//! starts it, marks its output, and is the parent of all that it leaves behind: nothing of it outlives the keeper's
//! patience, however it was started and whatever becomes of the master.

use std::env;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, sleep_until};

use super::children::end_children;
use super::tagged::Tagged;
use crate::sys::capabilities::Capabilities;
use crate::sys::process::{self, Child, Exit, Launch, Signal};
use crate::sys::signals::{self, Received, Signals};
use crate::sys::user::{self, Identity};
use crate::sys::{output, own, pipe, reactor, session};
use crate::trace;
use crate::wire::channel::Channel;
use crate::wire::failure::Failure;
use crate::wire::{inherited, limits};

/// When a log that had no room is tried again.
const RETRY: Duration = Duration::from_millis(10);
/// As much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;

/// Master → keeper.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToKeeper {
    /// Start it. Descriptor: its standard input, if that is not to be `/dev/null`.
    Start(Box<Order>),
    /// Send it a signal.
    Signal(i32),
    /// Kill all of it.
    Kill,
}

/// What is to be kept.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    /// What its lines are marked with.
    pub(super) name: String,
    /// What the shell runs.
    pub(super) command: String,
    /// Where; `None`: where the master is.
    pub(super) directory: Option<PathBuf>,
    /// Changes to the environment; `None` removes.
    pub(super) env: Vec<(String, Option<String>)>,
    /// Nothing of the dynamic linker's variables is handed on.
    pub(super) without_linker: bool,
    /// Whom to become.
    pub(super) uid: Option<String>,
    /// With which group.
    pub(super) gid: Option<String>,
    /// Set-user-id programs that it starts work, for whom it becomes.
    pub(super) new_privileges: bool,
    /// Where its pid is written.
    pub(super) pidfile: Option<PathBuf>,
    /// What it leaves behind when it ends belongs to it, and is not killed.
    pub(super) lingers: bool,
    /// What it gets when the master is gone.
    pub(super) stop_signal: i32,
    /// How long it may take to end then, in milliseconds.
    pub(super) mercy_ms: u64,
}

/// Keeper → master.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromKeeper {
    /// It runs, with this pid in its own namespace.
    Started { pid: u32 },
    /// It could not be started.
    Failed(Failure),
    /// What was started has ended; of one that lingers, what it left behind may go on.
    Ended(Exit),
}

/// The role `liege keeper NAME`.
#[must_use]
pub fn main() -> ExitCode {
    // First of all, so that no descriptor opened later can be taken for the channel.
    let channel = inherited::take();
    trace::start(true);
    trace::exit_code("the keeper ends", channel.and_then(keep))
}

fn keep(channel: OwnedFd) -> io::Result<()> {
    signals::ignore_harmless()?;
    // What a terminal says to the master's group is the master's to pass on.
    session::lead()?;
    process::set_child_subreaper()?;
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        // As nice as its master.
        spawn_local(limits::share_nice());
        let mut signals = Signals::new()?;
        let channel = Channel::<FromKeeper, ToKeeper>::new(channel)?;
        let Some((ToKeeper::Start(order), mut fds)) = channel.receive().await? else { return Ok(()) };
        match Keeper::start(*order, fds.pop()) {
            Ok(keeper) => {
                channel.send(&FromKeeper::Started { pid: keeper.main.pid() }, &[])?;
                keeper.serve(&channel, &mut signals).await
            }
            Err(failure) => channel.send(&FromKeeper::Failed(failure), &[]),
        }
    })
}

struct Keeper {
    main: Child,
    ended: Option<Exit>,
    lingers: bool,
    stop_signal: i32,
    mercy: Duration,
    /// When all of it is killed.
    deadline: Option<Instant>,
    output: Option<AsyncFd<OwnedFd>>,
    lines: Tagged,
    pidfile: Option<PathBuf>,
}

impl Keeper {
    fn start(order: Order, stdin: Option<OwnedFd>) -> Result<Self, Failure> {
        let failed =
            |what: &'static str| move |error: io::Error| Failure::new(format!("cannot {what}: {error}"));
        become_user(&order).map_err(failed("become its user"))?;
        let (reader, writer) = pipe::plain().map_err(failed("make a pipe"))?;
        let stderr = writer.try_clone().map_err(failed("make a pipe"))?;
        let mut launch =
            Launch::new("/bin/sh").arg("-c").arg(&order.command).own_group().stdout(writer).stderr(stderr);
        if let Some(stdin) = stdin {
            launch = launch.stdin(stdin);
        }
        for name in inherited::OF_ONE_PROCESS {
            launch = launch.unset_env(name);
        }
        if order.without_linker {
            for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"LD_")) {
                launch = launch.unset_env(name);
            }
        }
        for (name, value) in &order.env {
            launch = match value {
                Some(value) => launch.env(name, value),
                None => launch.unset_env(name),
            };
        }
        if let Some(directory) = &order.directory {
            launch = launch.directory(directory);
        }
        let output = reactor::register_readable(reader).map_err(failed("follow its output"))?;
        let main = launch.spawn().map_err(failed("start the shell"))?;
        if let Some(path) = &order.pidfile
            && let Err(error) = output::replace(path, format!("{}\n", main.pid()).as_bytes())
        {
            tracing::error!("cannot write the pid file {}: {error}", path.display());
        }
        Ok(Self {
            main,
            ended: None,
            lingers: order.lingers,
            stop_signal: order.stop_signal,
            mercy: Duration::from_millis(order.mercy_ms),
            deadline: None,
            output: Some(output),
            lines: Tagged::new(&order.name),
            pidfile: order.pidfile,
        })
    }

    async fn serve(
        mut self,
        channel: &Channel<FromKeeper, ToKeeper>,
        signals: &mut Signals,
    ) -> io::Result<()> {
        let mut orphaned = false;
        let mut buffer = vec![0; READ_BYTES];
        while !self.is_over() {
            tokio::select! {
                message = channel.receive(), if !orphaned => match message {
                    Ok(Some((ToKeeper::Signal(signal), _))) => self.signal(signal),
                    Ok(Some((ToKeeper::Kill, _))) => self.kill(),
                    Ok(Some((ToKeeper::Start(_), _))) => {}
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                    Ok(None) | Err(_) => {
                        orphaned = true;
                        self.signal(self.stop_signal);
                        self.deadline = Some(Instant::now() + self.mercy);
                    }
                },
                signal = signals.next() => if signal == Received::Child && self.reap() && let Some(exit) = self.ended {
                    // A master that is gone hears nothing.
                    let _ = channel.send(&FromKeeper::Ended(exit), &[]);
                },
                read = read(self.output.as_ref(), &mut buffer), if !self.lines.is_full() => self.heard(read, &buffer),
                () = sleep(RETRY), if self.lines.is_full() => self.lines.write(),
                () = sleep_until(self.deadline.unwrap_or_else(Instant::now)), if self.deadline.is_some() => self.kill(),
            }
        }
        let told = self.ended;
        self.kill();
        if let (None, Some(exit)) = (told, self.ended) {
            let _ = channel.send(&FromKeeper::Ended(exit), &[]);
        }
        // Whoever wrote is gone: what is there is all there will be.
        while let Some(output) = &self.output {
            let read = reactor::read(output.get_ref(), &mut buffer);
            self.heard(read, &buffer);
        }
        self.lines.end();
        while self.lines.is_full() {
            sleep(RETRY).await;
            self.lines.write();
        }
        self.remove_pidfile();
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() && (!self.lingers || own::children().is_ok_and(|children| children.is_empty()))
    }

    /// Whether the program itself was among those that ended.
    fn reap(&mut self) -> bool {
        let before = self.ended;
        while let Ok(Some((pid, exit))) = process::reap_any() {
            if pid == self.main.pid() && self.ended.is_none() {
                self.ended = Some(exit);
            }
        }
        before.is_none() && self.ended.is_some()
    }

    /// Its process group gets it, and everything else that it has left in our care.
    fn signal(&self, signal: i32) {
        let signal = Signal::Other(signal);
        let tell = |pid: u32, sent: io::Result<()>| {
            if let Err(error) = sent {
                tracing::debug!("process {pid} did not get {signal:?}: {error}");
            }
        };
        if self.ended.is_none() {
            tell(self.main.pid(), self.main.signal_group(signal));
        }
        // In a namespace of its own the pids that are listed are not those that it knows.
        let listed = if own::knows_its_pids() { own::children().unwrap_or_default() } else { Vec::new() };
        for pid in listed.into_iter().filter(|pid| *pid != self.main.pid()) {
            let is_leader = own::group_of(pid) == Some(pid);
            let send = if is_leader { process::signal_group } else { process::signal_process };
            tell(pid, send(pid, signal));
        }
    }

    fn kill(&mut self) {
        self.deadline = None;
        self.lingers = false;
        if self.ended.is_none() {
            let _ = self.main.kill_group();
        }
        end_children();
        self.ended.get_or_insert(Exit::Signal(Signal::Kill.number()));
    }

    /// A file that names nobody would name another process one day.
    fn remove_pidfile(&self) {
        let Some(path) = &self.pidfile else { return };
        if fs::read_to_string(path).is_ok_and(|text| text.trim() == self.main.pid().to_string()) {
            let _ = fs::remove_file(path);
        }
    }

    fn heard(&mut self, read: io::Result<usize>, buffer: &[u8]) {
        match read {
            Ok(length @ 1..) => self.lines.take(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => self.output = None,
        }
    }
}

/// Waits until there is something to read, and reads it; for ever when nothing more can come.
async fn read(output: Option<&AsyncFd<OwnedFd>>, buffer: &mut [u8]) -> io::Result<usize> {
    let Some(output) = output else { return std::future::pending().await };
    loop {
        let mut ready = output.readable().await?;
        match reactor::read(output.get_ref(), buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            read => return read,
        }
    }
}

fn become_user(order: &Order) -> io::Result<()> {
    if order.uid.is_none() && order.gid.is_none() {
        return Ok(());
    }
    let identity = Identity::look_up(order.uid.as_deref(), order.gid.as_deref(), &[], false)?;
    if identity.is_current() {
        return Ok(());
    }
    identity.take_on(&Capabilities::default())?;
    if order.new_privileges { Ok(()) } else { user::set_no_new_privileges() }
}
