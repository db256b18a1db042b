//! What a text would mean as the file of a vassal: asked of a process made for it, so that the emperor reads none.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::attributes::{Attributes, Wanted};
use super::environment;
use super::fleet::{Fleet, Vassal};
use crate::config::address::Address;
use crate::config::emperor::EmperorSpec;
use crate::config::vassals::Programs;
use crate::sys::process::{Child, Launch};
use crate::sys::{memfd, reactor};
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::inherited;
use crate::wire::message::Policy;
use crate::wire::validation::{Part, Question, Verdict};

/// How many texts are looked at at the same time.
const PLACES: usize = 2;
/// How long it may take, the wait for a place included.
const LONGEST: Duration = Duration::from_secs(20);

/// What an emperor does with the files of all vassals.
#[derive(Clone, Debug, Default)]
pub struct Conduct {
    /// What it tells each.
    pub policy: Policy,
    /// Which programs run vassals in place of ours.
    pub programs: Programs,
    /// What it looks for in a section `[emperor]`.
    pub wanted: Wanted,
    /// Variables of tenants (`vassals-env`); `None`: vassals have the emperor's environment.
    pub environment: Option<Vec<String>>,
    /// Variables of all vassals (`putenv:` of `hook-as-vassal`).
    pub variables: Vec<(String, String)>,
    /// Whoever may have texts looked at may write them, too (`api-write`).
    pub writes: bool,
}

impl Conduct {
    /// That of an emperor with these options.
    #[must_use]
    pub fn of(spec: &EmperorSpec, policy: Policy) -> Self {
        Self {
            policy,
            programs: spec.programs.clone(),
            wanted: Wanted::of(spec),
            environment: spec.tyrant.map(|_| spec.environment.clone()),
            variables: spec.vassal_variables.clone(),
            writes: spec.api_write,
        }
    }
}

/// A text, and the vassal whose file it would be.
#[derive(Debug)]
pub struct Draft {
    question: Question,
    /// Whether the vassal's file may name what is done with the emperor's rights.
    ours: bool,
    /// Whether the file as it is names the socket on which the emperor waits.
    names_socket: bool,
}

impl Draft {
    /// A text for this vassal.
    #[must_use]
    pub fn of(vassal: &Vassal, fleet: &Fleet) -> Self {
        let passed = fleet.passed.get(&vassal.id).map(Vec::as_slice).unwrap_or_default();
        let own = vassal.listeners.iter().map(|(listen, _)| &listen.address).chain(&vassal.on_demand);
        let others = fleet.vassals.values().filter(|other| other.id != vassal.id);
        let taken = others.flat_map(|other| {
            let listening = other.listeners.iter().map(|(listen, _)| &listen.address);
            listening.chain(&other.on_demand).map(|address| (address.clone(), other.id.clone()))
        });
        let passed_to_others = fleet.passed.iter().filter(|(id, _)| **id != vassal.id);
        let passed_to_others = passed_to_others
            .flat_map(|(id, passed)| passed.iter().map(|address| (address.clone(), id.clone())));
        let question = Question {
            path: vassal.path.to_string_lossy().into_owned(),
            on_demand: vassal.on_demand.clone(),
            tenant: vassal.tenant,
            own: own.chain(passed).cloned().collect(),
            passed: passed.to_vec(),
            taken: taken.chain(passed_to_others).collect(),
            ..Question::default()
        };
        Self { question, ours: vassal.attributes.ours, names_socket: vassal.attributes.on_demand.is_some() }
    }

    /// What can only be said of the text.
    fn read(&mut self, conduct: &Conduct, text: &[u8]) -> Verdict {
        let question = &mut self.question;
        let path = Path::new(&question.path).to_owned();
        let (attributes, diagnostics) = Attributes::judge(&path, text, &conduct.wanted, self.ours);
        match &attributes.on_demand {
            Some(socket) => {
                question.on_demand = Address::parse(socket, Path::new("/")).ok().map(|(address, _)| address);
            }
            None if self.names_socket => question.on_demand = None,
            None => {}
        }
        question.programs = conduct.programs.of(attributes.exec.as_deref(), &conduct.policy.binary);
        question.begin_in = attributes.directory.map(String::from);
        question.options.clone_from(&conduct.policy.vassals);
        question.privileges.clone_from(&conduct.policy.privileges);
        question.deny_root_apps = conduct.policy.deny_root_apps;
        question.trusted = conduct.writes;
        Verdict { diagnostics, looked_at: vec![Part::Emperor], ..Verdict::default() }
    }
}

