//! Descriptors in tokio's reactor.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpListener, UnixListener};

use super::{fd, stream};

/// Makes `fd` non-blocking and registers it with the current runtime for reading and writing.
///
/// # Errors
/// Setting it non-blocking, or registering it (a regular file cannot be).
pub fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    fd::set_nonblocking(&fd, true)?;
    register_with(fd, Interest::READABLE | Interest::WRITABLE)
}

/// The same for reading only: a listener, a pidfd, the read end of a pipe.
///
/// # Errors
/// As [`register`].
pub fn register_readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    fd::set_nonblocking(&fd, true)?;
    register_with(fd, Interest::READABLE)
}

/// The same for a file of the kernel's that tells when it changes (`POLLPRI`), and is never waited for otherwise.
///
/// # Errors
/// As [`register`].
pub fn register_changes(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    register_with(fd, Interest::PRIORITY)
}

/// Waits until `fd` has room, as it is: its open file may be others', too, and stays as blocking as they have it.
///
/// # Errors
/// As [`register`].
pub async fn writable(fd: OwnedFd) -> io::Result<()> {
    register_with(fd, Interest::WRITABLE)?.writable().await?.retain_ready();
    Ok(())
}

/// The next connection of a listener that is readable; `None` when nobody waits after all.
///
/// # Errors
/// As [`stream::accept`]. Where a unix socket refuses everybody, and nobody waits there any more, that is an error, too:
/// [`stream::is_closed`] knows it.
pub fn accept(
    listener: &AsyncFd<OwnedFd>,
    ready: &mut AsyncFdReadyGuard<'_, OwnedFd>,
) -> io::Result<Option<OwnedFd>> {
    match stream::accept(listener) {
        // This is all that is told there, and it is told again and again.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && ready.ready().is_read_closed() => {
            Err(stream::closed())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            ready.clear_ready();
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// A listener of either family, for those who come seldom.
#[derive(Debug)]
pub enum Listener {
    /// Of internet addresses.
    Tcp(TcpListener),
    /// Of unix addresses.
    Unix(UnixListener),
}

/// Who came to a [`Listener`].
pub trait Visitor: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Visitor for T {}

impl Listener {
    /// Of a listening socket, which is non-blocking already.
    ///
    /// # Errors
    /// Registering it with the current runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(match stream::is_tcp(&socket) {
            true => Self::Tcp(TcpListener::from_std(socket.into())?),
            false => Self::Unix(UnixListener::from_std(socket.into())?),
        })
    }

    /// The next who comes.
    ///
    /// # Errors
    /// `accept`.
    pub async fn accept(&self) -> io::Result<Box<dyn Visitor>> {
        Ok(match self {
            Self::Tcp(socket) => Box::new(socket.accept().await?.0),
            Self::Unix(socket) => Box::new(socket.accept().await?.0),
        })
    }
}

fn register_with(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd owns its descriptor until it is dropped, and AsyncFd deregisters before that.
    #[expect(unsafe_code, reason = "AsyncFd cannot know that every AsRawFd it is given owns its descriptor")]
    let registered = unsafe { AsyncFd::register_with_interest(fd, interest) };
    registered.map_err(io::Error::from)
}

/// Reads what is there into `buffer`, how much it was; 0 is the end.
///
/// # Errors
/// `read`: `WouldBlock` when there is nothing now.
pub fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(nix::unistd::read(fd, buffer)?)
}
