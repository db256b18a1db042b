//! `https` in the command line: whom it trusts, and who it says it is.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use super::command::Access;
use crate::proto::tls;

const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// What connections are made with: the authorities of `--ca-file`, or those of this host, and the certificate of
/// `--cert`.
///
/// # Errors
/// A file cannot be read or used.
pub(super) fn config(access: &Access) -> Result<Arc<ClientConfig>, String> {
    let wrong = |path: &Path, why: String| format!("cannot use {}: {why}", path.display());
    let trusted = match &access.ca_file {
        Some(path) => text(path).and_then(|pem| tls::authorities(&pem)).map_err(|why| wrong(path, why))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let identity =
        access.cert.as_deref().map(|path| text(path).map_err(|why| wrong(path, why))).transpose()?;
    tls::client_config(trusted, identity.as_deref()).map_err(|why| match &access.cert {
        Some(path) => wrong(path, why),
        None => format!("{why}: --ca-file FILE names one"),
    })
}

fn text(path: &Path) -> Result<String, String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() || metadata.len() > FILE_LIMIT_BYTES {
        return Err("it is no file with certificates".to_owned());
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
