//! The options of an instance.

use std::path::PathBuf;

use super::hooks::Hooks;
use super::routes::Routes;
use super::sift::{Said, Sift};
use super::{
    application, caches, cheaper, companions, exchange, given, guard, lines, log_file, logging, processes,
    socket_map, sockets, static_files, statistics, websockets,
};
use crate::config::address::{Address, Listen, Protocol};
use crate::config::diagnostic::Severity;
use crate::config::instance::{AppSource, InstanceSpec, WorkerSpec};
use crate::config::table::{self, By};
use crate::config::value;

/// What the entries mean for an instance.
pub(super) fn read(sift: &mut Sift<'_>) -> InstanceSpec {
    let obeyed = sift.obeyed();
    let start = sift.raw.directory.clone();
    let last = |name: &str| obeyed.iter().rfind(|said| said.name() == name).copied();
    let processes = last("processes");
    let shared = given::shared(sift, &obeyed, &start);
    let mut reading = Reading {
        chdir: last("chdir").map_or_else(|| start.clone(), |said| start.join(said.text())),
        protocol: sockets::protocol(sift, last("protocol")),
        is_abstract: last("abstract-socket").is_some_and(|said| said.flag()),
        has_emperor: last("emperor").is_some_and(|said| !sift.raw.takes_emperor_for_a_switch(said.text())),
        has_gevent: last("gevent").is_some(),
        cores: last("gevent").or_else(|| last("threads")).map_or(1, count),
        has_log: ["logto", "logto2", "daemonize", "daemonize2", "logger", "req-logger"]
            .iter()
            .any(|name| last(name).is_some()),
        least_lifetime_s: last("min-worker-lifetime").map_or(10, count),
        listen_refused: false,
        shared,
        hooks: Hooks::default(),
        start,
        spec: InstanceSpec {
            said: sift.raw.said(),
            places: sift.raw.places(),
            env: sift.raw.early.clone(),
            ..InstanceSpec::default()
        },
    };
    let mut routes = Routes::default();
    for said in &obeyed {
        if !routes.obey(sift, *said, &reading.chdir) {
            reading.obey(sift, *said);
        }
    }
    reading.spec.routes = routes.finish(sift);
    let identity = &mut reading.spec.identity;
    for (at_once, later, who) in
        [("immediate-uid", "uid", &mut identity.uid), ("immediate-gid", "gid", &mut identity.gid)]
    {
        let Some(said) = last(at_once) else { continue };
        *who = Some(said.text().to_owned());
        if let Some(other) = last(later).filter(|other| other.text() != said.text()) {
            let message = format!("{}: it is {} already then ({at_once})", other.text(), said.text());
            sift.error(other, message, Some(format!("leave out {later} or {at_once}")));
        }
    }
    let workers = &mut reading.spec.workers;
    cheaper::check(sift, &obeyed, &mut workers.cheaper, workers.processes);
    given::check_shared(sift, &obeyed, &mut reading);
    if reading.spec.emperor.is_empty() {
        given::add_offered(sift, &mut reading);
    }
    socket_map::read(sift, &obeyed, &mut reading.spec);
    companions::finish(&mut reading.spec.companions, sift, &obeyed);
    let would_idle = reading.spec.emperor.is_empty() && reading.spec.workers.processes == 0;
    // A negative number was refused where it stands.
    if let Some(said) = processes.filter(|said| would_idle && value::integer(said.text()).0 >= 0) {
        sift.error(said, "0: nobody would serve".to_owned(), Some("say 1 or more".to_owned()));
    }
    reading.finish(sift)
}

/// What was read so far.
pub(super) struct Reading {
    pub(super) spec: InstanceSpec,
    /// Where relative names start that are used before `chdir`.
    pub(super) start: PathBuf,
    /// Where those start that are used after it.
    pub(super) chdir: PathBuf,
    pub(super) protocol: Protocol,
    pub(super) is_abstract: bool,
    pub(super) has_emperor: bool,
    pub(super) has_gevent: bool,
    /// What `gevent`, or else `threads`, says.
    pub(super) cores: u32,
    /// The log goes to a file.
    pub(super) has_log: bool,
    /// `min-worker-lifetime`, wherever it stands.
    pub(super) least_lifetime_s: u32,
    /// A line with an address was refused: what is wrong is said there.
    pub(super) listen_refused: bool,
    /// Where the shared sockets are.
    pub(super) shared: Vec<Option<Address>>,
    hooks: Hooks,
}

