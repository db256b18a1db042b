//! The options of an emperor.

use std::path::PathBuf;

use super::sift::{Said, Sift};
use crate::config::address::Address;
use crate::config::diagnostic::Severity;
use crate::config::emperor::EmperorSpec;
use crate::config::surroundings::Kind;
use crate::config::table::By;

/// What the entries mean for an emperor.
pub(super) fn read(sift: &mut Sift<'_>) -> EmperorSpec {
    let mut spec = EmperorSpec::default();
    for said in sift.obeyed() {
        obey(sift, said, &mut spec);
    }
    spec.deny_root_apps = spec.identity.deny_root_apps;
    if spec.directories.is_empty() {
        sift.report_whole(
            Severity::Error,
            "there is no directory to watch",
            Some("say emperor = /etc/uwsgi/vassals"),
        );
    }
    spec
}

fn obey(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut EmperorSpec) {
    let start = sift.raw.directory.clone();
    if sift.identity(said, &mut spec.identity) {
        return;
    }
    match said.name() {
        "emperor" => directory(sift, said, spec),
        "emperor-freq" => spec.rescan_ms = u64::from(sift.count(said).max(1)).saturating_mul(1000),
        "emperor-throttle" => spec.throttle_ms = u64::from(sift.count(said)),
        "emperor-max-throttle" => spec.max_throttle_ms = u64::from(sift.count(said)),
        "emperor-curse-tolerance" | "reload-mercy" => {
            spec.mercy_ms = u64::from(sift.count(said)).saturating_mul(1000);
        }
        "emperor-concurrency" => spec.concurrency = sift.count(said),
        "emperor-pidfile" | "pidfile" => spec.pidfile = sift.path(said, &start),
        "logto" => spec.logto = sift.log(said),
        "daemonize" => {
            spec.logto = sift.log(said);
            spec.daemonize = true;
        }
        "api" => spec.api_socket = sift.path(said, &start),
        "api-http" => spec.api_http = api_http(sift, said),
        "api-token-file" => spec.api_token_file = sift.path(said, &start),
        "api-host" => spec.api_hosts.push(said.text().to_owned()),
        "strict" | "plugins" | "need-plugins" | "die-on-term" | "auto-procname" => {}
        "print" => tracing::info!("{}", said.text()),
        "module" | "wsgi-file" => {
            let suggestion = "put the application into a file of its own in the watched directory";
            sift.error(said, "an emperor serves no application itself", Some(suggestion.to_owned()));
        }
        _ if said.by() == By::Emperor => {
            sift.error(said, format!("liege forgot to obey {}: please report this", said.name()), None);
        }
        _ => sift.warn(said, "has no effect in an emperor: it belongs into the vassals", None),
    }
}

/// A directory, or a pattern that ends in `*.ini` directly below directories.
fn directory(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut EmperorSpec) {
    let text = said.text();
    if let Some((scheme, rest)) = text.split_once("://") {
        match scheme {
            "dir" => spec.directories.push(sift.raw.directory.join(rest)),
            "glob" => patterns(sift, said, rest, spec),
            _ => {
                let suggestion = Some("watch a directory".to_owned());
                sift.error(said, format!("liege has no {scheme}:// monitor"), suggestion);
            }
        }
    } else if text.contains(['*', '?', '[']) {
        patterns(sift, said, text, spec);
    } else {
        let path = sift.path(said, &sift.raw.directory.clone());
        match path {
            Some(path) if sift.around.kind(&path) == Some(Kind::File) => {
                let suggestion = Some("name its directory".to_owned());
                sift.error(said, format!("{} is not a directory", path.display()), suggestion);
            }
            path => spec.directories.extend(path),
        }
    }
}

fn patterns(sift: &mut Sift<'_>, said: Said<'_>, pattern: &str, spec: &mut EmperorSpec) {
    let directory = sift.raw.directory.clone();
    let parent = match pattern.strip_suffix("*.ini") {
        Some("") => Some(directory),
        Some(parent) if parent.ends_with('/') && !parent.contains(['*', '?', '[']) => {
            Some(directory.join(parent))
        }
        _ => None,
    };
    match parent {
        Some(parent) => spec.directories.push(normal(&parent)),
        None => {
            let suggestion = Some("name directories, or a pattern of the form DIR/*.ini".to_owned());
            sift.error(said, format!("liege cannot watch the pattern {pattern} yet"), suggestion);
        }
    }
}

/// Without a slash at the end.
fn normal(path: &std::path::Path) -> PathBuf {
    path.components().collect()
}

fn api_http(sift: &mut Sift<'_>, said: Said<'_>) -> Option<(String, u16)> {
    match sift.address(said, std::path::Path::new("/"))? {
        Address::Tcp { host, port } => {
            let is_local = host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
            if is_local {
                return Some((host, port));
            }
            let suggestion = Some("say 127.0.0.1:PORT, and put a proxy with TLS in front".to_owned());
            sift.error(said, format!("`{}` is not a loopback address", said.text()), suggestion);
        }
        Address::Unix(_) | Address::Abstract(_) => {
            sift.error(said, "this is not an address of the form HOST:PORT", None);
        }
    }
    None
}
