//! What is done at a point of an instance's life: the language of `hook-*`, and the commands of `exec-*`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::value;

/// One thing to do at one point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// When.
    pub point: Point,
    /// `exec-*`: after all that `hook-*` says of this point.
    pub late: bool,
    /// What.
    pub action: Action,
    /// The option that says it.
    pub option: String,
    /// The value as it was written, for the log; `None`: it is private (`!exec:…`).
    pub said: Option<String>,
    /// Where it was said.
    pub place: Place,
}

/// Where something was said, for messages: `app.ini:7`. Two places are always equal: what stands on another line now
/// is no other configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Place(pub String);

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// When something is done, in the order of a start. What is done with the rights of whoever starts the instance is done
/// before privileges drop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Point {
    /// The configuration was read.
    Asap,
    /// At a first start only, before [`Point::InJail`].
    PreJail,
    /// The log and the pid file are there.
    InJail,
    /// The instance is `jailed`.
    PostJail,
    /// `wait-for-file` and the like.
    Waits,
    /// Just before privileges drop.
    AsRoot,
    /// Just after it.
    AsUser,
    /// `wait-for-socket`.
    WaitsForSocket,
    /// The master is about to begin.
    MasterStart,
    /// Whoever loads the application is about to.
    PreApp,
    /// It has.
    PostApp,
    /// A worker is there.
    PostFork,
    /// A worker is about to accept.
    Accepting,
    /// The first one of its number in a generation.
    AcceptingOnce,
    /// Worker 1.
    Accepting1,
    /// The first worker 1 of a generation.
    Accepting1Once,
    /// A file was touched.
    Touch(PathBuf),
    /// The emperor tells it to stop …
    EmperorStop,
    /// … to reload …
    EmperorReload,
    /// … or is gone.
    EmperorLost,
    /// The instance ends.
    Atexit,
    /// In the process of a vassal, before its file is read.
    AsVassal,
    /// In the emperor, once a vassal was started.
    AsEmperor,
    /// The emperor begins.
    EmperorStart,
}

impl Point {
    /// Whether it is only at the first start of an instance: later ones have no rights for it any more.
    #[must_use]
    pub const fn is_of_a_first_start(&self) -> bool {
        matches!(self, Self::PreJail | Self::PostJail | Self::AsRoot | Self::AsUser)
    }

    /// Whether each generation has it, or what comes before it.
    #[must_use]
    pub const fn is_of_a_generation(&self) -> bool {
        self.is_of_every_reload()
            || matches!(
                self,
                Self::PreApp
                    | Self::PostApp
                    | Self::PostFork
                    | Self::Accepting
                    | Self::AcceptingOnce
                    | Self::Accepting1
                    | Self::Accepting1Once
            )
    }

    /// Whether it is up to the master alone, at its start or while it runs.
    #[must_use]
    pub const fn is_of_the_master(&self) -> bool {
        !self.is_of_a_first_start() && !self.is_of_a_generation()
    }

    /// Whether it is for root only.
    #[must_use]
    pub const fn is_of_root(&self) -> bool {
        matches!(self, Self::PostJail | Self::AsRoot)
    }

    /// Whether it is before privileges drop.
    #[must_use]
    pub const fn is_privileged(&self) -> bool {
        matches!(self, Self::Asap | Self::PreJail | Self::InJail | Self::PostJail | Self::AsRoot)
    }

    /// Whether it comes again when the instance reloads, before the new generation.
    #[must_use]
    pub const fn is_of_every_reload(&self) -> bool {
        matches!(self, Self::Asap | Self::InJail | Self::MasterStart)
    }

