//! How liege is used: its commands, once, and all that is made of them and of the table of options.

mod completions;
mod explain;
mod page;

use std::fmt::Write;

pub use completions::{Shell, completions};
pub use explain::explain;
pub use page::page;

use super::paper::wrapped;
use crate::config::table;

/// A way to call liege.
pub(super) struct Usage {
    /// What follows `liege`, and what it does.
    line: &'static str,
    doc: &'static str,
}

/// A command.
pub(super) struct Verb {
    name: &'static str,
    group: Group,
    usages: &'static [Usage],
    /// Its options with their arguments, and what they do.
    options: &'static [(&'static str, &'static str)],
}

/// The parts of the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Serve,
    Steer,
    Files,
}

const fn usage(line: &'static str, doc: &'static str) -> Usage {
    Usage { line, doc }
}

const JSON: (&str, &str) = ("--json", "print JSON");
const API: (&str, &str) = ("--api PATH", "where the API is, instead of $LIEGE_API and the usual places");
const WAIT: (&str, &str) = ("--wait", "wait for the outcome, and print it");

/// Every command.
pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "emperor",
        group: Group::Serve,
        usages: &[usage("emperor DIR… [OPTION…]", "an app for each file in DIR, as `--emperor DIR`")],
        options: &[],
    },
    Verb {
        name: "status",
        group: Group::Steer,
        usages: &[usage("status [NAME…] [--json]", "all vassals, or everything about these")],
        options: &[JSON, API],
    },
    Verb {
        name: "reload",
        group: Group::Steer,
        usages: &[
            usage("reload NAME… [--wait]", "bring up new workers; if they fail, the old ones serve on"),
            usage("reload --all [--wait]", "the same for every vassal"),
        ],
        options: &[("--all", "every vassal"), WAIT, JSON, API],
    },
    Verb {
        name: "stop",
        group: Group::Steer,
        usages: &[usage("stop NAME…", "stop, and keep stopped")],
        options: &[WAIT, JSON, API],
    },
    Verb {
        name: "start",
        group: Group::Steer,
        usages: &[usage("start NAME…", "start again, or end the back-off")],
        options: &[WAIT, JSON, API],
    },
    Verb {
        name: "upgrade",
        group: Group::Steer,
        usages: &[usage("upgrade [--wait]", "run the new binary, without reloading the apps")],
        options: &[WAIT, JSON, API],
    },
    Verb {
        name: "check",
        group: Group::Files,
        usages: &[usage(
            "check FILE…|DIR… [--import]",
            "what is wrong with files; `--import` loads the apps",
        )],
        options: &[("--import", "load each application in its own interpreter"), JSON],
    },
    Verb {
        name: "config",
        group: Group::Files,
        usages: &[
            usage("config FILE [--json]", "what counts of a file, with the origin of each value"),
            usage("config FILE --diff OLD", "what differs from OLD, and what the reload will do"),
        ],
        options: &[("--diff OLD", "compare with an earlier content of the file"), JSON],
    },
    Verb {
        name: "help",
        group: Group::Files,
        usages: &[usage("help [OPTION|COMMAND]", "what an option or a command does")],
        options: &[],
    },
    Verb {
        name: "completions",
        group: Group::Files,
        usages: &[usage(
            "completions bash|zsh|fish",
            "completions for a shell, to be put where it finds them",
        )],
        options: &[],
    },
];

/// Ways to serve that are no commands.
const SERVE: &[Usage] = &[
    usage("--emperor DIR [OPTION…]", "an app for each file in DIR"),
    usage("app.ini", "one app"),
    usage("--http :9090 --wsgi-file foobar.py --processes 4", "one app, described by uWSGI's options"),
];

/// Actions of uWSGI's command line.
const ACTIONS: &[Usage] = &[
    usage("--reload FILE, --stop FILE", "signal the process in a pid file, as with uWSGI"),
    usage("--connect-and-read ADDRESS", "print what a stats server says"),
];

/// What liege has beside uWSGI's options.
pub(super) const OWN: &[&str] = &[
    "api",
    "api-http",
    "api-token-file",
    "api-host",
    "root-apps",
    "emperor-concurrency",
    "python",
    "extension",
];

pub(super) const NOTES: &[&str] = &[
    "NAME is the file's name, without the extension where only one has it. `check` and `config` take uWSGI's command line too, behind `--`.",
    "Commands find the API by `--api PATH`, then $LIEGE_API, then the usual places. LIEGE_LOG=debug logs more.",
    "Exit status: 0 done, 1 error, 2 wrong use, 3 no emperor answers, 4 rolled back or failed.",
];

/// The widest that help is.
const WIDTH: usize = 100;
/// Where descriptions begin.
const COLUMN: usize = 36;

/// What `liege --help` prints on paper of this width.
#[must_use]
pub fn help(width: Option<usize>) -> String {
    let width = width.unwrap_or(WIDTH).clamp(80, WIDTH);
    let mut text = "liege runs all the Python web apps of a host.\n".to_owned();
    for (title, group, others) in [
        ("Serve", Group::Serve, SERVE),
        ("See and steer a running emperor", Group::Steer, ACTIONS),
        ("Files and help", Group::Files, &[]),
    ] {
        let _ = writeln!(text, "\n{title}:");
        let verbs = VERBS.iter().filter(|verb| verb.group == group).flat_map(|verb| verb.usages);
        let (first, then): (Vec<_>, Vec<_>) = match group {
            Group::Serve => (others.iter().collect(), verbs.collect()),
            Group::Steer | Group::Files => (verbs.collect(), others.iter().collect()),
        };
        for usage in first.into_iter().chain(then) {
            entry(&mut text, &format!("liege {}", usage.line), usage.doc, width);
        }
    }
    text.push_str("\nOptions besides uWSGI's (`liege help OPTION` tells one, docs/options.md all):\n");
    for name in OWN {
        if let Some(row) = table::find(name) {
            entry(&mut text, &format!("--{name} {}", argument(row)), row.doc, width);
        }
    }
    for note in NOTES {
        let _ = writeln!(text, "\n{}", wrapped(note, "", "", Some(width)));
    }
    text
}

/// The name of an option's argument.
fn argument(row: &table::Row) -> &'static str {
    use table::Kind::{Address, Flag, FreeText, Identity, Language, Mode, Number, Pair, Path, Text};
    match row.kind {
        Flag => "",
        Number => "N",
        Path => "PATH",
        Address => "ADDRESS",
        Mode => "MODE",
        Identity => "NAME",
        Pair => "NAME=VALUE",
        Text | FreeText | Language => "TEXT",
    }
}

/// Two columns; what is too long for the first has a line of its own.
fn entry(text: &mut String, left: &str, right: &str, width: usize) {
    let hang = " ".repeat(COLUMN);
    let left = format!("  {}", left.trim_end());
    let used = left.chars().count();
    let first = match used < COLUMN - 1 {
        true => format!("{left}{}", " ".repeat(COLUMN - used)),
        false => format!("{left}\n{hang}"),
    };
    let body = wrapped(right, &hang, &hang, Some(width));
    let _ = writeln!(text, "{first}{}", body.trim_start());
}

/// The command of that name.
pub(super) fn verb(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_a_terminal_and_names_every_command() {
        for width in [80, 100] {
            let text = help(Some(width));
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width, "{widest}:\n{text}");
            for verb in VERBS {
                assert!(text.contains(&format!("  liege {}", verb.name)), "{}", verb.name);
            }
            assert!(text.contains("--api-token-file PATH"), "{text}");
        }
    }
}
