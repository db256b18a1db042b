//! The commands that ask a running emperor, or several: what they want, and the grammar of their arguments.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::{Command, Usage};
use crate::cli::fleet;
use crate::cli::manual::Verb;
use crate::config::log_level::LogLevel;

/// What is asked, of whom, and how the answer is to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What.
    pub errand: Errand,
    /// Print JSON.
    pub json: bool,
    /// Whom.
    pub access: Access,
}

/// Which emperor's API, and the key to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Where the API is: a path or an address; `None`: at the usual places.
    pub api: Option<String>,
    /// Several hosts instead: a list, or a file with one.
    pub hosts: Option<String>,
    /// The file with the token.
    pub token_file: Option<PathBuf>,
    /// The file with the authorities that certificates of `https` are signed by; `None`: those of this host.
    pub ca_file: Option<PathBuf>,
    /// The file with a certificate and its key, to be shown to `https`.
    pub cert: Option<PathBuf>,
}

/// What is wanted of a running emperor. Names may be patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// To show the fleet, or these vassals.
    Status {
        /// Vassals; none: all.
        names: Vec<String>,
        /// Their names only.
        only_names: bool,
    },
    /// To show what they do, over and over.
    Top {
        /// Vassals; none: all.
        names: Vec<String>,
        /// Once, then end.
        once: bool,
        /// Seconds between two pictures.
        interval_s: u32,
    },
    /// To serve a page that shows it.
    Page {
        /// Where.
        listen: SocketAddr,
    },
    /// To print their output.
    Logs {
        /// Vassals.
        names: Vec<String>,
        /// What comes, too.
        tail: Tail,
    },
    /// To print what happened.
    Events {
        /// Vassals; none: all, and the emperor.
        names: Vec<String>,
        /// What comes, too.
        tail: Tail,
    },
    /// To print where the threads of their workers are.
    Stacks {
        /// Vassals.
        names: Vec<String>,
    },
    /// To tell why they are as they are.
    Why {
        /// Vassals.
        names: Vec<String>,
    },
    /// To have something done.
    Act {
        /// What.
        deed: Deed,
        /// To whom.
        target: Target,
        /// Wait for the outcome and print it.
        wait: bool,
    },
}

/// How much of a log is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// What comes, too.
    pub follow: bool,
    /// At most so many of those that are there.
    pub lines: Option<usize>,
}

/// What the emperor can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Bring up a new generation.
    Reload,
    /// Start another master beside the running one, which drains then.
    Restart,
    /// Stop, and keep stopped.
    Stop,
    /// Start, or end the back-off.
    Start,
    /// End the instance until a connection wakes it.
    Sleep,
    /// Start what sleeps.
    Wake,
    /// Try those that rest at once.
    ClearBackOff,
    /// Run so many workers until the next reload.
    Scale(u32),
    /// Log so much.
    LogLevel(LogLevel),
    /// Re-execute the emperor and the masters.
    Upgrade,
    /// Look at the directories.
    Rescan,
}

/// To whom something is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// These vassals.
    Names(Vec<String>),
    /// All of them, by one request.
    All,
    /// The emperor itself, and with a reload all vassals after it.
    Emperor,
}

impl Deed {
    fn of(verb: &str, said: &Said) -> Result<Self, Usage> {
        Ok(match verb {
            "reload" => Self::Reload,
            "restart" => Self::Restart,
            "stop" => Self::Stop,
            "start" => Self::Start,
            "sleep" => Self::Sleep,
            "wake" => Self::Wake,
            "clear-back-off" => Self::ClearBackOff,
            "upgrade" => Self::Upgrade,
            "rescan" => Self::Rescan,
            "scale" => Self::Scale(
                said.workers
                    .ok_or_else(|| Usage("scale needs a number: liege scale NAME… --workers N".into()))?,
            ),
            _ => Self::LogLevel(said.level.ok_or_else(|| {
                Usage("log-level needs a level: liege log-level NAME… --level LEVEL".into())
            })?),
        })
    }
}

/// What the arguments said, before it is known what they mean together.
#[derive(Debug, Default)]
struct Said {
    names: Vec<String>,
    all: bool,
    emperor: bool,
    wait: bool,
    once: bool,
    only_names: bool,
    interval_s: Option<u32>,
    workers: Option<u32>,
    level: Option<LogLevel>,
    listen: Option<SocketAddr>,
    tail: Tail,
    json: bool,
    access: Access,
}

