//! Where an instance's configuration comes from, so that it can be read again, here or in a rehearsal.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::command_line;
use crate::config::diagnostic::{Cause, Diagnostic, Severity};
use crate::config::instance::{IdentitySpec, InstanceSpec};
use crate::config::load::{self, Loaded};
use crate::config::socket::PassedSocket;
use crate::config::surroundings::{Purpose, World};
use crate::config::tenant::Tenant;
use crate::config::vassals::VassalOptions;
use crate::sys::{host, user};
use crate::wire::failure::Failure;

/// The longest configuration file that is read.
pub(super) const FILE_LIMIT_BYTES: u64 = 4 * 1024 * 1024;

/// Where an instance's configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Source {
    /// A file that an emperor found.
    Vassal {
        /// The vassal's id.
        name: String,
        /// The path by which the emperor found it.
        path: String,
        /// What the emperor says to all vassals.
        #[serde(default)]
        options: Box<VassalOptions>,
        /// `root-apps = deny` of the emperor.
        deny_root_apps: bool,
        /// The socket on which the emperor waited for the first connection.
        #[serde(default)]
        on_demand: Option<Address>,
        /// Whom the emperor has it run as, whatever the file says.
        #[serde(default)]
        tenant: Option<Tenant>,
        /// The sockets that the emperor was passed for it.
        #[serde(default)]
        passed: Vec<PassedSocket>,
    },
    /// The command line, and the files that it names.
    CommandLine {
        /// The arguments, without the program's name.
        arguments: Vec<String>,
        /// The socket on which an emperor of uWSGI waited for the first connection.
        #[serde(default)]
        on_demand: Option<Address>,
        /// The sockets that were passed to it.
        #[serde(default)]
        passed: Vec<PassedSocket>,
    },
}

/// A configuration that can be used, with what it warned about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) spec: InstanceSpec,
    pub(super) warnings: Vec<Diagnostic>,
}

impl Source {
    /// The file that an emperor found.
    pub(super) const fn file(&self) -> Option<&String> {
        match self {
            Self::Vassal { path, .. } => Some(path),
            Self::CommandLine { .. } => None,
        }
    }

    /// Whom the emperor has it run as.
    pub(super) const fn tenant(&self) -> Option<Tenant> {
        match self {
            Self::Vassal { tenant, .. } => *tenant,
            Self::CommandLine { .. } => None,
        }
    }

    /// The sockets that others have made for it.
    pub(super) fn passed(&self) -> &[PassedSocket] {
        match self {
            Self::Vassal { passed, .. } | Self::CommandLine { passed, .. } => passed,
        }
    }

    /// Reads the configuration; relative names start from `directory`, and `bytes` are the vassal file's, or what an
    /// emperor of uWSGI sent.
    pub(super) fn load(&self, bytes: &[u8], directory: PathBuf) -> Result<Said, Failure> {
        self.load_in(bytes, &World::at(directory))
    }

    /// The same for a reload, of which the configuration can know (`if-reload`).
    pub(super) fn load_again(&self, bytes: &[u8], directory: PathBuf) -> Result<Said, Failure> {
        self.load_in(bytes, &World::at(directory).with_variable("UWSGI_RELOADS", "1"))
    }

    /// What is to be used instead of a configuration that cannot be: the file that it names for that, read in its place.
    pub(super) fn load_fallback(
        &self,
        bytes: &[u8],
        directory: &Path,
    ) -> Option<(PathBuf, Result<Said, Failure>)> {
        let around = World::at(directory.to_owned());
        let (refused, _) = self.read(bytes, &around);
        let path = refused.spec.or(refused.draft)?.fallback?;
        let text = path.to_string_lossy().into_owned();
        let limit = usize::try_from(FILE_LIMIT_BYTES).unwrap_or(usize::MAX);
        let mut bytes = Ok(Vec::new());
        let mut instead = self.clone();
        match &mut instead {
            Self::Vassal { path: file, .. } => {
                *file = text;
                let read = host::read_regular(&path, limit);
                bytes = read.map_err(|e| Failure::new(format!("cannot read {}: {e}", path.display())));
            }
            Self::CommandLine { arguments, .. } => *arguments = vec![text],
        }
        let said = bytes.and_then(|bytes| instead.load(&bytes, directory.to_owned()));
        Some((path, said))
    }

    /// Reads it, and names it.
    fn read(&self, bytes: &[u8], around: &World) -> (Loaded<InstanceSpec>, String) {
        let purpose = if self.file().is_some() { Purpose::Vassal } else { Purpose::Start };
        let around = around.clone().with_purpose(purpose).passed(self.passed().to_vec());
        match self {
            Self::Vassal { path, options, on_demand, .. } => {
                let around = around.clone().called_on(on_demand.clone());
                (load::vassal_under(options, path, bytes, &around), path.clone())
            }
            Self::CommandLine { arguments, on_demand, .. } => {
                let handed = (!bytes.is_empty()).then(|| bytes.to_vec());
                let around = around.clone().called_on(on_demand.clone()).handed(handed);
                let raw = command_line::read(arguments, &around).raw;
                let what = raw.file.clone().unwrap_or_else(|| "the command line".to_owned());
                (load::instance(raw, &around), what)
            }
        }
    }

    fn load_in(&self, bytes: &[u8], around: &World) -> Result<Said, Failure> {
        let purpose = if self.file().is_some() { Purpose::Vassal } else { Purpose::Start };
        let around = around.clone().with_purpose(purpose);
        let (loaded, what) = self.read(bytes, &around);
        let Some(mut spec) = loaded.spec else {
            let errors: Vec<Diagnostic> = loaded.diagnostics.into_iter().collect();
            return Err(Failure {
                message: format!("the configuration of {what} is refused"),
                diagnostics: errors,
                ..Failure::default()
            });
        };
        if let Self::Vassal { name, deny_root_apps, .. } = self {
            spec.name.clone_from(name);
            spec.identity.deny_root_apps |= deny_root_apps;
        }
        let mut warnings = loaded.diagnostics;
        if let Some(tenant) = self.tenant() {
            warnings.extend(belong_to(tenant, &mut spec.identity, &what));
        }
        Ok(Said { spec, warnings })
    }
}

/// Has it run as the tenant; answers what the file says in vain.
pub(super) fn belong_to(tenant: Tenant, identity: &mut IdentitySpec, file: &str) -> Vec<Diagnostic> {
    let other = |said: &Option<String>, own: u32, number: fn(&str) -> std::io::Result<u32>| {
        said.as_deref().is_some_and(|said| number(said).ok() != Some(own))
    };
    let vain = [
        ("uid", other(&identity.uid, tenant.uid, user::uid_of)),
        ("gid", other(&identity.gid, tenant.gid, user::gid_of)),
        ("add-gid", !identity.add_gid.is_empty()),
        ("cap", !identity.capabilities.is_empty()),
        ("no-new-privileges", identity.new_privileges),
    ];
    *identity = IdentitySpec {
        uid: Some(tenant.uid.to_string()),
        gid: Some(tenant.gid.to_string()),
        no_initgroups: true,
        umask: identity.umask,
        deny_root_apps: identity.deny_root_apps,
        ..IdentitySpec::default()
    };
    let warn = |option: &str| Diagnostic {
        severity: Severity::Warning,
        file: file.to_owned(),
        line: None,
        option: Some(option.to_owned()),
        message: format!("has no effect: the emperor runs it as the owner of its file ({tenant})"),
        suggestion: None,
        cause: Cause::NoEffect,
    };
    vain.into_iter().filter(|(_, said)| *said).map(|(option, _)| warn(option)).collect()
}
