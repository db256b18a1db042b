//! The options that are refused until they exist: without them something else would be served, or something unsafe
//! done. The text says what to use until then.

use super::Kind::{Address, Flag, FreeText, Number, Pair, Path, Text};
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::NotYet, "", doc)
}

const STATIC: &str = "let the web server in front serve static files, or WhiteNoise in the application";
const HOOKS: &str = "run it from the service unit (`ExecStartPre=`, `ExecStartPost=`)";
const DAEMONS: &str = "run it as a service of its own";
const DROP: &str = "privileges drop before the application is loaded: give the instance `uid` and `gid`";
const ROUTES: &str = "do it in the web server in front or in the application";
const COMMON: &str = "write it into each vassal's file";

pub(super) static ROWS: &[Row] = &[
    // Sockets and protocols.
    row(
        &["https", "https2", "https-socket", "https-export-cert"],
        FreeText,
        "let the web server in front speak TLS",
    ),
    row(&["http-to-https"], Address, "let the web server in front redirect"),
    row(&["http-to"], Address, "the router serves this instance's workers only: leave it out, or use nginx"),
    row(&["http-websockets"], Flag, "run the websocket part on an ASGI server"),
    row(&["http-enable-proxy-protocol"], Flag, "let the proxy in front send X-Forwarded-For"),
    row(&["http-server-name-as-http-host"], Flag, "the application finds the name in HTTP_HOST"),
    row(&["http-var"], Pair, "set it with `env`, or in the web server in front"),
    row(&["fastcgi-socket", "scgi-socket"], Address, "use `socket` (uwsgi) or `http-socket`"),
    row(
        &["shared-socket", "undeferred-shared-socket"],
        Address,
        "bind to a port that needs no privilege, or use socket activation in front",
    ),
    row(&["map-socket"], Text, "every worker serves every socket"),
    row(&["freebind"], Flag, "start after the address is there"),
    row(&["limit-post"], Number, "limit it in the web server in front (nginx: client_max_body_size)"),
    row(
        &["add-header", "add-header-req"],
        FreeText,
        "add it in the web server in front or in the application",
    ),
    // Static files.
    row(&["static-map", "static-map2"], Pair, STATIC),
    row(&["check-static", "static-check"], Path, STATIC),
    // Applications.
    row(&["mount", "worker-mount"], Pair, "give each application its own vassal"),
    row(&["gevent"], Number, "use `threads`: requests would run one after the other").short('G'),
    row(&["gevent-early-monkey-patch", "gevent-monkey-patch", "gevent-wait-for-hub"], Flag, "use `threads`"),
    row(
        &["paste", "ini-paste", "paste-logger"],
        Text,
        "load it with `module`: a file that calls paste.deploy.loadapp",
    ),
    row(
        &[
            "import",
            "pyimport",
            "py-import",
            "python-import",
            "shared-import",
            "pyshared-import",
            "py-shared-import",
            "python-shared-import",
        ],
        Text,
        "import it in the application's module",
    ),
    row(&["pymodule-alias", "post-pymodule-alias"], Pair, "do it in the application's module"),
    row(&["pyargv"], Text, "set sys.argv in the application's module"),
    row(&["no-site"], Flag, "name an interpreter that is set up that way with `python`"),
    row(&["chdir2"], Path, "use `chdir`, or os.chdir in the application"),
    row(&["envdir", "envdirs", "early-envdir"], Path, "use `env`, or EnvironmentFile= of the service unit"),
    row(&["locks", "sharedarea"], Text, "lock through the database or a file"),
    // Companions.
    row(
        &[
            "attach-daemon",
            "attach-daemon2",
            "smart-attach-daemon",
            "smart-attach-daemon2",
            "attach-control-daemon",
            "legion-attach-daemon",
        ],
        FreeText,
        DAEMONS,
    ),
    row(&["daemons-honour-stdin"], Flag, DAEMONS),
    row(&["cron", "cron2", "unique-cron", "legion-cron"], FreeText, "use cron or a systemd timer"),
    row(&["mule", "mules", "mule-reload-mercy", "mule-harakiri", "mule-msg-size"], Text, DAEMONS).optional(),
    // Hooks and commands.
    row(
        &["hook-master-start"],
        FreeText,
        "only `unix_signal:15 gracefully_kill_them_all` is understood, and always so",
    ),
    row(
        &[
            "hook-asap",
            "hook-pre-jail",
            "hook-post-jail",
            "hook-in-jail",
            "hook-as-root",
            "hook-as-user",
            "hook-as-user-atexit",
            "hook-pre-app",
            "hook-post-app",
            "hook-post-fork",
            "hook-accepting",
            "hook-accepting1",
            "hook-accepting-once",
            "hook-accepting1-once",
            "hook-touch",
            "hook-as-vassal",
            "hook-as-emperor",
            "hook-emperor-start",
            "hook-emperor-stop",
            "hook-emperor-reload",
            "hook-emperor-lost",
        ],
        FreeText,
        HOOKS,
    ),
    row(
        &[
            "exec-asap",
            "exec-pre-jail",
            "exec-post-jail",
            "exec-in-jail",
            "exec-as-root",
            "exec-as-user",
            "exec-as-user-atexit",
            "exec-pre-app",
            "exec-post-app",
            "exec-as-vassal",
            "exec-as-emperor",
            "touch-exec",
        ],
        FreeText,
        HOOKS,
    ),
    row(&["touch-mules-reload"], Path, DAEMONS),
    row(&["vassals-start-hook", "vassals-stop-hook"], FreeText, HOOKS),
    row(
        &[
            "wait-for-file",
            "wait-for-dir",
            "wait-for-socket",
            "wait-for-interface",
            "wait-for-fs",
            "wait-for-file-timeout",
            "wait-for-dir-timeout",
            "wait-for-socket-timeout",
            "wait-for-interface-timeout",
            "wait-for-fs-timeout",
        ],
        Text,
        "let the service unit wait (After=, ExecStartPre=)",
    ),
    // Privileges.
    row(&["drop-after-init", "drop-after-apps", "master-as-root"], Flag, DROP),
    row(&["immediate-uid", "immediate-gid"], Text, DROP),
    row(&["chroot"], Path, "use RootDirectory= of the service unit"),
    row(&["cap"], Text, "use AmbientCapabilities= of the service unit"),
    row(&["flock", "flock-wait", "flock2", "flock-wait2"], Path, "the emperor starts each vassal once"),
    row(&["safe-pidfile2"], Path, "use `safe-pidfile` or `pidfile2`"),
    row(&["daemonize2"], Path, "use `daemonize`"),
    row(&["blacklist", "whitelist"], Text, "options of a file cannot be limited"),
    row(&["end-blacklist", "end-whitelist"], Flag, "options of a file cannot be limited"),
    // Request routing.
    row(
        &[
            "route",
            "route-if",
            "route-if-not",
            "route-uri",
            "error-route-uri",
            "route-run",
            "route-host",
            "route-remote-addr",
            "route-qs",
            "route-label",
            "final-route",
            "response-route",
            "error-route",
            "route-user-agent",
            "route-referer",
            "route-status",
            "error-route-status",
            "response-route-uri",
            "response-route-if",
            "response-route-run",
            "final-route-uri",
        ],
        FreeText,
        ROUTES,
    ),
    row(
        &["if-hostname-match", "if-not-hostname-match"],
        Text,
        "use `if-hostname`, or name a variable with `if-env`",
    ),
    // The emperor.
    row(&["vassal-set", "vassals-set"], Pair, COMMON),
    row(
        &["vassals-include", "vassals-include-before", "vassals-inherit", "vassals-inherit-before"],
        Path,
        COMMON,
    ),
    row(
        &["emperor-tyrant", "emperor-tyrant-nofollow", "emperor-tyrant-initgroups", "early-emperor"],
        Flag,
        "give each vassal its `uid` and `gid`",
    ),
    row(&["emperor-nofollow"], Flag, "links are followed"),
    row(&["emperor-magic-exec"], Flag, "write the configuration into the file"),
    row(&["emperor-extra-extension", "emperor-extra-ext"], Text, "name the files .ini"),
    row(
        &[
            "emperor-on-demand-directory",
            "emperor-on-demand-dir",
            "emperor-on-demand-extension",
            "emperor-on-demand-ext",
            "emperor-on-demand-exec",
        ],
        Text,
        "vassals are started when their file appears",
    ),
    row(&["emperor-cap", "vassals-cap", "vassal-cap"], Text, "use AmbientCapabilities= of the service unit"),
];
