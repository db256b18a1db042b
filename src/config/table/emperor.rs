//! The options that an emperor obeys, and those of its API.

use super::Kind::{Address, Flag, FreeText, Identity, Mode, Number, Pair, Path, Text};
use super::{By, Kind, Row, Standing};

const fn row(names: &'static [&'static str], kind: Kind, default: &'static str, doc: &'static str) -> Row {
    Row::new(names, kind, Standing::Obeyed(By::Emperor), default, doc)
}

pub(super) static ROWS: &[Row] = &[
    row(
        &["emperor"],
        Path,
        "none",
        "A directory whose files are run as vassals, or one such file, or a shell pattern; repeatable",
    ),
    row(
        &["emperor-extra-extension", "emperor-extra-ext"],
        Text,
        "none",
        "A further ending of the names of vassal files; repeatable",
    ),
    row(
        &["emperor-nofollow"],
        Flag,
        "off",
        "A symbolic link is reloaded when it changes itself, not when what it leads to does",
    ),
    row(
        &["emperor-tyrant"],
        Flag,
        "off",
        "Every vassal runs as the owner and group of its file; what its file says of users has no effect",
    ),
    row(
        &["emperor-tyrant-nofollow"],
        Flag,
        "off",
        "With `emperor-tyrant`: of a file that is a symbolic link the owner of the link counts",
    ),
    row(
        &["emperor-tyrant-initgroups"],
        Flag,
        "off",
        "With `emperor-tyrant`: vassals have the further groups of their users; without it they have none",
    ),
    row(
        &["vassals-limit"],
        FreeText,
        "none",
        "`[NAME ]memory-max=512M`, `cpu-max=50%`, `cpu-weight=50` or `pids-max=100`: what all processes of each vassal (of those with this name, or that match this shell pattern) together may use, by control groups; the last that concerns a vassal counts; repeatable",
    ),
    row(
        &["emperor-use-clone"],
        Text,
        "none",
        "Namespaces that each vassal has for itself: some of `pid` (with a `/proc` of its own), `fs`, `ipc`, `net` (only a loopback interface), `uts`, separated by commas",
    ),
    row(
        &["emperor-cap", "vassals-cap", "vassal-cap"],
        Text,
        "all",
        "The only capabilities that a vassal, and what it starts, can ever have: `net_bind_service,setuid,setgid`",
    ),
    row(
        &["vassals-env"],
        Text,
        "none",
        "With `emperor-tyrant`: a variable that vassals get besides PATH, LANG and TZ: `NAME` as the emperor has it, or `NAME=value`; repeatable",
    ),
    row(
        &["vassal-set", "vassals-set"],
        Pair,
        "none",
        "`name=value`: said to every vassal before its file, as `set` would; repeatable",
    ),
    row(
        &["vassals-default"],
        Pair,
        "none",
        "`name=value`: said to every vassal that does not say that option itself; `%%n`, `%%d` and the like become those of its file; repeatable",
    ),
    row(&["vassals-inherit-before"], Path, "none", "A file that every vassal inherits first; repeatable"),
    row(
        &["vassals-include-before"],
        Path,
        "none",
        "A file that every vassal includes first; `%N`, `%D` and the like in it are the vassal's; repeatable",
    ),
    row(&["vassals-inherit"], Path, "none", "A file that every vassal inherits last; repeatable"),
    row(
        &["vassals-include"],
        Path,
        "none",
        "A file that every vassal includes last, so that it overrides; repeatable",
    ),
    row(
        &["emperor-attr", "emperor-collect-attr", "emperor-collect-attribute"],
        Text,
        "none",
        "A key of the section `[emperor]` of vassal files that is shown with the vassal; repeatable",
    ),
    row(
        &["emperor-wrapper-attr"],
        Text,
        "none",
        "A key of the section `[emperor]` of vassal files that means what `exec` does there: the program that runs the vassal",
    ),
    row(
        &["emperor-chdir-attr"],
        Text,
        "none",
        "A key of the section `[emperor]` of vassal files that names the directory in which the vassal is started",
    ),
    row(
        &["emperor-freq"],
        Number,
        "60",
        "Seconds between full scans; changes are noticed at once without them",
    ),
    row(
        &["emperor-throttle"],
        Number,
        "1000",
        "Milliseconds before a vassal that died is started again, doubled each time",
    ),
    row(&["emperor-max-throttle"], Number, "180000", "The longest such delay, in milliseconds"),
    row(
        &["emperor-curse-tolerance"],
        Number,
        "as `reload-mercy`, else 30",
        "Seconds that a stopping vassal gets before it is killed",
    ),
    row(
        &["emperor-required-heartbeat"],
        Number,
        "30",
        "Seconds after which a vassal that says it lives (`heartbeat`), and then does not, is killed with all its processes; 0: never",
    ),
    row(
        &["emperor-wrapper"],
        Text,
        "liege itself",
        "A program that runs all vassals, uWSGI for instance: started as uWSGI's emperor would, and spoken to in its language",
    ),
    row(
        &["emperor-wrapper-override"],
        Text,
        "none",
        "A program that is tried before it; repeatable",
    ),
    row(
        &["emperor-wrapper-fallback"],
        Text,
        "none",
        "A program that is tried when it cannot be executed; repeatable",
    ),
    row(
        &["emperor-concurrency"],
        Number,
        "four times the CPUs, at least 8",
        "How many vassals load at the same time",
    ),
    row(
        &["emperor-no-blacklist"],
        Flag,
        "off",
        "The delay before a vassal that died is started again does not grow",
    ),
    row(
        &["emperor-served-file"],
        Path,
        "none",
        "Where it is kept when each vassal answered last, so that after a boot those that served last are started first",
    ),
    row(
        &["emperor-stats", "emperor-stats-server"],
        Address,
        "none",
        "Serves uWSGI's JSON statistics of the fleet at this address; a unix socket is for its user and group, unless `chmod-socket` says otherwise",
    ),
    row(
        &["vassals-start-hook"],
        FreeText,
        "none",
        "A command (no shell) that an instance runs before it reads its file, with the vassal's name as last argument; what it returns does not matter",
    ),
    row(
        &["vassals-stop-hook"],
        FreeText,
        "none",
        "A command (no shell) that the emperor runs after an instance has ended, with the vassal's name as last argument, for 30 s at most",
    ),
    row(&["emperor-procname"], Text, "none", "The emperor's process title"),
    row(&["emperor-pidfile"], Path, "none", "Where the emperor's pid is written"),
    row(
        &["emperor-on-demand-extension", "emperor-on-demand-ext"],
        Text,
        "off",
        "A vassal beside which a file of its name and this ending stands sleeps until a connection to the socket that this names",
    ),
    row(
        &["emperor-on-demand-directory", "emperor-on-demand-dir"],
        Path,
        "off",
        "Vassals sleep until a connection to the socket of their name, `app.socket` for `app.ini`, in this directory",
    ),
    row(
        &["emperor-on-demand-exec"],
        Text,
        "off",
        "A shell command whose first line of output names the socket of the vassal that is its argument; nothing: it does not sleep",
    ),
    row(
        &["adopt"],
        Flag,
        "on",
        "Instances outlive an emperor that dies, and the next one takes them over; `--adopt=no`: they end with it, as uWSGI's",
    )
    .optional(),
    row(
        &["orphan-grace"],
        Number,
        "60",
        "Seconds that instances serve on without an emperor, until they finish; 0: they end at once",
    ),
    row(
        &["runtime-dir"],
        Path,
        "beside the API's socket: `api.d` for `api.sock`",
        "The emperor's private directory: what runs is written down there, and one emperor at a time may have it",
    ),
    row(&["api"], Path, "/run/liege/api.sock or below $XDG_RUNTIME_DIR", "The unix socket of the HTTP API"),
    row(
        &["api-http"],
        Address,
        "off",
        "An address of the HTTP API; a loopback one, and read-only, unless there is an `api-token-file` or `api-tls` with certificates of clients",
    ),
    row(
        &["api-tls"],
        FreeText,
        "off",
        "TLS at `api-http`: `CERTIFICATE,KEY[,CA]`, files in PEM, read anew when they change; with `CA` clients may show a certificate that it signed, and must where there is no `api-token-file`",
    ),
    row(&["api-token-file"], Path, "none", "The file with the tokens of the HTTP API"),
    row(&["api-chown"], Identity, "whoever runs the emperor", "`user:group` of the API's unix socket"),
    row(&["api-chmod"], Mode, "660", "Mode of the API's unix socket"),
    row(
        &["api-role"],
        Text,
        "who may write to the socket may do everything",
        "`read:`, `operate:` or `admin:` and a user or `@group` of the API's unix socket, or `cert:NAME` of a client's certificate; repeatable",
    ),
    row(&["api-write"], Flag, "off", "Lets the API write the files of vassals"),
    row(
        &["api-redact-queries"],
        Flag,
        "off",
        "What the API tells of the vassals' output has no query strings; the log keeps them",
    ),
    row(&["api-host"], Text, "none", "A further name that `Host` may have; repeatable"),
];
