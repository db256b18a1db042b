//! The options that say what is done around an instance's start, its workers and its end.

use std::path::{Path, PathBuf};

use super::sift::{Said, Sift};
use crate::config::address::Address;
use crate::config::hook::{self, Action, Awaited, Hook, PATIENCE_S, Place, Point};

/// The hooks as they are read, and what is known only at the end.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    /// What is done.
    pub(super) hooks: Vec<Hook>,
    /// `putenv:` before the application is there: the same as `env`.
    pub(super) env: Vec<(String, Option<String>)>,
    /// `jailed`.
    jailed: bool,
    /// How long is waited for files, for interfaces, for sockets.
    patience_s: [Option<u32>; 3],
}

impl Hooks {
    /// Obeys an option, if it is one of these.
    pub(super) fn obey(&mut self, sift: &mut Sift<'_>, said: Said<'_>) -> bool {
        let name = said.name();
        if let Some(point) = point_of(name) {
            self.hook(sift, said, point, said.text());
            return true;
        }
        let path = || PathBuf::from(said.text());
        match name {
            "hook-touch" => match said.text().split_once(' ') {
                Some((file, action)) if !file.is_empty() => {
                    let point = Point::Touch(sift.raw.directory.join(file));
                    self.hook(sift, said, point, action);
                }
                _ => sift.error(said, "invalid hook-touch syntax", Some("write FILE ACTION".to_owned())),
            },
            "jailed" => self.jailed = said.flag(),
            "wait-for-fs" => self.wait(sift, said, Awaited::Any(path())),
            "wait-for-file" => self.wait(sift, said, Awaited::File(path())),
            "wait-for-dir" => self.wait(sift, said, Awaited::Directory(path())),
            "wait-for-mountpoint" => self.wait(sift, said, Awaited::Mountpoint(path())),
            "wait-for-interface" => self.wait(sift, said, Awaited::Interface(said.text().to_owned())),
            "wait-for-socket" => match Address::parse(said.text(), Path::new("")) {
                Ok((address, _)) => self.wait(sift, said, Awaited::Socket(address)),
                Err(error) => sift.error(said, error, None),
            },
            "wait-for-fs-timeout" => self.patience(sift, said, 0),
            "wait-for-interface-timeout" => self.patience(sift, said, 1),
            "wait-for-socket-timeout" => self.patience(sift, said, 2),
            _ => return false,
        }
        true
    }

    /// What was said, in the order of a start, as meant.
    pub(super) fn finish(mut self) -> (Vec<Hook>, Vec<(String, Option<String>)>) {
        if !self.jailed {
            self.hooks.retain(|hook| hook.point != Point::PostJail);
        }
        for hook in &mut self.hooks {
            if let Action::Wait { what, patience_s } = &mut hook.action {
                let kind = match what {
                    Awaited::Interface(_) => 1,
                    Awaited::Socket(_) => 2,
                    _ => 0,
                };
                *patience_s = self.patience_s.get(kind).copied().flatten().unwrap_or(PATIENCE_S);
            }
        }
        (self.hooks, self.env)
    }

    /// Obeys an option of an emperor, if it is one of these.
    pub(super) fn obey_as_emperor(&mut self, sift: &mut Sift<'_>, said: Said<'_>) -> bool {
        let name = said.name();
        let point = match name {
            "hook-as-vassal" | "exec-as-vassal" => Some(Point::AsVassal),
            "hook-as-emperor" | "exec-as-emperor" => Some(Point::AsEmperor),
            "hook-emperor-start" => Some(Point::EmperorStart),
            _ => point_of(name).filter(Point::is_of_any_start),
        };
        if let Some(point) = point {
            self.hook(sift, said, point, said.text());
            return true;
        }
        // Those that remain are about workers, or about an emperor above.
        point_of(name).is_none() && name != "hook-touch" && self.obey(sift, said)
    }

    /// What was said to an emperor: what is done, and the variables of its vassals.
    pub(super) fn finish_as_emperor(self) -> (Vec<Hook>, Vec<(String, String)>) {
        let (hooks, env) = self.finish();
        let set = |(name, value): (String, Option<String>)| Some((name, value?));
        (hooks, env.into_iter().filter_map(set).collect())
    }

    fn hook(&mut self, sift: &mut Sift<'_>, said: Said<'_>, point: Point, text: &str) {
        let command = said.name().starts_with("exec-");
        let parsed = match command {
            true => Ok((Action::Exec { command: text.to_owned(), safe: false }, false)),
            false => hook::parse(text),
        };
        let (action, private) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return sift.error(said, error.message, Some(error.advice)),
        };
        match action {
            Action::Exec { command, .. } if command.trim().is_empty() => {
                sift.error(said, "the command is empty", None);
            }
            Action::Signal(..) if point != Point::MasterStart => {
                let advice = Some("say hook-master-start".to_owned());
                sift.error(said, "only the master's signals have another meaning", advice);
            }
            Action::Putenv(name, value) if is_before_the_application(&point) => {
                self.env.push((name, Some(value)));
            }
            Action::Putenv(..) => {
                let advice = match point {
                    Point::AsEmperor | Point::EmperorStart => "say it in hook-as-vassal, for vassals",
                    _ => "say env = NAME=VALUE",
                };
                let advice = Some(advice.to_owned());
                sift.error(said, "a variable cannot be set any more at this point", advice);
            }
            action => self.push(said, point, action, (!private).then(|| text.to_owned())),
        }
    }

    fn wait(&mut self, sift: &mut Sift<'_>, said: Said<'_>, what: Awaited) {
        if said.text().is_empty() {
            return sift.error(said, "nothing is named", None);
        }
        let point = match what {
            Awaited::Socket(_) => Point::WaitsForSocket,
            _ => Point::Waits,
        };
        self.push(said, point, Action::Wait { what, patience_s: PATIENCE_S }, Some(said.text().to_owned()));
    }

    fn push(&mut self, said: Said<'_>, point: Point, action: Action, shown: Option<String>) {
        let late = said.name().starts_with("exec-");
        let place = Place(said.entry.origin.to_string());
        let option = said.name().to_owned();
        self.hooks.push(Hook { point, late, action, option, said: shown, place });
    }

    /// 0 seconds are the default, as in uWSGI.
    fn patience(&mut self, sift: &mut Sift<'_>, said: Said<'_>, kind: usize) {
        let seconds = Some(sift.count(said)).filter(|seconds| *seconds > 0);
        if let Some(place) = self.patience_s.get_mut(kind) {
            *place = seconds;
        }
    }
}

