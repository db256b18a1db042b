//! What a text would mean as the file of a vassal: asked of a process made for it, so that the emperor reads none.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::config::address::Address;
use crate::config::vassals::VassalOptions;
use crate::sys::process::Launch;
use crate::sys::{memfd, reactor};
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::inherited;
use crate::wire::validation::{Question, Verdict};

/// How many texts are looked at at the same time.
const PLACES: usize = 2;
/// How long it may take, the wait for a place included.
const LONGEST: Duration = Duration::from_secs(20);

/// Has texts looked at.
#[derive(Clone, Debug)]
pub struct Validator {
    binary: Arc<str>,
    options: Box<VassalOptions>,
    places: Arc<Semaphore>,
}

impl Validator {
    /// One that starts this binary, for vassals to whom the emperor says these options.
    #[must_use]
    pub fn new(binary: &str, options: VassalOptions) -> Self {
        Self {
            binary: Arc::from(binary),
            options: Box::new(options),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// Looks at `new` as the content of the file at `path`, of a vassal that is waited for at `on_demand`, and compares
    /// it with `old`.
    ///
    /// # Errors
    /// The process cannot be started, takes too long, or dies.
    pub async fn judge(
        &self,
        path: &Path,
        on_demand: Option<Address>,
        new: &[u8],
        old: Option<&[u8]>,
    ) -> Result<Verdict, Failure> {
        let failed = |reason: String| Failure::new(format!("cannot look at {}: {reason}", path.display()));
        let judged = tokio::time::timeout(LONGEST, self.ask(path, on_demand, new, old)).await;
        match judged {
            Ok(Ok(Some(verdict))) => Ok(verdict),
            Ok(Ok(None)) => Err(failed("the process that looked at it died: it costs too much".to_owned())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("not done within {} s", LONGEST.as_secs()))),
        }
    }

    async fn ask(
        &self,
        path: &Path,
        on_demand: Option<Address>,
        new: &[u8],
        old: Option<&[u8]>,
    ) -> io::Result<Option<Verdict>> {
        let _place = self.places.acquire().await.map_err(io::Error::other)?;
        let (ours, theirs) = channel::pair()?;
        let texts = [Some(new), old].into_iter().flatten();
        let texts =
            texts.map(|text| memfd::sealed("liege-text", text)).collect::<io::Result<Vec<OwnedFd>>>()?;
        let child = Launch::new(&*self.binary)
            .arg("validate")
            .arg(path.file_name().unwrap_or_default())
            .directory(path.parent().unwrap_or(Path::new("/")))
            .stdin(theirs)
            .stdout(File::options().write(true).open("/dev/null")?.into())
            .env(inherited::VARIABLE, "0")
            .unset_env("NOTIFY_SOCKET")
            .spawn()?;
        // Whatever becomes of the one who asks: the process does not outlive the question.
        let child = Mortal(child);
        let path = path.to_string_lossy().into_owned();
        let question = Question { path, options: self.options.clone(), on_demand };
        let texts: Vec<_> = texts.iter().map(AsFd::as_fd).collect();
        channel::send(&ours, &question, &texts)?;
        let ours = reactor::register(ours)?;
        let answer = loop {
            let mut ready = ours.readable().await?;
            match channel::receive::<Verdict>(ours.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => break other?,
            }
        };
        drop(child);
        Ok(answer.map(|(verdict, _)| verdict))
    }
}

/// A child that is killed when it is not needed any more.
struct Mortal(crate::sys::process::Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}
