//! Listening sockets: made, taken over, looked at.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind,
    getsockname, listen, setsockopt, socket, sockopt,
};

pub use super::socket_file::{
    FileIdentity, UnixOptions, change_unix, identity, is_gone, listen_unix, remove_unix,
};

/// The most groups that a peer may have to be asked for them; the kernel allows more, people do not.
const GROUPS_LIMIT: usize = 1024;

/// Listens on a TCP address.
///
/// # Errors
/// `socket`, `bind` or `listen`.
pub fn listen_tcp(address: SocketAddr, backlog: u32) -> io::Result<OwnedFd> {
    listen_tcp_with(address, Tuning::default(), backlog)
}

/// The same, tuned.
///
/// # Errors
/// As [`listen_tcp`], or an option is refused.
pub fn listen_tcp_with(address: SocketAddr, tuning: Tuning, backlog: u32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(
        family,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::Tcp,
    )?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if tuning.freebind {
        setsockopt(&socket, sockopt::IpFreebind, &true)?;
    }
    if tuning.reuse_port {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    tune(&socket, tuning)?;
    finish(socket, &SockaddrStorage::from(address), backlog)
}

/// What the kernel is told of a listener beyond its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Its address may be one that the host does not have yet.
    pub freebind: bool,
    /// Other processes of the user may listen on the same address, if they say so, too.
    pub reuse_port: bool,
    /// Connections whose other end is gone are found out.
    pub keepalive: bool,
    /// Bytes that wait to be sent on a connection; 0: as the kernel likes.
    pub send_buffer_bytes: u32,
    /// Bytes that wait to be read from a connection; 0: as the kernel likes.
    pub receive_buffer_bytes: u32,
}

/// Tunes what can be changed of a listener later, too; its connections inherit it. Buffers that were set stay set.
///
/// # Errors
/// `setsockopt`.
pub fn tune(listener: impl AsFd, tuning: Tuning) -> io::Result<()> {
    let bytes = |wanted: u32| usize::try_from(wanted).ok().filter(|bytes| *bytes > 0);
    setsockopt(&listener, sockopt::KeepAlive, &tuning.keepalive)?;
    if let Some(bytes) = bytes(tuning.send_buffer_bytes) {
        setsockopt(&listener, sockopt::SndBuf, &bytes)?;
    }
    if let Some(bytes) = bytes(tuning.receive_buffer_bytes) {
        setsockopt(&listener, sockopt::RcvBuf, &bytes)?;
    }
    Ok(())
}

/// Looks a host up, IPv4 first; nothing is every IPv4 address, and `10.0.*` the first one of this host that begins so.
/// May ask a name server and wait for it.
///
/// # Errors
/// The name is unknown, or this host has no such address.
pub fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok((address, port).into());
    }
    if let Some(prefix) = host.strip_suffix('*') {
        let own = getifaddrs()?.filter_map(|own| Some(own.address?.as_sockaddr_in()?.ip()));
        let mut found = own.filter(|own| own.to_string().starts_with(prefix));
        let none =
            || io::Error::new(io::ErrorKind::AddrNotAvailable, format!("this host has no address {host}"));
        return found.next().map(|own| (own, port).into()).ok_or_else(none);
    }
    let mut found: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"));
    found.into_iter().next().ok_or_else(none)
}

/// Listens on an abstract unix address.
///
/// # Errors
/// `socket`, `bind` or `listen`.
pub fn listen_abstract(name: &str, backlog: u32) -> io::Result<OwnedFd> {
    finish(unix_socket()?, &UnixAddr::new_abstract(name.as_bytes())?, backlog)
}

/// Whether a descriptor is a listening socket.
#[must_use]
pub fn is_listening(fd: impl AsFd) -> bool {
    nix::sys::socket::getsockopt(&fd, sockopt::AcceptConn).unwrap_or(false)
}

/// The number that the kernel knows a listener by, in every process that has it, and never gives to another one; `None`: it is
/// none, or one of another network namespace, which nobody reaches by its address from here.
#[must_use]
pub fn number_of_listener(fd: BorrowedFd<'_>) -> Option<u64> {
    if !is_listening(fd) {
        return None;
    }
    let here = unix_socket().ok()?;
    // A kernel before 5.14 does not tell networks apart.
    let is_ours = cookie(fd, libc::SO_NETNS_COOKIE) == cookie(here.as_fd(), libc::SO_NETNS_COOKIE);
    cookie(fd, libc::SO_COOKIE).filter(|_| is_ours)
}

