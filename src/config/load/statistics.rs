//! The options of an instance's statistics.

use std::path::Path;

use super::sift::{Said, Sift};
use crate::config::instance::InstanceSpec;
use crate::config::stats_push::Push;
use crate::config::value;

/// Obeys an option, if it is one of these.
pub(super) fn obey(spec: &mut InstanceSpec, sift: &mut Sift<'_>, said: Said<'_>, chdir: &Path) -> bool {
    match said.name() {
        "stats" => spec.stats.extend(sift.address(said, chdir)),
        "stats-http" => spec.stats_http = said.flag(),
        "stats-minified" => spec.stats_form.minified = said.flag(),
        "stats-request-vars" => spec.request_vars.shown = said.flag(),
        "stats-request-query" => spec.request_vars.queries = said.flag(),
        "stats-no-cores" => spec.stats_form.no_cores = said.flag(),
        "stats-pusher-default-freq" => {
            match u32::try_from(value::integer(said.text()).0).ok().filter(|seconds| *seconds > 0) {
                Some(seconds) => spec.stats_push.every_s = seconds,
                None => sift.error(said, format!("{}: no number of seconds", said.text()), None),
            }
        }
        "stats-push" => match Push::parse(said.text()) {
            Ok(Push::File { path, every_s, separator }) => {
                spec.stats_push.to.push(Push::File { path: chdir.join(path), every_s, separator });
            }
            Ok(push) => spec.stats_push.to.push(push),
            Err(reason) => {
                let suggestion =
                    "statsd:HOST:PORT[,PREFIX] or file:path=FILE; Prometheus reads the API's /metrics";
                sift.error(said, reason, Some(suggestion.to_owned()));
            }
        },
        _ => return false,
    }
    true
}
