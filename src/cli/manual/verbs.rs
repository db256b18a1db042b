//! Every command, once: its ways of use, its options, what they do.

/// A way to call liege.
pub(in crate::cli) struct Usage {
    /// What follows `liege`, and what it does.
    pub(super) line: &'static str,
    pub(super) doc: &'static str,
}

/// An option with its argument, and what it does.
pub(in crate::cli) type Flag = (&'static str, &'static str);

/// A command.
pub(in crate::cli) struct Verb {
    pub(super) name: &'static str,
    pub(super) group: Group,
    pub(super) usages: &'static [Usage],
    /// Its own options with their arguments, and what they do.
    own: &'static [Flag],
}

/// The parts of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    Serve,
    See,
    Steer,
    Files,
}

impl Verb {
    /// How an emperor is found, or several: what may stand before a command, too.
    pub(in crate::cli) const PLACES: [Flag; 5] = [HOSTS, API, TOKEN, CA, CERT];

    /// Its name.
    pub(in crate::cli) const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it is told the names of vassals.
    pub(in crate::cli) fn takes_names(&self) -> bool {
        self.asks() && self.usages.iter().any(|usage| usage.line.contains("NAME"))
    }

    /// Whether it asks a running emperor.
    pub(in crate::cli) const fn asks(&self) -> bool {
        matches!(self.group, Group::See | Group::Steer)
    }

    /// Its options: its own, and those by which a running emperor is found.
    pub(super) fn options(&self) -> impl Iterator<Item = Flag> {
        let access = if self.asks() { ACCESS } else { &[] };
        self.own.iter().chain(access).copied()
    }

    /// Its options: their names without dashes, and whether they have an argument.
    pub(super) fn flags(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.options().map(|(option, _)| {
            let (name, argument) = option.split_once(' ').unwrap_or((option, ""));
            (name.trim_start_matches('-'), !argument.is_empty())
        })
    }

    /// An option of that name, if it takes one.
    pub(in crate::cli) fn option(&self, name: &str) -> Option<&'static str> {
        self.flags().map(|(known, _)| known).find(|known| *known == name)
    }
}

pub(super) const fn usage(line: &'static str, doc: &'static str) -> Usage {
    Usage { line, doc }
}

const JSON: Flag = ("--json", "print JSON");
const API: Flag = ("--api PATH|URL", "where the API is, instead of $LIEGE_API and the usual places");
const TOKEN: Flag = ("--token-file FILE", "the token for an API behind TCP");
const CA: Flag = (
    "--ca-file FILE",
    "who signed the certificate of an API behind https, instead of this host's authorities",
);
const CERT: Flag = ("--cert FILE", "a certificate and its key, for an API behind https that asks for one");
/// How a running emperor is found.
const ACCESS: &[Flag] = &[API, TOKEN, CA, CERT];
const HOSTS: Flag = ("--hosts FILE|LIST", "ask all of these hosts (docs/fleet.md)");
const WAIT: Flag = ("--wait", "wait for the outcome, and print it (-w)");
const ALL: Flag = ("--all", "every vassal");
const FOLLOW: Flag = ("--follow", "go on with what is still to come (-f)");
const LINES: Flag = ("--lines N", "at most the last N of those that are there (-n)");

/// An action on vassals by name.
const fn steer(name: &'static str, usages: &'static [Usage]) -> Verb {
    Verb { name, group: Group::Steer, usages, own: &[WAIT, JSON] }
}

