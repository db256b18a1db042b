//! The options that liege refuses for good, family by family, each with what to do instead.

use super::Kind::{Address, Flag, FreeText, Language, Number, Path, Text};
use super::{Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Refused, "", doc)
}

const CLUSTER: &str = "clustering is not part of liege: put a load balancer in front";
const ZERG: &str = "no instance reinforces another one: give it `processes` enough for its worst hour";
const SPOOLER: &str = "there is no spooler, tasks would be lost: use a task queue such as Celery or RQ";
const CONTAINERS: &str = "use the service manager or a container runtime";
const TLS: &str = "let the web server in front speak TLS";

const DROP: &str = "an application that is loaded as root can do anything, whatever is dropped after it: let its user read what it needs, or say `cap`; `drop-after-init` makes the sockets as root";
const MASTER: &str = "the master believes its workers, and so has no rights that they have not: say `drop-after-init` for sockets, `hook-as-root` for what root does first, or `cap`";

pub(super) static ROWS: &[Row] = &[
    // Request routing.
    row(
        &["route-status"],
        FreeText,
        "there is no status yet: say error-route-status or response-route-status",
    ),
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
            "ruby-gc-freq",
            "gemset",
            "rvm-path",
        ],
        Text,
        "Ruby is another language: keep this vassal on uWSGI",
    ),
    row(&["rbthreads", "rb-threads"], Flag, "Ruby is another language: keep this vassal on uWSGI"),
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
        &["cgi", "cgi-index", "cgi-allowed-ext", "cgi-helper"],
        FreeText,
        "CGI scripts belong to a web server",
    ),
    row(&["cgi-mode"], Flag, "CGI scripts belong to a web server").short('c'),
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
    row(&["fastrouter-use-cache"], Text, CLUSTER).optional(),
    row(&["fastrouter-quiet"], Number, CLUSTER),
    row(&["fastrouter-cheap"], Flag, CLUSTER),
    row(
        &["legion-attach-daemon"],
        FreeText,
        "there are no legions: say `attach-daemon` on the host that shall have it, or let systemd or keepalived start and stop a vassal of its own",
    ),
    row(
        &["legion-cron"],
        FreeText,
        "there are no legions: say `cron` on the host that shall run it, or let the command ask who may",
    ),
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
            "st",
            "subscribe-freq",
            "subscription-notify-socket",
            "subscriptions-sign-skip-uid",
            "subscriptions-sign-check",
            "subscription-tolerance",
            "subscription-mountpoint",
            "http-subscription-server",
        ],
        FreeText,
        CLUSTER,
    ),
    row(&["subscription-dotsplit", "subscriptions-use-credentials"], Flag, CLUSTER),
    row(
        &[
            "http-modifier1",
            "http-modifier2",
            "http-use-pattern",
            "http-use-base",
            "http-use-code-string",
            "http-subscription-fallback-key",
            "http-zerg",
            "http-resubscribe",
            "http-fallback",
        ],
        Text,
        "the router serves this instance's workers only: use nginx",
    ),
    row(&["zerg", "zerg-server", "zerg-pool", "zergpool"], Text, ZERG),
    row(&["emperor-broodlord"], Number, ZERG),
    row(
        &["emperor-proxy-socket"],
        Path,
        "an instance keeps its emperor to itself: name the program that is to run with `exec` in `[emperor]`",
    ),
    row(
        &["http-use-cache", "http-use-socket"],
        Text,
        "the router serves this instance's workers only: use nginx",
    )
    .optional(),
    row(&["zerg-fallback"], Flag, ZERG),
    row(&["tuntap-router", "tuntap-device"], Text, CONTAINERS),
    row(&["tuntap-use-credentials"], Text, CONTAINERS).optional(),
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
    row(&["sni", "sni-dir", "sni-dir-ciphers", "sni-regexp"], Text, TLS),
    row(&["ssl-option", "ssl-enable-tlsv1", "ssl-enable-sslv3", "ssl-enable3"], Flag, TLS),
    row(&["ssl-sessions-use-cache", "ssl-session-use-cache", "ssl-verify-depth"], Text, TLS).optional(),
    // Spooler.
    row(
        &[
            "spooler",
            "spooler-processes",
            "spooler-frequency",
            "spooler-freq",
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
        &["farm", "touch-signal", "signal-timer", "timer", "rbtimer", "signal-rbtimer"],
        Text,
        "use a task queue or a systemd timer",
    ),
    // Programs and loaders.
    row(
        &["worker-exec", "worker-exec2", "python-worker-override"],
        Path,
        "run that program as a service of its own",
    ),
    row(
        &["eval", "web3", "pump", "wsgi-lite", "pecan", "python-raw"],
        Text,
        "load the application with `module` or `wsgi-file`",
    ),
    row(&["pyrun", "py", "test"], Text, "run the interpreter itself").short('J'),
    row(&["pyshell", "pyshell-oneshot"], Text, "run the interpreter itself").optional(),
    // The system.
    row(
        &[
            "namespace",
            "namespace-net",
            "ns",
            "ns-net",
            "pivot-root",
            "pivot_root",
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
        &["cgroup", "cgroup-opt"],
        FreeText,
        "an instance makes no control groups for itself: say memory-max, cpu-max, cpu-weight or pids-max in the section [emperor] of its file, or vassals-limit in the emperor's options",
    ),
    row(
        &["unshare2"],
        FreeText,
        "who has dropped its privileges gets namespaces only as root of a user namespace, which no instance is: say unshare, or emperor-use-clone in the emperor's options",
    ),
    row(
        &["call-asap", "call-pre-app", "call-post-app", "call-as-vassal", "call-as-emperor", "dlopen"],
        Text,
        "native symbols are never called",
    ),
    // The emperor of uWSGI 2.1.
    row(
        &["emperor-command-socket", "emperor-trigger-socket"],
        Address,
        "the API and the command line start, stop and reload a vassal: liege --help",
    ),
    row(
        &["emperor-wait-for-command"],
        Flag,
        "files in a watched directory are started: move those there that are wanted",
    ),
    row(
        &["emperor-wait-for-command-ignore"],
        Text,
        "files in a watched directory are started: move those there that are wanted",
    ),
    row(
        &["emperor-use-fork-server", "vassal-fork-base", "emperor-fork-server-attr"],
        Text,
        "each vassal loads its application by its own interpreter: no program forks vassals of others",
    ),
    row(
        &["hook-as-vassal-before-drop"],
        FreeText,
        "nothing is done in a vassal's process before it is its user: say hook-as-emperor for what needs the emperor's rights",
    ),
    row(
        &["hook-as-emperor-before-vassal"],
        FreeText,
        "no vassal waits for what the emperor does: say hook-as-vassal, which is done before the vassal's file is read",
    ),
    row(
        &["hook-as-on-demand-vassal", "hook-as-on-config-vassal"],
        FreeText,
        "nothing is done for a vassal that sleeps: say hook-as-vassal, which is done when it is woken",
    ),
    row(
        &["hook-as-emperor-setns"],
        FreeText,
        "the emperor enters no namespace of a vassal: say hook-as-vassal, which is done in it",
    ),
    row(&["hook-as-gateway"], FreeText, "the router runs no hooks"),
    // Other sources of configuration.
    row(&["ldap", "sqlite3", "zeus"], Text, "configurations are files"),
    row(&["ldap-schema", "ldap-schema-ldif"], Flag, "configurations are files"),
    row(
        &["declare-option", "declare-option2", "resolve", "inject-before", "inject-after", "custom-option"],
        FreeText,
        "write the options themselves, or `set-placeholder`",
    ),
    row(&["extract"], Text, "liege has nothing to extract"),
    row(&["sharedarea"], FreeText, "use a cache such as Redis").short('A'),
    row(&["iprint"], Language, "use `print`"),
    // Privileges.
    row(&["drop-after-apps"], Flag, DROP),
    row(&["master-as-root"], Flag, MASTER),
    row(
        &["chroot"],
        Path,
        "a reload and each new generation execute the binary and the interpreter by their paths, which are not in there: say RootDirectory= in the unit of a service with all of them in it, or run a container",
    ),
    row(
        &["emperor-magic-exec"],
        Flag,
        "what is dropped into a watched directory is read, never executed: let a script write what it prints into the file",
    ),
];
