//! The master's FIFO (`master-fifo`): each byte that is written to it is a command.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::event::Event;
use super::log_file::LogFile;
use super::master::{Master, Report};
use super::reexec::Luggage;
use crate::config::hook::Number;
use crate::config::instance::InstanceSpec;
use crate::sys::{fd, fifo, reactor};
use crate::wire::failure::Failure;

/// How many commands are read at a time.
const BURST: usize = 64;
/// How long whoever writes more of them waits.
const PACE: Duration = Duration::from_millis(100);

/// The FIFO that is listened to; ends when this is dropped.
#[derive(Debug)]
pub(super) struct Fifo {
    /// Which of those of the configuration it is.
    slot: usize,
    path: PathBuf,
    file: OwnedFd,
    reading: JoinHandle<()>,
}

/// The same for the next image.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FifoRecord {
    slot: usize,
    path: PathBuf,
    file: i32,
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// Makes the first FIFO of a new instance.
///
/// # Errors
/// It cannot be made.
pub(super) fn make_first(spec: &InstanceSpec) -> Result<Option<OwnedFd>, Failure> {
    let place = |path: &Path| spec.place_of_path(&["master-fifo"], path);
    let first = spec.files.master_fifo.first();
    first.map(|path| make(path).map_err(|failure| failure.at(place(path)))).transpose()
}

fn make(path: &Path) -> Result<OwnedFd, Failure> {
    fifo::make(path).map_err(|error| {
        Failure::new(format!("cannot make the master's FIFO {}: {error}", path.display()))
            .with_hint("name a path in a directory of the instance's user, or remove what is there")
    })
}

impl Fifo {
    /// Listens to one that was made.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn listen(
        (slot, path, file): (usize, PathBuf, OwnedFd),
        reports: mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let end = reactor::register_readable(file.try_clone()?)?;
        let reading = tokio::task::spawn_local(async move {
            if let Err(error) = read(&end, &reports).await {
                tracing::warn!("the master's FIFO cannot be read: {error}");
            }
        });
        Ok(Self { slot, path, file, reading })
    }

    /// Takes it along to the next image.
    ///
    /// # Errors
    /// No descriptor is left.
    pub(super) fn pack(&self, luggage: &mut Luggage) -> io::Result<FifoRecord> {
        Ok(FifoRecord { slot: self.slot, path: self.path.clone(), file: luggage.take(&self.file)? })
    }

    /// Takes it over from the image before.
    ///
    /// # Errors
    /// The descriptor is not there.
    pub(super) fn unpack(record: FifoRecord, reports: mpsc::Sender<Report>) -> io::Result<Self> {
        Self::listen((record.slot, record.path, fd::adopt(record.file)?), reports)
    }

    /// Removes its file.
    pub(super) fn remove(&self) {
        if let Err(error) = fifo::remove(self.file.as_fd(), &self.path) {
            tracing::warn!("VACUUM WARNING: the FIFO {} was not removed: {error}", self.path.display());
        }
    }
}

/// Forwards commands, not more at a time than the master can take.
async fn read(end: &AsyncFd<OwnedFd>, reports: &mpsc::Sender<Report>) -> io::Result<()> {
    let mut buffer = [0; BURST];
    loop {
        let mut ready = end.readable().await?;
        let Ok(length) = ready.try_io(|end| reactor::read(end.get_ref(), &mut buffer)) else { continue };
        let length = length?;
        let commands = buffer.get(..length).unwrap_or_default();
        if reports.send(Report::Commands(sift(commands))).await.is_err() {
            return Ok(());
        }
        if length == BURST {
            tokio::time::sleep(PACE).await;
        }
    }
}

/// The commands among the bytes; what is said again at once is the same wish, but for steps and switches.
fn sift(bytes: &[u8]) -> Vec<u8> {
    let mut commands: Vec<u8> =
        bytes.iter().copied().filter(|byte| byte.is_ascii_alphanumeric() || b"+-".contains(byte)).collect();
    commands.dedup_by(|one, other| one == other && !b"+-p".contains(one));
    commands
}

impl Master {
    /// Listens to the FIFO that the configuration in force names for the slot.
    pub(super) fn keep_fifo(&mut self) {
        let slot = self.fifo.as_ref().map_or(0, |fifo| fifo.slot);
        self.switch_fifo(slot);
    }

