//! TLS at the API's TCP address. The files are read when the emperor starts, and anew whenever one of them has changed.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::guard::Peer;
use crate::config::emperor::ApiTls;
use crate::proto::rate::Rate;
use crate::proto::tls::{Authorities, Material};
use crate::sys::{clock, file};
use crate::trace;

const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// The certificate of the API, and who may sign those of clients.
#[derive(Debug)]
pub struct Secure {
    files: ApiTls,
    /// A client without a certificate is turned away, for there is no token that it could have.
    is_mandatory: bool,
    refusals: Rate,
    last: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    stamps: Vec<Option<Stamp>>,
    config: Arc<ServerConfig>,
}

/// A file as it was: device, inode, size, time.
type Stamp = (u64, u64, u64, i64, i64);

impl Secure {
    /// Reads the files.
    ///
    /// # Errors
    /// One cannot be read or used.
    pub fn new(files: ApiTls, is_mandatory: bool) -> io::Result<Self> {
        let stamps = stamps(&files);
        let config = read(&files, is_mandatory)?;
        Ok(Self { files, is_mandatory, refusals: Rate::default(), last: Mutex::new(Held { stamps, config }) })
    }

    /// What the next connection is accepted with. Files that cannot be used leave those before in force.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.files);
        if now != last.stamps {
            last.stamps = now;
            match read(&self.files, self.is_mandatory) {
                Ok(config) => {
                    tracing::info!("API: the certificate {} is read anew", self.files.certificate.display());
                    last.config = config;
                }
                Err(error) => tracing::error!("API: {error}; the certificate before stays"),
            }
        }
        Arc::clone(&last.config).into()
    }

    /// Tells of a client that was turned away, by the certificate that it has shown, say. One that hung up was not.
    pub(super) fn tell_refusal(&self, peer: &Peer, error: &io::Error) {
        if error.kind() == io::ErrorKind::InvalidData && self.refusals.allows(clock::now()) {
            tracing::warn!(target: trace::AUDIT, "{peer}: refused: {error}");
        }
    }
}

fn stamps(files: &ApiTls) -> Vec<Option<Stamp>> {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    };
    let all = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    all.into_iter().flatten().map(|path| stamp(path)).collect()
}

fn read(files: &ApiTls, is_mandatory: bool) -> io::Result<Arc<ServerConfig>> {
    let client_ca = files.client_ca.as_ref().map(|path| {
        let certificates = text("certificates for clients", path)?;
        Ok::<_, io::Error>(Authorities { certificates, is_mandatory })
    });
    let material = Material {
        certificate: text("certificate", &files.certificate)?,
        key: text("key", &files.key)?,
        ciphers: None,
        client_ca: client_ca.transpose()?,
    };
    material.server_config().map_err(|why| {
        io::Error::other(format!("cannot use api-tls = {}: {why}", files.certificate.display()))
    })
}

fn text(what: &str, path: &Path) -> io::Result<String> {
    let read = file::open_untrusted(path).and_then(|file| {
        let mut text = String::new();
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        file.take(FILE_LIMIT_BYTES).read_to_string(&mut text)?;
        Ok(text)
    });
    read.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot read the {what} {}: {error}", path.display()))
    })
}
