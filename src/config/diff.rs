//! What it takes to get from one configuration of an instance to another.

mod limits;
mod router;

use serde::{Deserialize, Serialize};

use super::address::{Address, Listen};
use super::companions::CompanionSpec;
use super::guard::GuardSpec;
use super::hook::{Hook, Point};
use super::instance::{AppSpec, FilesSpec, IdentitySpec, InstanceSpec, InterpreterSpec, WorkerSpec};
use super::logger::LoggingSpec;
use super::logging::LogSpec;

/// What a change needs; the greatest need of all changed options counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The master takes the new values over by itself (and tells its router).
    #[default]
    Nothing,
    /// More or fewer workers of the same generation.
    Workers,
    /// A new generation: a new zygote with the new configuration, its workers beside the old ones.
    Generation,
    /// The master re-executes itself, then a new generation.
    Reexec,
    /// What a master that gave up its privileges cannot do: another instance takes this one's place.
    Replace,
}

/// What changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What it needs.
    pub needs: Need,
    /// The options that differ, by their canonical names.
    pub options: Vec<&'static str>,
}

impl Change {
    fn note(&mut self, differs: bool, option: &'static str, need: Need) {
        if differs {
            self.needs = self.needs.max(need);
            self.options.push(option);
        }
    }
}

