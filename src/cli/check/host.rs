//! What only this host can tell of a configuration: users, directories, interpreters and addresses.

use std::io::ErrorKind;
use std::path::Path;

use crate::cli::subject::Reading;
use crate::config::address::Address;
use crate::config::diagnostic::Diagnostic;
use crate::config::diagnostic::Severity::{self, Error, Warning};
use crate::config::emperor::Source;
use crate::config::instance::{AppSource, InstanceSpec};
use crate::instance::{bind, certificates, interpreter};
use crate::sys::capabilities::Capabilities;
use crate::sys::{holder, socket, user};

/// Looks around.
pub(super) fn look(reading: &Reading) -> Vec<Diagnostic> {
    let mut host = Host { reading, found: Vec::new() };
    if let Some(spec) = &reading.instance {
        host.instance(spec);
    }
    if let Some(spec) = &reading.emperor {
        host.identity(spec.identity.uid.as_deref(), spec.identity.gid.as_deref(), &spec.identity.add_gid);
        for source in &spec.sources {
            if let Source::Directory(path) = source
                && !path.is_dir()
            {
                host.tell(Error, "emperor", format!("there is no directory {}", path.display()), "make it");
            }
        }
    }
    host.found
}

struct Host<'a> {
    reading: &'a Reading,
    found: Vec<Diagnostic>,
}

