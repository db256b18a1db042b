//! Every option once: its names, its kind, its default, what it means, who obeys it — or why nobody does.

mod actions;
mod application;
mod cheaper;
mod companions;
mod emperor;
mod engines;
mod exchange;
mod families;
mod guard;
mod harmless;
mod hooks;
mod logging;
mod obeyed;
mod page;
mod processes;
mod refused;
mod router;
mod routes;
mod sockets;
mod static_files;
mod websockets;

pub use page::markdown;

use std::collections::HashMap;
use std::sync::LazyLock;

/// One option, or a family of options that are treated alike.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// The name, then its aliases; in a family that has no effect or is refused, its members.
    pub names: &'static [&'static str],
    /// The short option of the command line.
    pub short: Option<char>,
    /// What its value is.
    pub kind: Kind,
    /// Whether its value may be left out on the command line, and then must be attached.
    pub optional: bool,
    /// What becomes of it.
    pub standing: Standing,
    /// The value without it, for people.
    pub default: &'static str,
    /// What it does; for an option without effect, why that is safe; for a refused one, what to do instead.
    pub doc: &'static str,
}

/// What the value of an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On unless `false`, `off`, `no` or `0`; no argument on the command line.
    Flag,
    /// Leading digits, as C reads them.
    Number,
    /// Anything.
    Text,
    /// Anything, and a `#` or `;` in it is no mistaken comment.
    FreeText,
    /// A path.
    Path,
    /// A socket address.
    Address,
    /// Three octal digits.
    Mode,
    /// A user or group.
    Identity,
    /// `name=value`.
    Pair,
    /// Acts while the configuration is read.
    Language,
}

impl Kind {
    /// Whether quotes around the value, or a comment behind it, cannot be meant.
    #[must_use]
    pub const fn is_typed(self) -> bool {
        matches!(self, Self::Flag | Self::Number | Self::Path | Self::Address | Self::Mode | Self::Identity)
    }
}

/// Who obeys an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Reading the configuration.
    Config,
    /// The master of an instance.
    Master,
    /// The workers.
    Worker,
    /// The router of `http`.
    Router,
    /// The emperor.
    Emperor,
    /// The emperor and an instance, each for itself.
    Both,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes effect.
    Obeyed(By),
    /// It is always so: saying it changes nothing, switching it off is worth a warning.
    Always,
    /// Accepted with a warning: for good, it does not matter here.
    NoEffect,
    /// Refused for good.
    Refused,
    /// An action of the command line; refused in a file.
    CommandLine,
}

/// An option that takes effect.
const fn obeyed_by(
    names: &'static [&'static str],
    kind: Kind,
    by: By,
    default: &'static str,
    doc: &'static str,
) -> Row {
    Row::new(names, kind, Standing::Obeyed(by), default, doc)
}

/// The same for one that the master of an instance obeys.
const fn obeyed_by_master(
    names: &'static [&'static str],
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Row {
    obeyed_by(names, kind, By::Master, default, doc)
}

/// A part of the table, under a title of its own on the page that is made of it.
struct Part {
    title: &'static str,
    note: &'static str,
    rows: &'static [Row],
}

const fn part(title: &'static str, rows: &'static [Row]) -> Part {
    Part { title, note: "", rows }
}

/// The table, but for what nobody was seen to use.
static PARTS: &[Part] = &[
    part("Options that take effect", obeyed::ROWS),
    part("… on processes: what they are called, and how they begin and end", processes::ROWS),
    part("… on sockets", sockets::ROWS),
    part("… on the router", router::ROWS),
    part("… on the number of workers", cheaper::ROWS),
    part("… on the lines of requests, on the size of workers and on their interpreter", engines::ROWS),
    part("… on the application", application::ROWS),
    part("… on what a request and its response may cost", exchange::ROWS),
    part("… on what the master holds workers to", guard::ROWS),
    part("… on where log lines go", logging::ROWS),
    part("… on hooks: what is done around a start, workers and the end", hooks::ROWS),
    part("… on static files", static_files::ROWS),
    part("… on internal routing", routes::ROWS),
    part("… on websockets", websockets::ROWS),
    part("… on what lives beside the workers", companions::ROWS),
    part("Options of an emperor", emperor::ROWS),
    Part {
        title: "Actions of the command line",
        note: "Something is done at once instead of serving. In a file they are refused.",
        rows: actions::ROWS,
    },
    Part {
        title: "Options that are accepted",
        note: "What is always so is accepted without a word. Anything else costs one warning that says why it has no effect.",
        rows: harmless::ROWS,
    },
    Part {
        title: "Options that are refused",
        note: "The last column says what to use instead.",
        rows: refused::ROWS,
    },
];

