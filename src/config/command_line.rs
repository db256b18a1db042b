//! Command lines as uWSGI reads them: options in any order, then the files named without an option.

use std::path::PathBuf;

use super::assembly::{Assembly, Manner};
use super::diagnostic::Severity;
use super::load::option_of;
use super::logic::Word;
use super::raw::{COMMAND_LINE, ENVIRONMENT, Origin, Raw};
use super::suggest;
use super::surroundings::Surroundings;
use super::table::{self, Kind, Row};

/// What a command line asks for.
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// Something to do at once instead of serving.
    pub action: Option<Action>,
    /// The configuration, from environment, options and files.
    pub raw: Raw,
}

/// Something to do at once instead of serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// `--help`: print how to call us, exit 0.
    Help,
    /// `--version`: print the version, exit 0.
    Version,
    /// `--exit[=N]`: exit with that status.
    Exit(u8),
    /// `--get KEY`, repeatable: print the first value of each key that exists, exit 0.
    Get(Vec<String>),
    /// `--connect-and-read ADDRESS`: print what is said there.
    Read(String),
    /// `--reload FILE` and the like: signal the process whose pid is in the file.
    Signal(Signal, PathBuf),
}

/// The signals of the client actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `--reload`: SIGHUP.
    Reload,
    /// `--stop`: SIGINT.
    Stop,
    /// `--pause`, `--suspend`, `--resume`: SIGTSTP.
    Pause,
}

/// Variables that start like options but are none.
const NO_OPTIONS: [&str; 8] = [
    "RELOADS",
    "VASSALS_DIR",
    "EMPEROR_FD",
    "EMPEROR_FD_CONFIG",
    "EMPEROR_PROXY",
    "BROODLORD_NUM",
    "JAIL_PID",
    "ORIGINAL_PROC_NAME",
];

/// Reads the arguments (without the program's name), after the `UWSGI_*` variables of the environment.
#[must_use]
pub fn read(arguments: &[String], around: &dyn Surroundings) -> CommandLine {
    let mut reading = Reading {
        assembly: Assembly::new(around),
        origin: Origin::of(COMMAND_LINE),
        action: None,
        bare: Vec::new(),
    };
    let environment = Origin::of(ENVIRONMENT);
    for (name, value) in around.variables() {
        let Some(name) = name.strip_prefix("UWSGI_") else { continue };
        if !NO_OPTIONS.contains(&name) && !name.starts_with("VASSAL_") && !name.is_empty() {
            reading.assembly.say(&option_of(name), Some(&value), &environment);
        }
    }
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        if argument == "--" {
            reading.bare.extend(rest.by_ref().map(str::to_owned));
        } else if let Some(long) = argument.strip_prefix("--") {
            reading.long(long, &mut rest);
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            reading.short(letters, &mut rest);
        } else {
            reading.bare.push(argument.to_owned());
        }
    }
    reading.finish()
}

struct Reading<'a> {
    assembly: Assembly<'a>,
    origin: Origin,
    action: Option<Action>,
    bare: Vec<String>,
}

/// Whether an option takes an argument on the command line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Required,
    /// Only attached: `--need-app=false`, `-C660`.
    Optional,
}

