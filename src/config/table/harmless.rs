//! The options that are accepted without an effect, for good: because it is always so, or because it does not matter,
//! which costs one warning.

use super::Kind::{Address, Flag, FreeText, Number, Path, Text};
use super::{Kind, Row, Standing};

const fn always(names: &'static [&'static str], doc: &'static str) -> Row {
    Row::new(names, Kind::Flag, Standing::Always, "on", doc)
}

const fn never(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::NoEffect, "", doc)
}

const WHICH_LINES: &str = "`disable-logging`, `log-4xx` and their like say which requests have a line";
const ALARMS: &str = "NOBODY IS NOTIFIED; watch the HTTP API or the log instead";
const MONITORING: &str = "monitoring only; the HTTP API and `stats` tell";
const NO_CACHE: &str = "files are looked for anew each time, so that a change is seen at once";
const ROUTER_BUFFERS: &str =
    "the router's buffers grow as they are needed, up to fixed limits: `buffer-size` is the limit of a head";
const BODY_PIECES: &str = "what waits in a file is read in pieces of up to 256 KiB, as much as there is";
const NO_PLUGINS: &str = "there are no plugins to search or load";

pub(super) static ROWS: &[Row] = &[
    // Always so.
    always(&["master"], "There is always a master").short('M'),
    always(&["enable-threads"], "Python threads always run").short('T'),
    always(&["single-interpreter"], "A worker has one interpreter").short('i'),
    always(&["no-orphans"], "Workers end when their master is gone"),
    always(&["log-master"], "The master writes the log"),
    always(&["threaded-logger"], "A slow logger holds nobody up"),
    always(&["log-master-stream", "log-master-req-stream"], "Lines reach the master as a stream"),
    always(&["no-defer-accept"], "Accepting is never deferred"),
    always(
        &["close-on-exec", "close-on-exec2"],
        "No descriptor of ours reaches a program that the application starts",
    ),
    always(&["harakiri-verbose"], "What a worker that is killed was doing is logged"),
    always(&["tcp-nodelay"], "Small answers are sent at once"),
    always(&["http-auto-chunked"], "Answers without a length are chunked"),
    always(&["http-manage-expect"], "`Expect: 100-continue` is answered when the body is read").optional(),
    always(&["die-on-idle"], "Under an emperor an instance that `idle` finds idle ends, and is woken again"),
    always(&["early-emperor"], "The emperor starts first, and keeps its rights: it takes no `uid`"),
    always(&["stats-no-metrics"], "The statistics have no metrics"),
    always(&["emperor-graceful-shutdown"], "Vassals finish their requests"),
    always(&["emperor-subreaper"], "What a vassal leaves behind is the emperor's to end"),
    always(&["ignore-sigpipe", "ignore-write-errors"], "A client that goes away is no event of the log"),
    Row::new(
        &["post-buffering"],
        Number,
        Standing::Always,
        "on",
        "Bodies from `http` and `http-socket` are received before the application is called",
    ),
    // For good: it does not matter here.
    never(&["http-buffer-size"], Number, ROUTER_BUFFERS),
    never(&["post-buffering-bufsize"], Number, BODY_PIECES),
    never(
        &["http-cheap"],
        Flag,
        "no instance subscribes to the router: a router without workers is there for `cheap` and `idle` only, which say so themselves",
    ),
    never(&["thunder-lock", "tlock"], Flag, "an incoming connection wakes one worker anyway"),
    never(&["offload-threads", "offload-thread"], Number, "a performance hint; big answers are streamed"),
    never(&["plugins-dir", "plugin-dir"], Text, NO_PLUGINS),
    never(&["autoload"], Flag, NO_PLUGINS),
    never(
        &[
            "plugins-list",
            "plugin-list",
            "dump-options",
            "loggers-list",
            "logger-list",
            "cheaper-algos-list",
            "cheaper-algo-list",
            "cheaper-list",
            "imperial-monitor-list",
            "imperial-monitors-list",
        ],
        Flag,
        "`liege --help` and the documentation tell",
    ),
    never(&["vhost", "vhost-host", "vhost-hostname"], Flag, "the one application serves every name"),
    never(
        &[
            "alarm",
            "alarm-backlog",
            "alarm-listen-queue",
            "backlog-alarm",
            "lq-alarm",
            "alarm-lq",
            "listen-queue-alarm",
            "alarm-segfault",
            "segfault-alarm",
            "log-alarm",
            "alarm-log",
        ],
        FreeText,
        ALARMS,
    ),
    never(&["alarm-freq", "alarm-cheap"], Number, ALARMS),
    never(&["binary-path"], Path, "liege knows its own path"),
    never(
        &[
            "carbon",
            "carbon-root",
            "carbon-hostname-dots",
            "metric",
            "metrics-dir",
            "metric-dir",
            "snmp-community",
        ],
        Text,
        MONITORING,
    ),
    never(&["snmp"], Text, MONITORING).optional(),
    never(&["enable-metrics"], Flag, MONITORING),
    never(&["http-stats-server", "http-stats", "http-ss"], Address, MONITORING),
    never(&["py-call-osafterfork", "py-call-uwsgi-fork-hooks"], Flag, "Python's fork hooks always run"),
    never(&["async"], Number, "for more requests at a time set `threads` or `gevent`"),
    never(&["async-warn-if-queue-full"], Flag, "there are no async cores"),
    never(
        &["ugreen"],
        Flag,
        "a WSGI application cannot tell; for more requests at a time set `threads` or `gevent`",
    ),
    never(&["http-manage-rtsp", "http-manage-source"], Flag, "no web application uses that"),
    never(&["http-processes", "http-workers"], Number, "the router needs no copies of itself"),
    never(&["http-events", "http-backlog", "http-quiet"], Number, "a detail of uWSGI's router"),
    never(&["http-uid", "http-gid"], Text, "the router runs as the instance does"),
    never(
        &["http-chunked-input", "http-raw-body"],
        Flag,
        "chunked bodies reach the application decoded, through `wsgi.input`",
    ),
    never(&["ksm"], Number, "a memory hint; the application is loaded once and shared by its workers")
        .optional(),
    never(
        &["queue", "queue-blocksize"],
        Number,
        "only the `uwsgi.queue_*` functions need it, and they raise",
    ),
    never(&["log-sendfile"], Text, WHICH_LINES),
    never(&["ssl-tmp-dir"], Text, "no temporary files are needed"),
    never(&["static-cache-paths"], Number, NO_CACHE),
    never(&["static-cache-paths-name"], Text, NO_CACHE),
    never(
        &["check-static-docroot"],
        Flag,
        "no variable of a request names a directory: name it with `check-static`",
    ),
    never(&["unsubscribe-on-graceful-reload"], Flag, "there are no subscriptions"),
    never(&["never-swap"], Flag, "memory is not locked"),
    never(&["write-errors-exception-only"], Flag, "the application goes on as it likes"),
    never(&["mode"], Text, "only `uwsgi.mode` would tell it"),
    never(&["max-apps", "max-vars", "vars"], Number, "liege has no such limit").short('v'),
    never(&["lock-engine", "ftok"], Text, "liege has one kind of lock, that of the C library"),
    never(&["tcp-fast-open", "tcp-fastopen"], Number, "a hint for the kernel"),
    never(&["tcp-fast-open-client", "tcp-fastopen-client"], Flag, "a hint for the kernel"),
    never(&["wsgi-env-behaviour", "wsgi-env-behavior"], Text, "every request has an environ of its own"),
    never(&["wsgi-strict", "reload-os-env", "start_response-nodelay"], Flag, "the bridge follows PEP 3333"),
    never(&["vassal-sos", "vassal-sos-backlog"], Number, "nobody reinforces a vassal"),
    never(&["forkbomb-delay"], Number, "workers that die are started again with growing delays"),
    never(
        &["py-programname", "py-program-name", "py-executable", "py-sys-executable"],
        Path,
        "a real interpreter runs the workers: `sys.executable` is right",
    ),
    never(
        &[
            "backtrace-depth",
            "check-interval",
            "thread-stacksize",
            "thread-stack-size",
            "threads-stacksize",
            "threads-stack-size",
        ],
        Number,
        "a detail of uWSGI's processes",
    ),
];