/// What differs between two configurations of one instance. Every field is treated: a new one does not compile
/// until it is.
#[must_use]
pub fn diff(old: &InstanceSpec, new: &InstanceSpec) -> Change {
    let InstanceSpec {
        name,
        listen,
        shared,
        backlog,
        sockets,
        socket_map,
        chmod_socket,
        chown_socket,
        app,
        workers,
        identity,
        interpreter,
        env,
        stats,
        stats_http,
        static_files,
        routes,
        stats_form,
        request_vars,
        stats_push,
        files,
        log,
        touch_reload,
        caches,
        companions,
        limits,
        vacuum,
        die_on_term,
        auto_procname,
        procname_prefix,
        titles,
        fs_reload,
        exit_on_reload,
        fallback,
        patches,
        unshare,
        emperor,
        exchange,
        router,
        websockets,
        hooks,
        honour_stdin,
        said,
        places: _,
    } = new;
    let mut change = Change::default();
    // What is done before privileges drop cannot be done after it.
    let before_drop = if old.identity.uid.is_some() { Need::Replace } else { Need::Reexec };
    change.note(old.name != *name, "name", Need::Nothing);
    listeners(&mut change, old, (listen, shared));
    change.note(old.shared != *shared, "shared-socket", Need::Generation);
    change.note(old.sockets != *sockets, "so-keepalive", Need::Generation);
    change.note(old.socket_map != *socket_map, "map-socket", Need::Generation);
    change.note(old.backlog != *backlog, "listen", Need::Generation);
    change.note(old.chmod_socket != *chmod_socket, "chmod-socket", Need::Generation);
    change.note(old.chown_socket != *chown_socket, "chown-socket", before_drop);
    diff_app(&mut change, &old.app, app);
    diff_workers(&mut change, &old.workers, workers);
    diff_identity(&mut change, &old.identity, identity);
    let InterpreterSpec { python, virtualenv, extension, optimize, no_site } = interpreter;
    change.note(old.interpreter.no_site != *no_site, "no-site", Need::Generation);
    change.note(old.interpreter.optimize != *optimize, "optimize", Need::Generation);
    change.note(old.interpreter.python != *python, "python", Need::Generation);
    change.note(old.interpreter.virtualenv != *virtualenv, "virtualenv", Need::Generation);
    change.note(old.interpreter.extension != *extension, "extension", Need::Generation);
    change.note(old.env != *env, "env", Need::Generation);
    change.note(old.stats_http != *stats_http, "stats-http", Need::Nothing);
    change.note(old.stats_form != *stats_form, "stats-minified", Need::Nothing);
    change.note(old.request_vars != *request_vars, "stats-request-vars", Need::Generation);
    change.note(old.stats_push != *stats_push, "stats-push", Need::Nothing);
    change.note(old.stats != *stats, "stats", Need::Nothing);
    change.note(old.static_files != *static_files, "static-map", Need::Generation);
    change.note(old.routes != *routes, "route", Need::Generation);
    let FilesSpec { pidfile, pidfile2, safe_pidfile, safe_pidfile2, master_fifo, locks } = files;
    // Somebody else may have it: only who starts can find that out and give up.
    change.note(old.files.locks != *locks, "flock", Need::Replace);
    change.note(old.files.master_fifo != *master_fifo, "master-fifo", Need::Nothing);
    change.note(old.files.pidfile != *pidfile, "pidfile", before_drop);
    change.note(old.files.pidfile2 != *pidfile2, "pidfile2", Need::Reexec);
    change.note(old.files.safe_pidfile != *safe_pidfile, "safe-pidfile", Need::Reexec);
    change.note(old.files.safe_pidfile2 != *safe_pidfile2, "safe-pidfile2", Need::Reexec);
    let LogSpec { logto, logto2, daemonize, daemonize2, requests, lines, file, show_config, date, routing } =
        log;
    change.note(old.log.date != *date, "log-date", Need::Generation);
    change.note(old.log.routing != *routing, "logger", logging(old, routing));
    change.note(old.log.file != *file, "log-maxsize", Need::Nothing);
    change.note(old.log.lines != *lines, "log-format", Need::Generation);
    change.note(old.log.show_config != *show_config, "show-config", Need::Nothing);
    change.note(old.log.logto != *logto, "logto", before_drop);
    change.note(old.log.logto2 != *logto2, "logto2", Need::Reexec);
    change.note(old.log.daemonize != *daemonize, "daemonize", Need::Reexec);
    change.note(old.log.daemonize2 != *daemonize2, "daemonize2", Need::Reexec);
    change.note(old.log.requests != *requests, "disable-logging", Need::Generation);
    change.note(old.touch_reload != *touch_reload, "touch-reload", Need::Nothing);
    change.note(old.caches != *caches, "cache2", Need::Generation);
    diff_companions(&mut change, &old.companions, companions);
    self::limits::note(&mut change, &old.limits, limits, before_drop);
    change.note(old.vacuum != *vacuum, "vacuum", Need::Nothing);
    change.note(old.die_on_term != *die_on_term, "die-on-term", Need::Nothing);
    change.note(old.auto_procname != *auto_procname, "auto-procname", Need::Generation);
    change.note(old.procname_prefix != *procname_prefix, "procname-prefix", Need::Generation);
    change.note(old.titles != *titles, "procname", Need::Generation);
    change.note(old.fs_reload != *fs_reload, "fs-reload", Need::Nothing);
    change.note(old.exit_on_reload != *exit_on_reload, "exit-on-reload", Need::Nothing);
    change.note(old.fallback != *fallback, "fallback-config", Need::Nothing);
    // This one runs on as itself: what another becomes, its emperor follows.
    change.note(old.patches != *patches, "privileged-binary-patch", Need::Replace);
    change.note(old.unshare != *unshare, "unshare", Need::Replace);
    change.note(old.emperor != *emperor, "emperor", Need::Replace);
    change.note(old.exchange != *exchange, "chunked-input-limit", Need::Generation);
    let workers = if old.has_workers() == new.has_workers() { Need::Nothing } else { Need::Generation };
    router::diff(&mut change, &old.router, router, workers);
    change.note(old.websockets != *websockets, "websockets-ping-freq", Need::Generation);
    diff_hooks(&mut change, &old.hooks, hooks);
    change.note(old.honour_stdin != *honour_stdin, "honour-stdin", Need::Generation);
    // A placeholder that nothing refers to is still seen by the application, in `uwsgi.opt`.
    if change.options.is_empty() {
        change.note(old.said != *said, "opt", Need::Generation);
    }
    change
}

/// What is done at a first start only, another instance does at its own.
fn diff_hooks(change: &mut Change, old: &[Hook], new: &[Hook]) {
    for (option, need, is_of) in [
        ("hook-as-root", Need::Replace, Point::is_of_a_first_start as fn(&Point) -> bool),
        ("hook-asap", Need::Generation, Point::is_of_a_generation),
        ("hook-touch", Need::Nothing, Point::is_of_the_master),
    ] {
        let old = old.iter().filter(|hook| is_of(&hook.point));
        let new = new.iter().filter(|hook| is_of(&hook.point));
        change.note(!old.eq(new), option, need);
    }
}

