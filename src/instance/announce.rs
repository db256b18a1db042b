//! What an instance says of itself in its log.

use crate::config::diagnostic::Severity;
use crate::config::instance::{InstanceSpec, WorkerSpec};
use crate::config::secret;
use crate::wire::failure::Failure;

/// The configuration, if it asks for that.
pub(super) fn configuration(spec: &InstanceSpec) {
    if !spec.log.show_config {
        return;
    }
    tracing::info!(";uWSGI instance configuration");
    tracing::info!("[uwsgi]");
    for (key, value) in &spec.said {
        tracing::info!("{key} = {}", secret::shown(key, value));
    }
    tracing::info!(";end of configuration");
}

/// How it serves.
pub(super) fn mode(spec: &InstanceSpec) {
    let mode = if spec.has_workers() { mode_of(&spec.workers) } else { "no-workers" };
    tracing::info!("*** Operational MODE: {mode} ***");
    tracing::info!(
        "your mercy for graceful operations on workers is {} seconds",
        spec.workers.reload_mercy_s
    );
}

/// A line for each thing that is known; a traceback was written by the interpreter itself.
pub(super) fn failure(failure: &Failure) {
    failure_of("", failure);
}

/// The same, after what it means.
pub(super) fn failure_of(what: &str, failure: &Failure) {
    let hint = failure.hint.iter().map(|hint| format!(" ({hint})")).collect::<String>();
    tracing::error!("{what}{}{hint}", failure.message);
    for diagnostic in &failure.diagnostics {
        match diagnostic.severity {
            Severity::Warning => tracing::warn!("{diagnostic}"),
            Severity::Error => tracing::error!("{diagnostic}"),
        }
    }
}

fn mode_of(workers: &WorkerSpec) -> &'static str {
    let is_async = workers.gevent.greenlets > 0;
    match (workers.processes, workers.threads) {
        (0..=1, _) if is_async => "async",
        _ if is_async => "preforking+async",
        (0..=1, 0..=1) => "single process",
        (_, 0..=1) => "preforking",
        (0..=1, _) => "threaded",
        _ => "preforking+threaded",
    }
}
