//! Where an instance's configuration comes from, so that it can be read again, here or in a rehearsal.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::address::Address;
use crate::config::command_line;
use crate::config::diagnostic::Diagnostic;
use crate::config::instance::InstanceSpec;
use crate::config::load::{self, Loaded};
use crate::config::surroundings::{Purpose, World};
use crate::config::vassals::VassalOptions;
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
    },
    /// The command line, and the files that it names.
    CommandLine {
        /// The arguments, without the program's name.
        arguments: Vec<String>,
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

    /// Reads the configuration; relative names start from `directory`, and `bytes` are the vassal file's.
    pub(super) fn load(&self, bytes: &[u8], directory: PathBuf) -> Result<Said, Failure> {
        self.load_in(bytes, &World::at(directory))
    }

    /// The same for a reload, of which the configuration can know (`if-reload`).
    pub(super) fn load_again(&self, bytes: &[u8], directory: PathBuf) -> Result<Said, Failure> {
        self.load_in(bytes, &World::at(directory).with_variable("UWSGI_RELOADS", "1"))
    }

    fn load_in(&self, bytes: &[u8], around: &World) -> Result<Said, Failure> {
        let purpose = if self.file().is_some() { Purpose::Vassal } else { Purpose::Start };
        let around = around.clone().with_purpose(purpose);
        let (loaded, what): (Loaded<InstanceSpec>, String) = match self {
            Self::Vassal { path, options, on_demand, .. } => {
                let around = around.called_on(on_demand.clone());
                (load::vassal_under(options, path, bytes, &around), path.clone())
            }
            Self::CommandLine { arguments } => {
                let raw = command_line::read(arguments, &around).raw;
                let what = raw.file.clone().unwrap_or_else(|| "the command line".to_owned());
                (load::instance(raw, &around), what)
            }
        };
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
        Ok(Said { spec, warnings: loaded.diagnostics })
    }
}
