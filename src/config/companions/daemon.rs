//! A program that runs as long as its instance: `attach-daemon` and its relatives.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{keyval, signal};
use crate::config::value;

/// How often, in seconds, uWSGI looks for the pid file of a program that is to go to the background.
const FREQUENCY_S: u32 = 10;
const TERM: i32 = 15;

/// A program that runs as long as its instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonSpec {
    /// What the shell runs.
    pub command: String,
    /// How its life is followed.
    pub tracking: Tracking,
    /// `attach-control-daemon`, `control`: its end is the instance's.
    pub control: bool,
    /// `touch`: files whose change has it end, and start again.
    pub touch: Vec<PathBuf>,
    /// `stopsignal`: what asks it to end.
    pub stop_signal: i32,
    /// `reloadsignal`: what it gets at a reload, instead of being stopped and started.
    pub reload_signal: Option<i32>,
    /// `stdin`, `daemons-honour-stdin`: it gets the master's standard input.
    pub stdin: bool,
    /// `uid`: who it runs as; `None`: as the instance.
    pub uid: Option<String>,
    /// `gid`.
    pub gid: Option<String>,
    /// `ns_pid`: it sees no process but its own.
    pub ns_pid: bool,
    /// `chdir`: where it runs.
    pub chdir: Option<PathBuf>,
    /// `max_throttle`: the longest pause, in seconds, before it is started again.
    pub max_throttle_s: u32,
    /// `notifypid`: although it outlives reloads, it is told of them.
    pub notify: bool,
}

/// How the life of a program is followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tracking {
    /// It stays in the foreground, and is started anew at a reload.
    Attached,
    /// It stays in the foreground, its pid is written to this file for it, and it outlives reloads.
    Held(PathBuf),
    /// It goes to the background, writes its pid to this file, and outlives reloads.
    Background {
        /// The file.
        pidfile: PathBuf,
        /// Seconds until it must have done so.
        patience_s: u32,
    },
}

impl Tracking {
    /// Where its pid is to be found.
    #[must_use]
    pub const fn pidfile(&self) -> Option<&PathBuf> {
        match self {
            Self::Attached => None,
            Self::Held(pidfile) | Self::Background { pidfile, .. } => Some(pidfile),
        }
    }
}

impl DaemonSpec {
    /// `COMMAND`.
    #[must_use]
    pub fn attached(command: &str) -> Self {
        Self {
            command: command.to_owned(),
            tracking: Tracking::Attached,
            control: false,
            touch: Vec::new(),
            stop_signal: TERM,
            reload_signal: None,
            stdin: false,
            uid: None,
            gid: None,
            ns_pid: false,
            chdir: None,
            max_throttle_s: 300,
            notify: false,
        }
    }

    /// `PIDFILE[,SECONDS] COMMAND`; `held`: it does not go to the background by itself.
    ///
    /// # Errors
    /// There is no command.
    pub fn smart(text: &str, held: bool, directory: &Path) -> Result<Self, String> {
        let (pidfile, command) = text.split_once(' ').ok_or("invalid smart-attach-daemon syntax")?;
        let (pidfile, patience) = pidfile.split_once(',').unwrap_or((pidfile, ""));
        let patience_s = u32::try_from(value::integer(patience).0).ok().filter(|seconds| *seconds > 0);
        if pidfile.is_empty() || command.trim().is_empty() {
            return Err("invalid smart-attach-daemon syntax".to_owned());
        }
        let tracking = tracking(Some(directory.join(pidfile)), held, patience_s.unwrap_or(FREQUENCY_S));
        Ok(Self { tracking, ..Self::attached(command) })
    }