    /// What uWSGI's log calls it.
    #[must_use]
    pub const fn phase(&self) -> &'static str {
        match self {
            Self::Asap => "asap",
            Self::PreJail => "pre-jail",
            Self::InJail => "in-jail",
            Self::PostJail => "post-jail",
            Self::Waits | Self::WaitsForSocket => "wait",
            Self::AsRoot => "as root",
            Self::AsUser => "as user",
            Self::MasterStart => "master-start",
            Self::PreApp => "pre app",
            Self::PostApp => "post app",
            Self::PostFork => "post-fork",
            Self::Accepting => "accepting",
            Self::AcceptingOnce => "accepting-once",
            Self::Accepting1 => "accepting1",
            Self::Accepting1Once => "accepting1-once",
            Self::Touch(_) => "touch",
            Self::EmperorStop => "emperor-stop",
            Self::EmperorReload => "emperor-reload",
            Self::EmperorLost => "emperor-lost",
            Self::Atexit => "atexit",
            Self::AsVassal => "as vassal",
            Self::AsEmperor => "as emperor",
            Self::EmperorStart => "emperor-start",
        }
    }
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// `exec:`, `exec-*`: a command for `/bin/sh`; what it ends with counts unless `safeexec:`.
    Exec {
        /// The command.
        command: String,
        /// Its status does not matter.
        safe: bool,
    },
    /// `print:`, `log:`: a line in the log.
    Print(String),
    /// `cd:`, `chdir:`.
    Chdir(PathBuf),
    /// `putenv:`: a variable of what is done after it.
    Putenv(String, String),
    /// `mkdir:`.
    Mkdir(PathBuf),
    /// `unlink:`.
    Unlink(PathBuf),
    /// `create:`, `creat:`: an empty file.
    Create(PathBuf),
    /// `touch:`: a file with the time of now. liege's own.
    Touch(PathBuf),
    /// `write:`, `writen:`, `append:`, `appendn:`.
    Write {
        /// The file.
        path: PathBuf,
        /// What goes into it.
        text: String,
        /// Behind what it has.
        append: bool,
    },
    /// `writefifo:`, `spinningfifo:`.
    WriteFifo {
        /// The pipe.
        path: PathBuf,
        /// What goes into it.
        text: String,
        /// Somebody who reads is waited for.
        patient: bool,
    },
    /// `chmod:`.
    Chmod(PathBuf, u32),
    /// `sticky:`.
    Sticky(PathBuf),
    /// `chown:` (names), `chown2:` (numbers).
    Chown {
        /// The file.
        path: PathBuf,
        /// Name or number.
        user: String,
        /// Name or number.
        group: String,
    },
    /// `wait_for_file:` and the like, `wait-for-file` and the like.
    Wait {
        /// What is to be there.
        what: Awaited,
        /// How long it may take, in seconds.
        patience_s: u32,
    },
    /// `unix_signal:`: what a signal to the master means.
    Signal(Number, Meaning),
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// Anything at a path.
    Any(PathBuf),
    /// A regular file.
    File(PathBuf),
    /// A directory.
    Directory(PathBuf),
    /// A directory on which something is mounted.
    Mountpoint(PathBuf),
    /// A network interface.
    Interface(String),
    /// Somebody who accepts connections.
    Socket(Address),
}

/// How long is waited where nobody says, in seconds.
pub const PATIENCE_S: u32 = 60;

/// A signal whose meaning for the master can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Number {
    /// `SIGHUP`, 1.
    Hup,
    /// `SIGINT`, 2.
    Int,
    /// `SIGQUIT`, 3.
    Quit,
    /// `SIGUSR1`, 10.
    Usr1,
    /// `SIGTERM`, 15.
    Term,
}

/// What a signal means: a function of uWSGI's master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Meaning {
    /// `gracefully_kill_them_all`, `kill_them_all`: stop, when the running requests are done.
    Stop,
    /// `grace_them_all`, `reap_them_all`: reload, without losing a request.
    Reload,
    /// `stats`: the statistics go to the log.
    Statistics,
}

/// What can be said, for messages.
const ACTIONS: &str = "exec, safeexec, print, log, chdir, putenv, mkdir, unlink, create, touch, write, writen, append, appendn, writefifo, spinningfifo, chmod, sticky, chown, chown2, wait_for_fs, wait_for_file, wait_for_dir, wait_for_socket, unix_signal";

/// Why a text is no action, and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoAction {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub advice: String,
}

impl NoAction {
    fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { message: message.into(), advice: advice.into() }
    }

    fn form(name: &str, form: &str) -> Self {
        Self::new(format!("invalid {name} syntax"), format!("write {name}:{form}"))
    }
}

