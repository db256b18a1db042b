//! The options that liege refuses for good, family by family, each with what to do instead.

use super::Kind::{Address, Flag, FreeText, Language, Number, Path, Text};
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Refused, "", doc)
}

const CLUSTER: &str = "clustering is not part of liege: put a load balancer in front";
const SPOOLER: &str = "there is no spooler, tasks would be lost: use a task queue such as Celery or RQ";
const CONTAINERS: &str = "use the service manager or a container runtime";
const COMMAND_LINE_ONLY: &str = "only for the command line";

pub(super) static ROWS: &[Row] = &[
    // Other languages.
    row(
        &[
            "php-allowed-ext",
            "php-docroot",
            "php-set",
            "php-index",
            "php-app",
            "php-ini",
            "php-allowed-docroot",
            "php-allowed-script",
            "php-fallback",
        ],
        Text,
        "PHP is another language: keep this vassal on uWSGI or use php-fpm",
    ),
    row(
        &[
            "rack",
            "rails",
            "rbrequire",
            "rb-require",
            "ruby-require",
            "rubyrequire",
            "require",
            "rbthreads",
            "rb-threads",
            "ruby-gc-freq",
            "gemset",
            "rvm-path",
        ],
        Text,
        "Ruby is another language: keep this vassal on uWSGI",
    ),
    row(&["psgi"], Text, "Perl is another language: keep this vassal on uWSGI"),
    row(&["lua"], Text, "Lua is another language: keep this vassal on uWSGI"),
    row(
        &["jvm-class", "jvm-classpath", "jvm-main-class", "jwsgi"],
        Text,
        "Java is another language: keep this vassal on uWSGI",
    ),
    row(&["mono-app", "mono-index"], Text, "C# is another language: keep this vassal on uWSGI"),
    row(&["gccgo-load", "go-load"], Text, "Go programs serve HTTP themselves"),
    row(&["v8-load"], Text, "JavaScript is another language: keep this vassal on uWSGI"),
    row(
        &["cgi", "cgi-index", "cgi-allowed-ext", "cgi-helper", "cgi-mode"],
        FreeText,
        "CGI scripts belong to a web server",
    ),
    // Clustering and gateways.
    row(
        &[
            "fastrouter",
            "fastrouter-subscription-server",
            "fastrouter-resubscribe",
            "fastrouter-stats-server",
            "fastrouter-stats",
            "fastrouter-ss",
            "fastrouter-timeout",
            "fastrouter-workers",
            "fastrouter-processes",
            "fastrouter-to",
            "fastrouter-use-pattern",
            "fastrouter-use-base",
            "fastrouter-use-cache",
            "fastrouter-events",
            "fastrouter-zerg",
            "rawrouter",
            "rawrouter-to",
            "sslrouter",
            "forkptyrouter",
        ],
        Address,
        CLUSTER,
    ),
    row(&["fastrouter-cheap", "fastrouter-quiet"], Flag, CLUSTER),
    row(
        &[
            "legion",
            "legion-node",
            "legion-mcast",
            "legion-lord",
            "legion-unlord",
            "legion-setup",
            "legion-death",
            "legion-join",
            "legion-freq",
            "legion-tolerance",
        ],
        FreeText,
        CLUSTER,
    ),
    row(
        &[
            "subscribe2",
            "subscribe",
            "subscribe-to",
            "subscribe-freq",
            "subscription-notify-socket",
            "subscriptions-sign-skip-uid",
            "subscriptions-sign-check",
            "subscription-tolerance",
            "http-subscription-server",
        ],
        FreeText,
        CLUSTER,
    ),
    row(
        &["subscription-dotsplit", "subscriptions-use-credentials", "subscription-mountpoint"],
        Flag,
        CLUSTER,
    ),
    row(
        &[
            "http-modifier1",
            "http-modifier2",
            "http-use-cache",
            "http-use-pattern",
            "http-use-base",
            "http-use-code-string",
            "http-use-socket",
            "http-subscription-fallback-key",
            "http-zerg",
            "http-resubscribe",
            "http-fallback",
        ],
        Text,
        "the router serves this instance's workers only: use nginx",
    ),
    row(
        &["zerg", "zerg-server", "zerg-fallback", "zerg-pool", "emperor-broodlord", "emperor-proxy-socket"],
        Text,
        CLUSTER,
    ),
    row(&["tuntap-router", "tuntap-device", "tuntap-use-credentials"], Text, CONTAINERS),
    // Protocols and TLS.
    row(
        &[
            "suwsgi-socket",
            "ssl-socket",
            "fastcgi-nph-socket",
            "scgi-nph-socket",
            "udp",
            "raw-socket",
            "puwsgi-socket",
        ],
        Address,
        "use `socket` (uwsgi) or `http-socket`",
    ),
    row(
        &[
            "ssl-sessions-use-cache",
            "ssl-option",
            "ssl-enable-tlsv1",
            "ssl-enable-sslv3",
            "sni",
            "sni-dir",
            "sni-dir-ciphers",
            "sni-regexp",
        ],
        Text,
        "let the web server in front speak TLS",
    ),
    // Spooler.
    row(
        &[
            "spooler",
            "spooler-processes",
            "spooler-frequency",
            "spooler-chdir",
            "spooler-max-tasks",
            "spooler-harakiri",
            "spooler-external",
            "spooler-import",
        ],
        Path,
        SPOOLER,
    )
    .short('Q'),
    row(&["spooler-quiet", "spooler-ordered"], Flag, SPOOLER),
    row(
        &["farm", "touch-signal", "signal-timer", "timer", "rbtimer"],
        Text,
        "use a task queue or a systemd timer",
    ),
    // Programs and loaders.
    row(
        &[
            "worker-exec",
            "worker-exec2",
            "python-worker-override",
            "emperor-wrapper",
            "emperor-wrapper-override",
            "emperor-wrapper-fallback",
        ],
        Path,
        "run that program as a service of its own",
    ),
    row(
        &["eval", "web3", "pump", "wsgi-lite", "pecan", "python-raw"],
        Text,
        "load the application with `module` or `wsgi-file`",
    ),
    row(&["pyrun", "pyshell", "pyshell-oneshot", "test"], Text, "run the interpreter itself")
        .short('J')
        .optional(),
    // The system.
    row(
        &[
            "unshare",
            "cgroup",
            "cgroup-opt",
            "namespace",
            "namespace-net",
            "pivot-root",
            "pivot_root",
            "emperor-use-clone",
            "setns",
            "setns-socket",
            "mount-asap",
            "umount-asap",
            "mount-as-vassal",
            "umount-as-vassal",
            "mount-as-emperor",
            "umount-as-emperor",
        ],
        FreeText,
        CONTAINERS,
    ),
    row(
        &["call-asap", "call-pre-app", "call-post-app", "call-as-vassal", "call-as-emperor", "dlopen"],
        Text,
        "native symbols are never called",
    ),
    row(&["hook-as-gateway"], FreeText, "the router runs no hooks"),
    // Other sources of configuration.
    row(&["yaml", "yml"], Path, "YAML files are not read: write it as .ini").short('y'),
    row(&["json", "js"], Path, "JSON files are not read: write it as .ini").short('j'),
    row(&["xml", "xmlconfig"], Path, "XML files are not read: write it as .ini").short('x'),
    row(&["config"], Path, "other formats are not read: use `ini`"),
    row(
        &["ldap", "ldap-schema", "ldap-schema-ldif", "sqlite3", "zeus"],
        Text,
        "configurations are .ini files",
    ),
    row(
        &["declare-option", "declare-option2", "resolve", "inject-before", "inject-after", "custom-option"],
        FreeText,
        "write the options themselves, or `set-placeholder`",
    ),
    row(&["connect-and-read", "extract"], Text, "use curl"),
    // Of the command line.
    row(&["help", "version", "usage"], Flag, COMMAND_LINE_ONLY),
    row(&["get", "reload", "stop", "pause", "suspend", "resume"], Path, COMMAND_LINE_ONLY),
    row(&["exit"], Number, COMMAND_LINE_ONLY).optional(),
    row(&["iprint"], Language, "use `print`"),
];
