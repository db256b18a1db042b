//! Whether the application can be loaded: tried in its own interpreter.

use crate::cli::subject::Reading;
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::instance::AppSource;
use crate::instance::trial;
use crate::wire::failure::Failure;

/// What goes wrong when the application is loaded.
pub(super) fn load(reading: &Reading) -> Option<Diagnostic> {
    let spec = reading.instance.as_ref()?;
    let option = match &spec.app.load {
        Some(AppSource::File(_)) => "wsgi-file",
        Some(AppSource::Module(_)) => "module",
        Some(AppSource::Paste(_)) => "paste",
        None if spec.app.mounts.is_empty() => return None,
        None => "mount",
    };
    let Failure { message, hint, traceback, .. } = trial::run(spec).err()?;
    // The last lines of a traceback tell where it happened.
    let place =
        traceback.as_deref().and_then(|text| text.lines().rev().find(|line| line.contains("File \"")));
    let message = match place {
        Some(place) => format!("{message} ({})", place.trim()),
        None => message,
    };
    let told = reading.raw.told(Severity::Error, option, message, hint.as_deref().unwrap_or_default());
    Some(reading.placed(told))
}