    /// Listens to another FIFO of the configuration; the first one where there are not so many.
    fn switch_fifo(&mut self, wanted: usize) {
        let paths = &self.current.said.spec.files.master_fifo;
        let found = paths.get(wanted).map(|path| (wanted, path));
        let found = found.or_else(|| paths.first().map(|path| (0, path)));
        let Some((slot, path)) = found.map(|(slot, path)| (slot, path.clone())) else {
            if let Some(gone) = self.fifo.take() {
                gone.remove();
            }
            return;
        };
        if let Some(fifo) = &mut self.fifo
            && fifo.path == path
            && fifo::is_at(&fifo.file, &path)
        {
            fifo.slot = slot;
            return;
        }
        let made =
            make(&path).and_then(|file| Ok(Fifo::listen((slot, path.clone(), file), self.reports.clone())?));
        match made {
            Ok(fifo) => {
                tracing::info!("active master fifo is now {}", path.display());
                if let Some(before) = self.fifo.replace(fifo) {
                    before.remove();
                }
            }
            Err(failure) => self.tell(failure.to_string()),
        }
    }

    /// Obeys what was written to the FIFO.
    pub(super) fn hear_commands(&mut self, commands: Vec<u8>) {
        for command in commands {
            self.obey_command(command);
        }
    }

    fn obey_command(&mut self, command: u8) {
        match command {
            b'0'..=b'9' => self.switch_fifo(usize::from(command - b'0')),
            b'+' | b'-' => {
                let idle = self.idle_slots();
                self.handle(Event::Step { more: command == b'+', idle });
            }
            // New code replaces all workers, one beside the other, in any case.
            b'c' | b'w' | b'W' => self.reload_commanded(command, None),
            b'r' | b'R' | b'f' => self.reload_commanded(command, Some(true)),
            b'C' => self.handle(Event::GoCheap { reason: "master-fifo: C".to_owned() }),
            b'l' => self.output.with_file(LogFile::reopen),
            b'L' => self.output.with_file(LogFile::rotate),
            b'p' => self.pause_or_resume(),
            b'P' => self.write_pid_files(),
            b'q' => {
                tracing::info!("graceful shutdown triggered...");
                self.handle(Event::Stop { mercy: None });
            }
            b'Q' => self.usual(Number::Int),
            b's' => self.log_statistics(),
            b'E' => tracing::info!("master-fifo: E: this instance is no emperor"),
            _ => tracing::info!("master-fifo: there is no command {}", char::from(command)),
        }
    }

    fn reload_commanded(&mut self, command: u8, reexec: Option<bool>) {
        self.reload_by_itself(format!("master-fifo: {}", char::from(command)), reexec);
    }

    /// No worker runs until that is said again: connections wait.
    pub(super) fn pause_or_resume(&mut self) {
        if std::mem::replace(&mut self.paused, false) {
            tracing::info!("*** resuming workers ***");
            self.handle(Event::Called);
        } else if self.roster.candidate().is_some() || self.roster.serving().is_none() {
            self.tell("there is no pause while a generation comes up".to_owned());
        } else {
            tracing::info!("*** PAUSE (say it again to resume: SIGTSTP, or p to the FIFO) ***");
            self.paused = true;
            self.handle(Event::GoCheap { reason: "paused".to_owned() });
        }
    }

    fn write_pid_files(&self) {
        let files = &self.current.said.spec.files;
        for path in [&files.pidfile, &files.pidfile2, &files.safe_pidfile].into_iter().flatten() {
            match super::jail::write_pid(&self.current.said.spec, path) {
                Ok(()) => tracing::info!("updating pid {} to {}", std::process::id(), path.display()),
                Err(failure) => self.tell(failure.to_string()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_and_repetitions_are_one_wish() {
        for (bytes, commands) in [
            ("r\n", "r"),
            ("rrrr\nr", "r"),
            ("+++--", "+++--"),
            ("rqr", "rqr"),
            ("pp", "pp"),
            ("\0 \u{e4}\r1", "1"),
        ] {
            assert_eq!(sift(bytes.as_bytes()), commands.as_bytes(), "{bytes:?}");
        }
    }
}
