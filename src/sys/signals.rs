//! Signals: what is ignored, what is blocked, and what a loop waits for.

use std::future::pending;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::signal::unix::{self, SignalKind};
use tokio::time::sleep_until;

/// `SIGTSTP`, which tokio has no name for.
pub const PAUSE: i32 = Signal::SIGTSTP as i32;

/// `SIGURG`, which tokio has no name for.
pub const URGENT: i32 = Signal::SIGURG as i32;

/// Ignores `SIGPIPE`, so that a peer that hangs up is an error of a write and not a death. The first act of every
/// process of ours, because a child starts with the default.
///
/// # Errors
/// `sigaction`.
pub fn ignore_sigpipe() -> io::Result<()> {
    ignore(Signal::SIGPIPE)
}

/// Ignores the signals that uWSGI's tools send and that have no meaning here; their default would end the process. They
/// are handled, by nothing: what is ignored would be so for children too, down to the programs that an application starts.
///
/// # Errors
/// `sigaction`.
pub fn ignore_harmless() -> io::Result<()> {
    ignore_sigpipe()?;
    for signal in [Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGALRM, Signal::SIGURG] {
        install(signal, SigHandler::Handler(nothing))?;
    }
    Ok(())
}

/// Undoes [`ignore_sigpipe`], for a program that is not ours and is about to take this process over: what is ignored stays
/// so over an `execve`.
///
/// # Errors
/// `sigaction`.
pub fn heed_sigpipe() -> io::Result<()> {
    install(Signal::SIGPIPE, SigHandler::SigDfl)
}

/// Ignores, besides the harmless ones, every signal that asks a process to stop, reload or report: for a process that
/// only its master steers, by its channel, so that a signal to the whole group cuts off no request.
///
/// # Errors
/// `sigaction`.
pub fn ignore_requests() -> io::Result<()> {
    ignore_harmless()?;
    for signal in
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGTSTP]
    {
        ignore(signal)?;
    }
    Ok(())
}

/// Goes on when the terminal asks its processes to stop: the master pauses then, and what it steers has to finish what
/// it has. It is handled, by nothing, for the sake of the programs that an application starts.
///
/// # Errors
/// `sigaction`.
pub fn outlast_stop() -> io::Result<()> {
    install(Signal::SIGTSTP, SigHandler::Handler(nothing))
}

/// Stops this process as Control-Z does; returns when it goes on.
///
/// # Errors
/// `raise`.
pub fn suspend() -> io::Result<()> {
    Ok(nix::sys::signal::raise(Signal::SIGTSTP)?)
}

/// Blocks every signal of the calling thread. What arrives stays pending, also over an `execve`.
///
/// # Errors
/// `sigprocmask`.
pub fn block_all() -> io::Result<()> {
    set_mask(&SigSet::all())
}

/// Blocks no signal; what was pending is delivered now.
///
/// # Errors
/// `sigprocmask`.
pub fn unblock_all() -> io::Result<()> {
    set_mask(&SigSet::empty())
}

/// Runs `start` with every signal blocked, and restores the mask after it: a thread that is started in it takes no
/// signal, so that one which [`block_all`] is to keep pending over an `execve` does not end there.
///
/// # Errors
/// `sigprocmask`.
pub fn with_all_blocked<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut old))?;
    let result = start();
    set_mask(&old)?;
    Ok(result)
}

/// After a signal the same one is not heard for so long.
const REST: Duration = Duration::from_millis(5);

/// A signal that a supervising loop acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
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
    /// `SIGTSTP`.
    Tstp,
    /// `SIGCHLD`: one child or many ended.
    Child,
}

/// The signals that a supervising loop acts on, as they come. Make it before [`unblock_all`], so that those which came
/// during the start are not lost.
#[derive(Debug)]
pub struct Signals {
    hup: unix::Signal,
    int: unix::Signal,
    quit: unix::Signal,
    term: unix::Signal,
    usr1: unix::Signal,
    tstp: unix::Signal,
    child: unix::Signal,
    /// What came is blocked for a moment: a handler that is called without end lets nothing else get on.
    blocked: Option<Blocked>,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// `sigaction`, or there is no runtime.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hup: unix::signal(SignalKind::hangup())?,
            int: unix::signal(SignalKind::interrupt())?,
            quit: unix::signal(SignalKind::quit())?,
            term: unix::signal(SignalKind::terminate())?,
            usr1: unix::signal(SignalKind::user_defined1())?,
            tstp: unix::signal(SignalKind::from_raw(PAUSE))?,
            child: unix::signal(SignalKind::child())?,
            blocked: None,
        })
    }

    /// The next signal; the same one follows after [`REST`] at the earliest, once for all that came meanwhile. Cancel-safe.
    pub async fn next(&mut self) -> Received {
        loop {
            if let Some(waited) = self.blocked.as_mut().and_then(|blocked| blocked.found.pop()) {
                return waited;
            }
            let received = tokio::select! {
                _ = self.int.recv() => Received::Int,
                _ = self.quit.recv() => Received::Quit,
                _ = self.term.recv() => Received::Term,
                _ = self.hup.recv() => Received::Hup,
                _ = self.usr1.recv() => Received::Usr1,
                _ = self.tstp.recv() => Received::Tstp,
                _ = self.child.recv() => Received::Child,
                () = reached(self.blocked.as_ref().map(|blocked| blocked.until)) => {
                    // Dropping it unblocks them: nothing more came.
                    self.blocked = self.blocked.take().and_then(Blocked::look);
                    continue;
                }
            };
            match &mut self.blocked {
                Some(blocked) => blocked.add(received),
                None => self.blocked = Blocked::new(received).ok(),
            }
            return received;
        }
    }
}