/// What a text such as `exec:touch x` says, and whether the log is to keep quiet of it (`!` in front).
///
/// # Errors
/// It is no action of ours.
pub fn parse(text: &str) -> Result<(Action, bool), NoAction> {
    let Some((name, argument)) = text.split_once(':') else {
        return Err(NoAction::new("invalid hook syntax, must be hook:args", format!("there are {ACTIONS}")));
    };
    let (name, private) = name.strip_prefix('!').map_or((name, false), |name| (name, true));
    action(name, argument).map(|action| (action, private))
}

fn action(name: &str, argument: &str) -> Result<Action, NoAction> {
    let path = || match argument {
        "" => Err(NoAction::form(name, "PATH")),
        path => Ok(PathBuf::from(path)),
    };
    let pair = |form: &str| match argument.split_once(' ') {
        Some((path, rest)) if !path.is_empty() => Ok((PathBuf::from(path), rest.to_owned())),
        _ => Err(NoAction::form(name, form)),
    };
    let wait = |what: Awaited| Ok(Action::Wait { what, patience_s: PATIENCE_S });
    match name {
        "exec" | "safeexec" => Ok(Action::Exec { command: argument.to_owned(), safe: name == "safeexec" }),
        "print" | "log" => Ok(Action::Print(argument.to_owned())),
        "cd" | "chdir" => path().map(Action::Chdir),
        "putenv" => match argument.split_once('=') {
            Some((variable, text)) if !variable.is_empty() && !argument.contains('\0') => {
                Ok(Action::Putenv(variable.to_owned(), text.to_owned()))
            }
            _ => Err(NoAction::form(name, "NAME=VALUE")),
        },
        "mkdir" => path().map(Action::Mkdir),
        "unlink" => path().map(Action::Unlink),
        "create" | "creat" => path().map(Action::Create),
        "touch" => path().map(Action::Touch),
        "appendn" if !argument.is_empty() && !argument.contains(' ') => {
            Ok(Action::Write { path: path()?, text: "\n".to_owned(), append: true })
        }
        "write" | "writen" | "append" | "appendn" => {
            let (path, mut text) = pair("FILE STRING")?;
            if name.ends_with('n') {
                text.push('\n');
            }
            Ok(Action::Write { path, text, append: name.starts_with("append") })
        }
        "writefifo" | "spinningfifo" => {
            let (path, text) = pair("FIFO STRING")?;
            Ok(Action::WriteFifo { path, text, patient: name == "spinningfifo" })
        }
        "chmod" => {
            let (path, mode) = pair("FILE MODE")?;
            match value::octal(&mode).filter(|_| matches!(mode.len(), 3 | 4)) {
                Some(mode) => Ok(Action::Chmod(path, mode)),
                None => Err(NoAction::form(name, "FILE MODE, with a mode such as 640")),
            }
        }
        "sticky" => path().map(Action::Sticky),
        "chown" | "chown2" => {
            let form = "FILE USER GROUP";
            let (path, owner) = pair(form)?;
            let (user, group) = owner.split_once(' ').ok_or_else(|| NoAction::form(name, form))?;
            let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if name == "chown2" && !(is_number(user) && is_number(group)) {
                return Err(NoAction::form(name, "FILE UID GID, with numbers"));
            }
            Ok(Action::Chown { path, user: user.to_owned(), group: group.to_owned() })
        }
        "wait_for_fs" => wait(Awaited::Any(path()?)),
        "wait_for_file" => wait(Awaited::File(path()?)),
        "wait_for_dir" => wait(Awaited::Directory(path()?)),
        "wait_for_socket" => match Address::parse(argument, std::path::Path::new("")) {
            Ok((address, _)) => wait(Awaited::Socket(address)),
            Err(error) => Err(NoAction::new(error, "write wait_for_socket:ADDRESS")),
        },
        "unix_signal" => signal(argument),
        _ => Err(missing(name)),
    }
}

fn signal(argument: &str) -> Result<Action, NoAction> {
    let (number, function) =
        argument.split_once(' ').ok_or_else(|| NoAction::form("unix_signal", "NUMBER FUNCTION"))?;
    let number = match number {
        "1" => Number::Hup,
        "2" => Number::Int,
        "3" => Number::Quit,
        "10" => Number::Usr1,
        "15" => Number::Term,
        other => {
            let message = format!("the meaning of signal {other} cannot be chosen");
            return Err(NoAction::new(message, "there are 1, 2, 3, 10 and 15"));
        }
    };
    let meaning = match function {
        "gracefully_kill_them_all" | "kill_them_all" => Meaning::Stop,
        "grace_them_all" | "reap_them_all" => Meaning::Reload,
        "stats" => Meaning::Statistics,
        other => {
            let message = format!("unable to find function \"{other}\"");
            let advice =
                "there are gracefully_kill_them_all, kill_them_all, grace_them_all, reap_them_all and stats";
            return Err(NoAction::new(message, advice));
        }
    };
    Ok(Action::Signal(number, meaning))
}

