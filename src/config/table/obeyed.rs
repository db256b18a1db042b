//! The options that take effect.

use super::By::{Both, Config, Master, Worker};
use super::Kind::{Address, Flag, FreeText, Identity, Language, Mode, Number, Pair, Path, Text};
use super::{By, Kind, Row, Standing};

const fn row(
    names: &'static [&'static str],
    kind: Kind,
    by: By,
    default: &'static str,
    doc: &'static str,
) -> Row {
    Row::new(names, kind, Standing::Obeyed(by), default, doc)
}

const fn word(names: &'static [&'static str], doc: &'static str) -> Row {
    row(names, Language, Config, "", doc)
}

pub(super) static ROWS: &[Row] = &[
    // Workers.
    row(&["processes", "workers"], Number, Master, "1", "How many workers").short('p'),
    row(&["threads"], Number, Worker, "1", "Requests that a worker runs at the same time"),
    row(
        &["gevent"],
        Number,
        Worker,
        "off",
        "Requests that a worker runs at the same time, as greenlets on the loop of gevent, which the virtualenv must have",
    ),
    row(
        &["gevent-early-monkey-patch"],
        Flag,
        Worker,
        "off",
        "gevent patches the standard library before the application is loaded",
    ),
    row(
        &["gevent-monkey-patch"],
        Flag,
        Worker,
        "off",
        "With `gevent`: it patches the standard library after the application was loaded",
    ),
    row(
        &["gevent-wait-for-hub"],
        Flag,
        Worker,
        "off",
        "With `gevent`: a worker that finishes waits for all greenlets, not only for those of requests",
    ),
    row(
        &["lazy-apps"],
        Flag,
        Master,
        "off",
        "Every worker loads the application itself, instead of being forked from the one that did",
    ),
    row(&["lazy"], Flag, Master, "off", "As `lazy-apps`"),
    row(&["harakiri"], Number, Master, "off", "Seconds that a request may run before its worker is killed")
        .short('t'),
    row(&["max-requests"], Number, Worker, "never", "A worker is replaced after so many requests").short('R'),
    row(
        &["max-requests-delta"],
        Number,
        Worker,
        "0",
        "Added to `max-requests` once for each worker before this one, to spread them",
    ),
    row(
        &["min-worker-lifetime"],
        Number,
        Worker,
        "10",
        "Seconds before which no worker is replaced by `max-requests`",
    ),
    row(
        &["idle"],
        Number,
        Master,
        "never",
        "Seconds without a request after which the emperor puts the instance to sleep and keeps its sockets, until a connection wakes it; without an emperor all workers go, until somebody connects",
    ),
    row(
        &["heartbeat"],
        Number,
        Master,
        "never",
        "Seconds between the master's signs of life, which its emperor requires from the first one on (`emperor-required-heartbeat`)",
    ),
    row(
        &["worker-reload-mercy"],
        Number,
        Master,
        "60",
        "Seconds that running requests get on reload and stop",
    ),
    row(
        &["reload-mercy"],
        Number,
        Both,
        "as `worker-reload-mercy`; 30 in an emperor",
        "Seconds that the whole instance gets; in an emperor, that each vassal gets",
    ),
    row(
        &["startup-timeout"],
        Number,
        Master,
        "300",
        "Seconds that a new generation gets to load the application and be ready, before the old one serves on without it; a first one is only reported; 0: any time. liege's own",
    ),
    row(
        &["buffer-size"],
        Number,
        Worker,
        "4096",
        "At 4096 the head of a request may have 64 KiB, 16 KiB a line; less lowers both to so many bytes, more only raises them; at most 65535",
    )
    .short('b'),
    row(
        &["socket-timeout"],
        Number,
        Worker,
        "4",
        "Seconds for an incomplete uwsgi packet and for a stalled read or write",
    )
    .short('z'),
    // Sockets.
    row(
        &["socket", "uwsgi-socket"],
        Address,
        Master,
        "none",
        "Listens for the uwsgi protocol (`socket`: for that of `protocol`); repeatable",
    )
    .short('s'),
    row(
        &["http-socket", "http11-socket"],
        Address,
        Master,
        "none",
        "Listens for HTTP/1.1 in the workers themselves; repeatable",
    ),
    row(&["protocol", "socket-protocol"], Text, Master, "uwsgi", "What is spoken on `socket`: uwsgi or http"),
    row(&["listen"], Number, Master, "100", "Connections that wait in the kernel to be accepted").short('l'),
    row(&["chmod-socket", "chmod"], Mode, Master, "0666 without the umask", "Mode of unix sockets")
        .short('C')
        .optional(),
    row(
        &["chown-socket"],
        Text,
        Master,
        "none",
        "`user[:group]` of unix sockets; privileges drop only after the bind",
    ),
    row(
        &["abstract-socket"],
        Flag,
        Master,
        "off",
        "All unix sockets without a slash at the start of their name are abstract",
    )
    .short('a'),
    // Application.
    row(&["chdir"], Path, Master, "the start directory", "Where the application runs"),
    row(&["wsgi-file", "file"], Path, Worker, "none", "The Python file with the application"),
    row(
        &["module", "wsgi"],
        Text,
        Worker,
        "none",
        "The Python module with the application: `pkg.mod`, `pkg.mod:callable` or `pkg.mod:factory()`",
    )
    .short('w'),
    row(&["callable"], Text, Worker, "application", "The name of the application in its file or module"),
    row(
        &["pythonpath", "python-path", "pp"],
        Path,
        Worker,
        "none",
        "Put before `sys.path`; the last one comes first; shell patterns are expanded; repeatable",
    ),
    row(
        &["virtualenv", "home", "venv", "pyhome"],
        Path,
        Worker,
        "none",
        "The virtual environment whose interpreter runs the workers",
    )
    .short('H'),
    row(
        &["python"],
        Path,
        Worker,
        "the virtual environment's, or `python3` from the PATH",
        "The interpreter that runs the workers",
    ),
    row(
        &["extension"],
        Path,
        Master,
        "beside the binary",
        "The liege extension for the interpreter (`libliege.so`)",
    ),
    row(
        &["need-app"],
        Flag,
        Worker,
        "off",
        "Ends with status 22 when the application cannot be loaded, instead of answering 500",
    )
    .optional(),
    row(&["env"], Pair, Worker, "none", "A variable for the application's environment; repeatable"),
    row(
        &["envdir", "envdirs"],
        Path,
        Worker,
        "none",
        "A directory with a file for each variable, whose content is the value; an empty file removes the variable; repeatable",
    ),
    row(
        &["unenv"],
        Text,
        Worker,
        "none",
        "Removes a variable from the application's environment; repeatable",
    ),
    row(
        &["plugins", "plugin"],
        Text,
        Config,
        "none",
        "Names of uWSGI's plugins; those that liege has built in are fine, others are warned of",
    ),
    row(
        &["need-plugins", "need-plugin"],
        Text,
        Config,
        "none",
        "As `plugins`, but a name that liege does not have is an error",
    ),
    // Identity.
    row(&["uid"], Identity, Both, "unchanged", "The user to become"),
    row(&["gid"], Identity, Both, "unchanged", "The group to become"),
    row(&["add-gid"], Identity, Both, "none", "A further group; repeatable"),
    row(&["no-initgroups"], Flag, Both, "off", "Without the groups that the user is a member of"),
    row(&["umask"], Mode, Both, "inherited", "What new files are not allowed, in octal"),
    row(
        &["no-new-privileges"],
        Flag,
        Both,
        "on",
        "What an instance starts gains nothing by set-user-id programs (sudo, a sendmail); for an instance that is not root",
    )
    .optional(),
    row(
        &["cap"],
        Text,
        Both,
        "none",
        "Capabilities that are kept when the user changes, and that all that is started has: `net_bind_service,kill`",
    ),
    row(&["root-apps"], Text, Both, "allow", "`deny` refuses to run an application as root"),
    // Files and logs.
    row(&["pidfile"], Path, Both, "none", "Where the master's pid is written, before privileges drop"),
    row(&["pidfile2"], Path, Master, "none", "Where it is written after that; relative to `chdir`"),
    row(&["safe-pidfile"], Path, Master, "none", "Where it is written once the instance serves"),
    row(&["logto"], Path, Both, "standard error", "Where the log goes"),
    row(&["logto2"], Path, Master, "none", "Where the log goes after privileges drop"),
    row(
        &["daemonize"],
        Path,
        Both,
        "off",
        "Goes to the background and logs to this file; under an emperor it is only `logto`",
    )
    .short('d'),
    row(&["disable-logging"], Flag, Worker, "off", "No line for each request").short('L'),
    row(&["vacuum"], Flag, Master, "off", "Removes sockets and pid files at the end"),
    row(
        &["die-on-term"],
        Flag,
        Master,
        "on",
        "`SIGTERM` stops gracefully: it always does; kept for `uwsgi.opt`",
    ),
    row(
        &["touch-reload", "touch-workers-reload", "touch-chain-reload"],
        Path,
        Master,
        "none",
        "A file whose change reloads the instance; repeatable",
    ),
    row(
        &["stats", "stats-server"],
        Address,
        Master,
        "none",
        "Serves uWSGI's JSON statistics at this address; repeatable",
    ),
    row(&["auto-procname"], Flag, Master, "off", "Process titles that tell what each process is"),
    row(&["procname-prefix"], Text, Master, "none", "In front of the process titles"),
    row(&["procname-prefix-spaced"], Text, Master, "none", "As `procname-prefix`, with a space behind it"),
    // The language.
    row(&["strict"], Flag, Config, "off", "An unknown option is an error"),
    row(
        &["ini"],
        Language,
        Config,
        "",
        "Puts another file, or `FILE:SECTION`, or `:SECTION` of the last one, here",
    ),
    row(&["json", "js"], Language, Config, "", "As `ini`, for a JSON file").short('j'),
    row(&["yaml", "yml"], Language, Config, "", "As `ini`, for a YAML file").short('y'),
    row(&["xml", "xmlconfig"], Language, Config, "", "As `ini`, for an XML file").short('x'),
    row(&["config"], Language, Config, "", "As `ini`, for a file of the format that its name tells"),
    row(
        &["include"],
        Language,
        Config,
        "",
        "Puts another file here, leaving the upper-case magic variables alone",
    ),
    row(&["inherit"], Language, Config, "", "Puts another file at the end, without expanding its values"),
    row(&["set"], Language, Config, "", "`name=value`: says that").short('S'),
    row(
        &["set-placeholder", "set-ph"],
        Language,
        Config,
        "",
        "`name=value`: defines a name for `%(name)` that is no option",
    ),
    word(&["blacklist"], "Options, separated by spaces, that must not be said before `end-blacklist`"),
    row(&["end-blacklist"], Flag, Config, "off", "Ends what `blacklist` began"),
    word(&["whitelist"], "Options, separated by spaces: no other may be said before `end-whitelist`"),
    row(&["end-whitelist"], Flag, Config, "off", "Ends what `whitelist` began"),
    word(&["for"], "Repeats the entries up to `endfor` for each word; `%(_)` is the word"),
    word(&["for-glob"], "Repeats for each path that matches"),
    word(&["for-times"], "Repeats so many times"),
    word(&["for-readline"], "Repeats for each line of a file"),
    word(&["if-env", "ifenv"], "The entries up to `endif` count if the variable is set, or has that value"),
    word(&["if-not-env"], "… if it is not"),
    word(&["if-opt", "ifopt"], "… if the option was said before, or its first value is that"),
    word(&["if-not-opt"], "… if it was not"),
    word(&["if-exists", "ifexists"], "… if the path exists"),
    word(&["if-not-exists"], "… if it does not"),
    word(&["if-file", "iffile"], "… if the path is a regular file"),
    word(&["if-not-file"], "… if it is not"),
    word(&["if-dir", "ifdir", "if-directory", "ifdirectory"], "… if the path is a directory"),
    word(&["if-not-dir", "if-not-directory"], "… if it is not"),
    word(&["if-reload", "ifreload"], "… after a reload").optional(),
    word(&["if-not-reload"], "… at the first start").optional(),
    word(&["if-hostname", "ifhostname"], "… if this is the host's name"),
    word(&["if-not-hostname"], "… if it is not"),
    word(&["if-hostname-match"], "… if the host's name matches the regular expression"),
    word(&["if-not-hostname-match"], "… if it does not"),
    word(&["if-plugin", "ifplugin"], "… if liege has what that plugin of uWSGI does"),
    word(&["if-not-plugin"], "… if it has not"),
    word(&["else"], "The entries up to the end count where those before it did not"),
    word(&["end", "endif", "end-if", "endfor", "end-for"], "Ends the innermost block"),
    row(&["print"], FreeText, Config, "none", "Puts its value into the log"),
];
