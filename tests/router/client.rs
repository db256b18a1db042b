//! Plays a client, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use tokio_rustls::rustls::ClientConfig;

use crate::master::PATIENCE;
use crate::tls::Secure;

pub(crate) struct Client(Line, TcpStream);

enum Line {
    Plain(TcpStream),
    Secure(Secure),
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(line) => line.read(buffer),
            Self::Secure(line) => line.read(buffer),
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(line) => line.write(bytes),
            Self::Secure(line) => line.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(line) => line.flush(),
            Self::Secure(line) => line.flush(),
        }
    }
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The fields, each a line, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(Line::Plain(socket.try_clone().unwrap()), socket)
    }

    /// Shakes hands on a connection.
    pub(crate) fn secure(self, config: &Arc<ClientConfig>) -> std::io::Result<Self> {
        let line = Secure::connect(self.1.try_clone()?, config)?;
        Ok(Self(Line::Secure(line), self.1))
    }

    pub(crate) fn tls(&self) -> &Secure {
        match &self.0 {
            Line::Secure(line) => line,
            Line::Plain(_) => panic!("no TLS here"),
        }
    }

    /// A connection on which a GET of this target was sent.
    pub(crate) fn get(address: SocketAddr, target: &str) -> Self {
        let mut client = Self::connect(address);
        client.send_get(target);
        client
    }

    pub(crate) fn send_get(&mut self, target: &str) {
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Sends what the other side may refuse to take.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    pub(crate) fn local_address(&self) -> SocketAddr {
        self.1.local_addr().unwrap()
    }

    /// The next answer to anything but HEAD, whole.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if let Some(length) = answer.field("content-length") {
            let mut body = vec![0; length.parse().unwrap()];
            self.0.read_exact(&mut body).unwrap();
            answer.body = String::from_utf8(body).unwrap();
        } else if answer.field("transfer-encoding").is_some() {
            answer.body = self.chunks().expect("a whole body");
        }
        answer
    }

    /// The next answer without its body.
    pub(crate) fn head(&mut self) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte().unwrap_or_else(|| panic!("a head, not {head:?} and the end")));
        }
        let head = String::from_utf8(head).unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        let status = line.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        Answer { status, head: fields.to_ascii_lowercase(), body: String::new() }
    }

    /// A chunked body; `None` when the connection ends before it does.
    pub(crate) fn chunks(&mut self) -> Option<String> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(self.byte()?);
            }
            let size = usize::from_str_radix(std::str::from_utf8(&line).unwrap().trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            self.0.read_exact(&mut chunk).ok()?;
            if size == 0 {
                return Some(String::from_utf8(body).unwrap());
            }
            body.extend(&chunk[..size]);
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert!(matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::InvalidData
            ));
        }
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// So many bytes.
    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn assert_closed(&mut self) {
        assert_eq!(self.byte(), None, "the end of the connection");
    }

    /// Nothing comes now.
    pub(crate) fn assert_silent(&mut self) {
        self.1.set_nonblocking(true).unwrap();
        assert_eq!(self.0.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        self.1.set_nonblocking(false).unwrap();
    }

    pub(crate) fn stop_sending(&mut self) {
        self.1.shutdown(Shutdown::Write).unwrap();
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.0.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// Whether the connection ends after it.
    pub(crate) fn is_last(&self) -> bool {
        self.field("connection") == Some("close")
    }
}