/// Reads the arguments of a command that asks an emperor. It takes the options that the manual names.
///
/// # Errors
/// What is wrong with them.
pub(super) fn parse(verb: &Verb, arguments: impl Iterator<Item = OsString>) -> Result<Command, Usage> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut said = Said::default();
    while let Some(argument) = parser.next()? {
        let name = match &argument {
            Value(name) if verb.takes_names() => {
                said.names.push(name.clone().string()?);
                continue;
            }
            Long("help") | Short('h') => return Ok(Command::Help(Some(verb.name().to_owned()))),
            Short('w') => "wait",
            Short('f') => "follow",
            Short('n') => "lines",
            Long(name) => name,
            other => return Err(other.clone().unexpected().into()),
        };
        match verb.option(name) {
            Some("json") => said.json = true,
            Some("all") => said.all = true,
            Some("emperor") => said.emperor = true,
            Some("wait") => said.wait = true,
            Some("once") => said.once = true,
            Some("names") => said.only_names = true,
            Some("follow") => said.tail.follow = true,
            Some("lines") => said.tail.lines = Some(parser.value()?.parse()?),
            Some("workers") => said.workers = Some(parser.value()?.parse()?),
            Some("interval") => said.interval_s = Some(parser.value()?.parse()?),
            Some("level") => said.level = Some(parser.value()?.parse_with(level)?),
            Some("listen") => said.listen = Some(parser.value()?.parse_with(address)?),
            Some("api") => said.access.api = Some(parser.value()?.string()?),
            Some("hosts") => said.access.hosts = Some(parser.value()?.string()?),
            Some("ca-file") => said.access.ca_file = Some(parser.value()?.into()),
            Some("cert") => said.access.cert = Some(parser.value()?.into()),
            Some("token-file") => said.access.token_file = Some(parser.value()?.into()),
            None if name == "hosts" => {
                let verb = verb.name();
                return Err(Usage(format!(
                    "{verb} asks one host, not --hosts: ssh HOST liege {verb} …, or --api PATH|URL"
                )));
            }
            _ => return Err(argument.unexpected().into()),
        }
    }
    if said.access.api.is_some() && said.access.hosts.is_some() {
        return Err(Usage("--api is one emperor, --hosts are several: not both".into()));
    }
    let errand = errand(verb.name(), &mut said)?;
    Ok(Command::Ask(Ask { errand, json: said.json, access: said.access }))
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an address and a port, such as 127.0.0.1:8005")
}

fn level(word: &str) -> Result<LogLevel, &'static str> {
    let levels = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace];
    let found = levels.into_iter().find(|level| level.to_string() == word);
    found.ok_or("the levels are error, warn, info, debug and trace")
}