/// A number by which the kernel knows something of a socket; `None`: it does not tell.
fn cookie(fd: BorrowedFd<'_>, of_what: libc::c_int) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).ok()?;
    // SAFETY: getsockopt writes at most `length` bytes to `cookie`, which has that many.
    #[expect(unsafe_code, reason = "there is no wrapper for SO_COOKIE and SO_NETNS_COOKIE")]
    let done = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, of_what, (&raw mut cookie).cast(), &raw mut length)
    };
    (done == 0).then_some(cookie)
}

/// Has a listener, in whichever processes it is, refuse everybody from now on. Whoever waits at a unix socket can be
/// accepted still; at a TCP socket he is refused as well.
pub fn refuse_all(listener: impl AsFd) {
    // It fails for one that is closed to everybody already.
    let _ = nix::sys::socket::shutdown(listener.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Both);
}

/// Changes the length of a listener's queue.
///
/// # Errors
/// `listen`.
pub fn set_backlog(fd: impl AsFd, backlog: u32) -> io::Result<()> {
    Ok(listen(&fd, kernel_backlog(backlog)?)?)
}

/// The port that a TCP listener has, which the kernel chose if it was asked to.
#[must_use]
pub fn local_port(fd: BorrowedFd<'_>) -> Option<u16> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    match address.family()? {
        AddressFamily::Inet => address.as_sockaddr_in().map(nix::sys::socket::SockaddrIn::port),
        AddressFamily::Inet6 => address.as_sockaddr_in6().map(nix::sys::socket::SockaddrIn6::port),
        _ => None,
    }
}

/// What a listener is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// An internet address.
    Tcp(SocketAddr),
    /// The path of a unix socket, as it was bound.
    Unix(PathBuf),
    /// A name in the abstract name space.
    Abstract(String),
}

/// What a socket is called; `None`: it has no name, or none that people can read.
#[must_use]
pub fn local_name(fd: BorrowedFd<'_>) -> Option<Name> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    match address.family()? {
        AddressFamily::Inet => {
            address.as_sockaddr_in().map(|found| Name::Tcp(SocketAddr::V4((*found).into())))
        }
        AddressFamily::Inet6 => {
            address.as_sockaddr_in6().map(|found| Name::Tcp(SocketAddr::V6((*found).into())))
        }
        AddressFamily::Unix => {
            let found = getsockname::<UnixAddr>(fd.as_raw_fd()).ok()?;
            match (found.path(), found.as_abstract()) {
                (Some(path), _) => Some(Name::Unix(path.to_owned())),
                (None, Some(name)) => String::from_utf8(name.to_vec()).ok().map(Name::Abstract),
                (None, None) => None,
            }
        }
        _ => None,
    }
}

/// The groups of whoever connected to a unix socket, as they were then; `primary` is among them in any case.
#[must_use]
pub fn peer_groups(stream: BorrowedFd<'_>, primary: u32) -> Vec<u32> {
    let mut groups = vec![0_u32; GROUPS_LIMIT];
    let mut length = libc::socklen_t::try_from(GROUPS_LIMIT * size_of::<u32>()).unwrap_or(0);
    // SAFETY: getsockopt writes at most `length` bytes to `groups`, which has that many.
    #[expect(unsafe_code, reason = "there is no wrapper for SO_PEERGROUPS")]
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    let count = usize::try_from(length).unwrap_or(0) / size_of::<u32>();
    groups.truncate(if done == 0 { count } else { 0 });
    groups.push(primary);
    groups
}

/// How many connections wait to be accepted on a listener, and how many may.
#[must_use]
pub fn queue(fd: BorrowedFd<'_>) -> Option<(u32, u32)> {
    tcp_queue(fd).or_else(|| super::diagnosis::unix_queue(fd).ok().flatten())
}

/// How many connections wait to be accepted on a TCP listener, and how many may; `None` for other sockets.
#[must_use]
pub fn tcp_queue(fd: BorrowedFd<'_>) -> Option<(u32, u32)> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let size = size_of::<libc::tcp_info>();
    let mut length = libc::socklen_t::try_from(size).ok()?;
    // SAFETY: getsockopt writes at most `length` bytes to `info`, which has that many.
    #[expect(unsafe_code, reason = "there is no wrapper for TCP_INFO")]
    let done = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done < 0 {
        return None;
    }
    // SAFETY: zeroed, then partly overwritten by the kernel; every bit pattern is a tcp_info.
    #[expect(unsafe_code, reason = "a structure of numbers that was zeroed first")]
    let info = unsafe { info.assume_init() };
    // For a listener the kernel puts the queue and its limit into these two fields.
    Some((info.tcpi_unacked, info.tcpi_sacked))
}

