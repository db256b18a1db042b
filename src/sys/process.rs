//! Starting other programs, killing them, and learning how they ended. Nothing else in the crate starts a process.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::{namespace, signals};

pub use super::ends::{Exit, end_child_subreaper, next_halt, reap_any, set_child_subreaper, wait};

/// `PIDFD_SIGNAL_PROCESS_GROUP`, which libc does not name.
const PIDFD_SIGNAL_PROCESS_GROUP: u32 = 1 << 2;

/// A program to start. Everything not said is inherited; descriptors above 2 never are, because all of ours are
/// close-on-exec. The child starts with an empty signal mask, and with `SIGPIPE` at its default: processes of ours
/// ignore it again as their first act.
///
/// Started by `posix_spawn`, so a large or threaded parent costs nothing: identity, limits and everything else that
/// would need code between fork and exec is the child's own first act.
#[derive(Debug)]
pub struct Launch {
    program: PathBuf,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    clear_env: bool,
    env: Vec<(OsString, Option<OsString>)>,
    directory: Option<PathBuf>,
    streams: [Option<OwnedFd>; 3],
    own_group: bool,
    own_session: bool,
    own_pids: bool,
}

impl Launch {
    /// The program at this path, looked up on the PATH when it has no slash.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arg0: None,
            args: Vec::new(),
            clear_env: false,
            env: Vec::new(),
            directory: None,
            streams: [None, None, None],
            own_group: false,
            own_session: false,
            own_pids: false,
        }
    }

    /// The name it sees itself called by, instead of the program's path.
    #[must_use]
    pub fn arg0(mut self, name: impl Into<OsString>) -> Self {
        self.arg0 = Some(name.into());
        self
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.args.push(argument.into());
        self
    }

    /// Inherit no environment variable.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// Sets an environment variable. Later changes win.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), Some(value.into())));
        self
    }

    /// Removes an environment variable.
    #[must_use]
    pub fn unset_env(mut self, name: impl Into<OsString>) -> Self {
        self.env.push((name.into(), None));
        self
    }

    /// Where it starts.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Its descriptor 0; without this `/dev/null`, never ours.
    #[must_use]
    pub fn stdin(mut self, fd: OwnedFd) -> Self {
        let [stdin, ..] = &mut self.streams;
        *stdin = Some(fd);
        self
    }

    /// Its descriptor 1.
    #[must_use]
    pub fn stdout(mut self, fd: OwnedFd) -> Self {
        let [_, stdout, _] = &mut self.streams;
        *stdout = Some(fd);
        self
    }

    /// Its descriptor 2.
    #[must_use]
    pub fn stderr(mut self, fd: OwnedFd) -> Self {
        let [.., stderr] = &mut self.streams;
        *stderr = Some(fd);
        self
    }

    /// Make it the leader of a process group of its own, so that signals to ours miss it and [`Child::kill_group`]
    /// reaches what it starts.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// The same for a process that makes itself the leader of a session as its first act ([`super::session::lead`]).
    #[must_use]
    pub fn own_session(mut self) -> Self {
        self.own_session = true;
        self
    }

    /// Make it the first process of a namespace of its own: it and what it starts see no other process.
    #[must_use]
    pub fn own_pids(mut self, wanted: bool) -> Self {
        self.own_pids = wanted;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// The program cannot be started, or there is no descriptor left for its pidfd (it is killed then).
    pub fn spawn(self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        if let Some(name) = &self.arg0 {
            command.arg0(name);
        }
        command.args(&self.args);
        if self.clear_env {
            command.env_clear();
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        let [stdin, stdout, stderr] = self.streams;
        command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
        command.stdout(stdout.map_or_else(Stdio::inherit, Stdio::from));
        command.stderr(stderr.map_or_else(Stdio::inherit, Stdio::from));
        // Who leads a group leads a session only after a moment in ours, which must have a name in its namespace.
        let can_leave = !self.own_pids && nix::unistd::getpgrp().as_raw() != 0;
        if self.own_group || (self.own_session && can_leave) {
            command.process_group(0);
        }
        // The mask is inherited, and a child that starts with SIGTERM blocked would never see it.
        let mut start = || signals::with_nothing_blocked(|| command.spawn());
        let started = if self.own_pids { namespace::with_pids_of_its_own(start) } else { start() }?;
        // Dropping std's handle neither waits nor kills; from here on the pidfd is the handle.
        Child::adopt(started.id()).inspect_err(|_| {
            // Ours and not yet reaped: the number cannot have been given to another process.
            let _ = kill_pid(started.id(), nix::sys::signal::Signal::SIGKILL as i32);
        })
    }
}

/// A process that is our child, or that we were told of: its pid, and a descriptor that always means this process.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    pidfd: OwnedFd,
}

