//! Waiting until something is there: in a process that has nothing else to do, and for so long as was said.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::address::Address;
use crate::config::hook::{Awaited, PATIENCE_S};
use crate::sys::{host, output, socket};

/// How often is looked: there is no one event for all that is waited for (mounts, interfaces, servers).
const EVERY: Duration = Duration::from_millis(200);
/// How long a server gets to accept a connection.
const CONNECT: Duration = Duration::from_secs(1);

/// Comes back when it is there.
///
/// # Errors
/// It was not there in time.
pub(super) fn until_there(what: &Awaited, patience_s: u32) -> Result<(), String> {
    poll(patience_s, || is_there(what).then_some(()))
        .ok_or_else(|| format!("not there after {patience_s} seconds"))
}

/// Writes into a named pipe that somebody reads. Where nobody does, it is left alone, or with patience waited for.
///
/// # Errors
/// The pipe cannot be written to, or nobody came to read it.
pub(super) fn write_to_reader(path: &Path, text: &str, patient: bool) -> Result<(), String> {
    let written = || match output::pipe(path) {
        Ok(Some(mut pipe)) => Some(pipe.write_all(text.as_bytes())),
        Ok(None) => None,
        Err(error) if patient && error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    };
    match poll(if patient { PATIENCE_S } else { 0 }, written) {
        Some(done) => done.map_err(|error| error.to_string()),
        None if patient => Err(format!("nobody read it within {PATIENCE_S} seconds")),
        None => Ok(()),
    }
}

fn poll<T>(patience_s: u32, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + Duration::from_secs(patience_s.into());
    loop {
        let found = look();
        let left = until.saturating_duration_since(Instant::now());
        if found.is_some() || left.is_zero() {
            return found;
        }
        std::thread::sleep(EVERY.min(left));
    }
}

fn is_there(what: &Awaited) -> bool {
    match what {
        Awaited::Any(path) => path.exists(),
        Awaited::File(path) => path.is_file(),
        Awaited::Directory(path) => path.is_dir(),
        Awaited::Mountpoint(path) => is_mountpoint(path),
        Awaited::Interface(name) => host::has_interface(name),
        Awaited::Socket(address) => accepts(address).is_ok(),
    }
}

/// Its parent is on another device, or is itself.
fn is_mountpoint(path: &Path) -> bool {
    let (Ok(own), Ok(above)) = (fs::metadata(path), fs::metadata(path.join(".."))) else { return false };
    own.is_dir() && (own.dev() != above.dev() || own.ino() == above.ino())
}

fn accepts(address: &Address) -> io::Result<()> {
    match address {
        Address::Tcp { host, port } => {
            // As the kernel takes it: nowhere in particular is here.
            let host = if host.is_empty() { "127.0.0.1" } else { host };
            TcpStream::connect_timeout(&socket::resolve(host, *port)?, CONNECT).map(drop)
        }
        Address::Unix(path) => UnixStream::connect(path).map(drop),
        Address::Abstract(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_is_there_is_seen() {
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::write(at("f"), "").unwrap();
        let unix = UnixListener::bind(at("s")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let host = || "127.0.0.1".to_owned();
        for (what, there) in [
            (Awaited::Any(at("f")), true),
            (Awaited::Any(at("none")), false),
            (Awaited::File(at("f")), true),
            (Awaited::File(at("")), false),
            (Awaited::Directory(at("")), true),
            (Awaited::Directory(at("f")), false),
            (Awaited::Mountpoint("/proc".into()), true),
            (Awaited::Mountpoint("/".into()), true),
            (Awaited::Mountpoint(at("")), false),
            (Awaited::Interface("lo".to_owned()), true),
            (Awaited::Interface("none0".to_owned()), false),
            (Awaited::Socket(Address::Unix(at("s"))), true),
            (Awaited::Socket(Address::Unix(at("f"))), false),
            (Awaited::Socket(Address::Tcp { host: host(), port }), true),
            (Awaited::Socket(Address::Tcp { host: host(), port: 1 }), false),
        ] {
            assert_eq!(is_there(&what), there, "{what:?}");
            assert_eq!(until_there(&what, 0).is_ok(), there, "{what:?}");
        }
        drop((unix, tcp));
    }

    #[test]
    fn what_comes_late_is_waited_for() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("f");
        let late = path.clone();
        let maker = std::thread::spawn(move || fs::write(late, ""));
        until_there(&Awaited::File(path), 30).unwrap();
        maker.join().unwrap().unwrap();
    }

    #[test]
    fn a_pipe_is_written_to_when_somebody_reads_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("p");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        write_to_reader(&path, "nobody", false).unwrap();
        let reading = path.clone();
        let reader = std::thread::spawn(move || fs::read_to_string(reading));
        write_to_reader(&path, "hello", true).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), "hello");
    }
}
