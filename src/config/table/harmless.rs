//! The options that are accepted without an effect: because it is always so, because it does not matter, or because
//! serving does not miss it until it exists. Each but the first kind costs one warning.

use super::Kind::{Address, Flag, FreeText, Mode, Number, Pair, Path, Text};
use super::{Kind, Row, Standing};

const fn always(names: &'static [&'static str], doc: &'static str) -> Row {
    Row::new(names, Kind::Flag, Standing::Always, "on", doc)
}

const fn never(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::NoEffect, "", doc)
}

const fn later(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Later, "", doc)
}

const LOG_LINE: &str = "the line of a request has one form";
const WHICH_LINES: &str = "every request has its line, or none has with `disable-logging`";
const LOG_GOES: &str = "the log goes to `logto` or standard error";
const ALL_RUN: &str = "all `processes` run all the time";
const RECYCLING: &str = "workers are replaced by `max-requests` only";
const ALARMS: &str = "NOBODY IS NOTIFIED; watch the HTTP API or the log instead";
const MONITORING: &str = "monitoring only; the HTTP API and `stats` tell";
const NO_STATIC: &str = "concerns static files only, which the web server in front serves";
const NO_PLUGINS: &str = "there are no plugins to search or load";

pub(super) static ROWS: &[Row] = &[
    // Always so.
    always(&["master"], "There is always a master").short('M'),
    always(&["enable-threads"], "Python threads always run").short('T'),
    always(&["single-interpreter"], "A worker has one interpreter").short('i'),
    always(&["no-orphans"], "Workers end when their master is gone"),
    always(&["log-master"], "The master writes the log"),
    always(&["no-defer-accept"], "Accepting is never deferred"),
    always(
        &["close-on-exec", "close-on-exec2"],
        "No descriptor of ours reaches a program that the application starts",
    ),
    always(&["tcp-nodelay"], "Small answers are sent at once"),
    always(&["http-auto-chunked"], "Answers without a length are chunked"),
    always(&["http-manage-expect"], "`Expect: 100-continue` is answered when the body is read"),
    always(&["emperor-graceful-shutdown"], "Vassals finish their requests"),
    // For good: it does not matter here.
    never(&["thunder-lock", "tlock"], Flag, "an incoming connection wakes one worker anyway"),
    never(&["offload-threads", "offload-thread"], Number, "a performance hint; big answers are streamed"),
    never(&["plugins-dir", "plugin-dir", "autoload"], Text, NO_PLUGINS),
    never(
        &[
            "plugins-list",
            "plugin-list",
            "dump-options",
            "loggers-list",
            "cheaper-algos-list",
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
            "alarm-freq",
        ],
        FreeText,
        ALARMS,
    ),
    never(&["alarm-cheap"], Flag, ALARMS),
    never(&["binary-path"], Path, "liege knows its own path"),
    never(
        &[
            "carbon",
            "carbon-root",
            "carbon-hostname-dots",
            "stats-push",
            "metric",
            "metrics-dir",
            "snmp",
            "snmp-community",
            "stats-pushers-default-freq",
        ],
        Text,
        MONITORING,
    ),
    never(&["enable-metrics"], Flag, MONITORING),
    never(&["http-stats-server", "http-stats", "http-ss"], Address, MONITORING),
    never(&["py-call-osafterfork", "py-call-uwsgi-fork-hooks"], Flag, "Python's fork hooks always run"),
    never(&["async"], Number, "a worker runs one request at a time; use `threads` for more"),
    never(&["async-warn-if-queue-full"], Flag, "there are no async cores"),
    never(&["ugreen"], Flag, "a WSGI application cannot tell; for more requests at a time set `threads`"),
    never(&["http-manage-rtsp", "http-manage-source"], Flag, "no web application uses that"),
    never(&["http-processes"], Number, "the router needs no copies of itself"),
    never(&["http-events", "http-backlog", "http-quiet"], Number, "a detail of uWSGI's router"),
    never(&["http-uid", "http-gid"], Text, "the router runs as the instance does"),
    never(
        &["http-chunked-input", "http-raw-body"],
        Flag,
        "chunked bodies reach the application decoded, through `wsgi.input`",
    ),
    never(&["ksm"], Number, "a memory hint; the application is loaded once and shared by its workers"),
    never(
        &["queue", "queue-blocksize"],
        Number,
        "only the `uwsgi.queue_*` functions need it, and they raise",
    ),
    never(&["log-sendfile"], Flag, WHICH_LINES),
    never(&["ssl-tmp-dir", "ssl-verify-depth"], Text, "no temporary files are needed"),
    never(&["static-cache-paths", "static-cache-paths-name"], Text, NO_STATIC),
    never(&["unsubscribe-on-graceful-reload"], Flag, "there are no subscriptions"),
    never(&["never-swap"], Flag, "memory is not locked"),
    never(&["max-apps", "max-vars", "vars"], Number, "liege has no such limits").short('v'),
    never(&["lock-engine", "ftok"], Text, "nothing is locked between processes"),
    never(&["tcp-fast-open", "tcp-fast-open-client"], Number, "a hint for the kernel"),
    never(&["wsgi-env-behaviour", "wsgi-env-behavior"], Text, "every request has an environ of its own"),
    never(&["wsgi-strict", "reload-os-env", "start_response-nodelay"], Flag, "the bridge follows PEP 3333"),
    never(&["vassal-sos", "vassal-sos-backlog"], Number, "nobody reinforces a vassal"),
    never(&["forkbomb-delay"], Number, "workers that die are started again with growing delays"),
    never(
        &["py-programname", "py-program-name", "py-executable"],
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
    // Serving does not miss it until it exists: logging.
    later(&["log-4xx", "log-5xx", "log-zero", "log-ioerror"], Flag, WHICH_LINES),
    later(&["log-slow", "log-big"], Number, WHICH_LINES),
    later(&["memory-report"], Flag, LOG_LINE).short('m').optional(),
    later(
        &["log-x-forwarded-for", "log-micros", "logformat-strftime", "log-format-strftime"],
        Flag,
        LOG_LINE,
    ),
    later(&["log-format", "logformat"], FreeText, LOG_LINE),
    later(
        &["log-date", "logdate", "log-prefix"],
        FreeText,
        "lines have no date of their own: the journal has",
    )
    .optional(),
    later(
        &[
            "logger",
            "req-logger",
            "logger-req",
            "log-encoder",
            "log-req-encoder",
            "log-route",
            "log-req-route",
            "log-filter",
            "log-drain",
        ],
        FreeText,
        LOG_GOES,
    ),
    later(&["log-syslog", "log-socket", "log-master-stream"], Text, LOG_GOES).optional(),
    later(&["threaded-logger", "log-master-req-stream"], Flag, LOG_GOES),
    later(
        &["log-maxsize", "log-master-bufsize"],
        Number,
        "the log is not rotated: let logrotate do it with `copytruncate`, or log to the journal",
    ),
    later(
        &["log-backupname", "touch-logrotate", "touch-logreopen"],
        Text,
        "the log is not rotated: let logrotate do it with `copytruncate`, or log to the journal",
    ),
    later(&["log-reopen", "log-truncate"], Flag, "the log is opened once, at the start, and appended to"),
    later(&["logfile-chown"], Flag, "the log belongs to whoever started the instance"),
    later(&["logfile-chmod"], Mode, "the log has the mode that the umask gives it"),
    later(
        &["ignore-sigpipe", "ignore-write-errors", "harakiri-verbose", "body-read-warning"],
        Flag,
        "log detail",
    ),
    later(
        &["disable-write-exception"],
        Flag,
        "an application that writes to a client that is gone is told so",
    ),
    later(
        &["write-errors-tolerance"],
        Number,
        "an application that writes to a client that is gone is told so",
    ),
    later(&["show-config"], Flag, "`liege check FILE` shows the configuration"),
    // … workers.
    later(
        &[
            "cheaper",
            "cheaper-initial",
            "cheaper-step",
            "cheaper-overload",
            "cheaper-idle",
            "cheaper-rss-limit-soft",
            "cheaper-rss-limit-hard",
        ],
        Number,
        ALL_RUN,
    ),
    later(&["cheaper-algo", "cheaper-algorithm"], Text, ALL_RUN),
    later(
        &[
            "cheaper-busyness-max",
            "cheaper-busyness-min",
            "cheaper-busyness-multiplier",
            "cheaper-busyness-penalty",
            "cheaper-busyness-backlog-alert",
            "cheaper-busyness-backlog-step",
            "cheaper-busyness-backlog-multiplier",
            "cheaper-busyness-backlog-nonzero",
        ],
        Number,
        ALL_RUN,
    ),
    later(&["cheaper-busyness-verbose", "cheap", "die-on-idle"], Flag, ALL_RUN),
    later(&["idle"], Number, ALL_RUN),
    later(
        &[
            "reload-on-rss",
            "reload-on-as",
            "evil-reload-on-rss",
            "evil-reload-on-as",
            "mem-collector-freq",
            "max-worker-lifetime",
            "max-worker-lifetime-delta",
        ],
        Number,
        RECYCLING,
    ),
    later(&["reload-on-exception", "catch-exceptions"], Flag, "an exception is answered with 500 and logged"),
    later(
        &["reload-on-exception-type", "reload-on-exception-value", "reload-on-exception-repr"],
        Text,
        "an exception is answered with 500 and logged",
    ),
    later(
        &["harakiri-graceful-timeout", "harakiri-graceful-signal", "harakiri-queue-threshold"],
        Number,
        "a worker that overruns `harakiri` is killed at once",
    ),
    later(&["harakiri-no-arh"], Flag, "a worker that overruns `harakiri` is killed at once"),
    later(
        &["py-autoreload", "python-autoreload", "py-auto-reload", "python-auto-reload"],
        Number,
        "changed modules are not noticed: use `touch-reload`",
    ),
    later(
        &["py-auto-reload-ignore", "py-autoreload-ignore"],
        Text,
        "changed modules are not noticed: use `touch-reload`",
    ),
    later(&["py-tracebacker"], Text, "monitoring only"),
    later(&["fs-reload", "fs-brutal-reload"], Path, "use `touch-reload`"),
    later(&["master-fifo"], Path, "use the HTTP API, `liege reload` or signals"),
    later(&["exit-on-reload"], Flag, "a reload reloads"),
    later(&["manage-script-name"], Flag, "concerns `mount` only"),
    later(
        &["post-buffering", "post-buffering-bufsize"],
        Number,
        "the application reads the body as it comes",
    ),
    later(&["limit-as", "limit-nproc", "max-fd", "prio"], Number, "the limits of the service manager hold"),
    later(&["cpu-affinity"], Number, "the kernel chooses the CPU"),
    later(&["optimize"], Number, "the interpreter runs as always; set PYTHONOPTIMIZE in its environment")
        .short('O'),
    later(
        &[
            "skip-atexit",
            "skip-atexit-teardown",
            "reaper",
            "honour-stdin",
            "wsgi-disable-file-wrapper",
            "wsgi-accept-buffer",
        ],
        Flag,
        "the usual behaviour holds",
    ),
    later(&["procname", "procname-master", "procname-append"], Text, "the title is that of `auto-procname`"),
    later(
        &["stats-http", "stats-no-cores", "stats-minified", "stats-min", "stats-no-metrics"],
        Flag,
        "the statistics have one form",
    ),
    later(&["cache2", "cache"], FreeText, "the `uwsgi.cache_*` functions raise"),
    later(
        &["websockets-ping-freq", "websockets-pong-tolerance", "websockets-max-size"],
        Number,
        "the `uwsgi.websocket_*` functions raise",
    ),
    later(
        &["heartbeat", "emperor-required-heartbeat"],
        Number,
        "the emperor sees by itself whether a vassal lives",
    ),
    later(
        &["fallback-config"],
        Path,
        "a configuration that cannot be used is reported, and the one before serves on",
    ),
    // … sockets and the router.
    later(
        &["reuse-port", "so-keepalive", "http-cheap", "http-auto-gzip"],
        Flag,
        "connections are handled as always",
    ),
    later(
        &[
            "so-send-timeout",
            "socket-send-timeout",
            "so-write-timeout",
            "socket-write-timeout",
            "socket-sndbuf",
            "socket-rcvbuf",
        ],
        Number,
        "`socket-timeout` holds for writing too",
    ),
    later(
        &["http-connect-timeout", "http-headers-timeout", "http-buffer-size", "http-harakiri"],
        Number,
        "`http-timeout` and fixed limits hold",
    ),
    later(
        &["chunked-input-limit", "chunked-input-timeout", "response-headers-limit"],
        Number,
        "fixed limits hold",
    ),
    // … static files, which alone do nothing.
    later(
        &[
            "static-expires",
            "static-expires-mtime",
            "static-expires-type",
            "static-expires-type-mtime",
            "static-expires-uri",
            "static-expires-uri-mtime",
            "static-expires-path-info",
            "static-expires-path-info-mtime",
        ],
        Pair,
        NO_STATIC,
    ),
    later(
        &[
            "static-gzip",
            "static-gzip-dir",
            "static-gzip-prefix",
            "static-gzip-ext",
            "static-gzip-suffix",
            "static-skip-ext",
            "static-safe",
            "static-index",
            "mime-file",
            "mimefile",
            "file-serve-mode",
        ],
        Text,
        NO_STATIC,
    ),
    later(&["static-gzip-all", "honour-range", "check-static-docroot"], Flag, NO_STATIC),
    // … the emperor.
    later(&["emperor-stats", "emperor-stats-server"], Address, "the HTTP API tells"),
    later(&["emperor-procname"], Text, "the title is `liege emperor`"),
    later(&["emperor-no-blacklist"], Flag, "a vassal that dies is started again with growing delays"),
];
