//! Socket addresses as uWSGI writes them, and what is spoken there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys::socket::Name;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Address {
    /// `host:port`; an empty host is every IPv4 address. The host may be a name.
    Tcp {
        /// Empty, a name, an IPv4 address, or an IPv6 address without brackets.
        host: String,
        /// 0 lets the kernel choose.
        port: u16,
    },
    /// A unix socket at this path, absolute (relative ones were joined to `chdir`).
    Unix(PathBuf),
    /// A unix socket in the abstract name space (`@name`), without the leading NUL.
    Abstract(String),
}

impl Address {
    /// Whether other hosts can come there, as far as the address tells.
    #[must_use]
    pub fn is_for_other_hosts(&self) -> bool {
        let is_loopback =
            |host: &str| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        matches!(self, Self::Tcp { host, .. } if !is_loopback(host))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

impl From<SocketAddr> for Address {
    /// As uWSGI writes it: every IPv4 address is no host.
    fn from(address: SocketAddr) -> Self {
        let is_any = address.is_ipv4() && address.ip().is_unspecified();
        let host = if is_any { String::new() } else { address.ip().to_string() };
        Self::Tcp { host, port: address.port() }
    }
}

impl From<Name> for Address {
    fn from(name: Name) -> Self {
        match name {
            Name::Tcp(address) => address.into(),
            Name::Unix(path) => Self::Unix(path),
            Name::Abstract(name) => Self::Abstract(name),
        }
    }
}

/// What is spoken on a socket, and who serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The uwsgi packet protocol, served by the workers (`socket`, `uwsgi-socket`).
    Uwsgi,
    /// FastCGI, served by the workers (`fastcgi-socket`).
    Fastcgi,
    /// SCGI, served by the workers (`scgi-socket`).
    Scgi,
    /// HTTP/1.1, served by the workers (`http-socket`).
    Http,
    /// HTTP/1.1, served by the router process (`http`).
    Router,
    /// HTTP/1.1 over TLS, served by the router process (`https`).
    Https,
    /// HTTP/1.1 at the router process, which sends its clients to `https` (`http-to-https`).
    Redirect,
    /// Statistics, served by the master (`stats`).
    Stats,
}

impl Protocol {
    /// Whether requests come there, and not those who look at statistics.
    #[must_use]
    pub const fn is_for_requests(self) -> bool {
        !matches!(self, Self::Stats)
    }

    /// Whether the router process serves it, not the workers.
    #[must_use]
    pub const fn is_of_router(self) -> bool {
        matches!(self, Self::Router | Self::Https | Self::Redirect)
    }

    /// Whether a front end sends the variables of each request ready-made.
    #[must_use]
    pub const fn has_variables(self) -> bool {
        matches!(self, Self::Uwsgi | Self::Fastcgi | Self::Scgi)
    }

    /// For people: the option that gives a socket this protocol, but for `socket`, which may speak several.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uwsgi => "uwsgi",
            Self::Fastcgi => "fastcgi-socket",
            Self::Scgi => "scgi-socket",
            Self::Http => "http-socket",
            Self::Router => "http",
            Self::Https => "https",
            Self::Redirect => "http-to-https",
            Self::Stats => "stats",
        }
    }

    /// What is spoken, as uWSGI's statistics call it.
    #[must_use]
    pub const fn spoken(self) -> &'static str {
        match self {
            Self::Uwsgi => "uwsgi",
            Self::Fastcgi => "fastcgi",
            Self::Scgi => "scgi",
            Self::Http | Self::Router | Self::Redirect | Self::Stats => "http",
            Self::Https => "https",
        }
    }
}

/// A socket that an instance listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// The longest path of a unix socket that the kernel takes.
const UNIX_PATH_MAX: usize = 107;

impl Address {
    /// Whether who wants to listen here is served by a socket that is bound there.
    #[must_use]
    pub fn is_at(&self, bound: &Self) -> bool {
        fn ip(host: &str) -> &str {
            match host {
                "0.0.0.0" => "",
                "localhost" => "127.0.0.1",
                other => other,
            }
        }
        match (self, bound) {
            (Self::Tcp { host, port }, Self::Tcp { host: other, port: number }) => {
                // Every IPv6 address is every address, unless somebody says otherwise.
                port == number && (ip(host) == ip(other) || (ip(host).is_empty() && other == "::"))
            }
            _ => self == bound,
        }
    }