impl Reading {
    fn obey(&mut self, sift: &mut Sift<'_>, said: Said<'_>) {
        if sift.identity(said, &mut self.spec.identity)
            || self.workers(sift, said)
            || cheaper::obey(sift, said, &mut self.spec.workers.cheaper)
            || guard::obey(sift, said, &mut self.spec.workers.guard)
            || self.sockets(sift, said)
            || websockets::obey(sift, said, &mut self.spec.websockets)
            || exchange::obey(sift, said, &mut self.spec.exchange)
            || statistics::obey(&mut self.spec, sift, said, &self.chdir)
        {
            return;
        }
        if application::obey(sift, said, (&self.start, &self.chdir), &mut self.spec)
            || self.files(sift, said)
            || processes::obey(sift, said, (&self.start, &self.chdir), &mut self.spec)
            || self.hooks.obey(sift, said)
            || log_file::obey(sift, said, self.has_log, &mut self.spec.log.file)
            || static_files::obey(sift, said, &self.chdir, &mut self.spec.static_files)
            || caches::obey(&mut self.spec.caches, sift, said)
            || companions::obey(&mut self.spec.companions, sift, said, &self.chdir)
        {
            return;
        }
        match said.name() {
            "strict" => {}
            "print" => tracing::info!("{}", said.text()),
            "plugins" | "need-plugins" => plugins(sift, said),
            "emperor" if sift.raw.takes_emperor_for_a_switch(said.text()) => {
                let suggestion = "leave it out: it names a directory of vassals, and is no switch";
                sift.warn(
                    said,
                    "has no effect: the application of this file is served",
                    Some(suggestion.to_owned()),
                );
            }
            "emperor" => self.spec.emperor.extend(sift.path(said, &self.start)),
            _ if said.by() == By::Emperor => {
                if !self.has_emperor {
                    sift.warn(said, "has no effect here: it is an option of an emperor", None);
                }
            }
            name => sift.error(said, format!("liege forgot to obey {name}: please report this"), None),
        }
    }

    fn workers(&mut self, sift: &mut Sift<'_>, said: Said<'_>) -> bool {
        let workers = &mut self.spec.workers;
        match said.name() {
            "processes" => workers.processes = some(sift, said),
            "threads" => {
                workers.threads = some(sift, said).max(1);
                if self.has_gevent && workers.threads > 1 {
                    sift.warn(said, "has no effect with `gevent`: greenlets run in one thread", None);
                }
            }
            "gevent" => greenlets(sift, said, workers),
            "gevent-early-monkey-patch" => workers.gevent.early_monkey_patch = said.flag(),
            "gevent-monkey-patch" | "gevent-wait-for-hub" if !self.has_gevent => {
                sift.warn(said, "has no effect without `gevent`", None);
            }
            "gevent-monkey-patch" => workers.gevent.monkey_patch = said.flag(),
            "gevent-wait-for-hub" => workers.gevent.wait_for_hub = said.flag(),
            "reaper" => workers.reaper = said.flag(),
            "cpu-affinity" => workers.cpus = sift.count(said),
            "lazy-apps" | "lazy" => workers.lazy_apps = said.flag(),
            "harakiri" => workers.harakiri_s = sift.count(said),
            "harakiri-no-arh" => workers.harakiri_no_hook = said.flag(),
            "max-requests" => workers.max_requests = large(sift, said),
            "max-requests-delta" => workers.max_requests_delta = large(sift, said),
            "min-worker-lifetime" => workers.min_lifetime_s = sift.count(said),
            "max-worker-lifetime" => {
                workers.max_lifetime_s = large(sift, said);
                let (most, least) = (workers.max_lifetime_s, self.least_lifetime_s);
                if most > 0 && most <= u64::from(least) {
                    let message = format!(
                        "invalid min-worker-lifetime value ({least}), must be lower than max-worker-lifetime ({most})"
                    );
                    sift.error(said, message, None);
                }
            }
            "max-worker-lifetime-delta" => workers.max_lifetime_delta_s = large(sift, said),
            "reload-on-rss" => workers.reload_on_rss_mib = large(sift, said),
            "reload-on-as" => workers.reload_on_as_mib = large(sift, said),
            "idle" => workers.idle_s = sift.count(said),
            "limit-post" => workers.limit_post_bytes = large(sift, said),
            "heartbeat" => workers.heartbeat_s = sift.count(said),
            "worker-reload-mercy" => workers.reload_mercy_s = sift.count(said),
            "reload-mercy" => workers.instance_mercy_s = sift.count(said),
            "startup-timeout" => workers.startup_timeout_s = sift.count(said),
            "socket-timeout" => workers.socket_timeout_s = sift.count(said),
            "buffer-size" => {
                let bytes = sift.count(said);
                if bytes < 1024 {
                    let message = format!("a request's head may have only {bytes} bytes: hardly any fits");
                    sift.warn(said, message, Some("the value is in bytes".to_owned()));
                }
                workers.buffer_size_bytes = bytes.min(65_535);
            }
            _ => return false,
        }
        true
    }

