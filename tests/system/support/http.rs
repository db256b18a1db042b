//! An HTTP/1.1 client that hides nothing: one connection, no retry, every byte counted.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::ClientConfig;

use super::tls::Secure;

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    /// A port on loopback.
    Port(u16),
    /// A unix socket.
    Unix(PathBuf),
    /// A port on loopback, with TLS.
    Secure(u16, Arc<ClientConfig>),
}

impl Door {
    /// Connects, with a limit on every later read and write.
    pub(crate) fn connect(&self) -> io::Result<Connection> {
        self.connect_for(Duration::from_secs(20))
    }

    /// The same; nothing may take longer than `limit`.
    pub(crate) fn connect_for(&self, limit: Duration) -> io::Result<Connection> {
        let limit = Some(limit);
        let mut tls = None;
        let (reader, writer): (Box<dyn Read + Send>, Box<dyn Write + Send>) = match self {
            Self::Port(port) => {
                let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], *port)))?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                stream.set_nodelay(true)?;
                (Box::new(stream.try_clone()?), Box::new(stream))
            }
            Self::Secure(port, config) => {
                let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], *port)))?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                stream.set_nodelay(true)?;
                let stream = Secure::connect(stream, config)?;
                tls = Some(stream.clone());
                (Box::new(stream.clone()), Box::new(stream))
            }
            Self::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(limit)?;
                stream.set_write_timeout(limit)?;
                (Box::new(stream.try_clone()?), Box::new(stream))
            }
        };
        Ok(Connection { reader: BufReader::new(reader), writer, tls })
    }

    /// One GET on a connection of its own.
    pub(crate) fn get(&self, path: &str) -> io::Result<Answer> {
        self.connect()?.ask("GET", path, &["Connection: close"], b"")
    }

    /// Waits until a GET is answered with this body.
    pub(crate) fn wait_for(&self, path: &str, body: &str) {
        let mut last = String::new();
        super::wait::until(&format!("{body:?} from {self:?}"), || match self.get(path) {
            Ok(answer) if answer.text() == body => true,
            other => {
                last = format!("{other:?}");
                false
            }
        });
    }
}

/// A connection.
pub(crate) struct Connection {
    reader: BufReader<Box<dyn Read + Send>>,
    writer: Box<dyn Write + Send>,
    tls: Option<Secure>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// `200`.
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the server will close the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Connection {
    /// Sends a request (with `Content-Length` where there is a body) and reads its answer.
    pub(crate) fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        for header in headers {
            request += &format!("{header}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut bytes = (request + "\r\n").into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes)?;
        self.answer(method == "HEAD")
    }

    /// The certificate that the server showed.
    pub(crate) fn server_certificate(&self) -> Vec<u8> {
        self.tls.as_ref().unwrap().agreed().0
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writer.write_all(bytes)
    }

    /// Everything until the server closes.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// One line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads an answer (its head only, when `head` says that the request was HEAD).
    pub(crate) fn answer(&mut self, head: bool) -> io::Result<Answer> {
        let first = self.line()?;
        let status = first
            .split(' ')
            .nth(1)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status line: {first:?}")))?;
        let mut answer = Answer { status, headers: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| io::Error::other(format!("no header: {line:?}")))?;
            answer.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if head || status == 204 || status == 304 || status < 200 {
            return Ok(answer);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = self.chunks()?;
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().map_err(io::Error::other)?;
            answer.body = vec![0; length];
            self.reader.read_exact(&mut answer.body)?;
        } else {
            answer.body = self.rest()?;
        }
        Ok(answer)
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
            let start = body.len();
            body.resize(start + length, 0);
            self.reader.read_exact(&mut body[start..])?;
            self.line()?;
            if length == 0 {
                return Ok(body);
            }
        }
    }
}