/// Mules are forked by the zygote, which knows how many queues there are and what each mule runs.
fn diff_companions(change: &mut Change, old: &CompanionSpec, new: &CompanionSpec) {
    let CompanionSpec { daemons, crons, touch_exec, mules, mule_touch, mule_queue_bytes } = new;
    change.note(old.daemons != *daemons, "attach-daemon", Need::Nothing);
    change.note(old.crons != *crons, "cron", Need::Nothing);
    change.note(old.touch_exec != *touch_exec, "touch-exec", Need::Nothing);
    change.note(old.mules != *mules, "mule", Need::Generation);
    change.note(old.mule_touch != *mule_touch, "touch-mules-reload", Need::Nothing);
    change.note(old.mule_queue_bytes != *mule_queue_bytes, "mule-msg-size", Need::Generation);
}

/// Sockets are the same if their address is: kept, added, removed.
fn listeners(change: &mut Change, old: &InstanceSpec, (new, shared): (&[Listen], &[Address])) {
    if old.listen == new {
        return;
    }
    let is_known = |address: &Address| old.listen.iter().any(|listen| listen.address == *address);
    let dropped = old.identity.uid.is_some();
    let out_of_reach = new.iter().any(|listen| {
        let privileged = matches!(listen.address, Address::Tcp { port: 1..1024, .. });
        (privileged || shared.contains(&listen.address)) && dropped && !is_known(&listen.address)
    });
    change.note(true, "socket", if out_of_reach { Need::Replace } else { Need::Generation });
}

/// Loggers are the master's; only whether lines of requests have a way of their own is the workers' to know.
fn logging(old: &InstanceSpec, new: &LoggingSpec) -> Need {
    if old.log.routing.has_requests() == new.has_requests() { Need::Nothing } else { Need::Generation }
}

fn diff_app(change: &mut Change, old: &AppSpec, new: &AppSpec) {
    let AppSpec {
        load,
        mounts,
        manage_script_name,
        callable,
        need_app,
        chdir,
        pythonpath,
        imports,
        add_headers,
        no_write_exception,
        no_file_wrapper,
        autoreload_s,
        autoreload_ignore,
        argv,
        exceptions,
        shared_imports,
        aliases,
        post_aliases,
        paste,
        tracebacker,
        locks,
        chdir2,
        skip_atexit,
        skip_teardown,
    } = new;
    change.note(old.chdir2 != *chdir2, "chdir2", Need::Generation);
    change.note(old.skip_atexit != *skip_atexit, "skip-atexit", Need::Generation);
    change.note(old.skip_teardown != *skip_teardown, "skip-atexit-teardown", Need::Generation);
    change.note(old.locks != *locks, "locks", Need::Generation);
    change.note(old.shared_imports != *shared_imports, "shared-import", Need::Generation);
    change.note(old.aliases != *aliases, "pymodule-alias", Need::Generation);
    change.note(old.post_aliases != *post_aliases, "post-pymodule-alias", Need::Generation);
    change.note(old.paste != *paste, "paste-name", Need::Generation);
    change.note(old.tracebacker != *tracebacker, "py-tracebacker", Need::Generation);
    change.note(old.exceptions != *exceptions, "reload-on-exception", Need::Generation);
    change.note(old.argv != *argv, "pyargv", Need::Generation);
    change.note(old.imports != *imports, "import", Need::Generation);
    change.note(old.add_headers != *add_headers, "add-header", Need::Generation);
    change.note(old.no_write_exception != *no_write_exception, "disable-write-exception", Need::Generation);
    change.note(old.no_file_wrapper != *no_file_wrapper, "wsgi-disable-file-wrapper", Need::Generation);
    change.note(old.autoreload_s != *autoreload_s, "py-autoreload", Need::Generation);
    change.note(old.autoreload_ignore != *autoreload_ignore, "py-auto-reload-ignore", Need::Generation);
    change.note(old.load != *load, "module", Need::Generation);
    change.note(old.mounts != *mounts, "mount", Need::Generation);
    change.note(old.manage_script_name != *manage_script_name, "manage-script-name", Need::Generation);
    change.note(old.callable != *callable, "callable", Need::Generation);
    change.note(old.need_app != *need_app, "need-app", Need::Generation);
    change.note(old.chdir != *chdir, "chdir", Need::Generation);
    change.note(old.pythonpath != *pythonpath, "pythonpath", Need::Generation);
}

