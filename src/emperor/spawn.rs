//! Starting the master of a vassal: its file is opened once, and everything it needs is handed over at birth.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::attributes::Attributes;
use super::environment;
use super::fleet::FileIdentity;
use super::scan::{self, Manner};
use crate::config::address::{Address, Listen};
use crate::config::socket::PassedSocket;
use crate::config::tenant::Tenant;
use crate::config::vassals::Programs;
use crate::sys::fd;
use crate::sys::own;
use crate::sys::pipe;
use crate::sys::process::{Child, Launch};
use crate::sys::stream;
use crate::wire::PROTOCOL;
use crate::wire::channel;
use crate::wire::failure::Failure;
use crate::wire::foreign::Foreign;
use crate::wire::inherited;
use crate::wire::message::{Policy, ToInstance};

/// How masters are started.
#[derive(Debug)]
pub struct Launcher {
    /// What the operator decided for all vassals; `binary` is what is started.
    pub policy: Policy,
    /// How vassal files are opened.
    pub manner: Manner,
    /// Which programs run vassals in place of ours.
    pub programs: Programs,
    /// The soft limit of open descriptors that the emperor was started with, which its children get back.
    pub descriptor_limit: u64,
    /// What vassals of a tyrant have in their environment besides the usual (`vassals-env`).
    pub environment: Vec<String>,
    /// Variables of all vassals (`putenv:` of `hook-as-vassal`).
    pub variables: Vec<(String, String)>,
}

/// A master that was started.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub child: Child,
    /// Our end of its channel; of another program than ours it ends when that program begins.
    pub channel: OwnedFd,
    /// Where another program than ours is spoken to.
    pub control: Option<OwnedFd>,
    /// The read end of its output.
    pub output: OwnedFd,
    /// The file as it was given to it.
    pub identity: FileIdentity,
    /// The file's owner.
    pub owner: Tenant,
}

/// How many descriptors the emperor does not give to vassals: to see files that are gone, reload who runs, end who is to
/// end and answer its operators it needs some.
const OF_ITS_OWN: usize = 48;

/// Refuses to take descriptors for another vassal where the emperor would have too few then.
///
/// # Errors
/// It would.
pub fn leave_descriptors() -> Result<(), Failure> {
    if fd::is_room_for(OF_ITS_OWN) {
        return Ok(());
    }
    let text = format!("the emperor has less than {OF_ITS_OWN} descriptors left, and keeps these for itself");
    Err(Failure::new(text)
        .with_hint("raise its limit (`LimitNOFILE=` in its unit, `ulimit -Hn`), or have it run less"))
}

/// Listeners with their descriptors.
pub type Listeners = Vec<(Listen, OwnedFd)>;

/// What a master is given.
pub struct Given<'a> {
    /// The listeners of an earlier life.
    pub listeners: &'a Listeners,
    /// Those that the service manager passed.
    pub passed: &'a Listeners,
    /// The socket whose first connection it is woken by.
    pub on_demand: Option<Address>,
    /// Who it runs as.
    pub tenant: Option<Tenant>,
    /// The directory that it begins in.
    pub begin_in: Option<String>,
    /// The door to its control group, which it enters first of all.
    pub door: Option<OwnedFd>,
}

impl Launcher {
    /// The programs to try for a vassal, in order; none: ours.
    #[must_use]
    pub fn programs_for(&self, attributes: &Attributes) -> Vec<String> {
        self.programs.of(attributes.exec.as_deref(), &self.policy.binary)
    }

    /// Starts the master of the vassal `id`, whose file is in `directory`; with `programs`, it becomes the first of them
    /// that can be executed. Before it begins `record` is called with its pid; where that fails, the instance will end with
    /// this emperor.
    ///
    /// # Errors
    /// The file cannot be opened, or the process cannot be started.
    pub fn launch(
        &self,
        (id, directory): (&str, &Path),
        Given { listeners, passed, on_demand, tenant, begin_in, door }: Given<'_>,
        programs: Vec<String>,
        record: impl FnOnce(u32, FileIdentity) -> bool,
    ) -> Result<Launched, Failure> {
        leave_descriptors()?;
        let path = directory.join(id);
        let opened = scan::open_for(&path, self.manner, tenant)?;
        let foreign = (!programs.is_empty()).then(|| {
            Box::new(Foreign {
                // By its name it is found only from its directory.
                arguments: match begin_in {
                    None => self.programs.arguments(id, &self.policy.vassals),
                    Some(_) => self.programs.arguments(&path.to_string_lossy(), &self.policy.vassals),
                },
                // Only a file can name no more than one in the place of those for all.
                named_by_file: programs != self.programs.of(None, &self.policy.binary),
                programs,
            })
        });
        let failed = |error: io::Error| Failure::new(format!("cannot start {}: {error}", self.policy.binary));
        let control = foreign.as_ref().map(|_| stream::pair()).transpose().map_err(failed)?;
        let (control, theirs) = control.unzip();
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(opened.file.as_fd())
            .chain(listeners.iter().map(|(_, listener)| listener.as_fd()))
            .chain(theirs.iter().map(AsFd::as_fd))
            .chain(door.iter().map(AsFd::as_fd))
            .collect();
        let (child, channel, output) = self.spawn(id, directory).map_err(failed)?;
        // Without its first message it would wait for ever; dropping the channel ends it.
        let recorded = record(child.pid(), opened.identity);
        let mut policy = self.policy.clone();
        policy.adoption = policy.adoption.filter(|_| recorded);
        let start = ToInstance::Start {
            protocol: PROTOCOL,
            name: id.to_owned(),
            path: path.to_string_lossy().into_owned(),
            listeners: listeners.iter().map(|(listen, _)| listen.clone()).collect(),
            policy: Box::new(policy),
            on_demand: on_demand.map(Box::new),
            tenant,
            begin_in,
            has_group: door.is_some(),
            foreign,
            passed: passed.iter().map(|(listen, _)| PassedSocket::by_name(listen.address.clone())).collect(),
        };
        channel::send(&channel, &start, &fds).map_err(failed)?;
        let owner = tenant.unwrap_or(opened.owner);
        Ok(Launched { child, channel, control, output, identity: opened.identity, owner })
    }

    fn spawn(&self, id: &str, directory: &Path) -> io::Result<(Child, OwnedFd, OwnedFd)> {
        let (channel, theirs) = channel::pair()?;
        // The end that the instance gets keeps what is in the pipe while there is no emperor to read it.
        let (output, write_end) = pipe::for_output()?;
        let mut launch = Launch::new(&self.policy.binary)
            .arg("instance")
            .arg(id)
            .directory(directory)
            .stdin(theirs)
            .stdout(write_end.try_clone()?)
            .stderr(write_end);
        if self.manner.tyrant.is_some() {
            launch = environment::of_tenants(launch, &self.environment, std::env::vars_os());
        }
        for (name, value) in &self.variables {
            launch = launch.env(name, value);
        }
        for name in inherited::OF_ONE_PROCESS {
            launch = launch.unset_env(name);
        }
        launch = launch
            // The instance moves its channel there at once; configurations and apps test for this variable.
            .env("UWSGI_EMPEROR_FD", fd::HIGH.to_string())
            .env(inherited::VARIABLE, "0")
            .own_session()
            .own_pids(self.policy.privileges.namespaces.pids);
        let child = launch.spawn()?;
        if let Err(error) = own::set_descriptor_limit(child.pid(), self.descriptor_limit) {
            tracing::debug!(vassal = id, "cannot set its limit of descriptors: {error}");
        }
        Ok((child, channel, output))
    }
}
