//! The options of an emperor.

use std::path::{Path, PathBuf};

use super::hooks::Hooks;
use super::logging;
use super::sift::{Said, Sift};
use crate::config::address::Address;
use crate::config::diagnostic::Severity;
use crate::config::emperor::{ApiTls, EmperorSpec, Source};
use crate::config::limits::Rule;
use crate::config::namespaces::Namespaces;
use crate::config::surroundings::Kind as Entry;
use crate::config::table::{self, By, Kind};
use crate::config::tenant::Tyrant;
use crate::config::{role, value, vassals};

/// What the entries mean for an emperor.
pub(super) fn read(sift: &mut Sift<'_>) -> EmperorSpec {
    let mut spec = EmperorSpec::default();
    let obeyed = sift.obeyed();
    let mut hooks = Hooks::default();
    let keeps_rights = keeps_rights(sift);
    for said in &obeyed {
        if keeps_rights && RIGHTS.contains(&said.name()) {
            let suggestion = "say it in the files of the vassals, or leave early-emperor out".to_owned();
            sift.warn(
                *said,
                "has no effect with early-emperor: the emperor keeps its rights",
                Some(suggestion),
            );
            continue;
        }
        if !hooks.obey_as_emperor(sift, *said) {
            obey(sift, *said, &mut spec);
        }
    }
    (spec.hooks, spec.vassal_variables) = hooks.finish_as_emperor();
    spec.tyrant = tyrant(sift, &obeyed);
    check_api(sift, &obeyed, &spec);
    spec.vassals.sort();
    spec.programs.extra_extensions.clone_from(&spec.extra_extensions);
    spec.deny_root_apps = spec.identity.deny_root_apps;
    if spec.sources.is_empty() {
        sift.report_whole(
            Severity::Error,
            "there is nothing to watch",
            Some("say emperor = /etc/uwsgi/vassals"),
        );
    }
    spec
}

/// What an emperor gives up its rights with.
const RIGHTS: [&str; 7] = ["uid", "gid", "immediate-uid", "immediate-gid", "add-gid", "no-initgroups", "cap"];

/// Whether `uid` and the like are for what uWSGI runs beside an emperor that it starts before it drops its rights.
fn keeps_rights(sift: &Sift<'_>) -> bool {
    let said = sift.raw.entries.iter().rfind(|entry| entry.key == "early-emperor");
    said.is_some_and(|entry| entry.value.as_deref().is_none_or(value::flag))
}

