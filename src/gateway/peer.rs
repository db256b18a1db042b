//! Where a request came from and where it arrived: facts of the connection, never of what a client says.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Fields that begin so are ours: the router takes them off requests of clients, and they enter no environ.
pub const OWN_PREFIX: &str = "x-liege-";

/// The router's field for a worker: scheme, remote address and port, and the port the request arrived at.
static PEER: HeaderName = HeaderName::from_static("x-liege-peer");

/// The router's fields for the certificate of a client: its name, and itself, the latter in base64.
static NAME: HeaderName = HeaderName::from_static("x-liege-client-name");
static CERTIFICATE: HeaderName = HeaderName::from_static("x-liege-client-certificate");

/// How long the lines of a file in PEM are.
const PEM_LINE_BYTES: usize = 64;

/// The field's last word for a client that speaks HTTP/1.0.
const OLD: &str = "old";

/// The scheme of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// Cleartext.
    #[default]
    Http,
    /// TLS, here or at a trusted front end.
    Https,
}

impl Scheme {
    /// `wsgi.url_scheme`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where a request came from and where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'a> {
    /// The client's address; empty on a unix socket.
    pub remote_addr: &'a str,
    /// The client's port; empty on a unix socket.
    pub remote_port: &'a str,
    /// This server's name.
    pub server_name: &'a str,
    /// The port of the listener; 80 on a unix socket.
    pub server_port: &'a str,
    /// The scheme.
    pub scheme: Scheme,
    /// The client spoke HTTP/1.0, which the connection from the router does not show.
    pub is_old: bool,
    /// The name in the client's certificate (`HTTPS_DN`); empty without one.
    pub client_name: &'a str,
    /// The certificate itself (`HTTPS_CC`), DER in base64; empty without one, or where nobody wants it.
    pub client_certificate: &'a str,
}

/// The facts of one connection, as text, made once when it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    remote_addr: String,
    remote_port: String,
    server_port: String,
    scheme: Scheme,
}

impl Default for Connection {
    /// A connection of which nothing is known: a front end speaks for its clients.
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Connection {
    /// A connection with these ends; `None` for an end on a unix socket.
    #[must_use]
    pub fn new(remote: Option<SocketAddr>, server_port: Option<u16>) -> Self {
        let (remote_addr, remote_port) = match remote {
            Some(address) => (address.ip().to_canonical().to_string(), address.port().to_string()),
            None => (String::new(), String::new()),
        };
        let server_port = server_port.unwrap_or(80).to_string();
        Self { remote_addr, remote_port, server_port, scheme: Scheme::Http }
    }

    /// The same connection, but with TLS on it.
    #[must_use]
    pub fn over_tls(self) -> Self {
        Self { scheme: Scheme::Https, ..self }
    }

    /// As the environ wants it.
    #[must_use]
    pub fn peer<'a>(&'a self, server_name: &'a str) -> Peer<'a> {
        Peer {
            remote_addr: &self.remote_addr,
            remote_port: &self.remote_port,
            server_name,
            server_port: &self.server_port,
            scheme: self.scheme,
            is_old: false,
            client_name: "",
            client_certificate: "",
        }
    }

    /// As the router tells it a worker; made once for each connection, added to each of its requests.
    #[must_use]
    pub fn to_field(&self) -> (HeaderName, HeaderValue) {
        let mut text = String::new();
        let (addr, port) = (&self.remote_addr, &self.remote_port);
        let _ = write!(text, "{} {} {addr} {port}", self.scheme.as_str(), self.server_port);
        let value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        (PEER.clone(), value)
    }

    /// The same field for a request in HTTP/1.0.
    #[must_use]
    pub fn to_old(value: &HeaderValue) -> HeaderValue {
        let text = [value.as_bytes(), b" ", OLD.as_bytes()].concat();
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| value.clone())
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.remote_addr.as_str(), &self.remote_port) {
            ("", _) => f.write_str("a unix socket"),
            (addr, port) if addr.contains(':') => write!(f, "[{addr}]:{port}"),
            (addr, port) => write!(f, "{addr}:{port}"),
        }
    }
}

