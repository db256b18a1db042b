//! What was said becomes what was meant: specs, with every mistake reported at once.

mod application;
mod caches;
mod cheaper;
mod companions;
mod emperor;
mod exchange;
#[cfg(test)]
pub(super) mod fake;
mod given;
mod guard;
mod hooks;
mod instance;
mod lines;
mod log_file;
mod logging;
mod processes;
mod routes;
mod sift;
mod socket_map;
mod sockets;
mod static_files;
mod statistics;
mod websockets;

use super::assembly::Assembly;
use super::diagnostic::{Diagnostic, Severity};
use super::emperor::EmperorSpec;
use super::instance::InstanceSpec;
use super::raw::{ENVIRONMENT, Origin, Raw};
use super::surroundings::Surroundings;
use super::vassals::VassalOptions;
use sift::Sift;

/// A spec, or why there is none.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// `None` if and only if there is an error among the diagnostics.
    pub spec: Option<T>,
    /// What could be understood of a refused configuration: only to find more that is wrong with it.
    pub draft: Option<T>,
    /// Everything that is wrong or doubtful, in the order of the configuration.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T> Loaded<T> {
    fn new(spec: T, diagnostics: Vec<Diagnostic>) -> Self {
        let refused = diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
        let (spec, draft) = if refused { (None, Some(spec)) } else { (Some(spec), None) };
        Self { spec, draft, diagnostics }
    }

    /// Only what refuses the configuration.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads a vassal's file, whose content is at hand: the file may be gone by now. `path` is the one by which the
/// emperor found it.
#[must_use]
pub fn vassal(path: &str, bytes: &[u8], around: &dyn Surroundings) -> Loaded<InstanceSpec> {
    vassal_under(&VassalOptions::default(), path, bytes, around)
}

/// The same under an emperor that says these options to all its vassals.
#[must_use]
pub fn vassal_under(
    options: &VassalOptions,
    path: &str,
    bytes: &[u8],
    around: &dyn Surroundings,
) -> Loaded<InstanceSpec> {
    let mut loaded = instance(entries(options, path, bytes, around), around);
    let Some((_, name)) = path.rsplit_once('/') else { return loaded };
    if let Some(spec) = &mut loaded.spec {
        name.clone_into(&mut spec.name);
    }
    // Who reads them stands in another directory.
    for diagnostic in loaded.diagnostics.iter_mut().filter(|diagnostic| diagnostic.file == name) {
        path.clone_into(&mut diagnostic.file);
    }
    loaded
}

/// The entries of a vassal's file, before they get a meaning.
#[must_use]
pub fn entries(options: &VassalOptions, path: &str, bytes: &[u8], around: &dyn Surroundings) -> Raw {
    let mut assembly = Assembly::new(around);
    // The emperor's own options are not for vassals; those meant for them are marked.
    for (name, value) in around.variables() {
        if let Some(key) = name.strip_prefix("UWSGI_VASSAL_") {
            assembly.say(&option_of(key), Some(&value), &Origin::of(ENVIRONMENT));
        }
    }
    assembly.vassal(path, bytes, options);
    assembly.finish()
}

/// What an instance was told.
#[must_use]
pub fn instance(raw: Raw, around: &dyn Surroundings) -> Loaded<InstanceSpec> {
    let mut sift = Sift::new(&raw, around);
    let spec = instance::read(&mut sift);
    let diagnostics = sift.finish();
    Loaded::new(spec, diagnostics)
}

/// What an emperor was told.
#[must_use]
pub fn emperor(raw: Raw, around: &dyn Surroundings) -> Loaded<EmperorSpec> {
    let mut sift = Sift::new(&raw, around);
    let spec = emperor::read(&mut sift);
    let diagnostics = sift.finish();
    Loaded::new(spec, diagnostics)
}

/// The option that an environment variable names, without its prefix.
pub(super) fn option_of(variable: &str) -> String {
    variable.to_ascii_lowercase().replace('_', "-")
}

#[cfg(test)]
mod effects;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod language;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod served;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod under;