/// What is a variable of the start is one of the application.
const fn is_before_the_application(point: &Point) -> bool {
    matches!(
        point,
        Point::AsVassal
            | Point::Asap
            | Point::PreJail
            | Point::InJail
            | Point::PostJail
            | Point::AsRoot
            | Point::AsUser
            | Point::PreApp
    )
}

fn point_of(option: &str) -> Option<Point> {
    Some(match option {
        "hook-asap" | "exec-asap" => Point::Asap,
        "hook-pre-jail" | "exec-pre-jail" => Point::PreJail,
        "hook-post-jail" | "exec-post-jail" => Point::PostJail,
        "hook-in-jail" | "exec-in-jail" => Point::InJail,
        "hook-as-root" | "exec-as-root" => Point::AsRoot,
        "hook-as-user" | "exec-as-user" => Point::AsUser,
        "hook-as-user-atexit" | "exec-as-user-atexit" => Point::Atexit,
        "hook-pre-app" | "exec-pre-app" => Point::PreApp,
        "hook-post-app" | "exec-post-app" => Point::PostApp,
        "hook-post-fork" => Point::PostFork,
        "hook-accepting" => Point::Accepting,
        "hook-accepting-once" => Point::AcceptingOnce,
        "hook-accepting1" => Point::Accepting1,
        "hook-accepting1-once" => Point::Accepting1Once,
        "hook-master-start" => Point::MasterStart,
        "hook-emperor-stop" => Point::EmperorStop,
        "hook-emperor-reload" => Point::EmperorReload,
        "hook-emperor-lost" => Point::EmperorLost,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Imagined;
    use super::super::vassal;
    use super::*;
    use crate::config::instance::InstanceSpec;

    fn load(lines: &str) -> Result<InstanceSpec, String> {
        let text = format!("[uwsgi]\nhttp-socket = :1\nmodule = app\n{lines}\n");
        let loaded = vassal("/srv/app.ini", text.as_bytes(), &Imagined::new(&[]));
        let all: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
        loaded.spec.ok_or_else(|| all.join("\n"))
    }

    #[test]
    fn what_is_said_is_done_at_its_point() {
        let spec = load(
            "exec-asap = install -d /run/x\nhook-asap = !write:/f secret\nhook-touch = t.txt exec:true\n\
             wait-for-file = data\nwait-for-iface = eth1\nwait-for-socket = :5432\nwait-for-fs-timeout = 7\n\
             wait-iface-timeout = 0\nhook-post-jail = print:never\nhook-pre-app = putenv:A=b",
        )
        .unwrap();
        let at = |point| hook::at(&spec.hooks, &point);
        let asap = at(Point::Asap);
        assert_eq!((asap.len(), asap[0].said.as_deref(), asap[0].place.0.as_str()), (2, None, "app.ini:5"));
        assert_eq!(
            (asap[1].option.as_str(), asap[1].said.as_deref()),
            ("exec-asap", Some("install -d /run/x"))
        );
        assert_eq!(at(Point::Touch("/srv/t.txt".into()))[0].said.as_deref(), Some("exec:true"));
        let waits: Vec<(u32, &Awaited)> = at(Point::Waits)
            .into_iter()
            .filter_map(|hook| match &hook.action {
                Action::Wait { what, patience_s } => Some((*patience_s, what)),
                _ => None,
            })
            .collect();
        assert_eq!(waits, [(7, &Awaited::File("data".into())), (60, &Awaited::Interface("eth1".to_owned()))]);
        assert_eq!(at(Point::WaitsForSocket).len(), 1);
        assert!(at(Point::PostJail).is_empty(), "it is not jailed");
        assert_eq!(spec.env, [("A".to_owned(), Some("b".to_owned()))]);
        assert_eq!(
            hook::at(&load("jailed = true\nhook-post-jail = print:x").unwrap().hooks, &Point::PostJail).len(),
            1
        );
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_line() {
        for (line, message) in [
            (
                "hook-as-root = mount:proc none /proc",
                "app.ini:4: error: hook-as-root: liege does not do mount:",
            ),
            ("hook-master-start = tuch:/f", "hook action not found: tuch"),
            ("hook-asap = unix_signal:15 kill_them_all", "only the master's signals"),
            ("hook-post-fork = putenv:A=b", "cannot be set any more"),
            ("exec-asap = ", "the command is empty"),
            ("hook-touch = /f", "FILE ACTION"),
            ("wait-for-file = ", "nothing is named"),
        ] {
            let error = load(line).unwrap_err();
            assert!(error.contains(message), "{line}: {error}");
        }
    }

    #[test]
    fn a_line_that_moved_is_no_change() {
        let old = load("exec-asap = true").unwrap();
        let new = load("\nexec-asap = true").unwrap();
        assert_eq!(old.hooks, new.hooks);
    }
}