/// What uWSGI has, with what to do instead; or what nobody has.
fn missing(name: &str) -> NoAction {
    let advice = match name {
        "mount" | "umount" => "mount it by the service unit (RequiresMountsFor=) or /etc/fstab",
        "call" | "callret" | "callint" | "callintret" | "ffi" | "tcc" | "perl" => {
            "functions of uWSGI's own program are not there: say exec:COMMAND"
        }
        "hostname" => "the name is the host's: emperor-use-clone = uts and hostnamectl, or a container",
        "alarm" => "say exec:COMMAND, with what tells you",
        "rpc" | "retryrpc" => "there is no uwsgi RPC: say exec:COMMAND, such as curl",
        "exit" => "say exec:false: what fails ends the start",
        _ => {
            return NoAction::new(format!("hook action not found: {name}"), format!("there are {ACTIONS}"));
        }
    };
    NoAction::new(format!("liege does not do {name}:"), advice)
}

/// What is done at a point, in order.
pub fn at<'a>(hooks: &'a [Hook], point: &Point) -> Vec<&'a Hook> {
    let mut found: Vec<&Hook> = hooks.iter().filter(|hook| hook.point == *point).collect();
    found.sort_by_key(|hook| hook.late);
    found
}

/// The files of `hook-touch`, each once.
pub fn touched(hooks: &[Hook]) -> impl Iterator<Item = &PathBuf> {
    let is_first = |n: usize, hook: &Hook| !hooks.iter().take(n).any(|known| known.point == hook.point);
    hooks.iter().enumerate().filter(move |(n, hook)| is_first(*n, hook)).filter_map(|(_, hook)| {
        match &hook.point {
            Point::Touch(file) => Some(file),
            _ => None,
        }
    })
}

