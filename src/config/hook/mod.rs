//! What is done at a point of an instance's life: the language of `hook-*`, and the commands of `exec-*`.

mod action;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use action::{NoAction, parse};

use super::address::Address;

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
        self.is_of_every_reload() || self.is_of_workers()
    }

    /// Whether a worker has it, or who loads the application.
    #[must_use]
    pub const fn is_of_workers(&self) -> bool {
        matches!(
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

    /// Whether an emperor's start and end have it, too.
    #[must_use]
    pub const fn is_of_any_start(&self) -> bool {
        self.is_privileged() || matches!(self, Self::AsUser | Self::Atexit)
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
