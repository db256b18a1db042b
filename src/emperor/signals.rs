//! What the signals to the emperor ask for.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::sys::signals::URGENT;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// `SIGCHLD`: a child ended.
    Reap,
    /// `SIGTERM`, `SIGINT`, `SIGQUIT`: stop every vassal, then exit.
    Stop,
    /// `SIGHUP`: re-execute, then reload every vassal.
    HangUp,
    /// `SIGUSR1`: one line in the log for each vassal.
    Report,
    /// `SIGWINCH`: list the directories now.
    Rescan,
    /// `SIGURG`: end all back-offs.
    ClearBackOff,
}

/// The handlers of all signals that mean something.
#[derive(Debug)]
pub struct Signals {
    child: Signal,
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    user1: Signal,
    window: Signal,
    urgent: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// `sigaction`.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            window: signal(SignalKind::window_change())?,
            urgent: signal(SignalKind::from_raw(URGENT))?,
        })
    }

    /// The next wish. Cancel-safe.
    pub async fn next(&mut self) -> Wish {
        tokio::select! {
            _ = self.terminate.recv() => Wish::Stop,
            _ = self.interrupt.recv() => Wish::Stop,
            _ = self.quit.recv() => Wish::Stop,
            _ = self.child.recv() => Wish::Reap,
            _ = self.hang_up.recv() => Wish::HangUp,
            _ = self.user1.recv() => Wish::Report,
            _ = self.window.recv() => Wish::Rescan,
            _ = self.urgent.recv() => Wish::ClearBackOff,
        }
    }
}
