//! `emperor-stats`: uWSGI's JSON document to whoever connects. A client that does not read holds up nobody.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::spawn_local;

use super::handle::Handle;
use super::stats_document;
use crate::config::address::Address;
use crate::config::emperor::EmperorSpec;
use crate::stats::uwsgi;
use crate::sys::socket::{self, UnixOptions};
use crate::sys::{clock, reactor, user};

/// A client that does not read for so long is left.
const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
/// How many clients are served at the same time; more wait in the kernel's queue.
const CLIENTS: usize = 16;
const BACKLOG: u32 = 100;
/// How long nothing is accepted after accepting failed: no descriptor is left, most likely.
const PAUSE: Duration = Duration::from_secs(1);
/// Who may read a unix socket's statistics where nothing is said of it: its user and group.
const MODE: u32 = 0o660;

/// Where the statistics are served.
#[derive(Debug)]
pub struct StatsServer {
    listener: OwnedFd,
    form: Form,
}

/// How they are told.
#[derive(Clone, Copy, Debug)]
struct Form {
    http: bool,
    minified: bool,
}

impl StatsServer {
    /// Listens where the emperor was told to.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub fn bind(address: &Address, spec: &EmperorSpec) -> io::Result<Self> {
        if address.is_for_other_hosts() {
            tracing::warn!("the statistics at {address} (emperor-stats) can be read from other hosts");
        }
        let listener = match address {
            Address::Tcp { host, port } => socket::listen_tcp(socket::resolve(host, *port)?, BACKLOG)?,
            Address::Abstract(name) => socket::listen_abstract(name, BACKLOG)?,
            Address::Unix(path) => {
                let mode = spec.chmod_socket.unwrap_or(MODE);
                let options =
                    UnixOptions { mode, runs_as: Some(user::current_uid()), ..UnixOptions::default() };
                socket::listen_unix(path, options, BACKLOG)?
            }
        };
        let form = Form { http: spec.stats_http, minified: spec.stats_minified };
        Ok(Self { listener, form })
    }

    /// Answers whoever connects.
    ///
    /// # Errors
    /// Registering the listener.
    pub fn serve(self, handle: Handle) -> io::Result<()> {
        drop(spawn_local(answer_all(reactor::Listener::new(self.listener)?, self.form, handle)));
        Ok(())
    }
}

async fn answer_all(listener: reactor::Listener, form: Form, handle: Handle) {
    let clients = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&clients).acquire_owned().await else { return };
        match listener.accept().await {
            Ok(mut client) => {
                let document = document(&handle, form);
                spawn_local(async move {
                    let told = uwsgi::tell(client.as_mut(), &document);
                    let _ = tokio::time::timeout(WRITE_TIMEOUT, told).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn document(handle: &Handle, form: Form) -> Vec<u8> {
    let offset = clock::epoch_ms().saturating_sub(clock::now().as_ms());
    let document = stats_document::document(&handle.fleet(), form.minified, offset);
    if form.http { uwsgi::with_head(&document) } else { document }
}