fn obey(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut EmperorSpec) {
    let start = sift.raw.directory.clone();
    if sift.identity(said, &mut spec.identity) {
        return;
    }
    match said.name() {
        "emperor" => source(sift, said, spec),
        "emperor-extra-extension" => spec.extra_extensions.push(said.text().to_owned()),
        "vassal-set" => pair(sift, said, "set", &mut spec.vassals.before),
        "vassals-default" => default(sift, said, spec),
        "vassals-inherit-before" => file(said, "inherit", &mut spec.vassals.before),
        "vassals-include-before" => file(said, "include", &mut spec.vassals.before),
        "vassals-inherit" => file(said, "inherit", &mut spec.vassals.after),
        "vassals-include" => file(said, "include", &mut spec.vassals.after),
        "emperor-attr" => spec.attributes.push(said.text().to_owned()),
        "emperor-wrapper-attr" => spec.program_attribute = Some(said.text().to_owned()),
        "emperor-chdir-attr" => spec.directory_attribute = Some(said.text().to_owned()),
        "vassals-limit" => match Rule::parse(said.text()) {
            Ok(rule) => spec.limits.push(rule),
            Err(error) => {
                sift.error(said, error, Some("say memory-max=512M, or app.ini pids-max=100".to_owned()))
            }
        },
        "emperor-use-clone" => match Namespaces::parse(said.text()) {
            Ok(namespaces) => spec.namespaces = namespaces,
            Err(error) => sift.error(said, error, Some("say some of pid, fs, ipc, net, uts".to_owned())),
        },
        "emperor-cap" => spec.capabilities.get_or_insert_default().extend(sift.capabilities(said)),
        "vassals-env" => spec.environment.push(said.text().to_owned()),
        // Read together.
        "emperor-tyrant" | "emperor-tyrant-nofollow" | "emperor-tyrant-initgroups" => {}
        "emperor-nofollow" => spec.nofollow = said.flag(),
        "emperor-freq" => spec.rescan_ms = milliseconds(sift.count(said).max(1)),
        "emperor-throttle" => spec.throttle_ms = u64::from(sift.count(said)),
        "emperor-max-throttle" => spec.max_throttle_ms = u64::from(sift.count(said)),
        "emperor-curse-tolerance" => spec.curse_tolerance_ms = Some(milliseconds(sift.count(said))),
        "reload-mercy" => spec.reload_mercy_ms = Some(milliseconds(sift.count(said))),
        "emperor-required-heartbeat" => spec.heartbeat_ms = milliseconds(sift.count(said)),
        "emperor-wrapper" => spec.programs.wrapper = program(sift, said),
        "emperor-wrapper-override" => spec.programs.first.extend(program(sift, said)),
        "emperor-wrapper-fallback" => spec.programs.last.extend(program(sift, said)),
        "emperor-no-blacklist" => spec.constant_throttle = said.flag(),
        "vassals-stop-hook" => spec.stop_hook = command(sift, said),
        "vassals-start-hook" => spec.start_hook = command(sift, said),
        "stats-http" => spec.stats_http = said.flag(),
        "stats-minified" => spec.stats_minified = said.flag(),
        "listen" => spec.backlog = sift.backlog(said),
        "emperor-stats" => spec.stats = sift.address(said, &start),
        "emperor-served-file" => spec.served_file = sift.path(said, &start),
        "emperor-procname" => spec.procname = Some(said.text().to_owned()),
        "emperor-concurrency" => spec.concurrency = sift.count(said),
        "emperor-pidfile" | "pidfile" => spec.pidfile = sift.path(said, &start),
        "logto" => spec.logto = sift.log(said),
        "log-date" => spec.log_date = logging::date(said.text()),
        "daemonize" => {
            spec.logto = sift.log(said);
            spec.daemonize = true;
        }
        "emperor-on-demand-extension" => spec.on_demand_extension = Some(said.text().to_owned()),
        "emperor-on-demand-directory" => spec.on_demand_directory = sift.path(said, &start),
        "emperor-on-demand-exec" => spec.on_demand_exec = Some(said.text().to_owned()),
        "chmod-socket" => match value::mode(said.entry.value.as_deref().unwrap_or("1")) {
            Some(mode) => spec.chmod_socket = Some(mode),
            None => sift.error(said, format!("invalid chmod value: {}", said.text()), None),
        },
        "adopt" => spec.adopt = said.flag(),
        "orphan-grace" => spec.orphan_grace_ms = milliseconds(sift.count(said)),
        "runtime-dir" => {
            spec.runtime_directory = sift.path(said, &start);
            spec.runtime_told = true;
        }
        "api" => spec.api_socket = sift.path(said, &start),
        "api-http" => spec.api_http = api_http(sift, said),
        "api-token-file" => spec.api_token_file = sift.path(said, &start),
        "api-tls" => spec.api_tls = api_tls(sift, said, &start),
        "api-chown" => spec.api_owner = sift.ownership(said),
        "api-chmod" => match value::mode(said.text()) {
            Some(mode) => spec.api_mode = Some(mode),
            None => sift.error(said, format!("`{}` is no mode", said.text()), Some("say 660".to_owned())),
        },
        "api-role" => match role::parse(said.text()) {
            Some(role) => spec.api_roles.push(role),
            None => {
                let suggestion = Some("say read:, operate: or admin:, then a user or @group".to_owned());
                sift.error(said, format!("`{}` is no role of anybody", said.text()), suggestion);
            }
        },
        "api-redact-queries" => spec.api_redact_queries = said.flag(),
        "api-write" => spec.api_write = said.flag(),
        "api-host" => spec.api_hosts.push(said.text().to_owned()),
        "strict" | "plugins" | "need-plugins" | "die-on-term" | "auto-procname" => {}
        "print" => tracing::info!("{}", said.text()),
        "module" | "wsgi-file" => {
            let suggestion = "put the application into a file of its own in the watched directory";
            sift.not_yet(said, "an emperor serves no application itself", suggestion);
        }
        _ if said.by() == By::Emperor => {
            sift.error(said, format!("liege forgot to obey {}: please report this", said.name()), None);
        }
        _ => sift.warn(said, "has no effect in an emperor: it belongs into the vassals", None),
    }
}

/// Whether vassals run as the owners of their files; what concerns only that is worth a warning without it.
fn tyrant(sift: &mut Sift<'_>, obeyed: &[Said<'_>]) -> Option<Tyrant> {
    let is_on = |name: &str| obeyed.iter().rfind(|said| said.name() == name).is_some_and(Said::flag);
    if is_on("emperor-tyrant") {
        return Some(Tyrant {
            nofollow: is_on("emperor-tyrant-nofollow"),
            initgroups: is_on("emperor-tyrant-initgroups"),
        });
    }
    let only = ["emperor-tyrant-nofollow", "emperor-tyrant-initgroups", "vassals-env"];
    for said in obeyed.iter().filter(|said| only.contains(&said.name())) {
        sift.warn(*said, "has no effect without emperor-tyrant", None);
    }
    None
}