/// All options.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    PARTS.iter().flat_map(|part| part.rows).chain(families::ROWS.iter())
}

/// The option of that name or alias.
#[must_use]
pub fn find(name: &str) -> Option<&'static Row> {
    static INDEX: LazyLock<HashMap<&str, &Row>> =
        LazyLock::new(|| rows().flat_map(|row| row.names.iter().map(move |name| (*name, row))).collect());
    INDEX.get(name).copied()
}

/// The option of that letter.
#[must_use]
pub fn find_short(letter: char) -> Option<&'static Row> {
    rows().find(|row| row.short == Some(letter))
}

/// All names and aliases.
pub fn names() -> impl Iterator<Item = &'static str> {
    rows().flat_map(|row| row.names.iter().copied())
}

/// Whether a plugin of uWSGI of that name is part of liege, or needs to be none.
#[must_use]
pub fn is_built_in(plugin: &str) -> bool {
    // Paths occur: /usr/lib/uwsgi/plugins/python3_plugin.so.
    let name =
        plugin.rsplit('/').next().unwrap_or_default().trim_end_matches(".so").trim_end_matches("_plugin");
    let version = name.strip_prefix("python").map(|version| version.strip_prefix('-').unwrap_or(version));
    version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        || [
            "http",
            "corerouter",
            "gevent",
            "cheaper_busyness",
            "logfile",
            "logsocket",
            "syslog",
            "rsyslog",
            "ping",
            "signal",
            "stats_pusher_file",
        ]
        .contains(&name)
}

impl Row {
    /// The first name: the one that the code and the documentation use.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.names.first().copied().unwrap_or_default()
    }

    /// Whether every one of several entries counts.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        self.doc.contains("repeatable")
    }

    /// The name that the letter stands for: it need not be the first.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        let name = match self.short {
            Some('H') => "home",
            Some('x') => "xmlconfig",
            Some('v') => "max-vars",
            _ => self.name(),
        };
        self.names.iter().copied().find(|known| *known == name).unwrap_or_default()
    }

    const fn new(
        names: &'static [&'static str],
        kind: Kind,
        standing: Standing,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { names, short: None, kind, optional: false, standing, default, doc }
    }

    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }
}

#[cfg(test)]
mod tiers;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_and_letter_is_there_once() {
        let mut seen = HashSet::new();
        for name in names() {
            assert!(seen.insert(name.to_owned()), "{name} is there twice");
            assert_eq!(name.trim(), name);
        }
        for row in rows() {
            assert!(!row.doc.is_empty() && !row.doc.ends_with('.'), "{}", row.name());
            if let Some(letter) = row.short {
                assert!(!row.short_name().is_empty(), "-{letter}");
                assert!(seen.insert(format!("-{letter}")), "-{letter} is there twice");
            }
        }
        assert!(seen.len() > 500, "{}", seen.len());
    }

    #[test]
    fn plugins_of_python_are_built_in() {
        for (plugin, built_in) in [
            ("python3", true),
            ("python", true),
            ("python35", true),
            ("python-3.11", true),
            ("/usr/lib/uwsgi/plugins/python3_plugin.so", true),
            ("http", true),
            ("sentry", false),
            ("php", false),
            ("pythonish", false),
        ] {
            assert_eq!(is_built_in(plugin), built_in, "{plugin}");
        }
    }
}