fn diff_workers(change: &mut Change, old: &WorkerSpec, new: &WorkerSpec) {
    let WorkerSpec {
        processes,
        threads,
        gevent,
        lazy_apps,
        harakiri_s,
        harakiri_no_hook,
        max_requests,
        max_requests_delta,
        min_lifetime_s,
        max_lifetime_s,
        max_lifetime_delta_s,
        reload_on_rss_mib,
        reload_on_as_mib,
        buffer_size_bytes,
        socket_timeout_s,
        reload_mercy_s,
        instance_mercy_s,
        startup_timeout_s,
        idle_s,
        limit_post_bytes,
        heartbeat_s,
        cheaper,
        guard,
        reaper,
        cpus,
    } = new;
    change.note(old.reaper != *reaper, "reaper", Need::Generation);
    change.note(old.cpus != *cpus, "cpu-affinity", Need::Generation);
    change.note(old.cheaper != *cheaper, "cheaper", Need::Generation);
    let GuardSpec { evil_rss_mib, evil_as_mib, collector_s, harakiri } = guard;
    let limits = (old.guard.evil_rss_mib, old.guard.evil_as_mib, old.guard.collector_s);
    let differs = limits != (*evil_rss_mib, *evil_as_mib, *collector_s);
    change.note(differs, "evil-reload-on-rss", Need::Nothing);
    change.note(old.guard.harakiri != *harakiri, "harakiri-graceful-timeout", Need::Nothing);
    change.note(old.processes != *processes, "processes", Need::Workers);
    // What workers go by reaches them through their zygote.
    change.note(old.threads != *threads, "threads", Need::Generation);
    change.note(old.gevent != *gevent, "gevent", Need::Generation);
    change.note(old.lazy_apps != *lazy_apps, "lazy-apps", Need::Generation);
    change.note(old.harakiri_s != *harakiri_s, "harakiri", Need::Generation);
    change.note(old.harakiri_no_hook != *harakiri_no_hook, "harakiri-no-arh", Need::Generation);
    change.note(old.max_requests != *max_requests, "max-requests", Need::Generation);
    change.note(old.max_requests_delta != *max_requests_delta, "max-requests-delta", Need::Generation);
    change.note(old.min_lifetime_s != *min_lifetime_s, "min-worker-lifetime", Need::Generation);
    change.note(old.max_lifetime_s != *max_lifetime_s, "max-worker-lifetime", Need::Generation);
    change.note(
        old.max_lifetime_delta_s != *max_lifetime_delta_s,
        "max-worker-lifetime-delta",
        Need::Generation,
    );
    change.note(old.reload_on_rss_mib != *reload_on_rss_mib, "reload-on-rss", Need::Generation);
    change.note(old.reload_on_as_mib != *reload_on_as_mib, "reload-on-as", Need::Generation);
    change.note(old.buffer_size_bytes != *buffer_size_bytes, "buffer-size", Need::Generation);
    change.note(old.socket_timeout_s != *socket_timeout_s, "socket-timeout", Need::Generation);
    change.note(old.reload_mercy_s != *reload_mercy_s, "worker-reload-mercy", Need::Nothing);
    change.note(old.limit_post_bytes != *limit_post_bytes, "limit-post", Need::Generation);
    change.note(old.idle_s != *idle_s, "idle", Need::Nothing);
    change.note(old.heartbeat_s != *heartbeat_s, "heartbeat", Need::Nothing);
    change.note(old.startup_timeout_s != *startup_timeout_s, "startup-timeout", Need::Nothing);
    change.note(old.instance_mercy_s != *instance_mercy_s, "reload-mercy", Need::Nothing);
}

fn diff_identity(change: &mut Change, old: &IdentitySpec, new: &IdentitySpec) {
    let IdentitySpec {
        uid,
        gid,
        add_gid,
        no_initgroups,
        umask,
        deny_root_apps,
        new_privileges,
        capabilities,
        immediate,
        after_init,
    } = new;
    change.note(old.immediate != *immediate, "immediate-uid", Need::Replace);
    change.note(old.after_init != *after_init, "drop-after-init", Need::Replace);
    change.note(old.capabilities != *capabilities, "cap", Need::Replace);
    change.note(old.new_privileges != *new_privileges, "no-new-privileges", Need::Replace);
    change.note(old.uid != *uid, "uid", Need::Replace);
    change.note(old.gid != *gid, "gid", Need::Replace);
    change.note(old.add_gid != *add_gid, "add-gid", Need::Replace);
    change.note(old.no_initgroups != *no_initgroups, "no-initgroups", Need::Replace);
    change.note(old.umask != *umask, "umask", Need::Generation);
    change.note(old.deny_root_apps != *deny_root_apps, "root-apps", Need::Generation);
}