impl<'a> Peer<'a> {
    /// What the router said of a request. Only for connections that come from the router.
    #[must_use]
    pub fn of_routed(fields: &'a HeaderMap, server_name: &'a str) -> Self {
        let text = fields.get(&PEER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut parts = text.split(' ');
        let scheme = if parts.next() == Some("https") { Scheme::Https } else { Scheme::Http };
        let server_port = parts.next().unwrap_or("80");
        let remote_addr = parts.next().unwrap_or_default();
        let remote_port = parts.next().unwrap_or_default();
        let is_old = parts.next() == Some(OLD);
        let of = |name| match scheme {
            Scheme::Http => "",
            Scheme::Https => fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default(),
        };
        Self {
            remote_addr,
            remote_port,
            server_name,
            server_port,
            scheme,
            is_old,
            client_name: of(&NAME),
            client_certificate: of(&CERTIFICATE),
        }
    }

    /// The client's certificate in PEM.
    #[must_use]
    pub fn client_pem(&self) -> Option<String> {
        if self.client_certificate.is_empty() {
            return None;
        }
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = self.client_certificate;
        while let Some((line, after)) = rest.split_at_checked(PEM_LINE_BYTES) {
            let _ = writeln!(pem, "{line}");
            rest = after;
        }
        let end = if rest.is_empty() { "" } else { "\n" };
        let _ = writeln!(pem, "{rest}{end}-----END CERTIFICATE-----");
        Some(pem)
    }
}

/// What the router tells a worker of a client's certificate; made once for each connection.
#[must_use]
pub fn certificate_fields(name: Option<&str>, certificate: Option<&[u8]>) -> Vec<(HeaderName, HeaderValue)> {
    let certificate = certificate.map(|der| BASE64_STANDARD.encode(der));
    [(&NAME, name), (&CERTIFICATE, certificate.as_deref())]
        .into_iter()
        .filter_map(|(field, text)| Some((field.clone(), HeaderValue::from_str(text?).ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_of_a_client_comes_through() {
        let secure = Connection::new(None, Some(443)).over_tls();
        let told = |fields: Vec<_>| HeaderMap::from_iter(fields.into_iter().chain([secure.to_field()]));
        let map = told(certificate_fields(Some("/CN=a b"), Some(&[7; 96])));
        let peer = Peer::of_routed(&map, "host");
        assert_eq!(peer.client_name, "/CN=a b");
        let line = "BwcH".repeat(16);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{line}\n{line}\n-----END CERTIFICATE-----\n");
        assert_eq!(peer.client_pem(), Some(pem));
        let map = told(certificate_fields(None, Some(b"a")));
        let peer = Peer::of_routed(&map, "host");
        assert!(peer.client_name.is_empty() && peer.client_pem().unwrap().contains("\nYQ==\n---"));
        assert_eq!(Peer::of_routed(&HeaderMap::new(), "host").client_pem(), None);
        assert_eq!(Peer::of_routed(&map, "host").scheme, Scheme::Https);
    }

    #[test]
    fn what_the_router_says_the_worker_hears() {
        for remote in
            [None, Some("192.0.2.7:4711"), Some("[2001:db8::1]:80"), Some("[::ffff:192.0.2.7]:4711")]
        {
            for port in [None, Some(9090)] {
                let connection = Connection::new(remote.map(|text| text.parse().unwrap()), port);
                let fields = HeaderMap::from_iter([connection.to_field()]);
                assert_eq!(Peer::of_routed(&fields, "host"), connection.peer("host"), "{remote:?} {port:?}");
                let (name, value) = connection.to_field();
                let fields = HeaderMap::from_iter([(name, Connection::to_old(&value))]);
                let expected = Peer { is_old: true, ..connection.peer("host") };
                assert_eq!(Peer::of_routed(&fields, "host"), expected, "{remote:?} {port:?}");
            }
        }
        let mapped = Connection::new(Some("[::ffff:192.0.2.7]:4711".parse().unwrap()), None);
        assert_eq!(mapped.peer("host").remote_addr, "192.0.2.7");
        assert_eq!(Peer::of_routed(&HeaderMap::new(), "host").server_port, "80");
        for shown in ["192.0.2.7:4711", "[2001:db8::1]:80"] {
            assert_eq!(Connection::new(Some(shown.parse().unwrap()), None).to_string(), shown);
        }
    }
}