impl Host<'_> {
    fn instance(&mut self, spec: &InstanceSpec) {
        self.identity(spec.identity.uid.as_deref(), spec.identity.gid.as_deref(), &spec.identity.add_gid);
        if let Some(owner) = &spec.chown_socket {
            if let Err(error) = user::uid_of(&owner.user) {
                self.tell(Error, "chown-socket", error.to_string(), "make the user, or name another");
            }
            if let Some(Err(error)) = owner.group.as_deref().map(user::gid_of) {
                self.tell(Error, "chown-socket", error.to_string(), "make the group, or name another");
            }
        }
        if let Some(directory) = spec.app.chdir.as_deref().filter(|directory| !directory.is_dir()) {
            self.tell(Error, "chdir", format!("there is no directory {}", directory.display()), "");
        }
        if let Some(AppSource::File(path)) = &spec.app.load
            && !path.is_file()
        {
            self.tell(Error, "wsgi-file", format!("there is no file {}", path.display()), "");
        }
        let files = spec.app.mounts.iter().filter_map(|(_, source)| match source {
            AppSource::File(path) => Some(path),
            AppSource::Module(_) | AppSource::Paste(_) => None,
        });
        for path in files.filter(|path| !path.is_file()) {
            self.tell(Error, "mount", format!("there is no file {}", path.display()), "");
        }
        for place in spec.static_files.places.iter().filter(|place| !place.path.exists()) {
            let option = match (place.prefix.is_empty(), place.keeps_prefix) {
                (true, _) => "check-static",
                (false, true) => "static-map2",
                (false, false) => "static-map",
            };
            self.tell(Warning, option, format!("there is no {} yet", place.path.display()), "");
        }
        for directory in spec.app.pythonpath.iter().filter(|directory| !directory.exists()) {
            self.tell(Warning, "pythonpath", format!("there is no {}", directory.display()), "");
        }
        if let Err(failure) = interpreter::look(spec) {
            let option = if spec.interpreter.python.is_some() { "python" } else { "virtualenv" };
            self.tell(Error, option, failure.message, failure.hint.as_deref().unwrap_or_default());
        }
        let files = [
            ("pidfile", &spec.files.pidfile),
            ("pidfile2", &spec.files.pidfile2),
            ("safe-pidfile", &spec.files.safe_pidfile),
            ("logto", &spec.log.logto),
            ("logto2", &spec.log.logto2),
        ];
        for (option, path) in files {
            let Some(directory) = path.as_deref().and_then(Path::parent) else { continue };
            if !directory.is_dir() {
                self.tell(Error, option, format!("there is no directory {}", directory.display()), "make it");
            }
        }
        for (address, failure, denied) in certificates::look(spec) {
            let hint = failure.hint.as_deref().filter(|_| denied).unwrap_or_default();
            let severity = if denied { Warning } else { Error };
            self.tell_address(severity, address, failure.message, hint);
        }
        for address in spec.listen.iter().map(|listen| &listen.address).chain(&spec.stats) {
            self.address(spec, address);
        }
    }

    fn identity(&mut self, uid: Option<&str>, gid: Option<&str>, add_gid: &[String]) {
        if let Some(Err(error)) = uid.map(user::uid_of) {
            self.tell(Error, "uid", error.to_string(), "make the user, or name another");
        }
        if let Some(Err(error)) = gid.map(user::gid_of) {
            self.tell(Error, "gid", error.to_string(), "make the group, or name another");
        }
        for group in add_gid {
            if let Err(error) = user::gid_of(group) {
                self.tell(Error, "add-gid", error.to_string(), "make the group, or name another");
            }
        }
    }

    fn address(&mut self, spec: &InstanceSpec, address: &Address) {
        match address {
            Address::Tcp { port: 0, .. } | Address::Abstract(_) => {}
            Address::Tcp { host, port } => self.port(spec, address, host, *port),
            Address::Unix(path) => self.unix(spec, address, path),
        }
    }

    fn port(&mut self, spec: &InstanceSpec, address: &Address, host: &str, port: u16) {
        let may_bind = port >= socket::first_free_port()
            || Capabilities::of(&spec.identity.capabilities).bind_low_ports();
        if let Some(maker) = bind::maker(spec, address).filter(|_| !may_bind) {
            let message = format!("{address} is not permitted to user {}", shown_user(spec, maker.uid()));
            let advice = "name it as shared-socket and listen on =0, or say cap = net_bind_service";
            self.tell_address(Error, address, message, advice);
        }
        let tried = socket::resolve(host, port).and_then(holder::try_tcp);
        let Err(error) = tried else { return };
        match error.kind() {
            // Whose configuration is checked may well be running.
            ErrorKind::AddrInUse => match holder::of_port(port) {
                Some(holder) if holder.name.starts_with("liege") || holder.name.starts_with("python") => {
                    let message = format!("{address} is in use by {} (pid {})", holder.name, holder.pid);
                    self.tell_address(Warning, address, message, "all is well if that is this instance");
                }
                Some(holder) => {
                    let message = format!("{address} is in use by {} (pid {})", holder.name, holder.pid);
                    self.tell_address(Error, address, message, "end that process, or choose another port");
                }
                None => {
                    let message = format!("{address} is in use");
                    self.tell_address(Warning, address, message, "all is well if that is this instance");
                }
            },
            ErrorKind::PermissionDenied => {
                let message = format!("{address} is not permitted to user {}", user::current_uid());
                self.tell_address(
                    Error,
                    address,
                    message,
                    "start as root with `uid`, or choose a port from 1024 on",
                );
            }
            ErrorKind::AddrNotAvailable => {
                let message = format!("{address} is not an address of this host");
                self.tell_address(Error, address, message, "");
            }
            _ => self.tell_address(Error, address, format!("cannot listen on {address}: {error}"), ""),
        }
    }

    fn unix(&mut self, spec: &InstanceSpec, address: &Address, path: &Path) {
        let directory = path.parent().unwrap_or(Path::new("/"));
        if !directory.is_dir() {
            let message = format!("there is no directory {}", directory.display());
            self.tell_address(Error, address, message, "make it");
        } else if let Some(user) = Self::refused_in(spec, address, directory) {
            let message = format!("user {user} may not make files in {}", directory.display());
            let advice = "let the user write there, or say chown-socket: then root makes it";
            self.tell_address(Error, address, message, advice);
        } else if path.exists() && socket::identity(path).is_none() {
            let message = format!("{} is there, and no socket", path.display());
            self.tell_address(Error, address, message, "choose another name");
        } else if socket::is_listened_on(path).unwrap_or(false) {
            let message = format!("somebody listens on {}", path.display());
            self.tell_address(Warning, address, message, "all is well if that is this instance");
        }
    }

    /// Who has to make a socket in a directory, if he may not.
    fn refused_in(spec: &InstanceSpec, address: &Address, directory: &Path) -> Option<String> {
        match bind::maker(spec, address) {
            Some(maker) => (!maker.may_make_in(directory).ok()?).then(|| shown_user(spec, maker.uid())),
            None => (!user::may_make_in(directory)).then(|| user::current_uid().to_string()),
        }
    }

    fn tell(&mut self, severity: Severity, option: &str, message: String, suggestion: &str) {
        self.found.push(self.reading.told(severity, option, message, suggestion));
    }

    fn tell_address(&mut self, severity: Severity, address: &Address, message: String, suggestion: &str) {
        self.found.push(self.reading.told_of_address(address, severity, message, suggestion));
    }
}

fn shown_user(spec: &InstanceSpec, uid: u32) -> String {
    spec.identity.uid.clone().unwrap_or_else(|| uid.to_string())
}
