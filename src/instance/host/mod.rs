//! What only this host can tell of a configuration: users, directories, files, interpreters and addresses. It is looked at
//! with the rights of who looks; nothing is made, started, called or connected to.

mod addresses;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::{certificates, interpreter};
use crate::config::address::Address;
use crate::config::diagnostic::Diagnostic;
use crate::config::diagnostic::Severity::{self, Error, Warning};
use crate::config::hook::Point;
use crate::config::instance::{AppSource, IdentitySpec, InstanceSpec};
use crate::config::raw::Raw;
use crate::sys::user;

/// A configuration, and who looks at it.
#[derive(Debug)]
pub struct Host<'a> {
    raw: &'a Raw,
    spec: &'a InstanceSpec,
    /// The user who starts the instance.
    starter: u32,
    /// Where it listens already.
    own: &'a [Address],
    found: Vec<Diagnostic>,
}

/// Who needs to see something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eyes {
    /// Who starts the instance, before privileges drop.
    Starter,
    /// Whom it runs as.
    User,
}

/// Looks around for an instance that `starter` would start, and that listens at its `own` addresses already.
#[must_use]
pub fn look(raw: &Raw, spec: &InstanceSpec, starter: u32, own: &[Address]) -> Vec<Diagnostic> {
    let mut host = Host { raw, spec, starter, own, found: identity(raw, &spec.identity) };
    host.owner();
    host.files();
    host.interpreter();
    host.certificates();
    host.addresses();
    host.found
}

/// Which users and groups there are not.
#[must_use]
pub fn identity(raw: &Raw, spec: &IdentitySpec) -> Vec<Diagnostic> {
    let uid = spec.uid.as_deref().map(|name| ("uid", user::uid_of(name)));
    let gid = spec.gid.as_deref().map(|name| ("gid", user::gid_of(name)));
    let further = spec.add_gid.iter().map(|name| ("add-gid", user::gid_of(name)));
    let looked_up = uid.into_iter().chain(gid).chain(further);
    let missing = looked_up.filter_map(|(option, number)| Some((option, number.err()?.to_string())));
    let told = missing.map(|(option, error)| {
        let advice = format!("make the {}, or name another", if option == "uid" { "user" } else { "group" });
        raw.told(Error, option, error, &advice)
    });
    told.collect()
}

