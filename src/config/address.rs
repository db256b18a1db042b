//! Socket addresses as uWSGI writes them, and what is spoken there.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

/// What is spoken on a socket, and who serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The uwsgi packet protocol, served by the workers (`socket`, `uwsgi-socket`).
    Uwsgi,
    /// HTTP/1.1, served by the workers (`http-socket`).
    Http,
    /// HTTP/1.1, served by the router process (`http`).
    Router,
}

/// A socket that an instance listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listen {
    /// Where.
    pub address: Address,
    /// What is spoken there.
    pub protocol: Protocol,
}