impl Child {
    /// A handle for a process that somebody else started for us. Call it before anybody can reap that pid.
    ///
    /// # Errors
    /// `pidfd_open`: there is no such process, or no descriptor is left.
    pub fn adopt(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, pidfd: pidfd_open(pid)? })
    }

    /// A handle from its parts, carried over an exec.
    #[must_use]
    pub const fn from_parts(pid: u32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd }
    }

    /// Its pid.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal to it, and only it: never to another process that got its number. Nothing happens when it
    /// is gone.
    ///
    /// # Errors
    /// `pidfd_send_signal`: not permitted.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        self.send(signal, 0)
    }

    fn send(&self, signal: Signal, flags: u32) -> io::Result<()> {
        let (fd, number) = (std::os::fd::AsRawFd::as_raw_fd(&self.pidfd), signal.number());
        // SAFETY: pidfd_send_signal takes numbers and a null siginfo; `fd` is open because it is borrowed.
        #[expect(unsafe_code, reason = "there is no wrapper for pidfd_send_signal")]
        let done = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, fd, number, std::ptr::null::<libc::siginfo_t>(), flags)
        };
        gone_is_fine(if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })
    }

    /// Kills it.
    ///
    /// # Errors
    /// As [`Child::signal`].
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::Kill)
    }

    /// Sends a signal to the process group that it leads: by its pidfd where the kernel can (Linux 6.9), else by number,
    /// which is safe for a child started with [`Launch::own_group`] that was not reaped yet: until then no other group
    /// can have it.
    ///
    /// # Errors
    /// `pidfd_send_signal` or `killpg`: not permitted.
    pub fn signal_group(&self, signal: Signal) -> io::Result<()> {
        match self.send(signal, PIDFD_SIGNAL_PROCESS_GROUP) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => signal_group(self.pid, signal),
            done => done,
        }
    }

    /// Kills what is left of the process group that it led, though it was reaped itself: by its pidfd where the kernel
    /// can (Linux 6.9), else by number, if that is `held` for it by a child in it that was not reaped.
    ///
    /// # Errors
    /// As [`Child::signal_group`].
    pub fn kill_rest_of_group(&self, held: impl FnOnce() -> bool) -> io::Result<()> {
        match self.send(Signal::Kill, PIDFD_SIGNAL_PROCESS_GROUP) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                if held() {
                    signal_group(self.pid, Signal::Kill)
                } else {
                    Ok(())
                }
            }
            done => done,
        }
    }

    /// Kills the process group that it leads; as [`Child::signal_group`].
    ///
    /// # Errors
    /// `killpg`: not permitted.
    pub fn kill_group(&self) -> io::Result<()> {
        self.signal_group(Signal::Kill)
    }
}

impl AsFd for Child {
    /// The pidfd: readable once the process has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// A signal that we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signal {
    /// `SIGHUP`.
    Hup,
    /// `SIGINT`.
    Int,
    /// `SIGQUIT`.
    Quit,
    /// `SIGTERM`.
    Term,
    /// `SIGUSR1`.
    Usr1,
    /// `SIGUSR2`.
    Usr2,
    /// `SIGCONT`.
    Cont,
    /// `SIGSTOP`.
    Stop,
    /// `SIGKILL`.
    Kill,
    /// Any, by its number: 1 to 64.
    Other(i32),
}

impl Signal {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            Self::Hup => libc::SIGHUP,
            Self::Int => libc::SIGINT,
            Self::Quit => libc::SIGQUIT,
            Self::Term => libc::SIGTERM,
            Self::Usr1 => libc::SIGUSR1,
            Self::Usr2 => libc::SIGUSR2,
            Self::Cont => libc::SIGCONT,
            Self::Stop => libc::SIGSTOP,
            Self::Kill => libc::SIGKILL,
            Self::Other(number) => number,
        }
    }
}

/// Sends a signal to a whole process group by the pid of its leader. Nothing happens when it is gone.
///
/// # Errors
/// `killpg`: not permitted.
pub fn signal_group(leader: u32, signal: Signal) -> io::Result<()> {
    // Zero or a negative number would mean our own group or everybody.
    let pid = pid_t(leader)
        .and_then(|pid| if pid > 1 { Ok(pid) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) })?;
    gone_is_fine(kill_number(-pid, signal.number()))
}