/// What a signal to the master means, where a configuration says so: the last word counts.
#[must_use]
pub fn meaning(hooks: &[Hook], wanted: Number) -> Option<Meaning> {
    hooks.iter().rev().find_map(|hook| match hook.action {
        Action::Signal(number, meaning) if number == wanted => Some(meaning),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_has_its_form() {
        let exec = |command: &str, safe| Action::Exec { command: command.to_owned(), safe };
        let write = |text: &str, append| Action::Write { path: "/f".into(), text: text.to_owned(), append };
        let fifo = |patient| Action::WriteFifo { path: "/f".into(), text: "a b".to_owned(), patient };
        let own = |user: &str, group: &str| Action::Chown {
            path: "/f".into(),
            user: user.to_owned(),
            group: group.to_owned(),
        };
        let wait = |what| Action::Wait { what, patience_s: 60 };
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: 5432 };
        for (text, expected) in [
            ("exec:touch /f; b:c", exec("touch /f; b:c", false)),
            ("safeexec:false", exec("false", true)),
            ("print:", Action::Print(String::new())),
            ("log:a: b", Action::Print("a: b".to_owned())),
            ("cd:/d", Action::Chdir("/d".into())),
            ("chdir:d", Action::Chdir("d".into())),
            ("putenv:A=b=c", Action::Putenv("A".to_owned(), "b=c".to_owned())),
            ("mkdir:/d", Action::Mkdir("/d".into())),
            ("unlink:/f", Action::Unlink("/f".into())),
            ("creat:/f", Action::Create("/f".into())),
            ("create:/f", Action::Create("/f".into())),
            ("touch:/f", Action::Touch("/f".into())),
            ("write:/f a b", write("a b", false)),
            ("write:/f ", write("", false)),
            ("writen:/f a", write("a\n", false)),
            ("append:/f a", write("a", true)),
            ("appendn:/f a", write("a\n", true)),
            ("appendn:/f", write("\n", true)),
            ("writefifo:/f a b", fifo(false)),
            ("spinningfifo:/f a b", fifo(true)),
            ("chmod:/f 640", Action::Chmod("/f".into(), 0o640)),
            ("chmod:/f 1777", Action::Chmod("/f".into(), 0o1777)),
            ("sticky:/f", Action::Sticky("/f".into())),
            ("chown:/f www-data www-data", own("www-data", "www-data")),
            ("chown2:/f 33 0", own("33", "0")),
            ("wait_for_fs:/f", wait(Awaited::Any("/f".into()))),
            ("wait_for_file:/f", wait(Awaited::File("/f".into()))),
            ("wait_for_dir:/f", wait(Awaited::Directory("/f".into()))),
            ("wait_for_socket:127.0.0.1:5432", wait(Awaited::Socket(address))),
            ("unix_signal:15 gracefully_kill_them_all", Action::Signal(Number::Term, Meaning::Stop)),
            ("unix_signal:1 kill_them_all", Action::Signal(Number::Hup, Meaning::Stop)),
            ("unix_signal:10 grace_them_all", Action::Signal(Number::Usr1, Meaning::Reload)),
            ("unix_signal:2 stats", Action::Signal(Number::Int, Meaning::Statistics)),
        ] {
            assert_eq!(parse(text), Ok((expected.clone(), false)), "{text}");
            assert_eq!(parse(&format!("!{text}")), Ok((expected, true)), "!{text}");
        }
    }

    #[test]
    fn what_is_no_action_says_what_to_do() {
        for (text, message, advice) in [
            ("touch /f", "invalid hook syntax", "there are exec,"),
            ("tuch:/f", "hook action not found: tuch", "there are exec,"),
            ("write:/f", "invalid write syntax", "write:FILE STRING"),
            ("mkdir:", "invalid mkdir syntax", "mkdir:PATH"),
            ("chmod:/f rw", "invalid chmod syntax", "640"),
            ("chown:/f root", "invalid chown syntax", "USER GROUP"),
            ("chown2:/f root root", "invalid chown2 syntax", "UID"),
            ("putenv:A", "invalid putenv syntax", "NAME=VALUE"),
            ("unix_signal:15", "invalid unix_signal syntax", "NUMBER FUNCTION"),
            ("unix_signal:9 kill_them_all", "signal 9", "15"),
            ("unix_signal:15 end_me", "unable to find function \"end_me\"", "gracefully_kill_them_all"),
            ("mount:proc none /proc", "liege does not do mount:", "service unit"),
            ("call:uwsgi_log x", "liege does not do call:", "exec:COMMAND"),
            ("exit:1", "liege does not do exit:", "exec:false"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(message) && error.advice.contains(advice), "{text}: {error:?}");
        }
    }

    #[test]
    fn the_last_word_on_a_signal_counts() {
        let hook = |text: &str| Hook {
            point: Point::MasterStart,
            late: false,
            action: parse(text).unwrap().0,
            option: String::new(),
            said: None,
            place: Place::default(),
        };
        let hooks = [
            hook("unix_signal:1 kill_them_all"),
            hook("unix_signal:15 stats"),
            hook("unix_signal:1 grace_them_all"),
        ];
        assert_eq!(meaning(&hooks, Number::Hup), Some(Meaning::Reload));
        assert_eq!(meaning(&hooks, Number::Term), Some(Meaning::Statistics));
        assert_eq!(meaning(&hooks, Number::Usr1), None);
    }

    #[test]
    fn commands_follow_the_hooks_of_their_point() {
        let hook = |point, late, name: &str| Hook {
            point,
            late,
            action: Action::Print(name.to_owned()),
            option: String::new(),
            said: None,
            place: Place(name.to_owned()),
        };
        let hooks = [
            hook(Point::Asap, true, "1"),
            hook(Point::AsRoot, false, "2"),
            hook(Point::Asap, false, "3"),
            hook(Point::Asap, true, "4"),
        ];
        let order: Vec<&str> = at(&hooks, &Point::Asap).iter().map(|h| h.place.0.as_str()).collect();
        assert_eq!(order, ["3", "1", "4"]);
        assert_eq!(hook(Point::Asap, true, "1").place, hook(Point::Asap, true, "2").place);
    }
}