/// Every command.
pub(in crate::cli) const VERBS: &[Verb] = &[
    Verb {
        name: "emperor",
        group: Group::Serve,
        usages: &[usage("emperor DIR… [OPTION…]", "an app for each file in DIR, as `--emperor DIR`")],
        own: &[],
    },
    Verb {
        name: "status",
        group: Group::See,
        usages: &[usage("status [NAME…]", "all vassals, or everything about these")],
        own: &[("--names", "their names only, one a line"), JSON, HOSTS],
    },
    Verb {
        name: "top",
        group: Group::See,
        usages: &[usage("top [NAME…]", "what they do, over and over, on a full screen")],
        own: &[
            ("--interval SECONDS", "how often it looks (2)"),
            ("--once", "print one picture and end, as where the output is no terminal"),
            JSON,
            HOSTS,
        ],
    },
    Verb {
        name: "page",
        group: Group::See,
        usages: &[usage(
            "page --hosts FILE",
            "serve a page of all these hosts that only reads, to you alone",
        )],
        own: &[
            ("--listen ADDRESS", "where, on this host: 127.0.0.1 at any free port, unless it is told"),
            HOSTS,
        ],
    },
    Verb {
        name: "why",
        group: Group::See,
        usages: &[usage("why NAME…", "why it is in its state, and what to do")],
        own: &[JSON],
    },
    Verb {
        name: "logs",
        group: Group::See,
        usages: &[usage("logs [-f] NAME…", "what the apps and their masters said last")],
        own: &[FOLLOW, LINES, JSON],
    },
    Verb {
        name: "events",
        group: Group::See,
        usages: &[usage("events [-f] [NAME…]", "what happened, when and why")],
        own: &[FOLLOW, LINES, JSON, HOSTS],
    },
    Verb {
        name: "stacks",
        group: Group::See,
        usages: &[usage("stacks NAME…", "where the threads of its workers are in the code")],
        own: &[JSON],
    },
    Verb {
        name: "reload",
        group: Group::Steer,
        usages: &[
            usage("reload NAME… [--wait]", "bring up new workers; if they fail, the old ones serve on"),
            usage("reload --all [--wait]", "the same for every vassal"),
            usage("reload --emperor [--wait]", "re-execute the emperor before that, as SIGHUP does"),
        ],
        own: &[ALL, ("--emperor", "the emperor with its options, then every vassal"), WAIT, JSON],
    },
    steer("restart", &[usage("restart NAME…", "start a new master beside the old one, which drains then")]),
    steer("stop", &[usage("stop NAME…", "stop, and keep stopped")]),
    steer("start", &[usage("start NAME…", "start again, or end the back-off")]),
    steer("sleep", &[usage("sleep NAME…", "end it until a connection to its sockets wakes it")]),
    steer("wake", &[usage("wake NAME…", "start one that sleeps")]),
    Verb {
        name: "clear-back-off",
        group: Group::Steer,
        usages: &[
            usage("clear-back-off NAME…", "try one that rests at once"),
            usage("clear-back-off --all", "the same for every vassal that rests"),
        ],
        own: &[ALL, WAIT, JSON],
    },
    Verb {
        name: "scale",
        group: Group::Steer,
        usages: &[usage("scale NAME… --workers N", "run N workers until the next reload")],
        own: &[("--workers N", "how many"), WAIT, JSON],
    },
    Verb {
        name: "log-level",
        group: Group::Steer,
        usages: &[
            usage("log-level NAME… --level LEVEL", "have masters log more or less"),
            usage("log-level --emperor --level LEVEL", "the same for the emperor"),
        ],
        own: &[
            ("--level LEVEL", "error, warn, info, debug or trace"),
            ("--emperor", "the emperor itself"),
            WAIT,
            JSON,
        ],
    },
    steer("rescan", &[usage("rescan", "look at the directories now")]),
    steer("upgrade", &[usage("upgrade [--wait]", "run the new binary, without reloading the apps")]),
    Verb {
        name: "check",
        group: Group::Files,
        usages: &[usage(
            "check FILE[:SECTION]…|DIR… [--import]",
            "what is wrong with files; `--import` loads the apps",
        )],
        own: &[("--import", "load each application in its own interpreter"), JSON],
    },
    Verb {
        name: "config",
        group: Group::Files,
        usages: &[
            usage("config FILE[:SECTION] [--json]", "what counts of a file, with the origin of each value"),
            usage("config FILE --diff OLD", "what differs from OLD, and what the reload will do"),
        ],
        own: &[("--diff OLD", "compare with an earlier content of the file"), JSON],
    },
    Verb {
        name: "help",
        group: Group::Files,
        usages: &[usage("help [OPTION|COMMAND]", "what an option or a command does")],
        own: &[],
    },
    Verb {
        name: "completions",
        group: Group::Files,
        usages: &[usage(
            "completions bash|zsh|fish",
            "completions for a shell, to be put where it finds them",
        )],
        own: &[],
    },
];

/// Ways to serve that are no commands.
pub(super) const SERVE: &[Usage] = &[
    usage("--emperor DIR [OPTION…]", "an app for each file in DIR"),
    usage("app.ini", "one app"),
    usage("--http :9090 --wsgi-file foobar.py --processes 4", "one app, described by uWSGI's options"),
];

/// Actions of uWSGI's command line.
pub(super) const ACTIONS: &[Usage] = &[
    usage("--reload FILE, --stop FILE", "signal the process in a pid file, as with uWSGI"),
    usage("--connect-and-read ADDRESS", "print what a stats server says"),
];

/// The command of that name.
pub(in crate::cli) fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}
