//! The emperor's HTTP door: views, control, authorisation.

pub mod accept;
mod actions;
pub mod ask;
mod configuration;
pub mod connection;
pub mod counters;
pub mod desk;
pub mod door;
pub mod events;
pub mod exposition;
pub mod gate;
pub mod guard;
pub mod host;
pub mod idempotency;
pub mod logs;
pub mod metrics;
pub mod page;
pub mod problem;
pub mod resources;
pub mod roles;
pub mod routes;
pub mod show;
pub mod sizes;
pub mod snapshot;
pub mod stream;
pub mod tls;
pub mod token;
pub mod views;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use crate::config::emperor::EmperorSpec;
use crate::emperor::Handle;
use crate::emperor::validation::{Conduct, Validator};
use crate::sys::socket::{self, UnixOptions};
use crate::sys::user::{self, current_uid};
use crate::wire::message::Policy;
use desk::Desk;
use door::Door;
use roles::Roles;
use routes::router;
use tls::Secure;
use token::TokenFile;

/// Opens the doors that the emperor was told of and serves at them until the runtime ends; returns their addresses
/// for people. `policy` is what the emperor tells all vassals. Call it inside a runtime.
///
/// # Errors
/// A door that was asked for cannot be opened, or the token file cannot be used. Without the usual socket the
/// emperor does its work all the same; the log says why.
pub fn open(spec: &EmperorSpec, policy: Policy, handle: &Handle) -> io::Result<Vec<String>> {
    let tokens = spec.api_token_file.clone().map(TokenFile::new).transpose()?.map(Arc::new);
    let roles = Arc::new(Roles::look_up(&spec.api_roles)?);
    let options = socket_options(spec)?;
    let carried = handle.take_doors();
    let mut doors = Vec::new();
    match (&spec.api_socket, door::usual_sockets().first()) {
        (Some(path), _) => doors.push(unix(path, options, &carried, handle)?),
        (None, Some(usual)) => match unix(usual, options, &carried, handle) {
            Ok(door) => doors.push(door),
            Err(error) => tracing::warn!("{error}; there is no API (--api PATH puts it elsewhere)"),
        },
        (None, None) => {}
    }
    if let Some((host, port)) = &spec.api_http {
        let has_tokens = tokens.is_some();
        let secure = spec.api_tls.clone().map(|files| Secure::new(files, !has_tokens)).transpose()?;
        let is_guarded = has_tokens || spec.api_tls.as_ref().is_some_and(|files| files.client_ca.is_some());
        doors.push(tcp(host, *port, is_guarded, secure.map(Arc::new), &carried, handle)?);
    }
    let desk = Desk {
        handle: handle.clone(),
        tokens,
        hosts: spec.api_hosts.clone().into(),
        root: current_uid() == 0,
        roles,
        writes: spec.api_write,
        validator: Validator::new(Conduct::of(spec, policy)),
        refusals: Arc::default(),
        kept: Arc::default(),
    };
    let addresses = doors.iter().map(Door::to_string).collect();
    for door in doors {
        tokio::spawn(connection::serve(door, router(desk.clone()), Arc::clone(handle.visitors())));
    }
    Ok(addresses)
}

/// Owner, group and mode of the unix socket.
fn socket_options(spec: &EmperorSpec) -> io::Result<UnixOptions> {
    let owner = spec.api_owner.as_ref();
    let user = owner.map(|owner| user::uid_of(&owner.user)).transpose()?;
    let group = owner.and_then(|owner| owner.group.as_deref()).map(user::gid_of).transpose()?;
    Ok(UnixOptions { mode: spec.api_mode.unwrap_or(0o660), user, group, ..UnixOptions::default() })
}

/// The listeners that the emperor's last image kept.
type Carried = BTreeMap<String, Arc<OwnedFd>>;

/// The unix socket at `path`: the one of the emperor's last image, if its file is still there, or a new one.
fn unix(path: &Path, options: UnixOptions, carried: &Carried, handle: &Handle) -> io::Result<Door> {
    let name = path.display().to_string();
    let door = match carried.get(&name) {
        Some(listener) if socket::identity(path).is_some() => Door::unix_again(path, listener.try_clone()?)?,
        _ => Door::unix(path, options)?,
    };
    handle.keep_door(name, door.duplicate()?);
    Ok(door)
}

/// The TCP address: the listener of the emperor's last image, or a new one.
fn tcp(
    host: &str,
    port: u16,
    is_guarded: bool,
    secure: Option<Arc<Secure>>,
    carried: &Carried,
    handle: &Handle,
) -> io::Result<Door> {
    let name = format!("{host}:{port}");
    let door = match carried.get(&name) {
        Some(listener) => Door::tcp_again(listener.try_clone()?, secure)?,
        None => {
            let door = Door::tcp(host, port, is_guarded, secure)?;
            if !is_guarded {
                tracing::warn!(
                    "every user of this host, a vassal's too, may read the API at {door}: there is no \
                     --api-token-file FILE, nor --api-tls CERT,KEY,CA for certificates of clients"
                );
            }
            door
        }
    };
    handle.keep_door(name, door.duplicate()?);
    Ok(door)
}
