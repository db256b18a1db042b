//! How liege is used: its commands, once, and all that is made of them and of the table of options.

mod completions;
mod explain;
mod page;
mod verbs;

use std::fmt::Write;

pub use completions::{Shell, completions};
pub use explain::explain;
pub use page::page;
pub(super) use verbs::{Verb, verb};

use verbs::{ACTIONS, Group, SERVE, VERBS};

use super::exit::Exit;
use super::paper::wrapped;
use crate::config::table;

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

/// What a script may count on.
pub(super) const STATUSES: &[(Exit, &str)] = &[
    (Exit::Done, "done, or asked for"),
    (Exit::Failed, "an error, an unknown name, or the emperor refused"),
    (Exit::Usage, "the command line means nothing"),
    (Exit::Unreachable, "no emperor answers; with `--hosts`, not everywhere"),
    (Exit::NotDone, "with `--wait`: rolled back, timed out or failed"),
    (Exit::Trouble, "`why`: something is not as it should be"),
    (Exit::Refused, "an emperor's options are refused: nothing was started"),
    (Exit::NoProcess, "`--reload`, `--stop` …: the process of the pid file is not there"),
];

pub(super) const NOTES: &[&str] = &[
    "NAME is the file's name, without the extension where only one has it, or a pattern: 'web-*'. `check` and `config` take uWSGI's command line too, behind `--`.",
    "Commands find the API by `--api PATH|URL`, then $LIEGE_API, then the usual places. `liege --hosts FILE|LIST status`, `top` and `events` ask many hosts. LIEGE_LOG=debug logs more; NO_COLOR=1 prints without colours.",
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
        ("See a running emperor", Group::See, &[]),
        ("Steer it", Group::Steer, ACTIONS),
        ("Files and help", Group::Files, &[]),
    ] {
        let _ = writeln!(text, "\n{title}:");
        let verbs = VERBS.iter().filter(|verb| verb.group == group).flat_map(|verb| verb.usages);
        let (first, then): (Vec<_>, Vec<_>) = match group {
            Group::Serve => (others.iter().collect(), verbs.collect()),
            Group::See | Group::Steer | Group::Files => (verbs.collect(), others.iter().collect()),
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
    text.push_str("\nExit status:\n");
    for (exit, doc) in STATUSES {
        let _ = writeln!(text, "  {}  {doc}", *exit as u8);
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
