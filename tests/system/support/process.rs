//! Processes that a test starts: marked, so that all their descendants are found, and ended when the test ends.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::{PATIENCE, eventually, until};

const MARK: &str = "LIEGE_TEST_MARK";

/// A process with everything that it started.
pub(crate) struct Family {
    child: Child,
    status: Option<ExitStatus>,
    mark: String,
    log: PathBuf,
}

impl Family {
    /// Starts a command with its output in the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mark = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let output = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .env(MARK, &mark)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, status: None, mark, log: log.to_owned() }
    }

    /// The pid of the process that was started.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Everything that the processes have written.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for a line in the log.
    pub(crate) fn wait_for_log(&self, text: &str) {
        until(&format!("{text:?} in the log"), || self.log().contains(text));
    }

    /// Sends the started process a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Whether the started process has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().unwrap();
        }
        self.status
    }

    /// Waits for the end of the started process.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the end of the process", || self.ended())
    }

    /// The started process and all its descendants that live, wherever they were re-parented to.
    pub(crate) fn members(&self) -> Vec<i32> {
        let mark = format!("{MARK}={}", self.mark).into_bytes();
        pids()
            .filter(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
                environment.split(|byte| *byte == 0).any(|entry| entry == mark)
            })
            .collect()
    }

    /// Waits until no process of the family is left.
    pub(crate) fn wait_until_empty(&mut self) {
        self.wait();
        until("the end of all processes", || self.members().is_empty());
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines.len().saturating_sub(60);
            eprintln!("--- the last lines of the log\n{}\n---", lines[tail..].join("\n"));
        }
        if self.ended().is_none() {
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
            let deadline = Instant::now() + PATIENCE / 3;
            while self.ended().is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for pid in self.members() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if self.status.is_none() {
            let _ = self.child.wait();
        }
    }
}

/// The pids of this machine.
fn pids() -> impl Iterator<Item = i32> {
    std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// A pid that is no longer running (gone, or a zombie that waits to be reaped).
pub(crate) fn is_gone(pid: i32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}
