//! Asking servers of file systems whether they answer: in a process for each, because whoever asks may never come back, and
//! a thread that does not would keep its process from ending and from executing another image.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::sleep;

use super::servers::Question;
use crate::sys::process::{Child, Launch};
use crate::sys::{filesystem, reactor, signals, wait};
use crate::wire::{channel, inherited};

/// Whom nobody could ask is asked again after this time.
const RETRY: Duration = Duration::from_secs(1);
/// How many answers wait for the loop.
const ANSWERS: usize = 256;

/// The mount whose server has answered, or why nobody could ask it.
pub type Answer = (u64, Result<(), String>);

/// The processes that ask.
#[derive(Debug)]
pub struct Probers {
    binary: String,
    running: BTreeMap<u64, Prober>,
    tell: mpsc::Sender<Answer>,
    told: mpsc::Receiver<Answer>,
}

/// What asks one server. It is idle, or waits: there is one question at a time.
#[derive(Debug)]
struct Prober {
    questions: mpsc::Sender<PathBuf>,
    task: JoinHandle<()>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Probers {
    /// None yet; each will be this binary.
    #[must_use]
    pub fn new(binary: String) -> Self {
        let (tell, told) = mpsc::channel(ANSWERS);
        Self { binary, running: BTreeMap::new(), tell, told }
    }

    /// Asks; the answer comes by [`Probers::next`].
    pub fn ask(&mut self, Question { mount, door }: Question) {
        let prober = self.running.entry(mount).or_insert_with(|| start(&self.binary, mount, &self.tell));
        if prober.task.is_finished() {
            *prober = start(&self.binary, mount, &self.tell);
        }
        // It has room for the only one.
        let _ = prober.questions.try_send(door);
    }

    /// The next answer. Cancel-safe.
    pub async fn next(&mut self) -> Answer {
        match self.told.recv().await {
            Some(answer) => answer,
            // We hold a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// Those of mounts that are not there any more end.
    pub fn keep(&mut self, is_there: impl Fn(u64) -> bool) {
        self.running.retain(|mount, _| is_there(*mount));
    }
}

fn start(binary: &str, mount: u64, tell: &mpsc::Sender<Answer>) -> Prober {
    let (questions, mut asked) = mpsc::channel(1);
    let (binary, tell) = (binary.to_owned(), tell.clone());
    let task = spawn_local(async move {
        if let Err(error) = relay(&binary, mount, &mut asked, &tell).await {
            sleep(RETRY).await;
            let _ = tell.send((mount, Err(error.to_string()))).await;
        }
    });
    Prober { questions, task }
}

async fn relay(
    binary: &str,
    mount: u64,
    asked: &mut mpsc::Receiver<PathBuf>,
    tell: &mpsc::Sender<Answer>,
) -> io::Result<()> {
    let (ours, theirs) = channel::pair()?;
    let _mortal = Mortal(launch(binary, theirs)?);
    let ours = reactor::register(ours)?;
    while let Some(door) = asked.recv().await {
        channel::send(ours.get_ref(), &OsString::from(door), &[])?;
        loop {
            let mut ready = ours.readable().await?;
            match channel::receive::<()>(ours.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Ok(Some(_)) => break,
                Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => return Err(error),
            }
        }
        let _ = tell.send((mount, Ok(()))).await;
    }
    Ok(())
}

fn launch(binary: &str, channel: OwnedFd) -> io::Result<Child> {
    let mut launch = Launch::new(binary)
        .arg("probe")
        .directory("/")
        .own_group()
        .stdin(channel)
        .stdout(File::options().write(true).open("/dev/null")?.into());
    for name in inherited::OF_ONE_PROCESS {
        launch = launch.unset_env(name);
    }
    launch.env(inherited::VARIABLE, "0").spawn()
}

/// A child that is killed when it is not needed any more; the loop reaps it, whenever the kernel lets it go.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// The role `liege probe`: asks where it is told to, one place after the other, and says when it was answered.
#[must_use]
pub fn main() -> ExitCode {
    crate::trace::start(true);
    crate::trace::exit_code("the probe ends", answer())
}

fn answer() -> io::Result<()> {
    signals::ignore_sigpipe()?;
    let channel = inherited::take()?;
    loop {
        wait::readable(&channel, None)?;
        let Some((door, _)) = channel::receive::<OsString>(&channel)? else { return Ok(()) };
        filesystem::ask(Path::new(&door));
        if channel::send(&channel, &(), &[]).is_err() {
            // Nobody waits for it any more.
            return Ok(());
        }
    }
}
