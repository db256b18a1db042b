//! Arguments as a command: the grammar, without doing anything.

mod ask;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use lexopt::Arg::{Long, Short, Value};

pub use ask::{Access, Ask, Deed, Errand, Tail, Target};

use super::manual::{self, Shell, Verb};
use super::subject::{Subject, with_section};
use super::{check, effective};

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// To be another process of ours; its emperor or master started it so.
    Role(Role),
    /// To serve: uWSGI's command line, without the program's name. An emperor or an instance, as it says.
    Serve(Vec<OsString>),
    /// To check configurations and print what is wrong with them.
    Check(Subject, check::Manner),
    /// To print a configuration as it counts.
    Config(Subject, effective::Manner),
    /// To ask a running emperor, or several.
    Ask(Ask),
    /// To print the version.
    Version,
    /// To print how liege is used, or what an option or a command does.
    Help(Option<String>),
    /// To print completions for a shell.
    Completions(Shell),
}

/// The processes of ours that nobody starts by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A vassal's master.
    Instance,
    /// The HTTP front of an instance.
    Router,
    /// What hooks of a vassal say.
    Hooks,
    /// Between a master and a program beside its workers.
    Keeper,
    /// The trial run of a configuration or a new binary.
    Rehearse,
    /// The trial load of an application.
    Trial,
    /// A look at what a file would mean.
    Validate,
    /// What waits for the server of a file system.
    Probe,
}

impl Role {
    /// The argument that asks for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Router => "router",
            Self::Hooks => "hooks",
            Self::Keeper => "keeper",
            Self::Rehearse => "rehearse",
            Self::Trial => "trial",
            Self::Validate => "validate",
            Self::Probe => "probe",
        }
    }

    fn of(word: &str) -> Option<Self> {
        use Role::{Hooks, Instance, Keeper, Probe, Rehearse, Router, Trial, Validate};
        let all = [Instance, Router, Hooks, Keeper, Rehearse, Trial, Validate, Probe];
        all.into_iter().find(|role| role.word() == word)
    }
}

/// A command line that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl From<lexopt::Error> for Usage {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

/// Reads arguments. `program` is the name we were called by: as `uwsgi` there are no commands. `supervised` tells
/// whether a process of ours started us.
///
/// # Errors
/// What is wrong with them.
pub fn parse(program: &OsStr, arguments: Vec<OsString>, supervised: bool) -> Result<Command, Usage> {
    let first = arguments.first().and_then(|first| first.to_str()).unwrap_or_default();
    if let Some(role) = Role::of(first).filter(|_| supervised) {
        return Ok(Command::Role(role));
    }
    let rest = || arguments.iter().skip(1).cloned();
    let called_uwsgi = Path::new(program).file_name().is_some_and(|name| name == "uwsgi");
    match first {
        "--version" => Ok(Command::Version),
        "--help" | "-h" => Ok(Command::Help(None)),
        _ if called_uwsgi => Ok(Command::Serve(arguments)),
        "" => Ok(Command::Help(None)),
        "help" => Ok(Command::Help(rest().next().map(|topic| topic.to_string_lossy().into_owned()))),
        "completions" => match rest().next().and_then(|name| Shell::of(name.to_str()?)) {
            Some(shell) => Ok(Command::Completions(shell)),
            None => Err(Usage("liege completions bash|zsh|fish".into())),
        },
        "emperor" => Ok(Command::Serve(emperor(rest()))),
        "check" => check(rest()),
        "config" => config(rest()),
        _ => match (asking(first), late_verb(&arguments)) {
            (Some(verb), _) => ask::parse(verb, rest()),
            (None, Some((verb, arguments))) => ask::parse(verb, arguments.into_iter()),
            (None, None) => Ok(Command::Serve(arguments)),
        },
    }
}

/// `emperor DIR… OPTIONS` is `--emperor DIR … OPTIONS`.
fn emperor(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut out = Vec::new();
    let mut directories = true;
    for argument in arguments {
        directories &= !argument.as_encoded_bytes().starts_with(b"-");
        if directories {
            out.push("--emperor".into());
        }
        out.push(argument);
    }
    out
}

