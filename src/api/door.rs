//! Where the API listens: a unix socket for this host's operators, and a TCP address where asked.

use std::fmt::{self, Display};
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use super::guard::is_loopback;
use super::tls::Secure;
use crate::sys::socket::{self, FileIdentity, UnixOptions};
use crate::sys::user::current_uid;

/// How many connections wait to be accepted.
const BACKLOG: u32 = 128;

/// Where the API's unix socket is unless an option says otherwise, and where to look for it, best first: root's
/// place, and that of the user.
#[must_use]
pub fn usual_sockets() -> Vec<PathBuf> {
    let system = PathBuf::from("/run/liege/api.sock");
    let own = std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|directory| !directory.is_empty())
        .map(|directory| PathBuf::from(directory).join("liege/api.sock"));
    match (current_uid(), own) {
        (0, own) => std::iter::once(system).chain(own).collect(),
        (_, own) => own.into_iter().chain([system]).collect(),
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Door {
    /// A unix socket, whose file is removed with this value.
    Unix(UnixListener, SocketFile),
    /// A TCP address, with TLS on it.
    Tcp(TcpListener, SocketAddr, Option<Arc<Secure>>),
}

impl Door {
    /// Listens on a unix socket. A missing directory is made for whom the socket is for; the
    /// socket of a dead process is replaced in one step.
    ///
    /// # Errors
    /// Somebody serves there, something else is there, or what the system says.
    pub fn unix(path: &Path, options: UnixOptions) -> io::Result<Self> {
        let listener = bind_unix(path, options).map_err(|error| refused(path.display(), &error))?;
        Self::from_unix(path, listener)
    }

    /// Goes on listening on the unix socket at `path`, which an earlier image of this process opened.
    ///
    /// # Errors
    /// It cannot be registered with the runtime.
    pub fn unix_again(path: &Path, listener: OwnedFd) -> io::Result<Self> {
        Self::from_unix(path, UnixListener::from_std(listener.into())?)
    }

    /// The same for a TCP address.
    ///
    /// # Errors
    /// As [`Door::unix_again`].
    pub fn tcp_again(listener: OwnedFd, secure: Option<Arc<Secure>>) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener.into())?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address, secure))
    }

    /// A duplicate of the listener, to be kept over a re-execution.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(listener, _) => listener.as_fd().try_clone_to_owned(),
            Self::Tcp(listener, ..) => listener.as_fd().try_clone_to_owned(),
        }
    }

    fn from_unix(path: &Path, listener: UnixListener) -> io::Result<Self> {
        Ok(Self::Unix(listener, SocketFile { path: path.to_owned(), identity: socket::identity(path) }))
    }

    /// Listens on a TCP address; port 0 lets the kernel choose. Call it inside a runtime.
    ///
    /// # Errors
    /// The address is reachable from other hosts and clients need not say who they are (`is_guarded`), or what the
    /// system says.
    pub fn tcp(host: &str, port: u16, is_guarded: bool, secure: Option<Arc<Secure>>) -> io::Result<Self> {
        let listener = bind_tcp(host, port, is_guarded)
            .map_err(|error| refused(format_args!("{host}:{port}"), &error))?;
        let address = listener.local_addr()?;
        Ok(Self::Tcp(listener, address, secure))
    }
}

fn refused(address: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address} for the API: {error}"))
}

impl Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(_, file) => write!(f, "{}", file.path.display()),
            Self::Tcp(_, address, None) => write!(f, "http://{address}/v1"),
            Self::Tcp(_, address, Some(_)) => write!(f, "https://{address}/v1"),
        }
    }
}

/// The file of a unix socket of ours; removed with this value unless it became another's.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Option<FileIdentity>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(identity) = self.identity {
            // Another emperor's by now, or gone: as well.
            let _ = socket::remove_unix(&self.path, identity);
        }
    }
}

fn bind_unix(path: &Path, options: UnixOptions) -> io::Result<UnixListener> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists());
    if let Some(directory) = directory {
        DirBuilder::new().recursive(true).mode(directory_mode(options)).create(directory)?;
    }
    let listener = socket::listen_unix(path, options, BACKLOG)?;
    UnixListener::from_std(listener.into())
}

/// Whoever the socket is for comes through its directory; the socket's own mode says who that is.
const fn directory_mode(options: UnixOptions) -> u32 {
    let is_for_others = options.user.is_some() || options.group.is_some() || options.mode & 0o006 != 0;
    if is_for_others { 0o755 } else { 0o750 }
}

fn bind_tcp(host: &str, port: u16, is_guarded: bool) -> io::Result<TcpListener> {
    let address = socket::resolve(host, port)?;
    if !is_guarded && !is_loopback(address.ip()) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "other hosts could reach it: that needs --api-token-file FILE, or --api-tls CERT,KEY,CA for certificates of clients",
        ));
    }
    TcpListener::from_std(socket::listen_tcp(address, BACKLOG)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixListener as StdUnixListener;

    const USUAL: UnixOptions = UnixOptions { mode: 0o660, user: None, group: None, runs_as: None };

    #[tokio::test]
    async fn a_socket_is_for_owner_and_group_and_goes_with_its_door() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/api.sock");
        let door = Door::unix(&path, USUAL).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&path), 0o660);
        assert_eq!(mode(path.parent().unwrap()) & !0o750, 0);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        drop(door);
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_lets_in_whom_its_socket_is_for() {
        for (options, expected) in [
            (USUAL, 0o750),
            (UnixOptions { mode: 0o666, ..USUAL }, 0o755),
            (UnixOptions { group: Some(33), ..USUAL }, 0o755),
            (UnixOptions { user: Some(33), ..USUAL }, 0o755),
        ] {
            assert_eq!(directory_mode(options), expected, "{options:?}");
        }
    }

    #[tokio::test]
    async fn only_what_is_dead_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let living = Door::unix(&path, USUAL).unwrap();
        assert!(Door::unix(&path, USUAL).is_err());
        assert!(path.exists());
        drop(living);
        drop(StdUnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Door::unix(&path, USUAL).unwrap());
        fs::write(&path, "precious").unwrap();
        assert!(Door::unix(&path, USUAL).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_door_for_other_hosts_needs_a_token() {
        for (host, token, accepted) in [
            ("127.0.0.1", false, true),
            ("localhost", false, true),
            ("0.0.0.0", false, false),
            ("", false, false),
            ("0.0.0.0", true, true),
        ] {
            assert_eq!(Door::tcp(host, 0, token, None).is_ok(), accepted, "{host:?} {token}");
        }
    }
}