impl Reading<'_> {
    fn long<'w>(&mut self, argument: &'w str, rest: &mut impl Iterator<Item = &'w str>) {
        let (name, attached) = match argument.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (argument, None),
        };
        let Some((name, row)) = self.find(name) else { return };
        let value = match (takes(name, row), attached) {
            (Argument::None, Some(_)) => {
                self.error(&format!("option '--{name}' doesn't allow an argument"), None);
                return;
            }
            (Argument::Required, None) => match rest.next() {
                Some(value) => Some(value),
                None => {
                    self.error(&format!("option '--{name}' requires an argument"), None);
                    return;
                }
            },
            (_, attached) => attached,
        };
        self.take(name, value);
    }

    fn short<'w>(&mut self, letters: &'w str, rest: &mut impl Iterator<Item = &'w str>) {
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            if letter == 'h' {
                self.action = Some(Action::Help);
                continue;
            }
            let Some(row) = table::find_short(letter) else {
                self.error(&format!("invalid option -- '{letter}'"), None);
                return;
            };
            let attached = letters.as_str();
            let value = match takes(row.name(), row) {
                Argument::None => {
                    self.take(row.short_name(), None);
                    continue;
                }
                Argument::Required if attached.is_empty() => match rest.next() {
                    Some(value) => Some(value),
                    None => {
                        self.error(&format!("option requires an argument -- '{letter}'"), None);
                        return;
                    }
                },
                Argument::Optional if attached.is_empty() => None,
                Argument::Required | Argument::Optional => Some(attached),
            };
            self.take(row.short_name(), value);
            return;
        }
    }

    /// The option of that name, or of the only name that begins so.
    fn find(&mut self, name: &str) -> Option<(&'static str, &'static Row)> {
        if let Some(row) = table::find(name) {
            let name = row.names.iter().find(|known| **known == name)?;
            return Some((name, row));
        }
        let candidates: Vec<_> =
            table::names().filter(|known| !name.is_empty() && known.starts_with(name)).collect();
        match candidates.as_slice() {
            [only] => return Some((only, table::find(only)?)),
            [] => {
                let near =
                    suggest::nearest(name, table::names()).map(|near| format!("did you mean --{near}?"));
                self.error(&format!("unrecognized option '--{name}'"), near);
            }
            several => {
                let known: Vec<_> = several.iter().take(8).map(|name| format!("--{name}")).collect();
                let message = format!("option '--{name}' is ambiguous");
                self.error(&message, Some(format!("possibilities: {}", known.join(" "))));
            }
        }
        None
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        let text = value.unwrap_or_default();
        let signal = match name {
            "help" | "usage" => {
                self.action = Some(Action::Help);
                return;
            }
            "version" => {
                self.action = Some(Action::Version);
                return;
            }
            "exit" => {
                let status = value.map_or(1, |value| super::value::integer(value).0);
                self.action = Some(Action::Exit(u8::try_from(status & 0xff).unwrap_or(1)));
                return;
            }
            "get" => {
                let mut keys = match self.action.take() {
                    Some(Action::Get(keys)) => keys,
                    _ => Vec::new(),
                };
                keys.push(text.to_owned());
                self.action = Some(Action::Get(keys));
                return;
            }
            "connect-and-read" => {
                self.action = Some(Action::Read(text.to_owned()));
                return;
            }
            "reload" => Signal::Reload,
            "stop" => Signal::Stop,
            "pause" | "suspend" | "resume" => Signal::Pause,
            _ => {
                self.assembly.say(name, value, &self.origin.clone());
                return;
            }
        };
        self.action = Some(Action::Signal(signal, PathBuf::from(text)));
    }

    fn finish(mut self) -> CommandLine {
        let origin = self.origin.clone();
        for file in std::mem::take(&mut self.bare) {
            if !file.starts_with('[') {
                self.assembly.load(&file, Manner::Include, &origin);
            }
        }
        CommandLine { action: self.action, raw: self.assembly.finish() }
    }

    fn error(&mut self, message: &str, suggestion: Option<String>) {
        self.assembly.report(Severity::Error, &self.origin.clone(), None, message, suggestion);
    }
}