    fn files(&mut self, sift: &mut Sift<'_>, said: Said<'_>) -> bool {
        let (files, log) = (&mut self.spec.files, &mut self.spec.log);
        if lines::obey(sift, said, &mut log.lines) || logging::obey(sift, said, &self.chdir, log) {
            return true;
        }
        match said.name() {
            "show-config" => log.show_config = said.flag(),
            "master-fifo" => files.master_fifo.extend(sift.path(said, &self.chdir)),
            "logto" => log.logto = sift.log(said),
            "logto2" => log.logto2 = sift.log(said),
            "daemonize" => {
                log.logto = sift.log(said);
                log.daemonize = true;
            }
            "daemonize2" => log.daemonize2 = sift.log(said),
            "disable-logging" => log.requests = !said.flag(),
            "touch-reload" => self.spec.touch_reload.extend(sift.path(said, &self.start)),
            "fs-reload" => self.spec.fs_reload.extend(sift.path(said, &self.start)),
            "honour-stdin" => self.spec.honour_stdin = said.flag(),
            "vacuum" => self.spec.vacuum = said.flag(),
            "die-on-term" => self.spec.die_on_term = said.flag(),
            _ => return false,
        }
        true
    }

    fn finish(mut self, sift: &mut Sift<'_>) -> InstanceSpec {
        let (hooks, env) = self.hooks.finish();
        let spec = &mut self.spec;
        spec.hooks = hooks;
        spec.env.extend(env);
        spec.name = name(sift, spec);
        logging::doubt(sift, &spec.log.routing);
        processes::check_descriptors(sift, spec);
        spec.serves_own_sockets();
        // What another program listens on and serves is its own matter.
        if spec.emperor.is_empty() && !spec.patches.is_some() {
            if let Some(address) = sift.around.on_demand()
                && !spec.listen.iter().any(|listen| listen.address == address)
            {
                spec.listen.push(Listen { address, protocol: self.protocol });
            }
            // What could not be read may hold what is missing.
            let all_read = !sift.raw.has_errors();
            let lonely = !spec.serves();
            if all_read && spec.listen.is_empty() && !lonely && !self.listen_refused {
                let message = "the -s/--socket option is missing: there is nothing to listen on";
                sift.report_whole(
                    Severity::Error,
                    message,
                    Some(
                        "say http-socket = :8080, or socket = app.sock (one that systemd passes by its name is \
                         known to a running emperor only)",
                    ),
                );
            }
            let names_app = spec.app.load.is_some() || !spec.app.mounts.is_empty();
            if all_read && names_app && lonely {
                let message = "nothing is listened on: only daemons and timed commands run";
                sift.report_whole(Severity::Warning, message, Some("say http-socket = :8080 to serve"));
            }
            if all_read && !names_app && !lonely && spec.router.to.is_empty() && !sift.refuses_virtual_hosts()
            {
                let message = "no application is named: every request will be answered with 500";
                sift.report_whole(
                    Severity::Warning,
                    message,
                    Some("say module = pkg.mod:app, or wsgi-file = app.py"),
                );
            }
        }
        self.spec
    }
}

/// The file's name, or the application's.
fn name(sift: &Sift<'_>, spec: &InstanceSpec) -> String {
    match (&sift.raw.file, &spec.app.load) {
        (Some(file), _) => file.rsplit('/').next().unwrap_or(file).to_owned(),
        (None, Some(AppSource::Module(module))) => module.clone(),
        (None, Some(AppSource::Paste(source))) => source.rsplit('/').next().unwrap_or(source).to_owned(),
        (None, Some(AppSource::File(path))) => {
            path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
        }
        (None, None) => "instance".to_owned(),
    }
}

fn plugins(sift: &mut Sift<'_>, said: Said<'_>) {
    for plugin in said.text().split(',').map(str::trim).filter(|plugin| !plugin.is_empty()) {
        if table::is_built_in(plugin) {
            continue;
        }
        if said.name() == "need-plugins" {
            sift.error(said, format!("unable to load plugin \"{plugin}\""), None);
        } else {
            sift.warn(said, format!("there is no plugin {plugin}"), None);
        }
    }
}

/// A number, wherever its option stands; what is wrong with it is said there.
fn count(said: Said<'_>) -> u32 {
    u32::try_from(value::integer(said.text()).0).unwrap_or_default()
}

/// A number of processes or threads: each has its place in shared memory.
fn some(sift: &mut Sift<'_>, said: Said<'_>) -> u32 {
    const MOST: u32 = 4096;
    let count = sift.count(said);
    if count > MOST {
        sift.error(said, format!("{count}: more than {MOST} are not supported"), None);
    }
    count.min(MOST)
}

/// uWSGI gives greenlets more time for a request to come in, unless another time is set after it.
fn greenlets(sift: &mut Sift<'_>, said: Said<'_>, workers: &mut WorkerSpec) {
    workers.gevent.greenlets = some(sift, said);
    if workers.gevent.greenlets == 0 {
        let suggestion = "say how many at the same time: gevent = 100".to_owned();
        sift.error(said, format!("{}: no request would run", said.text()), Some(suggestion));
    }
    workers.socket_timeout_s = workers.socket_timeout_s.max(30);
}

/// Numbers that may be negative in uWSGI, and then are so large that they mean never.
pub(super) fn large(sift: &mut Sift<'_>, said: Said<'_>) -> u64 {
    let number = sift.number(said);
    u64::try_from(number).unwrap_or_else(|_| {
        sift.warn(said, format!("{number} is read as 0"), None);
        0
    })
}
