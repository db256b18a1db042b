//! Who holds a TCP port of this host.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its pid.
    pub pid: u32,
    /// Its name, as the kernel knows it.
    pub name: String,
}

/// Who listens on the port; `None`: nobody, or somebody whose descriptors we may not see.
#[must_use]
pub fn of_port(port: u16) -> Option<Holder> {
    let sockets: Vec<PathBuf> =
        listeners(port).map(|inode| PathBuf::from(format!("socket:[{inode}]"))).collect();
    if sockets.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        holds(&entry.path(), &sockets).then(|| Holder { pid, name: name(&entry.path()) })
    })
}

/// Whether anybody listens on the port, at whatever address.
#[must_use]
pub fn is_taken(port: u16) -> bool {
    listeners(port).next().is_some()
}

/// Whether anybody listens at a unix socket that was bound by this path. Nobody is called.
#[must_use]
pub fn is_listened_on(path: &Path) -> bool {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    listens(&String::from_utf8_lossy(&table), &path.to_string_lossy())
}

fn listeners(port: u16) -> impl Iterator<Item = u64> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(move |table| listening(&table, port))
}

/// Whether a table of the kernel has a unix socket of that name that accepts connections.
fn listens(table: &str, name: &str) -> bool {
    const ACCEPTS: &str = "00010000";
    // Seven words, of which the last one is padded, a space, and the name as it was given, spaces included.
    let is_it = |line: &str| {
        let (fixed, bound) =
            line.split_once(" /").map_or((line, None), |(fixed, bound)| (fixed, Some(bound)));
        fixed.split_ascii_whitespace().nth(3) == Some(ACCEPTS) && bound == name.strip_prefix('/')
    };
    name.starts_with('/') && table.lines().skip(1).any(is_it)
}

/// Tries an address without listening on it.
///
/// # Errors
/// It is in use, or not allowed, or not of this host.
pub fn try_tcp(address: SocketAddr) -> std::io::Result<()> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
    };
    use std::os::fd::AsRawFd;

    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    Ok(bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?)
}

/// The inodes of the sockets that listen on the port, from a table of the kernel.
fn listening(table: &str, port: u16) -> Vec<u64> {
    const LISTEN: &str = "0A";
    let wanted = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
            (local.ends_with(&wanted) && *state == LISTEN).then(|| inode.parse().ok()).flatten()
        })
        .collect()
}

/// What a descriptor leads to is told by its link; to look at the file itself may have us wait for a disk that is gone.
fn holds(process: &Path, sockets: &[PathBuf]) -> bool {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|link| sockets.contains(&link))
}

fn name(process: &Path) -> String {
    fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listener_of_a_port_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(of_port(address.port()).map(|holder| holder.pid), Some(std::process::id()));
        assert_eq!(try_tcp(address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(try_tcp(address).is_ok());
    }

    #[test]
    fn a_unix_socket_is_found_by_its_path_and_nobody_is_called() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.sock");
        let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        assert!(is_listened_on(&path) && !is_listened_on(&directory.path().join("a")));
        assert_eq!(socket.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(socket);
        assert!(!is_listened_on(&path));
        let table = "Num RefCount Protocol Flags Type St Inode Path\n\
            0: 00000002 00000000 00010000 0001 01    12 /run/a.sock\n\
            1: 00000003 00000000 00000000 0001 03    13 /run/b.sock\n\
            2: 00000002 00000000 00010000 0001 01    14\n";
        for (path, expected) in [("/run/a.sock", true), ("/run/b.sock", false), ("", false), ("/run", false)]
        {
            assert_eq!(listens(table, path), expected, "{path}");
        }
    }

    #[test]
    fn only_listeners_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1\n\
             1: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000  0 0 4712 1\n";
        assert_eq!(listening(table, 8080), [4711]);
        assert!(listening(table, 80).is_empty());
    }
}