/// The longest queue that the system allows (`net.core.somaxconn`).
#[must_use]
pub fn longest_backlog() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// The first port that anybody may bind (`net.ipv4.ip_unprivileged_port_start`).
#[must_use]
pub fn first_free_port() -> u16 {
    const USUAL: u16 = 1024;
    let told = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    told.ok().and_then(|told| told.trim().parse().ok()).unwrap_or(USUAL)
}

pub(super) fn unix_socket() -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?)
}

fn finish(socket: OwnedFd, address: &dyn SockaddrLike, backlog: u32) -> io::Result<OwnedFd> {
    bind(socket.as_raw_fd(), address)?;
    listen(&socket, kernel_backlog(backlog)?)?;
    Ok(socket)
}

pub(super) fn kernel_backlog(backlog: u32) -> io::Result<Backlog> {
    let length = i32::try_from(backlog).map_err(io::Error::other)?;
    // nix refuses more than its own idea of SOMAXCONN (4096); the kernel clips to the system's.
    Ok(Backlog::new(length).unwrap_or(Backlog::MAXCONN))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_begin_of_an_address_stands_for_the_first_of_this_host() {
        assert_eq!(resolve("127.0.*", 80).unwrap(), ([127, 0, 0, 1], 80).into());
        assert_eq!(resolve("203.0.113.*", 80).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_port_is_listened_on_and_its_queue_counted() {
        let address = resolve("localhost", 0).unwrap();
        let listener = listen_tcp(address, 7).unwrap();
        let port = local_port(listener.as_fd()).unwrap();
        assert!(is_listening(&listener));
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert_eq!(tcp_queue(listener.as_fd()), Some((1, 7)));
        set_backlog(&listener, 9).unwrap();
        assert_eq!(tcp_queue(listener.as_fd()), Some((1, 9)));
        assert_eq!(listen_tcp((address.ip(), port).into(), 7).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn connections_inherit_how_their_listener_is_tuned() {
        let tuning =
            Tuning { reuse_port: true, keepalive: true, receive_buffer_bytes: 70_000, ..Tuning::default() };
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = listen_tcp_with(any, tuning, 7).unwrap();
        let address = (Ipv4Addr::LOCALHOST, local_port(listener.as_fd()).unwrap()).into();
        let connection = |listener: &OwnedFd| {
            let client = TcpStream::connect(address).unwrap();
            crate::sys::wait::readable(listener, None).unwrap();
            (crate::sys::stream::accept(listener).unwrap(), client)
        };
        let (server, _client) = connection(&listener);
        assert!(nix::sys::socket::getsockopt(&server, sockopt::KeepAlive).unwrap());
        // The kernel doubles it.
        assert_eq!(nix::sys::socket::getsockopt(&server, sockopt::RcvBuf).unwrap(), 140_000);
        tune(&listener, Tuning::default()).unwrap();
        let (server, _client) = connection(&listener);
        assert!(!nix::sys::socket::getsockopt(&server, sockopt::KeepAlive).unwrap());
        assert!(listen_tcp(address, 7).is_err());
        assert!(listen_tcp_with(address, tuning, 7).is_ok());
        let nowhere = ([192, 0, 2, 1], 0).into();
        assert!(listen_tcp(nowhere, 7).is_err());
        assert!(listen_tcp_with(nowhere, Tuning { freebind: true, ..Tuning::default() }, 7).is_ok());
    }

    #[test]
    fn hosts_are_resolved() {
        assert_eq!(resolve("", 80).unwrap().to_string(), "0.0.0.0:80");
        assert_eq!(resolve("::1", 80).unwrap().to_string(), "[::1]:80");
        assert!(resolve("no-such-host.invalid", 80).is_err());
    }

    #[test]
    fn a_listener_has_one_number_however_it_is_reached() {
        let any = resolve("localhost", 0).unwrap();
        let (tcp, unix) = (listen_tcp(any, 7).unwrap(), unix_socket().unwrap());
        let number = |fd: &OwnedFd| number_of_listener(fd.as_fd());
        assert!(number(&tcp).is_some_and(|of_it| number(&tcp.try_clone().unwrap()) == Some(of_it)));
        assert_ne!(number(&tcp), number(&listen_tcp(any, 7).unwrap()));
        assert_eq!(number(&unix), None, "it does not listen");
        refuse_all(&tcp);
        assert_eq!(number(&tcp), None);
    }

    #[test]
    fn an_abstract_name_is_listened_on() {
        let name = format!("liege-test-{}", std::process::id());
        assert!(is_listening(listen_abstract(&name, 10).unwrap()));
    }
}