/// Sends a signal to any process, by a pid that comes from outside.
///
/// # Errors
/// The pid is none, nobody has it, or it is not permitted.
pub fn signal_process(pid: u32, signal: Signal) -> io::Result<()> {
    kill_pid(pid, signal.number())
}

fn pidfd_open(pid: u32) -> io::Result<OwnedFd> {
    let pid = pid_t(pid)?;
    // SAFETY: pidfd_open takes numbers and returns a new descriptor, close-on-exec, or -1.
    #[expect(unsafe_code, reason = "there is no wrapper for pidfd_open")]
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0_u32) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let number = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just returned it to us and nobody else knows it.
    #[expect(unsafe_code, reason = "the new descriptor's owner")]
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    Ok(owned)
}

fn kill_pid(pid: u32, number: i32) -> io::Result<()> {
    kill_number(pid_t(pid)?, number)
}

fn kill_number(pid: libc::pid_t, number: i32) -> io::Result<()> {
    // SAFETY: kill takes two numbers.
    #[expect(unsafe_code, reason = "kill with the pid forms that nix's types hide")]
    let done = unsafe { libc::kill(pid, number) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn gone_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}

pub(super) fn pid_t(pid: u32) -> io::Result<libc::pid_t> {
    match libc::pid_t::try_from(pid) {
        Ok(pid) if pid > 0 => Ok(pid),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    fn sh(script: &str) -> Launch {
        Launch::new("/bin/sh").arg("-c").arg(script)
    }

    #[test]
    fn exits_and_signals_are_told_apart() {
        for (script, exit) in [
            ("exit 0", Exit::Status(0)),
            ("exit 22", Exit::Status(22)),
            ("kill -9 $$", Exit::Signal(9)),
            ("kill -40 $$", Exit::Signal(40)),
        ] {
            let child = sh(script).spawn().unwrap();
            assert_eq!(wait(&child).unwrap(), exit, "{script}");
        }
        assert_eq!(Exit::Signal(11).to_string(), "signal 11 (SIGSEGV)");
        assert_eq!(Exit::Signal(40).to_string(), "signal 40");
    }

    #[test]
    fn a_child_gets_what_it_was_given_and_nothing_else() {
        let (mut reader, writer) = io::pipe().unwrap();
        let secret = super::super::fd::duplicate_high(&reader).unwrap();
        let child = sh("echo $0:$KEPT:$GONE:$(pwd); ls /proc/self/fd; grep SigBlk /proc/self/status")
            .arg("name")
            .clear_env()
            .env("PATH", "/bin:/usr/bin")
            .env("KEPT", "1")
            .env("GONE", "1")
            .unset_env("GONE")
            .directory("/")
            .stdout(writer.into())
            .spawn()
            .unwrap();
        let mut said = String::new();
        reader.read_to_string(&mut said).unwrap();
        assert!(wait(&child).unwrap().is_success());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.first(), Some(&"name:1::/"));
        assert_eq!(lines.last(), Some(&"SigBlk:\t0000000000000000"));
        assert!(!lines.contains(&secret.as_raw_fd().to_string().as_str()), "{lines:?}");
    }

    #[test]
    fn a_group_dies_with_what_it_started() {
        let (mut reader, writer) = io::pipe().unwrap();
        let child = sh("sleep 600 & echo started; wait").own_group().stdout(writer.into()).spawn().unwrap();
        let mut line = [0; 8];
        reader.read_exact(&mut line).unwrap();
        child.kill_group().unwrap();
        assert_eq!(wait(&child).unwrap(), Exit::Signal(9));
        // The pipe ends only when the sleeping grandchild is gone too.
        assert_eq!(reader.read(&mut line).unwrap(), 0);
    }

    #[test]
    fn a_signal_to_the_dead_is_no_error() {
        let child = sh("exit 0").spawn().unwrap();
        wait(&child).unwrap();
        child.kill().unwrap();
    }

    /// A signal to the group of who starts it, or to its own, never means the other.
    #[test]
    fn who_is_to_lead_a_session_is_in_no_group_of_ours_from_the_start() {
        for wanted in [true, false] {
            let (reader, _writer) = io::pipe().unwrap();
            let launch = Launch::new("/bin/cat").stdin(reader.into());
            let child = if wanted { launch.own_session() } else { launch }.spawn().unwrap();
            let own = super::super::own::group_of(child.pid()) == Some(child.pid());
            child.kill().unwrap();
            wait(&child).unwrap();
            assert_eq!(own, wanted);
        }
    }

    #[test]
    fn what_cannot_be_started_says_so() {
        assert_eq!(Launch::new("/nonexistent").spawn().unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