fn check(arguments: impl Iterator<Item = OsString>) -> Result<Command, Usage> {
    let (arguments, line) = split(arguments);
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut files, mut manner) = (Vec::new(), check::Manner::default());
    while let Some(argument) = parser.next()? {
        match argument {
            Value(file) => files.push(file.into()),
            Long("json") => manner.json = true,
            Long("import") => manner.import = true,
            Long("help") | Short('h') => return Ok(Command::Help(Some("check".to_owned()))),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Command::Check(subject("check FILE…|DIR…", files, line)?, manner))
}

fn config(arguments: impl Iterator<Item = OsString>) -> Result<Command, Usage> {
    let (arguments, line) = split(arguments);
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut files, mut manner) = (Vec::new(), effective::Manner::default());
    while let Some(argument) = parser.next()? {
        match argument {
            Value(file) if files.is_empty() => files.push(file.into()),
            Long("json") => manner.json = true,
            Long("diff") => manner.old = Some(parser.value()?.into()),
            Long("help") | Short('h') => return Ok(Command::Help(Some("config".to_owned()))),
            other => return Err(other.unexpected().into()),
        }
    }
    let of_section = |path: &PathBuf| with_section(path).is_some();
    if manner.old.is_some() && (line.is_some() || files.iter().chain(&manner.old).any(of_section)) {
        return Err(Usage("config --diff compares files as a whole: liege config FILE --diff OLD".into()));
    }
    Ok(Command::Config(subject("config FILE", files, line)?, manner))
}

/// What stands before `--`, and uWSGI's command line behind it.
fn split(arguments: impl Iterator<Item = OsString>) -> (Vec<OsString>, Option<Vec<OsString>>) {
    let mut before: Vec<OsString> = arguments.collect();
    let line = before.iter().position(|argument| argument == "--").map(|at| before.split_off(at));
    (before, line.map(|line| line.into_iter().skip(1).collect()))
}

fn subject(usage: &str, files: Vec<PathBuf>, line: Option<Vec<OsString>>) -> Result<Subject, Usage> {
    match line {
        Some(line) if files.is_empty() => {
            let words: Result<Vec<String>, OsString> = line.into_iter().map(OsString::into_string).collect();
            let words = words.map_err(|_| Usage("an argument is not UTF-8".into()))?;
            Ok(Subject::Line(words))
        }
        Some(_) => Err(Usage("files, or a command line behind --, not both".into())),
        None if files.is_empty() => Err(Usage(format!("liege {usage}, or -- OPTION…"))),
        None => Ok(Subject::Files(files)),
    }
}

/// The command of that name, if it asks an emperor.
fn asking(name: &str) -> Option<&'static Verb> {
    manual::verb(name).filter(|verb| verb.asks())
}