/// A directory, a file, or a shell pattern; with `dir://` or `glob://` in front it is that, whatever lies there.
fn source(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut EmperorSpec) {
    let text = said.text();
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    if rest.is_empty() {
        return sift.error(said, "the path is empty", None);
    }
    let path = normal(&sift.raw.directory.join(rest));
    let is_pattern = match scheme {
        Some("dir") => false,
        Some("glob") => true,
        None => rest.contains(['*', '?', '[']) || is_file(sift, &path, spec),
        Some(scheme) => {
            let suggestion = "let a script write the configurations as files into a directory that is watched: what is new starts, a touch reloads, what is removed stops";
            let suggestion = Some(suggestion.to_owned());
            return sift.error(said, format!("liege has no {scheme}:// monitor"), suggestion);
        }
    };
    if !is_pattern {
        return spec.sources.push(Source::Directory(path));
    }
    if let Some(reason) = path.components().find_map(|part| pattern_problem(part.as_os_str().to_str())) {
        return sift.error(said, format!("`{rest}` is no pattern: {reason}"), None);
    }
    spec.sources.push(Source::Pattern(path));
}

fn milliseconds(seconds: u32) -> u64 {
    u64::from(seconds).saturating_mul(1000)
}

fn file(said: Said<'_>, option: &str, options: &mut Vec<(String, String)>) {
    options.push((option.to_owned(), said.text().to_owned()));
}

fn program(sift: &mut Sift<'_>, said: Said<'_>) -> Option<String> {
    if said.text().is_empty() {
        sift.error(said, "the program is empty", None);
        return None;
    }
    Some(said.text().to_owned())
}

fn command(sift: &mut Sift<'_>, said: Said<'_>) -> Option<String> {
    if said.text().trim().is_empty() {
        sift.error(said, "the command is empty", None);
        return None;
    }
    Some(said.text().to_owned())
}

fn pair(sift: &mut Sift<'_>, said: Said<'_>, option: &str, options: &mut Vec<(String, String)>) {
    if said.text().contains('=') {
        options.push((option.to_owned(), said.text().to_owned()));
    } else {
        sift.error(said, "this is not of the form name=value", None);
    }
}

fn default(sift: &mut Sift<'_>, said: Said<'_>, spec: &mut EmperorSpec) {
    let Some((key, value)) = said.text().split_once('=') else {
        return sift.error(said, "this is not of the form name=value", None);
    };
    let (key, value) = (key.trim(), value.trim());
    match table::find(key) {
        Some(row) if row.kind == Kind::Language => {
            sift.error(said, format!("`{key}` cannot be a default: it acts while it is read"), None);
        }
        Some(_) => spec.vassals.defaults.push((key.to_owned(), value.to_owned())),
        None => sift.error(said, format!("there is no option `{key}`"), None),
    }
}

/// Whether there is a file, or one is meant that is not there yet. Where the name already says that it is none nobody looks:
/// a server whose directory it is may not answer, and the next emperor is to be there for its vassals all the same.
fn is_file(sift: &Sift<'_>, path: &Path, spec: &EmperorSpec) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    vassals::is_name(name, &spec.extra_extensions) && sift.around.kind(path) != Some(Entry::Directory)
}

fn pattern_problem(part: Option<&str>) -> Option<String> {
    match part {
        None => Some("it is not UTF-8".to_owned()),
        Some(part) => glob::Pattern::new(&vassals::shell(part)).err().map(|error| error.msg.to_owned()),
    }
}

/// Without a slash at the end.
fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Where others than this host's users come to, they say who they are.
fn check_api(sift: &mut Sift<'_>, obeyed: &[Said<'_>], spec: &EmperorSpec) {
    let Some((host, _)) = &spec.api_http else { return };
    let is_local =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let knows_clients = spec.api_tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if is_local || spec.api_token_file.is_some() || knows_clients {
        return;
    }
    for said in obeyed.iter().filter(|said| said.name() == "api-http") {
        let suggestion = "say 127.0.0.1:PORT, or give clients tokens (api-token-file) or certificates (api-tls = CERTIFICATE,KEY,CA)";
        sift.error(
            *said,
            format!("`{}` is not a loopback address", said.text()),
            Some(suggestion.to_owned()),
        );
    }
}

fn api_tls(sift: &mut Sift<'_>, said: Said<'_>, start: &Path) -> Option<ApiTls> {
    let files: Vec<_> = said.text().split(',').map(str::trim).collect();
    let (certificate, key, client_ca) = match files.as_slice() {
        [certificate, key] => (certificate, key, None),
        [certificate, key, ca] => (certificate, key, Some(ca)),
        _ => (&"", &"", None),
    };
    if certificate.is_empty() || key.is_empty() || client_ca.is_some_and(|ca| ca.is_empty()) {
        sift.error(said, "this is not CERTIFICATE,KEY or CERTIFICATE,KEY,CA", None);
        return None;
    }
    let at = |file: &str| start.join(file);
    Some(ApiTls { certificate: at(certificate), key: at(key), client_ca: client_ca.map(|ca| at(ca)) })
}

fn api_http(sift: &mut Sift<'_>, said: Said<'_>) -> Option<(String, u16)> {
    match sift.address(said, Path::new("/"))? {
        Address::Tcp { host, port } => {
            return Some((host, port));
        }
        Address::Unix(_) | Address::Abstract(_) => {
            sift.error(said, "this is not an address of the form HOST:PORT", None);
        }
    }
    None
}