    /// Whether only one of both can be listened on.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        let is_every = |host: &str| matches!(host, "" | "0.0.0.0" | "::");
        match (self, other) {
            (Self::Tcp { port: 0, .. }, _) => false,
            (Self::Tcp { host, port }, Self::Tcp { host: second, port: also }) => {
                port == also && (host == second || is_every(host) || is_every(second))
            }
            _ => self == other,
        }
    }

    /// Reads an address as uWSGI writes it; relative paths start from `directory`. The second part is a doubt.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn parse(text: &str, directory: &Path) -> Result<(Self, Option<&'static str>), String> {
        if text.is_empty() {
            return Err("invalid/empty uwsgi socket name".to_owned());
        }
        if let Some(name) = text.strip_prefix('@').or_else(|| text.strip_prefix("\\0")) {
            return match name.len() {
                1..=UNIX_PATH_MAX => Ok((Self::Abstract(name.to_owned()), None)),
                _ => Err(format!("invalid socket name `{text}`: 1 to {UNIX_PATH_MAX} bytes")),
            };
        }
        if let Some(number) = text.strip_prefix('=') {
            return Err(format!("unable to use shared socket {number} here: only for requests"));
        }
        if let Some((host, port)) = text.rsplit_once(':') {
            return Self::tcp(text, host, port);
        }
        let path = directory.join(text);
        if path.as_os_str().len() > UNIX_PATH_MAX {
            return Err(format!("invalid socket name `{}`: more than {UNIX_PATH_MAX} bytes", path.display()));
        }
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        Ok((
            Self::Unix(path),
            digits.then_some("this is a unix socket of that name; for a port write a colon before it"),
        ))
    }

    fn tcp(text: &str, host: &str, port: &str) -> Result<(Self, Option<&'static str>), String> {
        if text.starts_with("fd://") {
            return Err(format!("`{text}` is no address here: inherited sockets are for requests"));
        }
        // The first address of this host that begins so.
        let prefix = host.strip_suffix('*').unwrap_or_default();
        if host.contains('*')
            && (!host.ends_with('*') || !prefix.bytes().all(|byte| b".0123456789".contains(&byte)))
        {
            return Err(format!("`{host}`: only the begin of an IPv4 address may stand before a `*`"));
        }
        // A port is read like a number: `9998  # x` is 9998.
        let (number, whole) = super::value::integer(port);
        if !port.trim_start().starts_with(|first: char| first.is_ascii_digit()) {
            let unset = port.strip_prefix("$(").and_then(|rest| rest.split_once(')'));
            return Err(match unset {
                Some((name, _)) => format!("`{port}` is not a port: the environment has no {name}"),
                None => format!("`{port}` is not a port"),
            });
        }
        let number = u16::try_from(number).map_err(|_| format!("port {port} is not between 0 and 65535"))?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
            Some(inner) => return Err(format!("`{inner}` is not an IPv6 address")),
            None if host.contains(':') => {
                return Err(format!("`{host}`: an IPv6 address is written in brackets"));
            }
            None => host,
        };
        let doubt = (!whole).then_some("what follows the port is ignored");
        Ok((Self::Tcp { host: host.to_owned(), port: number }, doubt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        let tcp = |host: &str, port| Ok(Address::Tcp { host: host.to_owned(), port });
        let unix = |path: &str| Ok(Address::Unix(PathBuf::from(path)));
        let rows: &[(&str, Result<Address, ()>)] = &[
            (":8000", tcp("", 8000)),
            ("127.0.0.1:8000", tcp("127.0.0.1", 8000)),
            ("localhost:0", tcp("localhost", 0)),
            ("[::1]:8000", tcp("::1", 8000)),
            ("127.0.0.1:9998  # x", tcp("127.0.0.1", 9998)),
            ("/tmp/a.sock", unix("/tmp/a.sock")),
            ("a.sock", unix("/srv/a.sock")),
            ("8000", unix("/srv/8000")),
            ("@name", Ok(Address::Abstract("name".to_owned()))),
            ("\\0name", Ok(Address::Abstract("name".to_owned()))),
            ("", Err(())),
            ("@", Err(())),
            ("=0", Err(())),
            ("fd://3", Err(())),
            ("host:abc", Err(())),
            ("host:", Err(())),
            ("host:99999", Err(())),
            ("host:-1", Err(())),
            ("::1:80", Err(())),
            ("[::x]:80", Err(())),
            ("192.168.1.*:80", tcp("192.168.1.*", 80)),
            ("*:80", tcp("*", 80)),
            ("host*:80", Err(())),
            ("1*2:80", Err(())),
        ];
        for (text, expected) in rows {
            let read = Address::parse(text, Path::new("/srv")).map(|(address, _)| address).map_err(|_| ());
            assert_eq!(&read, expected, "{text}");
        }
        assert!(Address::parse(&"x".repeat(108), Path::new("/")).is_err());
        assert!(Address::parse("8000", Path::new("/")).unwrap().1.is_some());
    }

    #[test]
    fn addresses_meet() {
        for (one, other, expected) in [
            (":80", ":80", true),
            (":80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("10.0.0.1:80", "127.0.0.1:80", false),
            (":80", ":81", false),
            (":0", ":0", false),
            ("a.sock", "a.sock", true),
            ("a.sock", "@a.sock", false),
        ] {
            let read = |text| Address::parse(text, Path::new("/srv")).unwrap().0;
            assert_eq!(read(one).meets(&read(other)), expected, "{one} {other}");
            assert_eq!(read(other).meets(&read(one)), expected, "{other} {one}");
        }
    }
}