/// `--api PATH VERB …` is `VERB --api PATH …`: how the API is found may stand before a command, too.
fn late_verb(arguments: &[OsString]) -> Option<(&'static Verb, Vec<OsString>)> {
    let mut at = 0;
    loop {
        let word = arguments.get(at)?.to_str()?;
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let is_place = |(option, _): &(&str, _)| option.split(' ').next() == Some(name);
        if !Verb::PLACES.iter().any(is_place) {
            break;
        }
        at += if value.is_some() { 1 } else { 2 };
    }
    let (before, rest) = arguments.split_at_checked(at)?;
    let (verb, after) = rest.split_first()?;
    Some((asking(verb.to_str()?)?, [before, after].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(program: &str, text: &str) -> Result<Command, Usage> {
        let arguments = text.split_whitespace().map(OsString::from).collect();
        parse(OsStr::new(program), arguments, false)
    }

    fn args(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    fn checks(subject: Subject, json: bool) -> Command {
        Command::Check(subject, check::Manner { json, import: false })
    }

    fn configures(old: Option<&str>) -> Command {
        let manner = effective::Manner { json: false, old: old.map(PathBuf::from) };
        Command::Config(Subject::Files(vec!["a.ini".into()]), manner)
    }

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_is_a_command() {
        let status = |hosts: Option<&str>, json| {
            let errand = Errand::Status { names: vec![], only_names: false };
            let access = Access { hosts: hosts.map(str::to_owned), ..Access::default() };
            Command::Ask(Ask { errand, json, access })
        };
        let at = |api: &str| Ask {
            errand: Errand::Status { names: vec![], only_names: false },
            json: false,
            access: Access { api: Some(api.to_owned()), ..Access::default() },
        };
        let guarded = || Access { token_file: Some("t".into()), ..at("x").access };
        for (text, expected) in [
            ("", Command::Help(None)),
            ("help", Command::Help(None)),
            ("help -p", Command::Help(Some("-p".into()))),
            ("check --help", Command::Help(Some("check".into()))),
            ("completions zsh", Command::Completions(Shell::Zsh)),
            ("--help", Command::Help(None)),
            ("--version", Command::Version),
            ("emperor /a /b --api x", Command::Serve(args("--emperor /a --emperor /b --api x"))),
            ("emperor --ini e.ini", Command::Serve(args("--ini e.ini"))),
            ("--emperor /a", Command::Serve(args("--emperor /a"))),
            ("app.ini", Command::Serve(args("app.ini"))),
            ("--http :9090 --wsgi-file f.py", Command::Serve(args("--http :9090 --wsgi-file f.py"))),
            ("--ini x.ini:sec -p 4", Command::Serve(args("--ini x.ini:sec -p 4"))),
            ("instance blog", Command::Serve(args("instance blog"))),
            ("--reload /run/x.pid", Command::Serve(args("--reload /run/x.pid"))),
            ("status", status(None, false)),
            ("status --json", status(None, true)),
            ("--hosts a,b status --json", status(Some("a,b"), true)),
            ("--hosts=list status", status(Some("list"), false)),
            ("status --hosts list", status(Some("list"), false)),
            ("--api x status", Command::Ask(at("x"))),
            ("--api=x --token-file t status", Command::Ask(Ask { access: guarded(), ..at("x") })),
            ("--api x --emperor d", Command::Serve(args("--api x --emperor d"))),
            ("--api x", Command::Serve(args("--api x"))),
            ("--hosts a", Command::Serve(args("--hosts a"))),
            ("check a.ini b.ini", checks(Subject::Files(vec!["a.ini".into(), "b.ini".into()]), false)),
            ("check --json d", checks(Subject::Files(vec!["d".into()]), true)),
            ("check -- --http :80", checks(Subject::Line(names("--http :80")), false)),
            ("config a.ini --diff b.ini", configures(Some("b.ini"))),
            ("config a.ini", configures(None)),
        ] {
            assert_eq!(line("liege", text), Ok(expected), "{text}");
        }
        assert_eq!(line("/usr/bin/uwsgi", "status"), Ok(Command::Serve(args("status"))));
        assert_eq!(line("uwsgi", ""), Ok(Command::Serve(vec![])));
    }

    #[test]
    fn a_line_without_meaning_says_why() {
        for (text, part) in [
            ("check", "check FILE"),
            ("completions tcsh", "bash|zsh|fish"),
            ("check --wait x", "--wait"),
            ("check a.ini -- --http :80", "not both"),
            ("config", "config FILE"),
            ("config a.ini b.ini", "b.ini"),
            ("config --diff a.ini -- --http :80", "compares files"),
        ] {
            let error = line("liege", text).unwrap_err();
            assert!(error.0.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn only_a_process_of_ours_starts_the_inner_roles() {
        for (word, role) in [
            ("instance", Role::Instance),
            ("router", Role::Router),
            ("hooks", Role::Hooks),
            ("keeper", Role::Keeper),
            ("rehearse", Role::Rehearse),
            ("trial", Role::Trial),
        ] {
            let parsed = parse(OsStr::new("liege"), args(&format!("{word} blog")), true);
            assert_eq!(parsed, Ok(Command::Role(role)));
        }
        let parsed = parse(OsStr::new("liege"), args("--emperor /x"), true);
        assert_eq!(parsed, Ok(Command::Serve(args("--emperor /x"))));
    }
}
