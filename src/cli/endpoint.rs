//! Where an emperor's API is, and the way there: a unix socket of this host, or TCP.

use std::fmt::{self, Display};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{Scheme, Uri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// What a token may be long at most.
const TOKEN_LIMIT_BYTES: u64 = 4096;

/// Where an API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp {
        /// A name or an address; IPv6 without brackets.
        host: String,
        /// The port.
        port: u16,
        /// TLS is spoken.
        secure: bool,
    },
}

/// A way to talk.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Endpoint {
    /// `http://HOST:PORT`, `https://HOST:PORT`, `unix:PATH`, or a path.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        if !text.contains("://") {
            return Ok(Self::Unix(text.into()));
        }
        let wrong = |why: &str| format!("{text}: {why}");
        let uri: Uri = text.parse().map_err(|error| wrong(&format!("{error}")))?;
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        if !secure && uri.scheme() != Some(&Scheme::HTTP)
            || !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
        {
            return Err(wrong("write http://HOST:PORT or https://HOST:PORT"));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(wrong("a name and password mean nothing here: --token-file FILE has the token"));
        }
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("write http://HOST:PORT"));
        }
        let port = uri.port_u16().ok_or_else(|| wrong("write the port, too: http://HOST:PORT"))?;
        Ok(Self::Tcp { host, port, secure })
    }

    /// A connection.
    ///
    /// # Errors
    /// What the system says, or that the certificate is not to be trusted.
    pub(super) async fn connect(&self, trust: Option<&Arc<ClientConfig>>) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp { host, port, secure } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                match trust.filter(|_| *secure) {
                    None => Box::new(stream),
                    Some(trust) => {
                        let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                        Box::new(TlsConnector::from(Arc::clone(trust)).connect(name, stream).await?)
                    }
                }
            }
        })
    }

    /// Whether TLS is spoken.
    pub(super) const fn is_secure(&self) -> bool {
        matches!(self, Self::Tcp { secure: true, .. })
    }

    /// What the header `Host` says.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port, .. } => format!("{host}:{port}"),
        }
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { secure: false, .. } => write!(f, "http://{}", self.authority()),
            Self::Tcp { secure: true, .. } => write!(f, "https://{}", self.authority()),
        }
    }
}

/// The header with the token in this file.
///
/// # Errors
/// It cannot be read, or is no token.
pub fn token(file: &Path) -> Result<HeaderValue, String> {
    let wrong = |why: String| format!("cannot use the token file {}: {why}", file.display());
    let metadata = std::fs::metadata(file).map_err(|error| wrong(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > TOKEN_LIMIT_BYTES {
        return Err(wrong("it is no file with one token".to_owned()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(wrong("it must hold one token and nothing else".to_owned()));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| wrong("a token has no such characters".to_owned()))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_or_a_url() {
        let tcp = |host: &str, port| Ok(Endpoint::Tcp { host: host.into(), port, secure: false });
        for (text, expected) in [
            ("/run/liege/api.sock", Ok(Endpoint::Unix("/run/liege/api.sock".into()))),
            ("unix:api.sock", Ok(Endpoint::Unix("api.sock".into()))),
            ("http://web1:9000", tcp("web1", 9000)),
            ("http://127.0.0.1:9000/", tcp("127.0.0.1", 9000)),
            ("http://[::1]:9000", tcp("::1", 9000)),
            ("http://web1", Err("the port, too")),
            ("https://web1:9000", Ok(Endpoint::Tcp { host: "web1".into(), port: 9000, secure: true })),
            ("ftp://web1:9000", Err("write http://")),
            ("http://web1:9000/v1", Err("write http://")),
            ("http://me:secret@web1:9000", Err("--token-file")),
            ("http://:9000", Err("write http://")),
        ] {
            match (Endpoint::parse(text), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
                (Err(found), Err(part)) => assert!(found.contains(part), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        let shown = |text: &str| Endpoint::parse(text).unwrap().to_string();
        assert_eq!(shown("http://[::1]:9000/"), "http://[::1]:9000");
        assert_eq!(shown("unix:a.sock"), "a.sock");
    }

    #[test]
    fn a_token_file_holds_one_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        for (text, good) in [("secret\n", true), ("", false), ("two words", false), ("\u{1}", false)] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(token(&path).is_ok(), good, "{text:?}");
        }
        std::fs::write(&path, "secret\n").unwrap();
        let header = token(&path).unwrap();
        assert_eq!(header, "Bearer secret");
        assert!(!format!("{header:?}").contains("secret"), "it is in no message");
        assert!(token(directory.path()).is_err());
    }
}