impl Host<'_> {
    fn owner(&mut self) {
        let Some(owner) = &self.spec.chown_socket else { return };
        if let Err(error) = user::uid_of(&owner.user) {
            self.tell(Error, "chown-socket", error.to_string(), "make the user, or name another");
        }
        if let Some(Err(error)) = owner.group.as_deref().map(user::gid_of) {
            self.tell(Error, "chown-socket", error.to_string(), "make the group, or name another");
        }
    }

    fn files(&mut self) {
        let spec = self.spec;
        if let Some(directory) = &spec.app.chdir {
            self.directory(Eyes::User, "chdir", directory, "");
        }
        if let Some(AppSource::File(path)) = &spec.app.load {
            self.file("wsgi-file", path);
        }
        for (_, source) in &spec.app.mounts {
            if let AppSource::File(path) = source {
                self.file("mount", path);
            }
        }
        for place in &spec.static_files.places {
            let option = match (place.prefix.is_empty(), place.keeps_prefix) {
                (true, _) => "check-static",
                (false, true) => "static-map2",
                (false, false) => "static-map",
            };
            self.anything(option, &place.path, " yet");
        }
        for directory in &spec.app.pythonpath {
            self.anything("pythonpath", directory, "");
        }
        let files = [
            (Eyes::Starter, "pidfile", &spec.files.pidfile),
            (Eyes::User, "pidfile2", &spec.files.pidfile2),
            (Eyes::User, "safe-pidfile", &spec.files.safe_pidfile),
            (Eyes::Starter, "logto", &spec.log.logto),
            (Eyes::User, "logto2", &spec.log.logto2),
        ];
        for (eyes, option, path) in files {
            if let Some(directory) = path.as_deref().and_then(Path::parent) {
                self.directory(eyes, option, directory, "make it");
            }
        }
    }

    fn directory(&mut self, eyes: Eyes, option: &str, path: &Path, advice: &str) {
        // The dot is seen by who may enter only.
        match fs::metadata(path.join(".")) {
            Ok(found) if found.is_dir() => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => self.hidden(eyes, option, path),
            Ok(_) | Err(_) => {
                self.missing(option, format!("there is no directory {}", path.display()), advice);
            }
        }
    }

    fn file(&mut self, option: &str, path: &Path) {
        match fs::metadata(path) {
            Ok(found) if found.is_file() && user::may_read(path) => {}
            Ok(found) if found.is_file() => self.hidden(Eyes::User, option, path),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                self.hidden(Eyes::User, option, path)
            }
            Ok(_) | Err(_) => self.missing(option, format!("there is no file {}", path.display()), ""),
        }
    }

    fn anything(&mut self, option: &str, path: &Path, yet: &str) {
        match fs::metadata(path).map_err(|error| error.kind()) {
            Ok(_) => {}
            Err(ErrorKind::PermissionDenied) => self.hidden(Eyes::User, option, path),
            Err(_) => self.tell(Warning, option, format!("there is no {}{yet}", path.display()), ""),
        }
    }

    fn interpreter(&mut self) {
        if let Err(failure) = interpreter::look(self.spec) {
            let option = if self.spec.interpreter.python.is_some() { "python" } else { "virtualenv" };
            self.missing(option, failure.message, failure.hint.as_deref().unwrap_or_default());
        }
    }

    fn certificates(&mut self) {
        for (address, failure, denied) in certificates::look(self.spec) {
            let hint = failure.hint.as_deref().filter(|_| denied).unwrap_or_default();
            let severity = if denied { Warning } else { Error };
            self.tell_address(severity, address, failure.message, hint);
        }
    }

    /// Whether who looks is who has to see it.
    fn is(&self, eyes: Eyes) -> bool {
        let wanted = match (eyes, self.spec.identity.uid.as_deref()) {
            (Eyes::User, Some(name)) => user::uid_of(name).ok(),
            _ => Some(self.starter),
        };
        wanted == Some(user::current_uid())
    }

    /// Something that who looks may not see.
    fn hidden(&mut self, eyes: Eyes, option: &str, path: &Path) {
        let (path, user) = (path.display(), user::current_uid());
        match self.is(eyes) {
            true => self.tell(
                Error,
                option,
                format!("user {user} may not look at {path}"),
                "let the user read it, and enter the directories that lead there",
            ),
            false => self.tell(
                Warning,
                option,
                format!("it was not looked at: user {user} may not see {path}"),
                "the instance looks at it as another user",
            ),
        }
    }

    /// Something that is not there, and that nothing of what is done before could make.
    fn missing(&mut self, option: &str, message: String, advice: &str) {
        let makes = |point: &Point| point.is_privileged() || matches!(point, Point::Waits | Point::AsUser);
        match self.spec.hooks.iter().find(|hook| makes(&hook.point)) {
            None => self.tell(Error, option, message, advice),
            Some(hook) => {
                let advice = format!("all is well if {} makes it", hook.option);
                self.tell(Warning, option, message, &advice);
            }
        }
    }

    fn tell(&mut self, severity: Severity, option: &str, message: String, suggestion: &str) {
        self.found.push(self.raw.told(severity, option, message, suggestion));
    }

    fn tell_address(&mut self, severity: Severity, address: &Address, message: String, suggestion: &str) {
        let place = (address, self.spec.app.chdir.as_deref());
        self.found.push(self.raw.told_of_address(place, severity, message, suggestion));
    }
}

/// Which addresses others listen at, or would.
#[must_use]
pub fn taken(raw: &Raw, spec: &InstanceSpec, others: &[(Address, String)]) -> Vec<Diagnostic> {
    let told = spec.listen.iter().map(|listen| &listen.address).chain(&spec.stats).filter_map(|address| {
        let (other, name) = others.iter().find(|(other, _)| other.meets(address))?;
        let message = match other == address {
            true => format!("{address} is also an address of {name}"),
            false => format!("{address} meets {other} of {name}"),
        };
        let place = (address, spec.app.chdir.as_deref());
        let advice = "one of the two cannot start: give it another address";
        Some(raw.told_of_address(place, Error, message, advice))
    });
    told.collect()
}

/// Looks for a program of others that would run in the place of ours; answers why none of them would.
///
/// # Errors
/// There is none of them.
pub fn program(programs: &[String], directory: &Path) -> io::Result<()> {
    let path = std::env::var_os("PATH");
    let is_there = |name: &String| {
        // A name with a slash is found from where it begins.
        let name = if name.contains('/') { directory.join(name).into_os_string() } else { name.into() };
        crate::sys::exec::find_program(&name, path.as_deref()).is_some()
    };
    match programs.iter().any(is_there) {
        true => Ok(()),
        false => Err(io::Error::new(
            ErrorKind::NotFound,
            format!("there is no program {} that could be executed", programs.join(", ")),
        )),
    }
}
