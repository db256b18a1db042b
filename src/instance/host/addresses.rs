//! Whether an instance can listen at its addresses.

use std::io::ErrorKind;
use std::path::Path;

use super::{Eyes, Host};
use crate::config::address::Address;
use crate::config::diagnostic::Severity::{Error, Warning};
use crate::config::instance::InstanceSpec;
use crate::instance::bind;
use crate::sys::capabilities::Capabilities;
use crate::sys::{holder, socket, user};

const PERHAPS_ITSELF: &str = "all is well if that is this instance";

impl Host<'_> {
    pub(super) fn addresses(&mut self) {
        let spec = self.spec;
        for address in spec.listen.iter().map(|listen| &listen.address).chain(&spec.stats) {
            match address {
                _ if self.own.contains(address) => {}
                Address::Tcp { port: 0, .. } | Address::Abstract(_) => {}
                Address::Tcp { host, port } => self.port(address, host, *port),
                Address::Unix(path) => self.unix(address, path),
            }
        }
    }

    fn port(&mut self, address: &Address, host: &str, port: u16) {
        let spec = self.spec;
        let may_bind = port >= socket::first_free_port()
            || Capabilities::of(&spec.identity.capabilities).bind_low_ports();
        let maker = bind::maker(spec, self.starter, address);
        if let Some(maker) = maker.as_ref().filter(|_| !may_bind) {
            let message = format!("{address} is not permitted to user {}", shown_user(spec, maker.uid()));
            let advice = "name it as shared-socket and listen on =0, or say cap = net_bind_service";
            self.tell_address(Error, address, message, advice);
        }
        let tried = socket::resolve(host, port).and_then(holder::try_tcp);
        let Err(error) = tried else { return };
        match error.kind() {
            // Whose configuration is checked may well be running.
            ErrorKind::AddrInUse => self.taken(address, port),
            // Who looks may not, but who starts it may.
            ErrorKind::PermissionDenied if self.starter != user::current_uid() => {
                if holder::is_taken(port) {
                    self.taken(address, port);
                }
            }
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

    fn taken(&mut self, address: &Address, port: u16) {
        let (severity, message, advice) = match holder::of_port(port) {
            Some(holder) => {
                let message = format!("{address} is in use by {} (pid {})", holder.name, holder.pid);
                match holder.name.starts_with("liege") || holder.name.starts_with("python") {
                    true => (Warning, message, PERHAPS_ITSELF),
                    false => (Error, message, "end that process, or choose another port"),
                }
            }
            None => (Warning, format!("{address} is in use"), PERHAPS_ITSELF),
        };
        self.tell_address(severity, address, message, advice);
    }

    fn unix(&mut self, address: &Address, path: &Path) {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let maker = bind::maker(self.spec, self.starter, address);
        let eyes = if maker.is_some() { Eyes::User } else { Eyes::Starter };
        match std::fs::metadata(directory.join(".")) {
            Ok(found) if found.is_dir() => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied && !self.is(eyes) => {
                let message = format!(
                    "it was not looked at: user {} may not see {}",
                    user::current_uid(),
                    directory.display()
                );
                return self.tell_address(Warning, address, message, "");
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            Ok(_) | Err(_) => {
                let message = format!("there is no directory {}", directory.display());
                return self.tell_address(Error, address, message, "make it");
            }
        }
        let refused = match &maker {
            Some(maker) => {
                let may = maker.may_make_in(directory).unwrap_or(true);
                (!may).then(|| shown_user(self.spec, maker.uid()))
            }
            None if self.starter != user::current_uid() => None,
            None => (!user::may_make_in(directory)).then(|| user::current_uid().to_string()),
        };
        if let Some(user) = refused {
            let message = format!("user {user} may not make files in {}", directory.display());
            let advice = match self.starter {
                0 => "let the user write there, or say chown-socket: then root makes it",
                _ => "let the user write there, or choose another directory",
            };
            self.tell_address(Error, address, message, advice);
        } else if path.exists() && socket::identity(path).is_none() {
            let message = format!("{} is there, and no socket", path.display());
            self.tell_address(Error, address, message, "choose another name");
        } else if holder::is_listened_on(path) {
            let message = format!("somebody listens on {}", path.display());
            self.tell_address(Warning, address, message, PERHAPS_ITSELF);
        }
    }
}

fn shown_user(spec: &InstanceSpec, uid: u32) -> String {
    spec.identity.uid.clone().unwrap_or_else(|| uid.to_string())
}