    /// `key=value,…`; also answers what is not understood, and so ignored.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn keyval(text: &str, directory: &Path) -> Result<(Self, Vec<String>), String> {
        let mut spec = Self::attached("");
        let (mut pidfile, mut held, mut patience_s) = (None, false, FREQUENCY_S);
        let mut ignored = Vec::new();
        for (key, value) in keyval::parse(text) {
            let Some(value) = value else {
                ignored.push(format!("`{key}`: in a command, write `\\,` for a comma"));
                continue;
            };
            let number = || {
                let number = value::integer(&value);
                u32::try_from(number.0)
                    .ok()
                    .filter(|_| number.1)
                    .ok_or_else(|| format!("{key}={value}: no number"))
            };
            let signal =
                || signal::parse(&value).ok_or_else(|| format!("{key}={value}: there is no such signal"));
            match key.as_str() {
                "command" | "cmd" | "exec" => spec.command = value,
                "freq" => patience_s = number()?.max(1),
                "pidfile" => pidfile = Some(directory.join(value)),
                // Whatever the value: so it is in uWSGI.
                "control" => spec.control = true,
                "daemonize" | "daemon" => held = true,
                "touch" => {
                    let files = value.split(';').map(str::trim).filter(|file| !file.is_empty());
                    spec.touch.extend(files.map(|file| directory.join(file)));
                }
                "stopsignal" | "stop_signal" => spec.stop_signal = signal()?,
                "reloadsignal" | "reload_signal" => spec.reload_signal = Some(signal()?),
                "stdin" => spec.stdin = true,
                "uid" => spec.uid = Some(value),
                "gid" => spec.gid = Some(value),
                "ns_pid" => spec.ns_pid = true,
                "chdir" => spec.chdir = Some(directory.join(value)),
                "max_throttle" => {
                    spec.max_throttle_s = Some(number()?).filter(|most| *most > 0).unwrap_or(300)
                }
                "notifypid" => spec.notify = true,
                "legion" => return Err("legion: there are no legions".to_owned()),
                _ => ignored.push(format!("`{key}`")),
            }
        }
        if spec.command.trim().is_empty() {
            return Err("you need to specify a 'command' key".to_owned());
        }
        spec.tracking = tracking(pidfile, held, patience_s);
        Ok((spec, ignored))
    }

    /// Whether a reload leaves it alone.
    #[must_use]
    pub const fn outlives_reloads(&self) -> bool {
        !matches!(self.tracking, Tracking::Attached)
    }
}

fn tracking(pidfile: Option<PathBuf>, held: bool, patience_s: u32) -> Tracking {
    match (pidfile, held) {
        (None, _) => Tracking::Attached,
        (Some(pidfile), true) => Tracking::Held(pidfile),
        (Some(pidfile), false) => Tracking::Background { pidfile, patience_s },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        let here = Path::new("/srv");
        let smart = |held| DaemonSpec::smart("r.pid,3 redis-server r.conf", held, here).unwrap();
        assert_eq!(smart(false).command, "redis-server r.conf");
        assert_eq!(
            smart(false).tracking,
            Tracking::Background { pidfile: "/srv/r.pid".into(), patience_s: 3 }
        );
        assert_eq!(smart(true).tracking, Tracking::Held("/srv/r.pid".into()));
        for broken in ["redis-server", " redis-server", "r.pid "] {
            assert!(DaemonSpec::smart(broken, false, here).is_err(), "{broken}");
        }

        let text = r"cmd=a -x\,y,freq=4,pidfile=/p,control=1,touch=t;/u,stopsignal=2,reloadsignal=HUP,stdin=1,uid=app,gid=5,ns_pid=1,chdir=d,max_throttle=9,notifypid=1,nonsense=1";
        let (spec, ignored) = DaemonSpec::keyval(text, here).unwrap();
        let expected = DaemonSpec {
            command: "a -x,y".into(),
            tracking: Tracking::Background { pidfile: "/p".into(), patience_s: 4 },
            control: true,
            touch: vec!["/srv/t".into(), "/u".into()],
            stop_signal: 2,
            reload_signal: Some(1),
            stdin: true,
            uid: Some("app".into()),
            gid: Some("5".into()),
            ns_pid: true,
            chdir: Some("/srv/d".into()),
            max_throttle_s: 9,
            notify: true,
        };
        assert_eq!((spec, ignored), (expected, vec!["`nonsense`".to_owned()]));
        let (held, _) = DaemonSpec::keyval("cmd=a,daemonize=1,pidfile=p", here).unwrap();
        assert_eq!(held.tracking, Tracking::Held("/srv/p".into()));
        for broken in ["freq=1", "cmd=", "cmd=a,stopsignal=99", "cmd=a,freq=x", "cmd=a,legion=l"] {
            assert!(DaemonSpec::keyval(broken, here).is_err(), "{broken}");
        }
    }
}
