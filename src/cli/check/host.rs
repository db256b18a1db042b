//! What only this host can tell of a configuration that was read.

use crate::cli::subject::Reading;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::emperor::Source;
use crate::instance::host;
use crate::sys::user;

/// Looks around.
pub(super) fn look(reading: &Reading) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if let Some(spec) = &reading.instance {
        found.extend(host::look(&reading.raw, spec, user::current_uid(), &[]));
    }
    if let Some(spec) = &reading.emperor {
        found.extend(host::identity(&reading.raw, &spec.identity));
        for source in &spec.sources {
            if let Source::Directory(path) = source
                && !path.is_dir()
            {
                let message = format!("there is no directory {}", path.display());
                let advice = "the emperor waits until it is made";
                found.push(reading.raw.told(Severity::Warning, "emperor", message, advice));
            }
        }
    }
    found.into_iter().map(|told| reading.placed(told)).collect()
}