#[cfg(test)]
mod tests {
    use super::super::load::fake::Imagined;
    use super::super::load::vassal;
    use super::*;

    fn spec(text: &str) -> InstanceSpec {
        let lines = text.replace(", ", "\n");
        let file = format!("[uwsgi]\nhttp-socket = :8080\nmodule = app\n{lines}\n");
        let loaded = vassal("/srv/app.ini", file.as_bytes(), &Imagined::new(&[]));
        loaded.spec.unwrap_or_else(|| panic!("{text}: {:?}", loaded.diagnostics))
    }

    #[test]
    fn every_change_has_its_need() {
        for (old, new, needs, options) in [
            ("", "", Need::Nothing, &[][..]),
            ("", "touch-reload = x, vacuum = true", Need::Nothing, &["touch-reload", "vacuum"]),
            ("", "http-timeout = 5", Need::Nothing, &["http-timeout"]),
            ("", "harakiri-graceful-signal = 2", Need::Nothing, &["harakiri-graceful-timeout"]),
            ("", "harakiri-no-arh = true", Need::Generation, &["harakiri-no-arh"]),
            ("", "processes = 2", Need::Workers, &["processes"]),
            ("", "processes = 2, threads = 4", Need::Generation, &["processes", "threads"]),
            ("", "module = other", Need::Generation, &["module"]),
            ("", "env = A=b", Need::Generation, &["env"]),
            ("", "reload-on-exception = true", Need::Generation, &["reload-on-exception"]),
            ("", "route = ^/ last:", Need::Generation, &["route"]),
            ("", "name = value", Need::Generation, &["opt"]),
            ("", "socket = :3031", Need::Generation, &["socket"]),
            ("", "socket = :80", Need::Generation, &["socket"]),
            ("uid = app", "uid = app, socket = :80", Need::Replace, &["socket"]),
            ("uid = app, socket = :80", "uid = app, uwsgi-socket = :80", Need::Generation, &["opt"]),
            ("uid = app, socket = :80", "uid = app, http-socket = :80", Need::Generation, &["socket"]),
            ("", "uid = app", Need::Replace, &["uid"]),
            ("", "exec-asap = true, hook-pre-app = print:a", Need::Generation, &["hook-asap"]),
            ("", "exec-as-root = true", Need::Replace, &["hook-as-root"]),
            ("", "hook-touch = /f exec:true, wait-for-file = /f", Need::Nothing, &["hook-touch"]),
            (
                "",
                "procname = x, prio = 3, chdir2 = x",
                Need::Reexec,
                &["chdir2", "prio", "auto-procname", "procname"],
            ),
            ("prio = 3", "prio = 2", Need::Reexec, &["prio"]),
            ("prio = 3", "", Need::Replace, &["prio"]),
            ("uid = app, prio = 3", "uid = app, prio = 2", Need::Replace, &["prio"]),
            ("", "unprivileged-binary-patch = x", Need::Replace, &["privileged-binary-patch"]),
            ("", "unshare = uts", Need::Replace, &["unshare"]),
            ("uid = app, max-fd = 90", "uid = app, max-fd = 89", Need::Generation, &["max-fd"]),
            ("", "limit-as = 9, limit-nproc = 9", Need::Generation, &["limit-as", "limit-nproc"]),
            ("max-fd = 89", "max-fd = 90", Need::Reexec, &["max-fd"]),
            ("uid = app, limit-as = 8", "uid = app, limit-as = 9", Need::Replace, &["limit-as"]),
            ("limit-nproc = 8", "", Need::Replace, &["limit-nproc"]),
            ("", "flock = x", Need::Replace, &["flock"]),
            ("", "exit-on-reload = true, fs-reload = x", Need::Nothing, &["fs-reload", "exit-on-reload"]),
            ("", "honour-stdin = true", Need::Generation, &["honour-stdin"]),
            ("", "logto = x.log", Need::Reexec, &["logto"]),
            ("uid = app", "uid = app, logto = x.log", Need::Replace, &["logto"]),
        ] {
            let change = diff(&spec(old), &spec(new));
            assert_eq!((change.needs, change.options.as_slice()), (needs, options), "{old:?} to {new:?}");
        }
        assert!(Need::Nothing < Need::Workers && Need::Reexec < Need::Replace);
    }
}
