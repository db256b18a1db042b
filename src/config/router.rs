//! The router of `http` and `https`, as meant.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::Address;

/// The router.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterSpec {
    /// `http-timeout`, in seconds: inactivity between the router and a worker or client.
    pub timeout_s: u32,
    /// `http-keepalive`, in seconds: how long an idle connection is kept; 0: closed after each answer.
    pub keepalive_s: u32,
    /// `http-headers-timeout`, in seconds: from the first byte of a request to the end of its head; 0: as everywhere.
    #[serde(default)]
    pub headers_timeout_s: u32,
    /// `http-var`: variables that the application gets with each request of the router's clients.
    #[serde(default)]
    pub variables: Vec<(String, String)>,
    /// `http-server-name-as-http-host`: its `SERVER_NAME` is what the client asked for.
    #[serde(default)]
    pub names_server_by_host: bool,
    /// `https`, `https2`, `https-socket`: what each address of [`super::address::Protocol::Https`] needs.
    #[serde(default)]
    pub tls: Vec<TlsSpec>,
    /// `http-to-https`: what each address of [`super::address::Protocol::Redirect`] leads to.
    #[serde(default)]
    pub redirects: Vec<RedirectSpec>,
    /// `https-export-cert`: the application gets the certificates of clients.
    #[serde(default)]
    pub export_certificate: bool,
    /// `http-enable-proxy-protocol`: a proxy in front may say who its client is.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// `http-websockets`: requests of its clients may become websockets.
    #[serde(default)]
    pub websockets: bool,
    /// `http-auto-gzip`: answers that ask for it are compressed.
    #[serde(default)]
    pub auto_gzip: bool,
    /// `http-to`: who answers in place of the workers, in turn; empty: the workers do.
    #[serde(default)]
    pub to: Vec<Address>,
    /// `http-connect-timeout`, in seconds: connecting to one of them; 0: `http-timeout`.
    #[serde(default)]
    pub connect_timeout_s: u32,
    /// `http-harakiri`, in seconds: how long the router may not answer its master; 0: any time.
    #[serde(default)]
    pub harakiri_s: u32,
}

/// The files of an address on which TLS is spoken. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSpec {
    /// Where.
    pub address: Address,
    /// The certificate, with those between it and its root behind it, in PEM.
    pub certificate: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
    /// The ciphers, in the words of OpenSSL; `None`: all that there are.
    pub ciphers: Option<String>,
    /// Who may sign certificates of clients; `None`: none is asked for.
    pub client_ca: Option<ClientCa>,
}

/// Who may sign certificates of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientCa {
    /// Their certificates, in PEM.
    pub file: PathBuf,
    /// A client without a certificate is refused.
    pub is_mandatory: bool,
}

/// What an address leads to whose requests belong to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectSpec {
    /// Where.
    pub address: Address,
    /// The port of `https`; `None`: 443, which is not written.
    pub port: Option<u16>,
}

/// The address in a value of an option that names more besides.
#[must_use]
pub fn address_in<'a>(option: &str, value: &'a str) -> &'a str {
    match option {
        "https" | "http-to-https" => value.split(',').next().unwrap_or_default().trim(),
        "https2" => value.split(',').find_map(|pair| pair.strip_prefix("addr=")).unwrap_or_default(),
        _ => value,
    }
}

impl Default for RouterSpec {
    fn default() -> Self {
        Self {
            timeout_s: 60,
            keepalive_s: 5,
            headers_timeout_s: 0,
            variables: Vec::new(),
            names_server_by_host: false,
            tls: Vec::new(),
            redirects: Vec::new(),
            export_certificate: false,
            proxy_protocol: false,
            websockets: false,
            auto_gzip: false,
            to: Vec::new(),
            connect_timeout_s: 0,
            harakiri_s: 0,
        }
    }
}
