//! What a client goes by: whom it trusts, and who it says it is.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::certificates;

/// Whom to trust: these certificates, in PEM.
///
/// # Errors
/// There is none in it.
pub fn authorities(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    certificates(pem)
}

/// A client that trusts these authorities, with a certificate and its key (both in one PEM) where it has one.
///
/// # Errors
/// What cannot be used.
pub fn client_config(
    trusted: Vec<CertificateDer<'static>>,
    identity: Option<&str>,
) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted);
    if roots.is_empty() {
        return Err("there is no certificate of an authority to be trusted".to_owned());
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let Some(pem) = identity else { return Ok(Arc::new(builder.with_no_client_auth())) };
    let key =
        PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| "no private key is in it".to_owned())?;
    let config = builder.with_client_auth_cert(certificates(pem)?, key).map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}
