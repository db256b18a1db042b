//! uWSGI's `--connect-and-read ADDRESS`: prints what a server says without being asked, such as a stats server.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::Duration;

use super::exit::Exit;
use super::paper::complain;
use crate::config::address::Address;
use crate::sys::socket;

/// How long the server may be silent.
const LONGEST: Duration = Duration::from_secs(30);

/// Connects, and copies everything to standard output until the other side ends.
#[must_use]
pub fn run(address: &str) -> Exit {
    let here = std::env::current_dir().unwrap_or_default();
    let read =
        Address::parse(address, &here).map_err(io::Error::other).and_then(|(address, _)| copy(&address));
    match read {
        Ok(()) => Exit::Done,
        Err(error) => {
            complain(&format!("cannot read from {address}: {error}"));
            Exit::Failed
        }
    }
}

fn copy(address: &Address) -> io::Result<()> {
    match address {
        Address::Tcp { host, port } => {
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            let stream = TcpStream::connect_timeout(&socket::resolve(host, *port)?, LONGEST)?;
            stream.set_read_timeout(Some(LONGEST))?;
            drain(stream)
        }
        Address::Unix(path) => unix(UnixStream::connect(Path::new(path))?),
        Address::Abstract(name) => unix(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?),
    }
}

fn unix(stream: UnixStream) -> io::Result<()> {
    stream.set_read_timeout(Some(LONGEST))?;
    drain(stream)
}

fn drain(mut stream: impl Read) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match io::copy(&mut stream, &mut out).and_then(|_| out.flush()) {
        // Whoever reads us has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done,
    }
}
