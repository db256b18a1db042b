//! Ports for servers that tests start.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Mutex;

/// A loopback port that nobody uses, and that no other test gets until this process ends. From below the kernel's own
/// range, so that no client of another test takes it before it is bound.
pub(crate) fn free_port() -> u16 {
    static TAKEN: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());
    // Each test may be a process of its own: the pid spreads them.
    let mut port = 10_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    loop {
        port = if port < 30_000 { port + 1 } else { 10_000 };
        let name = SocketAddr::from_abstract_name(format!("liege-test-port-{port}")).unwrap();
        let Ok(taken) = UnixDatagram::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            TAKEN.lock().unwrap().push(taken);
            return port;
        }
    }
}