/// Has texts looked at.
#[derive(Clone, Debug)]
pub struct Validator {
    conduct: Arc<Conduct>,
    places: Arc<Semaphore>,
}

impl Validator {
    /// One for vassals of an emperor that does this with them.
    #[must_use]
    pub fn new(conduct: Conduct) -> Self {
        Self { conduct: Arc::new(conduct), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// Looks at `new` as the content of a vassal's file, and compares it with `old`.
    ///
    /// # Errors
    /// The process cannot be started, takes too long, or dies.
    pub async fn judge(&self, mut draft: Draft, new: &[u8], old: Option<&[u8]>) -> Result<Verdict, Failure> {
        let mut verdict = draft.read(&self.conduct, new);
        let path = draft.question.path.clone();
        let failed = |reason: String| Failure::new(format!("cannot look at {path}: {reason}"));
        let judged = tokio::time::timeout(LONGEST, self.ask(draft.question, new, old)).await;
        let of_host = match judged {
            Ok(Ok(Some(judged))) => judged?,
            Ok(Ok(None)) => {
                return Err(failed("the process that looked at it died: it costs too much".to_owned()));
            }
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("not done within {} s", LONGEST.as_secs()))),
        };
        verdict.diagnostics.extend(of_host.diagnostics);
        verdict.looked_at.extend(of_host.looked_at);
        Ok(Verdict { change: of_host.change, not_looked_at: of_host.not_looked_at, ..verdict })
    }

    async fn ask(
        &self,
        question: Question,
        new: &[u8],
        old: Option<&[u8]>,
    ) -> io::Result<Option<Result<Verdict, Failure>>> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let (ours, theirs) = channel::pair()?;
        let texts = [Some(new), old].into_iter().flatten();
        let texts =
            texts.map(|text| memfd::sealed("liege-text", text)).collect::<io::Result<Vec<OwnedFd>>>()?;
        // Whatever becomes of the one who asks: the process does not outlive the question.
        let child = Mortal(Some((self.launch(Path::new(&question.path), theirs)?, place)));
        let texts: Vec<_> = texts.iter().map(AsFd::as_fd).collect();
        channel::send(&ours, &question, &texts)?;
        let ours = reactor::register(ours)?;
        let answer = loop {
            let mut ready = ours.readable().await?;
            match channel::receive::<Result<Verdict, Failure>>(ours.get_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                other => break other?,
            }
        };
        drop(child);
        Ok(answer.map(|(verdict, _)| verdict))
    }

    /// Starts the process, with the environment that the vassal's instance would have.
    fn launch(&self, path: &Path, channel: OwnedFd) -> io::Result<Child> {
        let mut launch = Launch::new(&*self.conduct.policy.binary)
            .arg("validate")
            .arg(path.file_name().unwrap_or_default())
            .directory(path.parent().unwrap_or(Path::new("/")))
            .stdin(channel)
            .stdout(File::options().write(true).open("/dev/null")?.into());
        if let Some(named) = &self.conduct.environment {
            launch = environment::of_tenants(launch, named, std::env::vars_os());
        }
        for (name, value) in &self.conduct.variables {
            launch = launch.env(name, value);
        }
        for name in inherited::OF_ONE_PROCESS {
            launch = launch.unset_env(name);
        }
        launch.env(inherited::VARIABLE, "0").spawn()
    }
}

/// A child that is killed when it is not needed any more, and whose place is free when it is gone: what it looks at may be
/// on a file system that lets nobody go.
struct Mortal(Option<(Child, OwnedSemaphorePermit)>);

impl Drop for Mortal {
    fn drop(&mut self) {
        let Some((child, place)) = self.0.take() else { return };
        let _ = child.kill();
        let ended = child.as_fd().try_clone_to_owned().and_then(reactor::register_readable);
        tokio::spawn(async move {
            if let Ok(ended) = ended {
                let _ = ended.readable().await;
            }
            drop((child, place));
        });
    }
}