fn errand(verb: &str, said: &mut Said) -> Result<Errand, Usage> {
    let names = std::mem::take(&mut said.names);
    let tail = said.tail;
    let needs_names = |names: Vec<String>| match names.is_empty() {
        true => Err(Usage(format!("{verb} needs a vassal's name: liege {verb} NAME…"))),
        false => Ok(names),
    };
    Ok(match verb {
        "status" => Errand::Status { names, only_names: said.only_names },
        "top" => Errand::Top { names, once: said.once, interval_s: said.interval_s.unwrap_or(2).max(1) },
        "page" => Errand::Page { listen: said.listen.unwrap_or(fleet::USUAL) },
        "logs" => Errand::Logs { names: needs_names(names)?, tail },
        "events" => Errand::Events { names, tail },
        "stacks" => Errand::Stacks { names: needs_names(names)? },
        "why" => Errand::Why { names: needs_names(names)? },
        _ => {
            let deed = Deed::of(verb, said)?;
            let target = match (said.emperor, said.all, names.is_empty()) {
                _ if matches!(deed, Deed::Upgrade | Deed::Rescan) => Target::Emperor,
                (true, _, true) => Target::Emperor,
                (false, true, true) => Target::All,
                (false, false, _) => Target::Names(needs_names(names)?),
                (true, _, false) => return Err(Usage(format!("{verb} takes names or --emperor, not both"))),
                (_, true, false) => return Err(Usage(format!("{verb} takes names or --all, not both"))),
            };
            Errand::Act { deed, target, wait: said.wait }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::manual::verb;

    fn parsed(text: &str) -> Result<Command, Usage> {
        let mut words = text.split_whitespace().map(OsString::from);
        let name = words.next().unwrap();
        parse(verb(name.to_str().unwrap()).unwrap(), words)
    }

    fn asked(text: &str) -> Ask {
        match parsed(text) {
            Ok(Command::Ask(ask)) => ask,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_an_errand() {
        let act = |deed, target, wait| Errand::Act { deed, target, wait };
        let these = |text| Target::Names(names(text));
        let tail = |follow, lines| Tail { follow, lines };
        for (text, expected) in [
            ("status", Errand::Status { names: vec![], only_names: false }),
            ("status web-* --names", Errand::Status { names: names("web-*"), only_names: true }),
            ("top", Errand::Top { names: vec![], once: false, interval_s: 2 }),
            ("top --once --interval 5 a", Errand::Top { names: names("a"), once: true, interval_s: 5 }),
            ("top --interval 0", Errand::Top { names: vec![], once: false, interval_s: 1 }),
            ("logs -f a b", Errand::Logs { names: names("a b"), tail: tail(true, None) }),
            ("logs a -n 5", Errand::Logs { names: names("a"), tail: tail(false, Some(5)) }),
            ("events --follow", Errand::Events { names: vec![], tail: tail(true, None) }),
            ("stacks a", Errand::Stacks { names: names("a") }),
            ("why a", Errand::Why { names: names("a") }),
            ("reload blog shop.ini", act(Deed::Reload, these("blog shop.ini"), false)),
            ("reload --wait blog", act(Deed::Reload, these("blog"), true)),
            ("reload --all", act(Deed::Reload, Target::All, false)),
            ("reload --emperor -w", act(Deed::Reload, Target::Emperor, true)),
            ("reload -- -odd.ini", act(Deed::Reload, these("-odd.ini"), false)),
            ("restart a", act(Deed::Restart, these("a"), false)),
            ("stop blog", act(Deed::Stop, these("blog"), false)),
            ("start blog -w", act(Deed::Start, these("blog"), true)),
            ("sleep a", act(Deed::Sleep, these("a"), false)),
            ("wake a", act(Deed::Wake, these("a"), false)),
            ("clear-back-off --all", act(Deed::ClearBackOff, Target::All, false)),
            ("scale a --workers 4", act(Deed::Scale(4), these("a"), false)),
            ("log-level a --level debug", act(Deed::LogLevel(LogLevel::Debug), these("a"), false)),
            ("log-level --emperor --level warn", act(Deed::LogLevel(LogLevel::Warn), Target::Emperor, false)),
            ("upgrade", act(Deed::Upgrade, Target::Emperor, false)),
            ("rescan", act(Deed::Rescan, Target::Emperor, false)),
        ] {
            assert_eq!(asked(text).errand, expected, "{text}");
        }
        let ask = asked("status --api /x.sock --token-file t --json");
        let access =
            Access { api: Some("/x.sock".into()), token_file: Some("t".into()), ..Access::default() };
        assert_eq!((ask.access, ask.json), (access, true));
        assert_eq!(asked("top --hosts a,b").access.hosts.as_deref(), Some("a,b"));
    }

    #[test]
    fn a_line_without_meaning_says_why() {
        for (text, part) in [
            ("reload", "needs a vassal's name"),
            ("reload a --all", "not both"),
            ("reload a --emperor", "not both"),
            ("stop --all", "--all"),
            ("stop --emperor", "--emperor"),
            ("upgrade now", "now"),
            ("status --wait", "--wait"),
            ("status -f", "-f"),
            ("status --api", "--api"),
            ("status --api x --hosts y", "not both"),
            ("stop a --hosts y", "--hosts"),
            ("logs", "needs a vassal's name"),
            ("logs a -n many", "many"),
            ("scale a", "--workers N"),
            ("scale a --workers many", "many"),
            ("log-level a", "--level"),
            ("log-level a --level loud", "error, warn, info"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.0.contains(part), "{text}: {error}");
        }
    }
}