fn takes(name: &str, row: &Row) -> Argument {
    let needs_nothing = matches!(Word::of(name), Some(Word::End | Word::Else));
    match row.kind {
        _ if row.optional || needs_nothing => Argument::Optional,
        Kind::Flag => Argument::None,
        _ => Argument::Required,
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::fake::Imagined;
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn said(arguments: &str) -> Vec<(String, String)> {
        let world = Imagined::new(&[
            ("/srv/app.ini", "[uwsgi]\nprocesses = 4\nmodule = %N-%n\n[web]\nthreads = 2\n"),
            ("/srv/base.ini", "[uwsgi]\nvacuum = true\n"),
        ]);
        let read = read(&words(arguments), &world);
        assert!(!read.raw.has_errors(), "{arguments}: {:?}", read.raw.diagnostics);
        read.raw.said()
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        words(text)
            .iter()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    #[test]
    fn options_are_read_as_getopt_does() {
        for (arguments, expected) in [
            ("--processes 4 --threads=2", "processes=4 threads=2"),
            ("-p 4 -s :3031", "processes=4 socket=:3031"),
            ("-p4", "processes=4"),
            ("-H /x -v 9 -w a", "home=/x max-vars=9 module=a"),
            ("-MTL", "master=true enable-threads=true disable-logging=true"),
            ("-Mp 4", "master=true processes=4"),
            ("-C660 --chmod-socket=600 -C", "chmod-socket=660 chmod-socket=600 chmod-socket=true"),
            ("--harakiri-verb", "harakiri-verbose=true"),
            ("--http :9090 --wsgi-file foobar.py --master", "http=:9090 wsgi-file=foobar.py master=true"),
            ("--set a=b --set-ph x=y", "set=a=b a=b set-ph=x=y x=y"),
            ("--ini app.ini --processes 9", "ini=app.ini processes=4 module=app-app processes=9"),
            ("app.ini --processes 9", "processes=9 processes=4 module=-app"),
            ("-i app.ini", "single-interpreter=true processes=4 module=-app"),
            ("--ini app.ini:web", "ini=app.ini:web threads=2"),
            ("--ini app.ini --ini :web", "ini=app.ini processes=4 module=app-app ini=:web threads=2"),
            ("--include base.ini", "include=base.ini vacuum=true"),
            ("-- app.ini", "processes=4 module=-app"),
            ("[x] --master", "master=true"),
            ("--for 1 --socket=:303%(_) --endfor", "for=1 socket=:3031 endfor=true"),
        ] {
            assert_eq!(said(arguments), pairs(expected), "{arguments}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, message) in [
            ("--proceses 4", "unrecognized option '--proceses' (did you mean --processes?)"),
            ("--master=true", "option '--master' doesn't allow an argument"),
            ("--master true", "unable to load configuration from true"),
            ("--chmod-socket 660", "unable to load configuration from 660"),
            ("--processes", "option '--processes' requires an argument"),
            ("--proc", "option '--proc' is ambiguous"),
            ("-Z", "invalid option -- 'Z'"),
            ("foo.py", "unable to load configuration from foo.py"),
            (
                "app.ini:web",
                "unable to load configuration from app.ini:web (a section is named behind ini: --ini app.ini:web)",
            ),
            ("--ini :x", "no ini file was read before this"),
            ("--ini gone.ini", "realpath() of gone.ini failed"),
            ("app.toml", "unable to load configuration from app.toml"),
        ] {
            let read = read(&words(arguments), &Imagined::new(&[("/srv/app.ini", "[uwsgi]\na=b\n")]));
            let errors: Vec<_> = read.raw.diagnostics.iter().map(ToString::to_string).collect();
            assert!(errors.iter().any(|error| error.contains(message)), "{arguments}: {errors:?}");
            assert!(read.raw.has_errors());
        }
    }

    #[test]
    fn client_actions_are_told_apart() {
        for (arguments, action) in [
            ("--version", Some(Action::Version)),
            ("-h", Some(Action::Help)),
            ("--exit", Some(Action::Exit(1))),
            ("--exit=5", Some(Action::Exit(5))),
            ("--get a --get b", Some(Action::Get(vec!["a".into(), "b".into()]))),
            ("--reload /run/x.pid", Some(Action::Signal(Signal::Reload, "/run/x.pid".into()))),
            ("--connect-and-read :1717", Some(Action::Read(":1717".into()))),
            ("--stop x.pid", Some(Action::Signal(Signal::Stop, "x.pid".into()))),
            ("--master", None),
        ] {
            assert_eq!(read(&words(arguments), &Imagined::new(&[])).action, action, "{arguments}");
        }
    }

    #[test]
    fn the_environment_comes_first() {
        let world = Imagined::new(&[]).with("UWSGI_PROCESSES", "7").with("UWSGI_EMPEROR_FD", "3");
        let world = world.with("UWSGI_VASSAL_THREADS", "2").with("UWSGI_FOO_BAR", "x").with("HOME", "/");
        let read = read(&words("--module %(foo-bar)"), &world);
        assert_eq!(read.raw.said(), pairs("foo-bar=x processes=7 module=x"));
    }
}