/// Signals that are blocked, until this is dropped.
#[derive(Debug)]
struct Blocked {
    signals: SigSet,
    waiting: SignalFd,
    /// Those that came while they were blocked.
    found: Vec<Received>,
    until: Instant,
}

impl Blocked {
    fn new(first: Received) -> io::Result<Self> {
        let signals: SigSet = first.signal().into();
        let waiting = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        block(&signals)?;
        Ok(Self { signals, waiting, found: Vec::new(), until: Instant::now() + REST })
    }

    fn add(&mut self, another: Received) {
        self.signals.add(another.signal());
        self.until = Instant::now() + REST;
        if let Err(error) = block(&self.signals) {
            tracing::error!("signals are not blocked: {error}");
        }
    }

    /// Takes in what has come meanwhile, each once, and each asked for by itself: one that comes without end would hide
    /// the others. `None`: nothing has come.
    fn look(mut self) -> Option<Self> {
        for one in Received::ALL.into_iter().filter(|one| self.signals.contains(one.signal())) {
            let asked = self.waiting.set_mask(&one.signal().into());
            if asked.is_ok() && matches!(self.waiting.read_signal(), Ok(Some(_))) {
                self.found.push(one);
            }
        }
        self.until = Instant::now() + REST;
        (!self.found.is_empty()).then_some(self)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Err(error) = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&self.signals), None) {
            tracing::error!("signals stay blocked: {error}");
        }
    }
}

impl Received {
    const ALL: [Self; 7] =
        [Self::Hup, Self::Int, Self::Quit, Self::Term, Self::Usr1, Self::Tstp, Self::Child];

    const fn signal(self) -> Signal {
        match self {
            Self::Hup => Signal::SIGHUP,
            Self::Int => Signal::SIGINT,
            Self::Quit => Signal::SIGQUIT,
            Self::Term => Signal::SIGTERM,
            Self::Usr1 => Signal::SIGUSR1,
            Self::Tstp => Signal::SIGTSTP,
            Self::Child => Signal::SIGCHLD,
        }
    }
}

async fn reached(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.into()).await,
        None => pending().await,
    }
}

/// Whether a signal that asks this process to stop waits, while all are blocked. It goes on waiting.
#[derive(Debug)]
pub struct Stops(SignalFd);

impl Stops {
    /// # Errors
    /// `signalfd`.
    pub fn new() -> io::Result<Self> {
        let stops: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
        Ok(Self(SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC)?))
    }
}

impl AsFd for Stops {
    /// Readable while one waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Runs `spawn` with no signal blocked, and restores the mask after it. Costs no system call beyond one when nothing
/// is blocked anyway.
///
/// # Errors
/// `sigprocmask`, and whatever `spawn` says.
pub(super) fn with_nothing_blocked<T>(spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let mut old = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_SETMASK, None, Some(&mut old))?;
    if old.iter().next().is_none() {
        return spawn();
    }
    unblock_all()?;
    let result = spawn();
    set_mask(&old)?;
    result
}

fn ignore(signal: Signal) -> io::Result<()> {
    install(signal, SigHandler::SigIgn)
}

extern "C" fn nothing(_: i32) {}

fn install(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers given here run no code.
    #[expect(unsafe_code, reason = "sigaction")]
    unsafe {
        sigaction(signal, &action)?
    };
    Ok(())
}

fn block(signals: &SigSet) -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_BLOCK, Some(signals), None)?)
}

fn set_mask(mask: &SigSet) -> io::Result<()> {
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(mask), None)?)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[tokio::test]
    async fn what_comes_without_end_is_told_once_in_a_while_and_holds_up_no_other() {
        let mut signals = Signals::new().unwrap();
        for _ in 0..3 {
            raise(Signal::SIGUSR1).unwrap();
            assert_eq!(signals.next().await, Received::Usr1);
            assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1));
            // They are one, and what else comes is not held up.
            for _ in 0..100 {
                raise(Signal::SIGUSR1).unwrap();
            }
            raise(Signal::SIGHUP).unwrap();
            assert_eq!(signals.next().await, Received::Hup);
            // Of those that wait none hides another.
            raise(Signal::SIGHUP).unwrap();
            assert_eq!(signals.next().await, Received::Usr1);
            raise(Signal::SIGUSR1).unwrap();
            assert_eq!(signals.next().await, Received::Hup);
            assert_eq!(signals.next().await, Received::Usr1);
            // Nothing came in between: it is heard at once again.
            let more = tokio::time::timeout(4 * REST, signals.next()).await;
            assert!(more.is_err(), "{more:?}");
            assert!(SigSet::thread_get_mask().unwrap().iter().next().is_none());
        }
    }
}
