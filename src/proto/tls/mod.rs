//! TLS 1.2 and 1.3 by rustls: from the files of a configuration to what a connection is accepted with.

mod ciphers;
mod client;
mod subject;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

pub use client::{authorities, client_config};
pub use subject::{common_name, subject};

/// The only application protocol that is offered: HTTP/2 is not spoken.
const APPLICATION_PROTOCOL: &[u8] = b"http/1.1";

/// What the files hold that an address needs. Nothing shows it: there is a key in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Material {
    /// The certificate, and those between it and its root, in PEM.
    pub certificate: String,
    /// Its key, in PEM.
    pub key: String,
    /// The ciphers, in the words of OpenSSL; `None`: all that there are.
    pub ciphers: Option<String>,
    /// Who may sign certificates of clients; `None`: none is asked for.
    pub client_ca: Option<Authorities>,
}

/// Who may sign certificates of clients.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorities {
    /// Their certificates, in PEM.
    pub certificates: String,
    /// A client without a certificate is refused.
    pub is_mandatory: bool,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material")
    }
}

/// Why no connection can be accepted with this material.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The certificate.
    #[error("{0}")]
    Certificate(String),
    /// The key.
    #[error("{0}")]
    Key(String),
    /// The list of ciphers.
    #[error(
        "none of these ciphers is spoken here: TLS 1.2 and 1.3 with forward secrecy and authenticated encryption"
    )]
    Ciphers,
    /// The certificates of those who sign for clients.
    #[error("{0}")]
    ClientCa(String),
}

impl Material {
    /// What connections are accepted with.
    ///
    /// # Errors
    /// One of its parts cannot be used, or they do not belong together.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Unusable> {
        let chain = certificates(&self.certificate).map_err(Unusable::Certificate)?;
        let key = self.key()?;
        let mut provider = ring::default_provider();
        if let Some(list) = &self.ciphers {
            ciphers::choose(list, &mut provider.cipher_suites);
            if !provider.cipher_suites.iter().any(|suite| suite.tls13().is_none()) {
                return Err(Unusable::Ciphers);
            }
        }
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|_| Unusable::Ciphers)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(authorities) => builder.with_client_cert_verifier(authorities.verifier(provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                Unusable::Key("it is not the key of the certificate".to_owned())
            }
            rustls::Error::General(message) => Unusable::Key(message),
            other => Unusable::Certificate(other.to_string()),
        })?;
        config.alpn_protocols = vec![APPLICATION_PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, Unusable> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| {
            let is_encrypted = self.key.contains("ENCRYPTED");
            Unusable::Key(match error {
                _ if is_encrypted => {
                    "the key is encrypted, and nobody is there to be asked for the password".to_owned()
                }
                pem::Error::NoItemsFound => "no private key is in it".to_owned(),
                // What it says may quote the file.
                _ => "it is not in PEM".to_owned(),
            })
        })
    }
}

impl Authorities {
    fn verifier(
        &self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, Unusable> {
        let failed = |error: &dyn fmt::Display| Unusable::ClientCa(error.to_string());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.certificates).map_err(Unusable::ClientCa)? {
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = if self.is_mandatory { builder } else { builder.allow_unauthenticated() };
        builder.build().map_err(|error| failed(&error))
    }
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err("no certificate is in it".to_owned()),
        Err(_) => Err("it is not in PEM".to_owned()),
    }
}

#[cfg(test)]
mod tests;
